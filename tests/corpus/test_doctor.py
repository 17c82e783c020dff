"""The doctor: what it counts, what it calls unsound, what it prints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.challenge import SETTINGS
from meiju_utils.config import Parallel
from meiju_utils.corpus import glimpses, listing
from meiju_utils.corpus.doctor import Diagnosis, examine
from meiju_utils.corpus.fingerprints import Glimpse, look_at
from meiju_utils.corpus.official import read_corpus
from meiju_utils.corpus.verdict import look_alikes
from meiju_utils.diagnosing import render
from meiju_utils.errors import CorpusError
from meiju_utils.media.reading import Part
from meiju_utils.parallel.faults import SystemicError, WorkerDied

MANDARIN = SETTINGS[1, "mandarin"]
SERIAL = Parallel(backend="serial")


def diagnose(release: Any, setting: Any = MANDARIN, deep: bool = True) -> Diagnosis:
    return examine(release.data_dir, setting, deep, SERIAL)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_a_good_corpus_of_each_setting_is_sound(
    tmp_path: Path, write_release: Any, film: Any, setting: Any
) -> None:
    diagnosis = diagnose(write_release(tmp_path, setting, film=film), setting)
    assert diagnosis.sound, diagnosis.faults
    counts = diagnosis.counts.set_index("split")
    assert counts["found"].tolist() == [9, 8, 4, 5][: len(counts)]
    assert counts["promised"].tolist()[:3] == list(setting.sizes)
    assert counts["readable"].equals(counts["found"])
    assert counts.loc["test", "subtitles"] == 4
    assert counts["labelled"].tolist()[:3] == [9, 8, 0]
    assert diagnosis.duplicates.empty
    assert f"train has 9 clips, the official release {setting.sizes[0]}." in diagnosis.warnings


def test_labels_and_pairs_are_counted(tmp_path: Path, write_release: Any) -> None:
    diagnosis = diagnose(write_release(tmp_path, MANDARIN, film=None))
    labels = diagnosis.labels.set_index(["task", "label"])["train"]
    assert labels["emotion"].sum() == labels["intent"].sum() == 9
    assert labels["emotion", "surprise"] == 2
    assert labels["intent", "agreeing"] == 2
    pairs = diagnosis.pairs.set_index("emotion")
    assert pairs.loc["surprise", "agreeing"] == 1
    assert pairs.to_numpy().sum() == 9


def test_a_features_only_corpus_is_sound_and_says_so(tmp_path: Path, write_release: Any) -> None:
    diagnosis = diagnose(write_release(tmp_path, MANDARIN, film=None))
    assert diagnosis.sound
    assert "features only" in render(diagnosis)


def test_a_tenth_of_unreadable_clips_is_survived_more_is_not(
    tmp_path: Path, write_release: Any, film: Any
) -> None:
    bad = {"Track1_Training_00001"}
    release = write_release(tmp_path, MANDARIN, film=lambda c: b"" if c in bad else film(c))
    diagnosis = diagnose(release, deep=False)
    assert diagnosis.problems.query("problem == 'unreadable'")["clip_id"].tolist() == list(bad)
    assert diagnosis.faults == [
        "1 of 9 train clips have no readable video (more than 10%); fetch them again or complete "
        "the download."
    ]
    for name in ("Training_files.txt", "Training_transcription.csv"):
        path = release.file(name)
        label = " sad wishing" if name.endswith(".txt") else ",好"
        text = path.read_text(encoding="utf-8") + f"Track1_Training_00010.mp4{label}\n"
        path.write_text(text, encoding="utf-8")
    added = release.file("Track1_Training_00002.mp4").with_name("Track1_Training_00010.mp4")
    added.write_bytes(film(added.stem))
    assert diagnose(release, deep=False).sound


def test_a_corpus_of_nothing_but_broken_clips_is_diagnosed(
    tmp_path: Path, write_release: Any
) -> None:
    diagnosis = diagnose(write_release(tmp_path, MANDARIN))
    assert not diagnosis.sound
    assert diagnosis.counts["readable"].tolist() == [0, 0, 0, 0]
    assert len(diagnosis.problems.query("problem == 'unreadable'")) == 26


def test_a_missing_pool_video_does_not_make_a_run_unsound(
    tmp_path: Path, write_release: Any, film: Any
) -> None:
    release = write_release(
        tmp_path, MANDARIN, film=lambda c: film(c) if c.startswith("Track1") else b""
    )
    diagnosis = diagnose(release, deep=False)
    assert diagnosis.sound
    assert "5 of 5 clips of the pool have no readable video." in diagnosis.warnings


@pytest.mark.parametrize(
    ("one", "other", "sound", "exact"),
    [
        ("Track1_Training_00002", "Track1_Testing_00003", False, True),
        ("Track1_Training_00002", "Track1_Testing_00003", False, False),
        ("Track1_Training_00002", "Track1_Validation_00003", False, False),
        ("Track1_Validation_00002", "Track1_Testing_00003", False, True),
        ("Track1_Training_00002", "Track1_Training_00003", True, True),
        ("Track1_Testing_00002", "第3集 片段 3", True, False),
    ],
)
def test_a_recording_in_two_scored_splits_is_unsound(
    tmp_path: Path,
    write_release: Any,
    film: Any,
    media: Any,
    one: str,
    other: str,
    sound: bool,
    exact: bool,
) -> None:
    utterance = media.utter(4711)
    copies = {
        one: media.encode(utterance, 1),
        other: media.encode(utterance, 1, **({} if exact else {"bit_rate": 32000, "crf": 33})),
    }
    release = write_release(tmp_path, MANDARIN, film=lambda c: copies.get(c) or film(c))
    diagnosis = diagnose(release)
    (row,) = diagnosis.duplicates.itertuples()
    assert (row.clip_a, row.clip_b) == (one, other)
    assert row.kind == ("same file" if exact else "near")
    assert diagnosis.sound is sound
    messages = diagnosis.warnings if sound else diagnosis.faults
    assert any("recording" in message or "copies" in message for message in messages)
    assert f"{one} (" in render(diagnosis)
    assert diagnose(release, deep=False).sound is (sound or not exact)


def test_copies_with_different_labels_are_pointed_out(
    tmp_path: Path, write_release: Any, film: Any
) -> None:
    source = {"Track1_Training_00003": "Track1_Training_00002"}
    release = write_release(tmp_path, MANDARIN, film=lambda c: film(source.get(c, c)))
    expected = "1 pairs of train clips hold one recording, 1 of them with different labels."
    assert expected in diagnose(release, deep=False).warnings


def test_contradictions_become_faults_and_the_rest_is_still_counted(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, film=None)
    path = release.file("Training_files.txt")
    path.write_text(path.read_text(encoding="utf-8").replace("sad", "saad"), encoding="utf-8")
    diagnosis = diagnose(release)
    assert not diagnosis.sound
    assert "unknown emotion 'saad'" in diagnosis.faults[0]
    assert diagnosis.counts["found"].tolist() == [9, 8, 4, 0]


def test_a_corpus_without_validation_clips_is_unsound(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, film=None)
    release.file("Validation_files.txt").unlink()
    release.file("Validation_transcription.csv").unlink()
    assert diagnose(release).faults == ["No valid clips: training needs both train and valid."]


def test_a_corpus_with_one_class_is_unsound(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, film=None)
    path = release.file("Training_files.txt")
    lines = [f"{line.split()[0]} sad wishing" for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    faults = diagnose(release).faults
    assert "The train clips have fewer than two classes of emotion." in faults
    assert "The train clips have fewer than two classes of intent." in faults


def test_no_folder_of_the_setting_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="it is empty"):
        examine(tmp_path, MANDARIN)


def test_json_holds_what_the_tables_hold(tmp_path: Path, write_release: Any, film: Any) -> None:
    source = {"Track1_Testing_00001": "Track1_Training_00001"}
    release = write_release(tmp_path, MANDARIN, film=lambda c: film(source.get(c, c)))
    diagnosis = diagnose(release, deep=False)
    values = json.loads(json.dumps(diagnosis.values()))
    assert values["sound"] is False
    assert values["faults"] == diagnosis.faults
    assert values["counts"][0]["promised"] == 2294
    assert values["counts"][3]["promised"] is None
    assert values["duplicates"][0]["clip_b"] == "Track1_Testing_00001"
    assert [len(values[name]) for name in ("counts", "labels", "pairs")] == [4, 15, 7]


def test_the_text_fits_eighty_columns_and_says_the_verdict_first(
    tmp_path: Path, write_release: Any, film: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, film=lambda _: film("Track1_Training_00001"))
    text = render(diagnose(release, deep=False))
    assert text.startswith("UNSOUND")
    lines = [line for line in text.splitlines() if str(release.data_dir) not in line]
    assert max(map(len, lines)) <= 80
    for part in ("Faults", "Warnings", "Labels", "Copies", "and 5 more pairs", "2294"):
        assert part in text


def test_pictures_in_two_splits_with_another_sound_are_a_warning(
    tmp_path: Path, write_release: Any, film: Any, media: Any
) -> None:
    pictures = {"Track1_Training_00002": 1, "Track1_Testing_00003": 2}
    release = write_release(
        tmp_path,
        MANDARIN,
        film=lambda c: media.encode(media.utter(pictures[c]), 4711) if c in pictures else film(c),
    )
    diagnosis = diagnose(release)
    assert diagnosis.duplicates["kind"].tolist() == ["same picture"]
    assert diagnosis.sound
    assert any("1 pairs of clips show the same pictures" in text for text in diagnosis.warnings)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are really looked at."""
    seen: list[str] = []

    def counting(path: Path, deep: bool) -> Glimpse:
        seen.append(path.stem)
        return look_at(path, deep)

    monkeypatch.setattr(glimpses, "look_at", counting)
    return seen


def test_clips_are_looked_at_again_only_where_their_file_changed(
    tmp_path: Path, write_release: Any, film: Any, looked: list[str]
) -> None:
    release = write_release(tmp_path / "data", MANDARIN, film=film)
    release.file("Track1_Training_00003.mp4").write_bytes(b"no clip")
    cache = tmp_path / "run" / "doctor"
    cache.mkdir(parents=True)
    (cache / "glimpses-of-other-code.parquet").write_bytes(b"")

    def diagnosed(deep: bool = True) -> dict[str, Any]:
        looked.clear()
        return examine(release.data_dir, MANDARIN, deep, SERIAL, cache).values()

    quick = diagnosed(deep=False)
    first = diagnosed()
    assert sorted(looked) == sorted(release.clips)
    assert diagnosed() == first
    assert diagnosed(deep=False) == quick
    assert looked == ["Track1_Training_00003"]  # the fault may have been the disk's
    changed = release.file("Track1_Training_00003.mp4")
    changed.write_bytes(film("another"))
    assert diagnosed() != first
    assert looked == [changed.stem]
    (only,) = cache.iterdir()
    only.write_bytes(b"damaged")
    diagnosed()
    assert sorted(looked) == sorted(release.clips)
    diagnosed()
    assert looked == []


def test_an_interrupted_look_goes_on_where_it_was(
    tmp_path: Path,
    write_release: Any,
    film: Any,
    looked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = write_release(tmp_path / "data", MANDARIN, film=film)
    monkeypatch.setattr(glimpses, "LEAST_S", 0.0)  # write after every clip
    monkeypatch.setattr(glimpses, "SHARE", 0.0)
    written = glimpses.write_table
    left = 7

    def killed(path: Path, table: Any) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        written(path, table)

    monkeypatch.setattr(glimpses, "write_table", killed)
    cache = tmp_path / "run" / "doctor"
    with pytest.raises(KeyboardInterrupt):
        examine(release.data_dir, MANDARIN, True, SERIAL, cache)
    assert len(list(cache.iterdir())) == 7
    monkeypatch.setattr(glimpses, "write_table", written)
    begun = list(looked)
    looked.clear()
    whole = examine(release.data_dir, MANDARIN, True, SERIAL, cache).values()
    assert sorted(looked) == sorted(set(release.clips) - set(begun[:7]))
    assert whole == examine(release.data_dir, MANDARIN, True, SERIAL).values()
    assert len(list(cache.iterdir())) == 1  # all in one, once it is whole


def test_a_corpus_that_was_read_is_not_walked_again(
    tmp_path: Path, write_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = write_release(tmp_path, MANDARIN, film=None)
    corpus = read_corpus(release.data_dir, MANDARIN)
    expected = examine(release.data_dir, MANDARIN).values()
    monkeypatch.setattr(listing, "_walk", pytest.fail)
    assert examine(release.data_dir, MANDARIN, corpus=corpus).values() == expected


def test_clips_that_fail_are_few_also_where_only_they_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = {f"{number}.mp4": (number, 0) for number in range(50)}
    asked: list[str] = []

    def failing(path: Path, deep: bool) -> Glimpse:
        asked.append(path.name)
        if path.name in ("1.mp4", "2.mp4", "3.mp4", "4.mp4"):
            raise WorkerDied("the process died")
        return Glimpse()

    monkeypatch.setattr(glimpses, "look_at", failing)
    for looks in (50, 4):
        asked.clear()
        clips = {video: (video, Part()) for video in videos}
        found = glimpses.look_at_all(tmp_path, clips, videos, True, SERIAL, tmp_path / "doctor")
        assert len(asked) == looks
        assert [name for name in videos if found[name].fault] == [f"{n}.mp4" for n in range(1, 5)]
        assert "the process died" in found["1.mp4"].fault


def test_faults_that_strike_many_clips_are_not_theirs(
    tmp_path: Path, write_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, deep: bool) -> Glimpse:
        raise MemoryError("none left")

    monkeypatch.setattr(glimpses, "look_at", failing)
    with pytest.raises(SystemicError, match="none left"):
        examine(write_release(tmp_path, MANDARIN).data_dir, MANDARIN, True, SERIAL)


@pytest.mark.parametrize(
    ("streams", "setting"),
    [
        ((None, 1), "embeddings.audio=null"),
        ((np.zeros(24000, np.float32), 1), "embeddings.audio=null"),
        ((0, None), "embeddings.visual=null"),
    ],
    ids=["mute", "silent", "dark"],
)
def test_a_corpus_without_sound_or_pictures_says_which_setting_that_needs(
    tmp_path: Path, write_release: Any, media: Any, streams: Any, setting: str
) -> None:
    sound, picture = streams
    clip = media.encode(media.utter(0) if isinstance(sound, int) else sound, picture)
    diagnosis = diagnose(write_release(tmp_path, MANDARIN, film=lambda _: clip))
    needed = [text for text in diagnosis.warnings if "a run needs" in text]
    assert len(needed) == 1
    assert setting in needed[0]


def test_a_corpus_without_words_says_which_setting_that_needs(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, film=None)
    for path in release.folder.rglob("*_transcription.csv"):
        path.unlink()
    assert any("embeddings.text=null" in text for text in diagnose(release).warnings)


def test_ids_that_look_like_anothers_are_told() -> None:
    assert look_alikes(["a1", "b", "Ａ１", "a1", "c"]) == ["a1 and Ａ１"]
    assert look_alikes(["a1", "a2", "é"]) == []
