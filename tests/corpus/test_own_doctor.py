"""The doctor on clips of one's own: parts of videos, labels, recordings of other folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from meiju_utils.cli import app
from meiju_utils.corpus.doctor import Diagnosis, examine_run
from meiju_utils.corpus.fingerprints import look_at, look_at_parts
from meiju_utils.diagnosing import render
from meiju_utils.errors import CorpusError
from meiju_utils.media.reading import Part
from meiju_utils.opening import plan_run
from tests.clips import numbered_frames, write_clip
from tests.corpus.conftest import utter

SECONDS = 1.0  # of each utterance of the film
COUNT = 10


def voices(first: int = 0) -> np.ndarray:
    return np.concatenate([utter(first + i, SECONDS) for i in range(COUNT)])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    times = [i / 5 for i in range(5 * COUNT)]
    return write_clip(folder / "film.mp4", numbered_frames(5 * COUNT), voices(), times=times)


@pytest.fixture
def write(tmp_path: Path, film: Path) -> Callable[..., Path]:
    """`write(**columns)`: a folder with the film, a row an utterance, some columns otherwise."""

    def make(**columns: list[Any]) -> Path:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        if not (folder / "film.mp4").is_file():
            (folder / "film.mp4").write_bytes(film.read_bytes())
        table = {
            "clip_id": [f"u{i}" for i in range(COUNT)],
            "video": ["film.mp4"] * COUNT,
            "start_s": [SECONDS * i for i in range(COUNT)],
            "end_s": [SECONDS * (i + 1) for i in range(COUNT)],
            "split": [("train", "train", "train", "valid", "test")[i % 5] for i in range(COUNT)],
            "emotion": [("calm", "tense")[i % 2] for i in range(COUNT)],
        }
        pd.DataFrame({**table, **columns}).to_csv(folder / "clips.csv", index=False)
        return folder

    return make


def diagnosis(folder: Path, tmp_path: Path, **options: Any) -> Diagnosis:
    settings = {"embeddings.text": None, "parallel.backend": "serial"}
    run = plan_run("demo", str(folder), str(tmp_path / "run"), settings)
    return examine_run(run, **options)


def test_clips_of_one_video_are_looked_at_one_by_one(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    found = diagnosis(write(), tmp_path)
    assert found.sound
    assert found.duplicates.empty  # neighbours are no copies
    assert found.counts.set_index("split")["found"].to_dict() == {
        **{"train": 6, "valid": 2, "test": 2, "unlabeled": 0},
    }
    assert found.counts["promised"].isna().all()
    assert found.pairs.empty
    assert found.labels["label"].tolist() == ["calm", "tense"]
    text = render(found)
    assert "official" not in text
    assert "Train clips by" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_times_outside_the_video_are_told(write: Callable[..., Path], tmp_path: Path) -> None:
    starts = [SECONDS * i for i in range(COUNT - 1)] + [100.0]
    ends = [SECONDS * (i + 1) for i in range(COUNT - 2)] + [40.0, 101.0]
    found = diagnosis(write(start_s=starts, end_s=ends), tmp_path)
    problems = found.problems.set_index("clip_id")
    assert problems.loc["u8", "problem"] == "outside"
    assert problems.loc["u9", "problem"] == "unreadable"
    for words in ("between 100.00 and 101.00 s", "ends after 10.0", "Correct start_s and end_s"):
        assert words in problems.loc["u9", "reason"]


def test_parts_that_overlap_are_copies(write: Callable[..., Path], tmp_path: Path) -> None:
    starts = [SECONDS * i for i in range(COUNT - 1)] + [0.05]
    ends = [SECONDS * (i + 1) for i in range(COUNT - 1)] + [1.0]
    found = diagnosis(write(start_s=starts, end_s=ends), tmp_path)
    assert found.duplicates[["clip_a", "clip_b", "kind"]].to_numpy().tolist() == [
        ["u0", "u9", "near"]
    ]
    assert not found.sound  # one is in train, one in test


def test_a_whole_video_looks_as_a_part_that_is_all_of_it(film: Path) -> None:
    whole, (part,) = look_at(film, True), look_at_parts(film, [Part(0.0, 60.0)], True)
    assert part.digest == whole.digest
    assert (part.sound == whole.sound).all()
    assert part.pictures[0] == whole.pictures[0]
    assert part.remarks == ("outside",)


def test_what_was_seen_of_parts_is_kept(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meiju_utils.corpus import glimpses

    folder = write()
    first = diagnosis(folder, tmp_path)
    asked: list[list[Part]] = []

    def counting(path: Path, parts: list[Part], deep: bool) -> list[Any]:
        asked.append(parts)
        return look_at_parts(path, parts, deep)

    monkeypatch.setattr(glimpses, "look_at_parts", counting)
    assert diagnosis(folder, tmp_path).counts.equals(first.counts)
    assert asked == []
    folder = write(end_s=[SECONDS * (i + 1) for i in range(COUNT - 1)] + [9.75])
    diagnosis(folder, tmp_path)
    assert asked == [[Part(9.0, 9.75)]]  # of the one that is new


def test_recordings_of_another_folder_are_found_with_their_ids(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    folder, other = write(), tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    louder = np.clip(1.4 * utter(3, SECONDS), -1, 1)
    write_clip(other / "deep" / "x3.mkv", numbered_frames(5), louder, audio_codec="mp3")
    write_clip(other / "new.mp4", numbered_frames(5), utter(99, SECONDS))
    found = diagnosis(folder, tmp_path, against=other)
    assert found.against[["clip_id", "split", "other_id"]].to_numpy().tolist() == [
        ["u3", "valid", "x3"]
    ]
    assert found.sound
    assert "1 clips are recordings that" in found.warnings[0]
    assert "u3 (valid) = x3: near" in render(found)
    # the other way round: parts of the film count by their rows
    (other / "clips.csv").write_text(
        "clip_id,video,split,emotion\n"
        "x3,x3,train,calm\nn1,new,train,tense\nn2,new,valid,calm\nn3,new,test,calm\n"
    )
    back = diagnosis(other, tmp_path / "back", against=folder)
    assert back.against[["clip_id", "other_id"]].to_numpy().tolist() == [["x3", "u3"]]


@pytest.mark.parametrize(
    ("other", "words"),
    [("none", "No folder"), ("own", "is the data folder itself"), ("empty", "holds no video")],
)
def test_a_folder_that_cannot_be_compared_with(
    write: Callable[..., Path], tmp_path: Path, other: str, words: str
) -> None:
    folder = write()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=words):
        diagnosis(folder, tmp_path, against=tmp_path / other)


def test_the_command_speaks_of_such_a_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(emotion=[("calm", "tense")[i % 2] for i in range(COUNT - 1)] + ["clam"])
    profile = tmp_path / "mine.yaml"
    profile.write_text("labels: {emotion: [calm, tense]}\nembeddings: {text: null}\n")
    command = ["doctor", "--profile", str(profile), "--data-dir", str(folder), "--quick"]
    command += ["--run-dir", str(tmp_path / "run"), "--set", "parallel.backend=serial"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 1
    assert "clips.csv:11: unknown emotion 'clam'" in " ".join(told.output.split())
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert as_json["setting"] == "own-mandarin"
    assert as_json["against"] == []
    assert as_json["labels"][0] == {"task": "emotion", "label": "calm", "train": 3, "valid": 1}
