"""Does the voice rise at the end? A cue of questions beside the words.

The pitch is the peak of the autocorrelation of a windowed frame divided by that of the window
(Boersma 1993). librosa's yin would do as well, but importing it costs every worker four seconds
for one number a clip. Imports numpy only.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# The last syllable is compared with the few before it.
FINAL_S = 0.15
BEFORE_S = 0.45

_LOWEST, _HIGHEST = 75.0, 500.0  # Hz, of speaking voices
_FRAME_S, _STEP_S = 0.04, 0.01  # three periods of the lowest voice
_VOICED = 0.45  # least height of the peak; noise stays below
_OCTAVE_COST = 0.02  # of peak height an octave down, where a period's double fits as well
_LOUD_DB = -25.0  # below the loudest frame there is no voice to measure


def final_rise(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Semitones by which the pitch of the last voiced 0.15 s lies above that of the 0.45 s before.

    Pauses are left out. NaN where there is too little voice.
    """
    pitch = voiced_pitch(audio, sample_rate)
    final, wanted = round(FINAL_S / _STEP_S), round((FINAL_S + BEFORE_S) / _STEP_S)
    if pitch.size < wanted:
        return float("nan")
    before, last = pitch[-wanted:-final], pitch[-final:]
    return float(12 * np.log2(np.median(last) / np.median(before)))


def voiced_pitch(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Pitch in Hz of the voiced frames of the last 3 s, one every 10 ms; unvoiced ones left out."""
    pitch = pitch_track(audio[-3 * sample_rate :], sample_rate)
    return np.asarray(pitch[~np.isnan(pitch)])


def pitch_track(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Pitch in Hz every 10 ms from the beginning; NaN where there is no voice."""
    size, hop = round(_FRAME_S * sample_rate), round(_STEP_S * sample_rate)
    if audio.size < size or not audio.any():
        return np.empty(0)
    window = np.hanning(size)
    frames = sliding_window_view(audio, size)[::hop] * window
    power = np.mean(frames**2, axis=1)
    loud = power > power.max() * 10 ** (_LOUD_DB / 10)
    pitch = np.full(len(frames), np.nan)
    frames = frames[loud]
    shortest, longest = int(sample_rate / _HIGHEST), int(sample_rate / _LOWEST)
    correlation = _autocorrelation(frames, longest) / _autocorrelation(window[None], longest)
    lags = np.arange(shortest, longest + 1)
    height = correlation[:, shortest:]
    best = np.argmax(height - _OCTAVE_COST * np.log2(lags / shortest), axis=1)
    voiced = height[np.arange(len(best)), best] > _VOICED
    pitch[np.flatnonzero(loud)[voiced]] = sample_rate / lags[best[voiced]]
    return pitch


def _autocorrelation(frames: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Of every frame [n, size] at the lags 0 to `longest`, 1 at lag 0."""
    spectrum = np.fft.rfft(frames, 2 * frames.shape[1])
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : longest + 1]
    return np.asarray(correlation / correlation[:, :1], np.float64)
