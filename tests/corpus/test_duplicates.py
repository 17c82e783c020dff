"""Copies are found however they were encoded, and nothing else is."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.corpus.duplicates import find_duplicates, similar_pictures, similar_sounds
from meiju_utils.corpus.fingerprints import (
    FRAME,
    HOP,
    RATE,
    look_at,
    picture_hash,
    sound_fingerprint,
)
from meiju_utils.media.reading import read_media

DIFFERENT = 16  # clips of other content that every search has to leave alone


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, media: Any) -> list[Path]:
    folder = tmp_path_factory.mktemp("others")
    for seed in range(DIFFERENT):
        (folder / f"{seed:02d}.mp4").write_bytes(media.encode(media.utter(seed), seed))
    return sorted(folder.iterdir())


look_once = functools.cache(look_at)


def search(paths: list[Path], deep: bool = True) -> pd.DataFrame:
    clips = pd.DataFrame({"clip_id": [path.stem for path in paths], "split": "train"})
    sizes = [path.stat().st_size for path in paths]
    return find_duplicates(clips, paths, sizes, [look_once(path, deep) for path in paths])


def test_different_clips_are_no_duplicates(others: list[Path]) -> None:
    assert search(others).empty


@pytest.mark.parametrize(
    "change",
    [
        {"bit_rate": 24000},
        {"rate": 44100},
        {"rate": 32000, "crf": 38, "size": (64, 48)},
        {"rate": 22050, "bit_rate": 32000, "crf": 35},
    ],
    ids=str,
)
def test_a_copy_encoded_anew_is_a_near_duplicate(
    tmp_path: Path, media: Any, others: list[Path], change: dict[str, Any]
) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(media.encode(media.utter(3), 3, **change))
    (row,) = search([*others, copy]).itertuples()
    assert (row.clip_a, row.clip_b, row.kind) == ("03", "copy", "near")
    assert row.sound_bits < 0.15
    assert row.picture_bits <= 6


@pytest.mark.parametrize(
    "change",
    [
        lambda sound: 0.3 * sound,
        lambda sound: sound[1700:],
        lambda sound: sound[1000:-2500],
        lambda sound: np.concatenate([np.zeros(2000, np.float32), sound]),
    ],
    ids=["quieter", "cut", "cut at both ends", "later"],
)
def test_a_copy_made_quieter_or_cut_a_little_is_a_near_duplicate(
    tmp_path: Path, media: Any, others: list[Path], change: Any
) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(media.encode(change(media.utter(5)), 99))
    (row,) = search([*others, copy]).itertuples()
    assert (row.clip_a, row.clip_b, row.kind) == ("05", "copy", "near")


def test_half_of_a_clip_is_another_clip(tmp_path: Path, media: Any, others: list[Path]) -> None:
    sound = np.concatenate([media.utter(5)[:12000], media.utter(77)[:12000]])
    (tmp_path / "half.mp4").write_bytes(media.encode(sound, 99))
    assert search([*others, tmp_path / "half.mp4"]).empty


def test_equal_files_and_equal_sounds_are_told_apart(
    tmp_path: Path, media: Any, others: list[Path]
) -> None:
    same_file, same_sound = tmp_path / "file.mp4", tmp_path / "sound.mp4"
    same_file.write_bytes(others[1].read_bytes())
    same_sound.write_bytes(media.encode(media.utter(2), 50))
    found = search([*others, same_file, same_sound])
    assert found[["clip_a", "clip_b", "kind"]].to_numpy().tolist() == [
        ["01", "file", "same file"],
        ["02", "sound", "same sound"],
    ]
    assert found["picture_bits"].tolist()[0] == 0
    assert found["picture_bits"].tolist()[1] > 6
    assert search([*others, same_file, same_sound], deep=False)["kind"].tolist() == ["same file"]


def test_many_equal_files_give_one_pair_each(tmp_path: Path, others: list[Path]) -> None:
    copies = [tmp_path / f"copy{number}.mp4" for number in range(5)]
    for copy in copies:
        copy.write_bytes(others[0].read_bytes())
    found = search([*others, *copies])
    assert found["clip_a"].tolist() == ["00"] * 5
    assert found["clip_b"].tolist() == [copy.stem for copy in copies]


def test_mute_clips_are_compared_by_their_pictures(tmp_path: Path, media: Any) -> None:
    settings = [(1, {}), (2, {}), (1, {"crf": 36, "size": (128, 96)})]
    paths = []
    for number, (picture, change) in enumerate(settings):
        paths.append(tmp_path / f"{number}.mp4")
        paths[-1].write_bytes(media.encode(None, picture, **change))
    (row,) = search(paths).itertuples()
    assert (row.clip_a, row.clip_b, row.kind) == ("0", "2", "near")
    assert np.isnan(row.sound_bits)


@pytest.mark.parametrize("sound", [None, 77], ids=["muted", "dubbed anew"])
def test_a_copy_with_another_sound_is_found_by_its_pictures(
    tmp_path: Path, media: Any, others: list[Path], sound: int | None
) -> None:
    copy = tmp_path / "copy.mp4"
    spoken = None if sound is None else media.utter(sound)
    copy.write_bytes(media.encode(spoken, 5, crf=33, size=(64, 48)))
    (row,) = search([*others, copy]).itertuples()
    assert (row.clip_a, row.clip_b, row.kind) == ("05", "copy", "same picture")
    assert row.picture_bits <= 6


def test_the_synthetic_corpus_has_no_false_pairs(tiny_corpus: Path) -> None:
    paths = [path for path in tiny_corpus.rglob("*") if path.suffix.lower() == ".mp4"]
    readable = [path for path in paths if not look_once(path, True).fault]
    assert search(readable).empty


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.1, 0.2], [0.0, 0.3, 2.0]])
def test_sound_long_after_the_picture_is_no_damage(
    tmp_path: Path, media: Any, times: list[float]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(media.encode(media.utter(0, 4.0), 0, times=times))
    assert look_at(path, deep=True).remarks == ()


def test_silence_is_no_recording(tmp_path: Path, media: Any) -> None:
    paths = [tmp_path / f"{number}.mp4" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_bytes(media.encode(np.zeros(24000, np.float32), number))
    assert search(paths).empty
    assert look_at(paths[0], deep=True).remarks == ("silent",)


def test_a_fingerprint_has_one_word_a_hop_and_none_where_it_is_quiet(media: Any) -> None:
    loud = np.round(media.utter(0)[::2] * 2**15).astype(np.int16)
    words = sound_fingerprint(loud)
    assert len(words) == (len(loud) - FRAME) // HOP
    assert (words != 0).mean() > 0.9
    assert not sound_fingerprint(np.zeros(RATE, np.int16)).any()
    assert len(sound_fingerprint(loud[: FRAME // 2])) == 0


def test_a_key_shared_by_the_whole_corpus_is_no_evidence() -> None:
    rng = np.random.default_rng(0)
    hum = np.full(40, 7, np.uint16)
    sounds = [
        np.concatenate([hum, rng.integers(1, 2**16, 120).astype(np.uint16)]) for _ in range(100)
    ]
    assert similar_sounds(sounds) == []
    ((first, other, unlike),) = similar_sounds([*sounds, sounds[42].copy()])
    assert (first, other, unlike) == (42, 100, 0.0)


def test_similar_sounds_takes_nothing_and_empty_fingerprints() -> None:
    assert similar_sounds([]) == []
    assert similar_sounds([np.zeros(0, np.uint16)] * 3) == []
    assert similar_pictures(np.zeros((0, 2), np.uint64)) == []


def test_a_flat_picture_has_no_hash() -> None:
    assert picture_hash(np.full((32, 32), 16, np.uint8)) == 0
    gradient = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    assert picture_hash(gradient) != picture_hash(gradient[:, ::-1].copy())


@pytest.mark.parametrize("deep", [True, False])
def test_a_bad_file_has_a_fault_and_never_raises(tmp_path: Path, media: Any, deep: bool) -> None:
    whole = media.encode(media.utter(0), 0)
    bad = {"text": b"no video", "cut": whole[: len(whole) // 2]}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        assert "does not open as a media file" in look_at(tmp_path / name, deep).fault
    (tmp_path / "empty").write_bytes(b"")
    assert "0 bytes" in look_at(tmp_path / "empty", deep).fault
    assert "no such file" in look_at(tmp_path / "nowhere", deep).fault
    (tmp_path / "mute").write_bytes(media.encode(None, 0))
    (tmp_path / "dark").write_bytes(media.encode(media.utter(0), None))
    assert look_at(tmp_path / "mute", deep).remarks == ("no-audio",)
    assert look_at(tmp_path / "dark", deep).remarks == ("no-video",)
    assert not look_at(tmp_path / "dark", deep).fault


@pytest.mark.parametrize("name", ["a.flv", "a.ts"])
def test_containers_in_which_seeking_fails_are_read_as_the_pipeline_reads_them(
    make_clip: Callable[..., Path], name: str
) -> None:
    codecs = {"video_codec": "flv", "audio_codec": "mp3", "rate": 44100} if "flv" in name else {}
    path = make_clip(name, 75, 3.0, **codecs)
    assert read_media(path).video_frames == 75
    for deep in (False, True):
        glimpse = look_at(path, deep=deep)
        assert (glimpse.fault, glimpse.remarks) == ("", ())
