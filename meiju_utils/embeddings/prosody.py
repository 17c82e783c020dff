"""`prosody`: how something was said, as one vector a clip; librosa, no download, no state.

Pitch, loudness, rhythm, voice quality and the usual MFCC statistics, about 3 ms of CPU a second
of audio. Imports `base`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meiju_utils.embeddings.base import Array, ClipSource, Encode, Encoded, unusable

HOP_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
PITCH_WINDOW_S = 0.064  # YIN compares two halves, each to hold one period of 60 Hz (17 ms)
SHORTEST_S = 0.1  # nine frames, the width of the delta filter
ACTIVE_DB = 30.0  # a frame so far below the loud ones (95th percentile) is a pause
VOICED_CORRELATION = 0.5  # of a frame with itself one period later


@dataclass(frozen=True)
class Prosody:
    """Statistics `[1, D]` of a clip's audio at `sample_rate` Hz."""

    sample_rate: int
    spread: bool = True
    alone: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("librosa", "scipy")

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": "prosody", "sample_rate": self.sample_rate}

    def inputs_key(self, source: ClipSource) -> str:
        return source.key

    def read(self, source: ClipSource, clip_id: str) -> Array:
        return source.audio(clip_id)

    def load(self) -> Encode:
        # librosa imports and compiles on first use; here, so that no clip's time includes it
        _spectral(np.zeros(self.sample_rate, np.float32), self.sample_rate)
        _melody_and_rhythm(np.zeros(self.sample_rate, np.float32), self.sample_rate)

        def encode(clips: Sequence[Array]) -> list[Encoded]:
            return [
                unusable(samples, self.sample_rate, SHORTEST_S)
                or np.concatenate(
                    [part(samples, self.sample_rate) for part in (_spectral, _melody_and_rhythm)],
                    dtype=np.float32,
                )[None]
                for samples in clips
            ]

        return encode


def _spectral(samples: Array, rate: int) -> NDArray[np.float64]:
    """Mean and standard deviation of 20 MFCCs, their deltas and four spectral shapes, `[88]`.

    Over active frames only, so that silence around the speech does not count.
    """
    import librosa

    hop, window = round(HOP_S * rate), 1 << round(0.025 * rate - 1).bit_length()
    amplitude = np.abs(librosa.stft(samples, n_fft=window, hop_length=hop))
    mel = librosa.feature.melspectrogram(S=amplitude**2, sr=rate, n_mels=40)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, amin=1e-10, top_db=None), n_mfcc=20)
    frames = np.concatenate(
        [
            mfcc,
            librosa.feature.delta(mfcc),
            np.log(librosa.feature.spectral_centroid(S=amplitude, sr=rate) + 1),
            np.log(librosa.feature.spectral_bandwidth(S=amplitude, sr=rate) + 1),
            np.log(librosa.feature.spectral_rolloff(S=amplitude, sr=rate) + 1),
            np.log(librosa.feature.spectral_flatness(S=amplitude)),
        ]
    )
    active = frames[:, _active(_decibels(librosa.feature.rms(S=amplitude, frame_length=window)[0]))]
    return np.concatenate([active.mean(axis=1), active.std(axis=1)])


def _melody_and_rhythm(samples: Array, rate: int) -> NDArray[np.float64]:
    """Pitch (semitones above 100 Hz), loudness (dB) and rhythm of a clip, `[19]`."""
    import librosa
    from scipy.signal import find_peaks

    hop, window = round(2 * HOP_S * rate), round(PITCH_WINDOW_S * rate)
    step = hop / rate
    f0 = librosa.yin(
        samples, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=rate, frame_length=window, hop_length=hop
    )
    frames = librosa.util.frame(
        np.pad(samples.astype(np.float64), window // 2), frame_length=window, hop_length=hop
    ).T
    level = _decibels(np.sqrt(np.mean(frames**2, axis=1)))
    active = _active(level)
    voiced = active & (_self_correlation(frames, rate / f0) > VOICED_CORRELATION)
    time = np.arange(len(f0)) * step
    pitch = 12 * np.log2(f0 / 100)

    melody = np.zeros(8)
    if voiced.sum() >= 3:
        sung, when = pitch[voiced], time[voiced]
        low, middle, high = np.percentile(sung, [10, 50, 90])
        ending = when > when[-1] - 0.25  # the last syllable: where a question rises
        neighbours = np.diff(sung)[np.diff(when) < 1.5 * step]
        melody[:] = (
            middle,
            sung.std(),
            high - low,
            high,
            low,
            _slope(when, sung),
            sung[ending].mean() - middle,
            np.abs(neighbours).mean() if len(neighbours) else 0.0,
        )
        ending_slope = _slope(when[ending], sung[ending])
    else:
        ending_slope = 0.0

    loud = level[active]
    envelope = np.convolve(10 ** (level / 20), [0.25, 0.5, 0.25], mode="same")
    syllables, _ = find_peaks(20 * np.log10(envelope + 1e-5), prominence=3, distance=4)
    first, last = np.flatnonzero(active)[[0, -1]]
    return np.array(
        [
            *melody,
            np.clip(ending_slope, -100, 100),
            loud.mean(),
            loud.std(),
            *np.percentile(loud, [10, 90]),
            _slope(time[active], loud),
            np.abs(np.diff(level)).mean(),
            level[max(last - 4, 0) : last + 1].mean() - loud.mean(),
            voiced.sum() / active.sum(),
            len(syllables) / (active.sum() * step),
            1 - active[first : last + 1].mean(),  # share of pauses between first and last sound
        ]
    )


def _decibels(rms: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(20 * np.log10(np.maximum(rms, 1e-5)), dtype=np.float64)


def _active(level: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(level >= np.percentile(level, 95) - ACTIVE_DB)


def _slope(time: NDArray[Any], values: NDArray[Any]) -> float:
    """Least-squares slope, per second; 0 for fewer than two moments."""
    if len(time) < 2:
        return 0.0
    centred = time - time.mean()
    return float(centred @ values / (centred @ centred))


def _self_correlation(
    frames: NDArray[np.float64], periods: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Correlation of each frame `[n, window]` with itself one period (in samples) later, `[n]`."""
    window = frames.shape[1]
    compared = window - int(np.ceil(periods.max()))
    lags = np.round(periods).astype(int)[:, None]
    now = frames[:, :compared]
    later = np.take_along_axis(frames, lags + np.arange(compared), axis=1)
    power = np.sqrt((now**2).sum(1) * (later**2).sum(1))
    return np.asarray((now * later).sum(1) / np.maximum(power, 1e-12))
