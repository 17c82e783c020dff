"""The face whose mouth follows the voice scores highest, without weights."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from meiju_utils.errors import ConfigError
from meiju_utils.preprocessing.speaker import check_scorer, is_silent, make_scorer

FRAMES = 50


def syllables(seed: int) -> NDArray[np.float64]:
    """How open a mouth is by frame, 0 to 1: syllables of about 0.2 s with pauses."""
    chance = np.random.default_rng(seed)
    opening = np.zeros(FRAMES)
    frame = 2
    while frame < FRAMES - 6:
        length = int(chance.integers(3, 7))
        opening[frame : frame + length] = np.hanning(length + 2)[1:-1] * chance.uniform(0.6, 1)
        frame += length + int(chance.integers(0, 4))
    return opening


def voice(opening: NDArray[np.float64], seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 0.1, 640 * FRAMES)
    return (opening.repeat(640) * noise).astype(np.float32)


def face(opening: NDArray[np.float64], seed: int) -> NDArray[np.uint8]:
    """Crops of a textured face with a dark mouth that opens downwards."""
    chance = np.random.default_rng(seed)
    faces = chance.normal(150, 4, (FRAMES, 112, 112))
    rows, columns = np.mgrid[:112, :112]
    for crop, how_far in zip(faces, opening, strict=True):
        inside = ((columns - 56) / 20) ** 2 + ((rows - 80) / (1 + 14 * how_far)) ** 2 < 1
        crop[inside] = 40
    return np.clip(faces, 0, 255).astype(np.uint8)


def test_the_speaker_outscores_a_listener_whose_mouth_moves_as_well() -> None:
    scorer = make_scorer("correlation", 16000)
    for seed in range(20):
        said, other = syllables(seed), syllables(seed + 100)
        audio = voice(said, seed)
        speaker, listener = scorer.score(audio, face(said, 1)), scorer.score(audio, face(other, 2))
        assert speaker.shape == (FRAMES,)
        assert speaker.mean() > 0.8
        assert speaker.mean() > listener.mean() + 0.3


def test_a_face_that_does_not_move_does_not_speak() -> None:
    still = np.tile(face(syllables(0), 1)[:1], (FRAMES, 1, 1))
    score = make_scorer("correlation", 16000).score(voice(syllables(0)), still)
    assert score.mean() == pytest.approx(-0.2, abs=1e-6)


def test_missing_sound_counts_as_silence() -> None:
    scorer = make_scorer("correlation", 16000)
    faces = face(syllables(0), 1)
    short = voice(syllables(0))[:8000]
    padded = np.concatenate([short, np.zeros(640 * FRAMES - 8000, np.float32)])
    assert np.array_equal(scorer.score(short, faces), scorer.score(padded, faces))


def test_silence_is_told_from_a_quiet_voice() -> None:
    assert is_silent(np.empty(0, np.float32))
    assert is_silent(np.full(1000, 0.0001, np.float32))
    assert not is_silent(np.full(1000, 0.01, np.float32))


@pytest.mark.parametrize("name", ["correlate", "correlation:x", "talknet"])
def test_an_unknown_scorer_is_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="correlation"):
        make_scorer(name, 16000)


def test_talknet_needs_its_checkpoint_and_16_khz() -> None:
    for check in (make_scorer, check_scorer):
        with pytest.raises(ConfigError, match=r"no file /nowhere.*pretrain_TalkSet"):
            check("talknet:/nowhere/pretrain_TalkSet.model", 16000)
        with pytest.raises(ConfigError, match="16000"):
            check("talknet:/nowhere/pretrain_TalkSet.model", 8000)
        with pytest.raises(ConfigError, match=r"preprocessing\.device: no device 'gpu'"):
            check("talknet:/nowhere/pretrain_TalkSet.model", 16000, "gpu")
    check_scorer("correlation", 8000)


@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors", "zip", "text"])
def test_a_file_of_something_else_is_refused_before_it_is_loaded(tmp_path: Path, kind: str) -> None:
    path, weights = tmp_path / "model", {"classifier.weight": torch.zeros(2)}
    if kind == "safetensors":
        save_file(weights, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as parts:
            parts.writestr("readme", "nothing")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1", encoding="utf-8")
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(ConfigError, match="does not hold TalkNet's weights"):
        check_scorer(f"talknet:{path}", 16000)
