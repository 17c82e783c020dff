"""A corpus becomes audio, faces and texts in the run folder, whatever happens on the way."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.config import Preprocessing
from meiju_utils.corpus import listing
from meiju_utils.corpus.official import read_corpus
from meiju_utils.corpus.schema import validate_clips
from meiju_utils.corpus.survey import Corpus
from meiju_utils.errors import (
    BusyError,
    ConfigError,
    CorpusError,
    MeijuError,
    MissingStageError,
)
from meiju_utils.media.reading import read_media
from meiju_utils.opening import open_run
from meiju_utils.parallel import Failure, processes
from meiju_utils.preprocessing import clips as clips_module
from meiju_utils.preprocessing import (
    inspect_clip,
    making,
    open_preprocessed,
    open_review,
    pipeline,
    preprocess_corpus,
    state,
)
from meiju_utils.preprocessing import manifest as manifest_module
from meiju_utils.preprocessing.clips import Made, VideoTask, preprocess_video
from meiju_utils.preprocessing.manifest import ROW
from meiju_utils.preprocessing.state import settings_key
from meiju_utils.preprocessing.whisper import Heard
from meiju_utils.run import Run
from meiju_utils.run_folder import HOLDER_NAME

MakeClip = Callable[..., Path]
LOCKS = {".lock", ".lock.json"}
FOUND = (
    *("start_s", "end_s", "problem", "reason", "duration_s", "fps", "width", "height"),
    *("video_frames", "sampled_frames", "sample_rate", "audio_rate", "audio_channels", "faces"),
    *("face_choice", "face_reason", "flags"),
)
TALKING, MUTE, HEARD, BROKEN, FOUR = (f"Track1_Training_0000{n}" for n in range(1, 6))


@pytest.fixture
def data(tmp_path: Path, make_clip: MakeClip) -> Path:
    """Track 1 Mandarin with five training clips, of which one is broken, one mute, one unseen."""
    top = tmp_path / "data" / "Track1" / "Mandarin" / "Annotation"
    (top / "Training").mkdir(parents=True)
    for clip_id, frames, sound in (
        (TALKING, 35, 1.4),
        (MUTE, 30, None),
        (HEARD, 0, 1.0),
        (FOUR, 10, 0.4),
    ):
        make_clip("new.mp4", frames, sound).rename(top / "Training" / f"{clip_id}.mp4")
    (top / "Training" / f"{BROKEN}.mp4").write_bytes(b"no clip")
    names = [f"{clip_id}.mp4" for clip_id in (TALKING, MUTE, HEARD, BROKEN, FOUR)]
    (top / "Training_files.txt").write_text("".join(f"{n} happy agreeing\n" for n in names))
    texts = ["你吃了吗", "走!", "好，吧", "怎么了?", ""]
    rows = "".join(f"{n},“{t}”\n" for n, t in zip(names, texts, strict=True))
    (top / "Training_transcription.csv").write_text(
        "FileName,Subtitle\n" + rows.replace("“", "").replace("”", "")
    )
    return tmp_path / "data"


@pytest.fixture
def opened(data: Path, tmp_path: Path) -> Callable[..., tuple[Run, Corpus]]:
    def open_both(**overrides: Any) -> tuple[Run, Corpus]:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        run = open_run(
            "demo", str(data), str(tmp_path / "run"), {"parallel.backend": "serial"} | dotted
        )
        return run, read_corpus(data, run.setting)

    return open_both


def outputs(run: Run) -> dict[str, bytes]:
    """Everything in the run folder."""
    return {
        str(path.relative_to(run.folder)): path.read_bytes()
        for path in run.folder.rglob("*")
        if path.is_file()
    }


def test_the_tables_are_those_the_later_stages_expect(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    clips = run.table("clips").set_index("clip_id")
    assert clips.loc[TALKING, "duration_s"] == pytest.approx(1.4)
    assert np.isnan(clips.loc[BROKEN, "duration_s"])
    assert clips.loc[TALKING, ["face_choice", "face_reason"]].tolist() == [
        "whole-frame",
        "no face found",
    ]
    assert clips.loc[BROKEN, ["face_choice", "face_reason"]].tolist() == ["", ""]
    assert clips["face_score"].isna().all()
    validate_clips(run.table("clips"), run.setting)
    manifest = run.table("manifest").set_index("clip_id")
    assert list(manifest.index) == [TALKING, MUTE, HEARD, BROKEN, FOUR]
    assert list(run.table("manifest").columns) == list(ROW)
    row = manifest.loc[TALKING].to_dict()
    video = run.data_dir / row["video"]
    assert row["source_size"] == video.stat().st_size
    assert row["source_modified_ns"] == video.stat().st_mtime_ns
    assert row["source_digest"] == hashlib.sha256(video.read_bytes()).hexdigest()
    assert {name: row[name] for name in FOUND} == {
        "start_s": 0.0,
        "end_s": float("inf"),
        "problem": "",
        "reason": "",
        "duration_s": 1.4,
        "fps": 25.0,
        "width": 64,
        "height": 48,
        "video_frames": 35,
        "sampled_frames": 2,
        "sample_rate": 16000,
        "audio_rate": 16000,
        "audio_channels": 1,
        "faces": 0,
        "face_choice": "whole-frame",
        "face_reason": "no face found",
        "flags": "[]",
    }
    parts = json.loads(row["parts"])
    assert list(parts) == ["audio", "frames", "frame_ends", "frame_times", "crops", "crop_times"]
    assert manifest.loc[BROKEN, ["problem", "parts"]].tolist() == ["MediaError", "{}"]
    assert manifest.loc[HEARD, "face_choice"] == "none"
    transcripts = run.table("transcripts").set_index("clip_id")
    assert transcripts.loc[TALKING].tolist() == [
        "你吃了吗",
        "你吃了吗？",
        "suggested question mark (particle 吗)",
    ]
    problems = run.table("problems")
    own = problems[problems["stage"] == "media"].set_index("clip_id")["problem"].to_dict()
    assert own == {MUTE: "no-audio", HEARD: "no-video", BROKEN: "MediaError"}


def test_audio_faces_and_text_are_read_back(opened: Callable[..., tuple[Run, Corpus]]) -> None:
    run, corpus = opened(preprocessing__faces__crop_size=40)
    preprocessed = preprocess_corpus(run, corpus)
    assert preprocessed.clip_ids == corpus.clips["clip_id"].tolist()
    original = read_media(run.data_dir / corpus.clips["video"][0])
    assert np.array_equal(preprocessed.audio(TALKING), original.audio)
    assert preprocessed.audio(TALKING).dtype == np.float32
    assert preprocessed.faces(TALKING).shape == (2, 40, 40, 3)
    assert preprocessed.face_times(TALKING).tolist() == [0, 1.2]
    assert preprocessed.frame_times(TALKING).tolist() == [0, 1.2]
    frames = preprocessed.frames(TALKING)  # as JPEG of 95 % quality
    assert len(frames) == 2
    assert np.abs(frames[1].astype(int) - original.frames[1]).mean() < 3
    assert preprocessed.text(MUTE) == "走！"
    for clip_id in (MUTE, BROKEN):
        assert preprocessed.audio(clip_id).size == 0
    for clip_id in (HEARD, BROKEN):
        assert preprocessed.faces(clip_id).shape == (0, 0, 0, 3)
    with pytest.raises(KeyError):
        preprocessed.audio("../../secret")


def test_a_second_run_computes_nothing_and_changes_nothing(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    before = outputs(run)
    monkeypatch.setattr(making, "preprocess_video", None)
    preprocess_corpus(run, corpus)
    assert outputs(run) == before


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that are made from now on."""
    done: list[str] = []

    def counting(task: VideoTask) -> Made:
        done.extend(task.clip_ids)
        return preprocess_video(task)

    monkeypatch.setattr(making, "preprocess_video", counting)
    return done


def test_a_data_folder_is_walked_twice_at_most_however_often_it_is_opened(
    opened: Callable[..., tuple[Run, Corpus]], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = opened()
    walks: list[str] = []
    scandir = os.scandir

    def counting(path: Any = ".") -> Any:
        walks.extend([str(path)] if Path(path) == data else [])
        return scandir(path)

    monkeypatch.setattr(listing, "time", SimpleNamespace(monotonic=lambda: float(len(walks))))
    monkeypatch.setattr(listing, "_seen", {})
    monkeypatch.setattr(os, "scandir", counting)
    preprocess_corpus(run, read_corpus(data, run.setting))
    for _ in range(3):
        open_preprocessed(run)
    assert 1 <= len(walks) <= 2


def test_a_video_in_another_case_is_the_same_when_another_folder_is_given(
    opened: Callable[..., tuple[Run, Corpus]], data: Path, tmp_path: Path
) -> None:
    for path in sorted(data.rglob("*.mp4")):
        path.rename(path.with_name(path.name.lower()))
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    other = open_run("demo", str(data / "Track1"), str(run.folder), {"parallel.backend": "serial"})
    assert open_preprocessed(other).clip_ids == open_preprocessed(run).clip_ids


@pytest.mark.parametrize("harm", ["rows gone", "media gone", "rows damaged", "media cut"])
def test_a_shard_that_is_damaged_is_set_aside_and_its_clips_are_made_again(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(manifest_module, "MOST_CLIPS", 2)  # three shards
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    kind, what = harm.split()
    path = before.folder / f"00000.{'parquet' if kind == 'rows' else 'safetensors'}"
    data = bytearray(path.read_bytes())
    path.unlink()
    if what != "gone":
        data[30] ^= 1  # in the first page of the rows
        path.write_bytes(data[:-1] if what == "cut" else data)
    done = _counted(monkeypatch)
    after = preprocess_corpus(run, corpus)
    assert done == [TALKING, MUTE]
    assert np.array_equal(before.audio(FOUR), after.audio(FOUR))
    assert after.audio(TALKING).size
    if what != "gone":
        assert path.with_name(path.name + ".damaged").is_file()


def test_one_flipped_bit_in_the_media_is_noticed_when_it_is_read(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    clips = preprocess_corpus(run, corpus)
    path = clips.folder / "00000.safetensors"
    data = bytearray(path.read_bytes())
    whole = {c: (clips.audio(c), clips.faces(c), clips.frames(c)) for c in clips.clip_ids}

    def check_all() -> None:
        for clip_id, (audio, faces, frames) in whole.items():
            assert np.array_equal(clips.audio(clip_id), audio)
            assert np.array_equal(clips.faces(clip_id), faces)
            assert all(map(np.array_equal, clips.frames(clip_id), frames))

    for bit in np.linspace(len(data) // 2, len(data) - 1, 7).astype(int).tolist():
        path.write_bytes(data[:bit] + bytes([data[bit] ^ 16]) + data[bit + 1 :])
        with pytest.raises(MissingStageError, match="only its clips are made anew"):
            check_all()
        path.with_name("00000.parquet.suspect").rename(path.with_name("00000.parquet"))


def test_a_clip_whose_video_changed_is_done_again_and_its_old_media_are_not_served(
    opened: Callable[..., tuple[Run, Corpus]], make_clip: MakeClip
) -> None:
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    video = run.data_dir / corpus.clips["video"][0]
    make_clip("silent.mp4", 25).replace(video)
    with pytest.raises(MissingStageError, match="settings and data"):
        open_preprocessed(run)
    corpus = read_corpus(run.data_dir, run.setting)
    preprocessed = preprocess_corpus(run, corpus)
    assert preprocessed.audio(TALKING).size == 0
    assert [c for c in before.clip_ids if preprocessed.stamp(c) != before.stamp(c)] == [TALKING]
    video.unlink()
    corpus = read_corpus(run.data_dir, run.setting)
    gone = preprocess_corpus(run, corpus)
    assert gone.faces(TALKING).size == 0
    assert gone.stamp(TALKING) == ""
    make_clip("mended.mp4", 25, 1.0).replace(run.data_dir / corpus.clips["video"][3])
    corpus = read_corpus(run.data_dir, run.setting)
    mended = preprocess_corpus(run, corpus)
    assert mended.audio(BROKEN).size == 16000
    assert mended.stamp(BROKEN) != preprocessed.stamp(BROKEN)
    assert open_preprocessed(run) == mended


def test_a_corpus_that_was_copied_is_the_same_and_nothing_is_made_anew(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    moved = Run(run.config, shutil.copytree(run.data_dir, tmp_path / "moved"), run.folder)
    assert open_preprocessed(moved) == before
    for video in corpus.clips["video"]:
        os.utime(moved.data_dir / video, (0, 0))  # copied without its times
    with pytest.raises(MissingStageError):
        open_preprocessed(moved)
    done = _counted(monkeypatch)
    assert preprocess_corpus(moved, read_corpus(moved.data_dir, run.setting)) == before
    assert done == []
    assert open_preprocessed(moved) == before
    monkeypatch.setattr(making, "source_of", None)  # the contents were compared once
    assert preprocess_corpus(moved, read_corpus(moved.data_dir, run.setting)) == before


def test_a_finished_run_can_be_moved_and_opened_without_its_data(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path
) -> None:
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    sound = before.audio(TALKING)
    folder = run.folder.rename(tmp_path / "elsewhere")
    after = open_preprocessed(Run(run.config, tmp_path / "nowhere", folder))
    assert after.texts == before.texts
    assert after.stamps == before.stamps
    assert sound.size
    assert np.array_equal(after.audio(TALKING), sound)


def test_a_run_folder_refuses_another_corpus_and_takes_the_same_one_grown(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    other = corpus.clips.assign(text=[f"{n}点了" for n in range(len(corpus.clips))])
    with pytest.raises(ConfigError, match=r"another corpus: of its 5 clips 5 are .* 0 with the"):
        preprocess_corpus(run, replace(corpus, clips=other))
    with pytest.raises(ConfigError, match="another corpus"):
        preprocess_corpus(run, replace(corpus, clips=corpus.clips.head(2)))
    grown = corpus.clips.assign(clip_id=corpus.clips["clip_id"] + "b", video="")
    grown = pd.concat([corpus.clips, grown], ignore_index=True)
    grown.loc[0, "text"] = "你吃了没"  # mended
    assert len(preprocess_corpus(run, replace(corpus, clips=grown)).clip_ids) == 10


def test_only_one_process_writes_a_run_folder(opened: Callable[..., tuple[Run, Corpus]]) -> None:
    run, corpus = opened()
    code = (
        "import sys, pathlib; from meiju_utils.run_folder import writing\n"
        f"with writing(pathlib.Path({str(run.folder)!r}), 'a stage'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=Path(__file__).parents[2]) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"by process {other.pid} on .* \(a stage\) since"):
            preprocess_corpus(run, corpus)
        other.kill()  # the lock is the operating system's: it goes with the process
    assert preprocess_corpus(run, corpus).clip_ids


def test_clips_that_are_parts_of_a_video_are_made_in_one_pass(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()
    whole = preprocess_corpus(run, corpus).audio(TALKING)
    clips = corpus.clips.copy()
    rows = clips["clip_id"].isin([TALKING, MUTE])
    clips.loc[rows, "video"] = clips["video"][0]
    clips.loc[rows, ["start_s", "end_s"]] = [[0.0, 0.6], [0.4, 1.2]]
    validate_clips(clips, run.setting)
    asked: list[int] = []

    def counting(task: VideoTask) -> Made:
        asked.append(len(task.clips))
        return preprocess_video(task)

    monkeypatch.setattr(making, "preprocess_video", counting)
    parts = preprocess_corpus(run, replace(corpus, clips=clips))
    assert asked == [2]
    assert np.array_equal(parts.audio(TALKING), whole[:9600])
    assert np.array_equal(parts.audio(MUTE), whole[6400:19200])
    assert run.table("clips")["duration_s"].tolist()[:2] == pytest.approx([0.6, 0.8])
    assert len(inspect_clip(run, MUTE)[0].tracking) == 20


def test_what_other_code_made_is_kept_if_it_is_equal_and_made_anew_if_it_is_not(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    monkeypatch.setattr(state, "code_key", lambda *_: "changed")
    with pytest.raises(MissingStageError):
        open_preprocessed(run)
    done = _counted(monkeypatch)
    assert preprocess_corpus(run, corpus) == before
    assert done == [TALKING, HEARD, FOUR]  # a few, to compare
    assert open_preprocessed(run) == before
    monkeypatch.setattr(state, "code_key", lambda *_: "changed again")
    monkeypatch.setattr(clips_module, "final_rise", lambda *_: 1.0)
    done.clear()
    after = preprocess_corpus(run, corpus)
    assert done[-5:] == corpus.clips["clip_id"].tolist()
    assert after.key != before.key


def test_kill_9_at_any_write_leaves_nothing_half_valid(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "MOST_CLIPS", 3)  # two shards
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    whole = outputs(run)
    for write in range(1, 100):
        killed = Run(run.config, run.data_dir, tmp_path / f"killed-{write}")
        child = os.fork()
        if child == 0:
            _die_at_sync(write)
            preprocess_corpus(killed, corpus)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:  # there are fewer writes
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        left = outputs(killed)
        assert sum(".partial-" in name for name in left) == 1
        begun = {"preprocessed/current.json"}  # says until the end that tables are being written
        for name, content in left.items():
            assert ".partial-" in name or name in LOCKS | begun or content == whole[name]
        preprocess_corpus(killed, corpus)
        finished = {n: c for n, c in outputs(killed).items() if ".partial-" not in n}
        unlike = {"config.yaml", "run.json", *LOCKS}  # what opening a run writes
        assert {n: c for n, c in finished.items() if n not in unlike} == {
            name: whole[name] for name in whole if name not in unlike
        }
    assert write > 9


def _die_at_sync(number: int) -> None:
    sync, calls = os.fsync, iter(range(1, 1000))

    def dying(descriptor: int) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = dying


def test_what_a_killed_process_left_half_written_is_removed(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    folder = preprocess_corpus(run, corpus).folder
    left = folder / ".partial-old.safetensors", folder / "00001.safetensors"  # without its rows
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    holder = {"machine": socket.gethostname(), "process": 1}
    run.path(HOLDER_NAME).write_text(json.dumps(holder))  # of a process that was killed
    preprocess_corpus(run, corpus)
    assert not any(path.exists() for path in left)


def test_an_unexpected_error_of_one_clip_is_its_own_problem_and_tried_again(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()

    def odd(*_: object) -> None:
        raise ZeroDivisionError("odd clip")

    with monkeypatch.context() as patched:
        patched.setattr(clips_module, "final_rise", odd)
        preprocess_corpus(run, corpus)
    problems = run.table("problems").set_index("clip_id")
    assert problems.loc[TALKING, ["problem", "reason"]].tolist() == [
        "ZeroDivisionError",
        "odd clip",
    ]
    assert MUTE in usable(run)
    preprocess_corpus(run, corpus)
    assert TALKING in usable(run)


def usable(run: Run) -> list[str]:
    manifest = run.table("manifest")
    return list(manifest.loc[manifest["problem"] == "", "clip_id"])


def _deadly_at_mute(task: VideoTask) -> Made:
    if MUTE in task.clip_ids:
        os.kill(os.getpid(), signal.SIGKILL)
    return preprocess_video(task)


def test_a_clip_that_kills_its_process_is_a_problem_and_the_tables_are_written(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened(parallel__backend="loky")
    with monkeypatch.context() as patched:
        patched.setattr(making, "preprocess_video", _deadly_at_mute)
        patched.setattr(processes, "RETRIES", 1)
        patched.setattr(processes, "DISPATCHED", 1)  # few clips are then tried one at a time
        preprocess_corpus(run, corpus)
        assert usable(run) == [TALKING, HEARD, FOUR]
    problems = run.table("problems").set_index("clip_id")
    assert problems.loc[MUTE, "problem"] == "WorkerDied"
    assert "memory" in problems.loc[MUTE, "reason"]
    preprocess_corpus(run, corpus)  # it is tried again
    assert MUTE in usable(run)


def test_a_corpus_of_broken_clips_stops_the_run(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    for video in corpus.clips["video"]:
        (run.data_dir / video).write_bytes(b"no clip")
    with pytest.raises(MeijuError, match="None of 5 clips can be used"):
        preprocess_corpus(run, corpus)


@pytest.mark.parametrize(
    "override", [{"preprocessing__faces__detector": "haar"}, {"preprocessing__speaker": "loudest"}]
)
def test_a_wrong_name_stops_when_the_run_is_opened(
    opened: Callable[..., tuple[Run, Corpus]], override: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Valid"):
        opened(**override)
    assert not (tmp_path / "run").exists()


def test_a_features_only_corpus_gives_its_texts(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    bare = replace(corpus, clips=corpus.clips.assign(video=""))
    preprocessed = preprocess_corpus(run, bare)
    assert preprocessed.text(MUTE) == "走！"
    assert preprocessed.audio(MUTE).size == 0
    assert run.table("manifest").empty
    assert run.table("clips")["duration_s"].isna().all()
    validate_clips(run.table("clips"), run.setting)


def test_corrections_beside_the_lists_or_in_the_run_folder_are_applied(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    beside = run.data_dir / "Track1" / "Mandarin" / "corrections.csv"
    beside.write_text(f"clip_id,text,note\n{MUTE},快走！！,漏字\n", encoding="utf-8")
    assert preprocess_corpus(run, corpus).text(MUTE) == "快走！！"
    changes = open_review(run).changes
    assert changes.loc[changes["clip_id"] == MUTE, ["rule", "after"]].to_numpy().tolist() == [
        ["punctuation", "走！"],
        ["correction", "快走！！"],
    ]
    beside.replace(run.path("corrections.csv"))
    assert preprocess_corpus(run, corpus).text(MUTE) == "快走！！"
    run.path("corrections.csv").write_text("clip_id,text,note\nnobody,好,\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="no clip nobody"):
        preprocess_corpus(run, corpus)


def test_corrections_lie_beside_the_lists_and_others_are_reported(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    beside = run.data_dir / "Track1" / "Mandarin" / "Annotation" / "corrections.csv"
    beside.write_text(f"clip_id,text,note\n{MUTE},快走！！,\n", encoding="utf-8")
    strays = ("corrections.csv", "Track1/corrections.csv", "Track1/Mandarin/Corrections.xlsx")
    for name in strays:
        (run.data_dir / name).write_text("clip_id,text\nx,y\n")
    run.path("my corrections.csv").touch()
    assert preprocess_corpus(run, corpus).text(MUTE) == "快走！！"
    problems = run.table("problems").query("problem == 'unused corrections'")
    named = {reason.split(" is not read")[0] for reason in problems["reason"]}
    assert named == {*strays, "my corrections.csv"}


def test_changed_corrections_or_lists_are_not_done(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    run.path("corrections.csv").write_text(f"clip_id,text,note\n{MUTE},走吧！,\n")
    with pytest.raises(MissingStageError):
        open_preprocessed(run)
    assert preprocess_corpus(run, corpus).text(MUTE) == "走吧！"
    assert open_preprocessed(run).text(MUTE) == "走吧！"
    table = run.data_dir / "Track1" / "Mandarin" / "Annotation" / "Training_transcription.csv"
    table.write_text(table.read_text().replace("走!", "来!!"))
    with pytest.raises(MissingStageError):
        open_preprocessed(run)


def test_half_updated_tables_do_not_count_as_done(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    other, _ = opened(preprocessing__transcripts__apply_suggestions=2)
    save = Run.save_table

    def full(self: Run, name: str, table: Any) -> Path:
        if name == "problems":
            raise OSError("No space left on device")
        return save(self, name, table)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "save_table", full)
        with pytest.raises(OSError, match="No space"):
            preprocess_corpus(other, corpus)
    for one in (run, other):
        with pytest.raises(MissingStageError):
            open_preprocessed(one)


def test_a_model_of_other_content_under_the_same_name_changes_the_key(tmp_path: Path) -> None:
    model = tmp_path / "talknet.model"
    settings = Preprocessing(speaker=f"talknet:{model}")
    keys = set()
    for content in ("one", "two"):
        model.write_text(content)
        os.utime(model, ns=(0, len(keys)))
        keys.add(settings_key(settings))
    assert len(keys) == 2
    elsewhere = shutil.copy(model, tmp_path / "other name.model")
    assert settings_key(Preprocessing(speaker=f"talknet:{elsewhere}")) in keys


def test_recognised_speech_fills_in_missing_texts(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def recognise(_: object, clip_ids: list[str], *__: Any) -> tuple[dict[str, Heard], list[Any]]:
        asked.append(clip_ids)
        failure = Failure("other", "RuntimeError", "odd sound")
        return {FOUR: Heard("真的吗", "“谢谢观看” is a guess")}, [failure]

    monkeypatch.setattr(pipeline, "recognise_speech", recognise)
    fetched: list[str] = []  # before all else: only then its commit, which counts, is known
    monkeypatch.setattr(pipeline, "fetch_whisper", fetched.append)
    monkeypatch.setattr("meiju_utils.opening.check_profile", lambda *_: [])  # there is no model
    run, corpus = opened(preprocessing__transcripts__asr="some/whisper")
    assert preprocess_corpus(run, corpus).text(FOUR) == "真的吗？"
    assert asked == [[FOUR]]
    assert fetched == ["some/whisper"]
    row = run.table("transcripts").set_index("clip_id").loc[FOUR]
    assert row["raw"] == ""
    assert row["rules"].startswith("speech recognition; suggested question mark")
    problems = run.table("problems")
    told = problems.loc[problems["stage"] == "asr", ["clip_id", "problem", "reason"]].to_numpy()
    assert told.tolist() == [
        ["other", "RuntimeError", "odd sound"],
        [FOUR, "doubtful speech", "“谢谢观看” is a guess"],
    ]
    run, corpus = opened(
        preprocessing__transcripts__asr="some/whisper", preprocessing__sample_rate=8000
    )
    with pytest.raises(ConfigError, match="Whisper needs 16000"):
        preprocess_corpus(run, corpus)


def test_what_was_not_made_with_these_settings_is_missing(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    with pytest.raises(MissingStageError, match="01_preprocessing"):
        open_preprocessed(run)
    with pytest.raises(MissingStageError, match="01_preprocessing"):
        open_review(run)
    key = preprocess_corpus(run, corpus).key
    assert open_preprocessed(run).key == key
    other, _ = opened(preprocessing__frame_stride=10)
    with pytest.raises(MissingStageError, match="these settings"):
        open_preprocessed(other)


def test_text_settings_and_texts_do_not_change_the_key_of_audio_and_faces(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    first = preprocess_corpus(run, corpus)
    run, corpus = opened(preprocessing__transcripts__apply_suggestions=2)
    second = preprocess_corpus(run, corpus)
    assert first.key == second.key
    assert first.texts != second.texts
    run, corpus = opened(preprocessing__faces__crop_size=64)
    assert preprocess_corpus(run, corpus).key != first.key


def test_two_processes_give_what_one_gives(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path
) -> None:
    run, corpus = opened()
    alone = preprocess_corpus(run, corpus)
    parallel = Run(
        run.config.model_copy(
            update={"parallel": run.config.parallel.model_copy(update={"backend": "loky"})}
        ),
        run.data_dir,
        tmp_path / "run2",
    )
    together = preprocess_corpus(parallel, corpus)
    assert run.table("manifest").equals(parallel.table("manifest"))
    for clip_id in alone.clip_ids:
        assert np.array_equal(alone.audio(clip_id), together.audio(clip_id))
        assert np.array_equal(alone.faces(clip_id), together.faces(clip_id))


def test_what_is_sent_to_workers_and_stages_can_be_pickled(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    preprocessed = preprocess_corpus(run, corpus)
    whole = ((TALKING, clips_module.Part()),)
    task = VideoTask(run.data_dir / "a.mp4", "a.mp4", whole, run.config.preprocessing, "")
    assert pickle.loads(pickle.dumps((preprocess_video, task)))[1] == task
    assert pickle.loads(pickle.dumps(preprocessed)).text(MUTE) == "走！"


def test_one_clip_can_be_looked_at_again(opened: Callable[..., tuple[Run, Corpus]]) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    media, faces = inspect_clip(run, TALKING)
    assert len(media.tracking) == 35
    assert faces.reason == run.table("manifest").set_index("clip_id").loc[TALKING, "face_reason"]
    for clip_id in ("nobody",):
        with pytest.raises(MeijuError, match="no video"):
            inspect_clip(run, clip_id)
