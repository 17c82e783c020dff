"""A rising voice is told from a falling one, and noise from a voice."""

import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.preprocessing.pitch import final_rise, voiced_pitch

RATE = 16000


def glide(start: float, end: float, seconds: float = 1.2) -> NDArray[np.float32]:
    """A voice-like sound, five harmonics, whose last 0.15 s lie at `end` Hz."""
    hertz = np.full(round(seconds * RATE), start)
    hertz[-round(0.15 * RATE) :] = end
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return sum(np.sin(k * phase) / k for k in range(1, 6)).astype(np.float32) / 10


@pytest.mark.parametrize("hertz", [90, 150, 320])
def test_pitch_is_measured_across_voices(hertz: float) -> None:
    pitch = voiced_pitch(glide(hertz, hertz), RATE)
    assert np.median(pitch) == pytest.approx(hertz, rel=0.02)


@pytest.mark.parametrize("semitones", [-5, 0, 4])
def test_the_rise_is_given_in_semitones(semitones: float) -> None:
    rise = final_rise(glide(150, 150 * 2 ** (semitones / 12)), RATE)
    assert rise == pytest.approx(semitones, abs=0.6)


def test_pauses_at_the_end_do_not_matter() -> None:
    sound = np.concatenate([glide(120, 170), np.zeros(8000, np.float32)])
    assert final_rise(sound, RATE) == pytest.approx(12 * np.log2(170 / 120), abs=0.6)


def test_without_a_voice_there_is_no_rise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert np.isnan(final_rise(noise, RATE))
    assert np.isnan(final_rise(np.zeros(RATE, np.float32), RATE))
    assert np.isnan(final_rise(np.empty(0, np.float32), RATE))
    assert np.isnan(final_rise(glide(150, 150, 0.3), RATE))
