"""A corpus becomes audio, faces and texts in the run folder, whatever happens on the way."""

import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.config import Preprocessing
from meiju_utils.corpus.official import Corpus, read_corpus
from meiju_utils.corpus.schema import validate_clips
from meiju_utils.errors import ConfigError, CorpusError, MeijuError, MissingStageError
from meiju_utils.media.reading import read_media
from meiju_utils.opening import open_run
from meiju_utils.parallel import engines
from meiju_utils.preprocessing import clips as clips_module
from meiju_utils.preprocessing import (
    inspect_clip,
    open_preprocessed,
    open_review,
    pipeline,
    preprocess_corpus,
)
from meiju_utils.preprocessing.clips import ClipTask, preprocess_clip
from meiju_utils.preprocessing.state import preprocessing_key
from meiju_utils.run import Run

MakeClip = Callable[..., Path]
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
    """Everything in the run folder but what tells time."""
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
    validate_clips(run.table("clips"))
    media = run.table("media").set_index("clip_id")
    assert list(media.index) == [TALKING, MUTE, HEARD, FOUR]
    assert media.loc[TALKING].to_dict() == {
        "duration_s": 1.4,
        "fps": 25.0,
        "width": 64,
        "height": 48,
        "video_frames": 35,
        "sampled_frames": 2,
        "audio_rate": 16000,
        "audio_channels": 1,
        "faces": 0,
        "face_choice": "whole-frame",
        "face_score": pytest.approx(float("nan"), nan_ok=True),
        "face_reason": "no face found",
    }
    assert media.loc[HEARD, "face_choice"] == "none"
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
    monkeypatch.setattr(pipeline, "preprocess_clip", None)
    preprocess_corpus(run, corpus)
    assert outputs(run) == before


@pytest.mark.parametrize("lost", ["records", "audio", "faces"])
def test_a_clip_that_lost_a_file_is_done_again(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    run, corpus = opened()
    preprocessed = preprocess_corpus(run, corpus)
    before = outputs(run)
    next((preprocessed.folder / lost).glob(f"{TALKING}.*")).unlink()
    done: list[str] = []

    def counting(task: ClipTask) -> clips_module.Record:
        done.append(task.clip_id)
        return preprocess_clip(task)

    monkeypatch.setattr(pipeline, "preprocess_clip", counting)
    preprocess_corpus(run, corpus)
    assert done == [TALKING]
    assert set(outputs(run)) == set(before)


def test_a_clip_whose_video_changed_is_done_again(
    opened: Callable[..., tuple[Run, Corpus]], make_clip: MakeClip
) -> None:
    run, corpus = opened()
    before = preprocess_corpus(run, corpus)
    video = run.data_dir / corpus.clips["video"][0]
    make_clip("silent.mp4", 25).replace(video)
    preprocessed = preprocess_corpus(run, corpus)
    assert preprocessed.audio(TALKING).size == 0
    assert not (preprocessed.folder / "audio" / f"{TALKING}.wav").exists()
    assert [c for c in before.clip_ids if preprocessed.stamp(c) != before.stamp(c)] == [TALKING]
    broken = run.data_dir / corpus.clips["video"][3]
    make_clip("mended.mp4", 25, 1.0).replace(broken)
    mended = preprocess_corpus(run, corpus)
    assert mended.audio(BROKEN).size == 16000
    assert mended.stamp(BROKEN) != preprocessed.stamp(BROKEN)
    assert open_preprocessed(run).stamps == mended.stamps


def test_kill_9_at_any_write_leaves_nothing_half_valid(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path
) -> None:
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
        for name, content in left.items():
            assert ".partial-" in name or content == whole[name]
        preprocess_corpus(killed, corpus)
        finished = {n: c for n, c in outputs(killed).items() if ".partial-" not in n}
        assert finished == {name: whole[name] for name in whole if name != "config.yaml"}
    assert write > 15


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
    old, fresh = folder / "audio" / ".partial-old.wav", folder / "audio" / ".partial-new.wav"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    preprocess_corpus(run, corpus)
    assert not old.exists()
    assert fresh.exists()  # it may belong to another process at work


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
    assert MUTE in run.table("media")["clip_id"].tolist()
    preprocess_corpus(run, corpus)
    assert TALKING in run.table("media")["clip_id"].tolist()


def _deadly_at_mute(task: ClipTask) -> clips_module.Record:
    if task.clip_id == MUTE:
        os.kill(os.getpid(), signal.SIGKILL)
    return preprocess_clip(task)


def test_a_clip_that_kills_its_process_is_a_problem_and_the_tables_are_written(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus = opened(parallel__backend="loky")
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "preprocess_clip", _deadly_at_mute)
        patched.setattr(engines, "RETRIES", 1)
        patched.setattr(engines, "DISPATCHED", 1)  # few clips are then tried one at a time
        preprocess_corpus(run, corpus)
    problems = run.table("problems").set_index("clip_id")
    assert problems.loc[MUTE, "problem"] == "WorkerDied"
    assert "memory" in problems.loc[MUTE, "reason"]
    assert run.table("media")["clip_id"].tolist() == [TALKING, HEARD, FOUR]
    preprocess_corpus(run, corpus)  # it is tried again
    assert MUTE in run.table("media")["clip_id"].tolist()


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
def test_a_wrong_name_stops_before_any_work(
    opened: Callable[..., tuple[Run, Corpus]], override: dict[str, str]
) -> None:
    run, corpus = opened(**override)
    with pytest.raises(ConfigError, match="Valid"):
        preprocess_corpus(run, corpus)
    assert not run.path("preprocessed").exists()


def test_a_features_only_corpus_gives_its_texts(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    bare = Corpus(corpus.root, corpus.clips.assign(video=""), corpus.problems)
    preprocessed = preprocess_corpus(run, bare)
    assert preprocessed.text(MUTE) == "走！"
    assert preprocessed.audio(MUTE).size == 0
    assert run.table("media").empty
    assert run.table("clips")["duration_s"].isna().all()
    validate_clips(run.table("clips"))


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


def test_changed_corrections_lists_or_data_folder_are_not_done(
    opened: Callable[..., tuple[Run, Corpus]], tmp_path: Path
) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    other = shutil.copytree(run.data_dir, tmp_path / "other")
    with pytest.raises(MissingStageError, match="settings and data"):
        open_preprocessed(Run(run.config, other, run.folder))
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
        keys.add(preprocessing_key(settings))
    assert len(keys) == 2


def test_recognised_speech_fills_in_missing_texts(
    opened: Callable[..., tuple[Run, Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def recognise(_: object, clip_ids: list[str], *__: str) -> tuple[dict[str, str], list[Any]]:
        asked.append(clip_ids)
        return {FOUR: "真的吗"}, [(FOUR, "RuntimeError", "odd sound")]

    monkeypatch.setattr(pipeline, "recognise_speech", recognise)
    run, corpus = opened(preprocessing__transcripts__asr="some/whisper")
    assert preprocess_corpus(run, corpus).text(FOUR) == "真的吗？"
    assert asked == [[FOUR]]
    row = run.table("transcripts").set_index("clip_id").loc[FOUR]
    assert row["raw"] == ""
    assert row["rules"].startswith("speech recognition; suggested question mark")
    assert "asr" in run.table("problems")["stage"].tolist()
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
    assert run.table("media").equals(parallel.table("media"))
    for clip_id in alone.clip_ids:
        assert np.array_equal(alone.audio(clip_id), together.audio(clip_id))
        assert np.array_equal(alone.faces(clip_id), together.faces(clip_id))


def test_what_is_sent_to_workers_and_stages_can_be_pickled(
    opened: Callable[..., tuple[Run, Corpus]],
) -> None:
    run, corpus = opened()
    preprocessed = preprocess_corpus(run, corpus)
    task = ClipTask(TALKING, run.data_dir / "a.mp4", run.folder, run.config.preprocessing)
    assert pickle.loads(pickle.dumps((preprocess_clip, task)))[1] == task
    assert pickle.loads(pickle.dumps(preprocessed)).text(MUTE) == "走！"


def test_one_clip_can_be_looked_at_again(opened: Callable[..., tuple[Run, Corpus]]) -> None:
    run, corpus = opened()
    preprocess_corpus(run, corpus)
    media, faces = inspect_clip(run, TALKING)
    assert len(media.tracking) == 35
    assert faces.reason == run.table("media").set_index("clip_id").loc[TALKING, "face_reason"]
    for clip_id in ("nobody",):
        with pytest.raises(MeijuError, match="no video"):
            inspect_clip(run, clip_id)
