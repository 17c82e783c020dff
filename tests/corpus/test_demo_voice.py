"""The synthetic voice: prosody by emotion and intent, and the mouth that follows it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.corpus.demo.voice import (
    EMOTION_PROSODY,
    INTENT_TONE,
    SAMPLE_RATE,
    Voice,
    draw_voice,
    mouth_opening,
    speak,
)

LOW = Voice(pitch=120.0, tract=1.0, brightness=0.0)
HIGH = Voice(pitch=210.0, tract=1.12, brightness=0.0)


def utterances(
    emotion: str, intent: str = "neutral", voice: Voice = LOW
) -> list[NDArray[np.float64]]:
    return [
        speak(voice, emotion, intent, 1.0, 1.6, np.random.default_rng(seed)) for seed in range(6)
    ]


def pitch_of(samples: NDArray[np.float64]) -> float:
    """Median pitch in Hz of the loud frames, by the highest peak of the autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::320]
    loud = frames[np.std(frames, axis=1) > 0.5 * np.std(samples)]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(1024), 2048)) ** 2
    correlation = np.fft.irfft(spectrum)
    lowest, highest = SAMPLE_RATE // 500, SAMPLE_RATE // 70
    periods = lowest + np.argmax(correlation[:, lowest:highest], axis=1)
    return float(np.median(SAMPLE_RATE / periods))


def loudness(samples: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def test_tables_cover_the_vocabularies() -> None:
    assert set(EMOTION_PROSODY) == set(EMOTIONS)
    assert set(INTENT_TONE) == set(INTENTS)


def test_pitch_and_energy_depend_on_the_emotion() -> None:
    pitch = {e: np.median([pitch_of(u) for u in utterances(e)]) for e in ("sad", "neutral", "fear")}
    assert pitch["sad"] < pitch["neutral"] < pitch["fear"]
    energy = {e: np.mean([loudness(u) for u in utterances(e)]) for e in ("sad", "neutral", "anger")}
    assert energy["sad"] < energy["neutral"] < energy["anger"]


def test_speakers_differ_in_pitch() -> None:
    low, high = (
        np.median([pitch_of(u) for u in utterances("neutral", voice=v)]) for v in (LOW, HIGH)
    )
    assert low == pytest.approx(120, rel=0.15)
    assert high == pytest.approx(210, rel=0.15)
    voices = {round(draw_voice(np.random.default_rng(seed)).pitch) for seed in range(10)}
    assert len(voices) > 5


def test_a_question_rises_at_its_end() -> None:
    def rise(intent: str) -> float:
        ends = [u[int(1.2 * SAMPLE_RATE) :] for u in utterances("neutral", intent)]
        starts = [u[: int(0.9 * SAMPLE_RATE)] for u in utterances("neutral", intent)]
        ratios = [pitch_of(e) / pitch_of(s) for e, s in zip(ends, starts, strict=True)]
        return float(12 * np.log2(np.median(ratios)))

    assert rise("questioning") > rise("neutral") + 2


def test_samples_are_finite_within_range_and_of_the_asked_duration() -> None:
    for emotion in EMOTIONS:
        samples = speak(HIGH, emotion, "questioning", 1.2, 1.2, np.random.default_rng(0))
        assert len(samples) == round(1.2 * SAMPLE_RATE)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1


def test_the_mouth_opens_with_the_voice() -> None:
    samples = speak(LOW, "neutral", "neutral", 1.0, 2.0, np.random.default_rng(4))
    opening = mouth_opening(samples, 50)
    energy = np.sqrt(np.mean(samples.reshape(50, -1) ** 2, axis=1))
    assert opening.shape == (50,)
    assert 0 <= opening.min() < 0.1 < 0.8 < opening.max() <= 1
    assert np.corrcoef(opening, energy)[0, 1] > 0.8
