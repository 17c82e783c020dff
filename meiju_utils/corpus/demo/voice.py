"""A synthetic voice: glottal pulses through vowel resonances, with prosody by emotion and intent.

Source-filter speech without words: syllables of five vowels and noise bursts. Pitch, its range,
the speaking rate, energy, brightness, breath and tremor depend on the emotion; the end of the
pitch contour, and a little of the rate and level, on the intent. Imports nothing of the package.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE = 16000

Samples = NDArray[np.float64]


class Prosody(NamedTuple):
    """How something is said; pitch relative to the speaker's own."""

    pitch: float  # semitones above the speaker's mean
    range: float  # semitones, spread of the accents
    rate: float  # syllables a second
    level: float  # dB full scale of voiced speech
    brightness: float  # 0 dark .. 1 bright
    slope: float  # semitones from start to end
    breath: float  # noise in the source, relative
    tremor: float  # semitones, at 6 Hz


EMOTION_PROSODY = {
    "happy": Prosody(4.5, 5.0, 4.9, -16, 0.60, 1.0, 0.01, 0.10),
    "surprise": Prosody(6.5, 6.0, 4.3, -15, 0.60, 4.5, 0.02, 0.10),
    "sad": Prosody(-2.5, 1.2, 2.8, -25, 0.10, -2.0, 0.05, 0.20),
    "disgust": Prosody(-1.5, 2.5, 3.2, -19, 0.40, -3.5, 0.03, 0.10),
    "anger": Prosody(3.5, 4.0, 5.3, -12, 0.95, -1.0, 0.01, 0.10),
    "fear": Prosody(5.5, 2.2, 5.7, -20, 0.45, 0.0, 0.06, 0.55),
    "neutral": Prosody(0.0, 2.0, 4.0, -20, 0.35, -1.0, 0.01, 0.10),
}


class Tone(NamedTuple):
    """What an intent adds: a glide over the last third (semitones), rate factor, level (dB)."""

    glide: float
    rate: float
    level: float


INTENT_TONE = {
    "questioning": Tone(6.0, 1.0, 0.0),
    "agreeing": Tone(-4.0, 1.1, 1.0),
    "acknowledging": Tone(-3.0, 0.85, -2.0),
    "encouraging": Tone(1.5, 1.1, 2.5),
    "consoling": Tone(-1.5, 0.8, -3.0),
    "suggesting": Tone(2.5, 1.0, 0.0),
    "wishing": Tone(0.5, 0.85, -1.0),
    "neutral": Tone(0.0, 1.0, 0.0),
}

# Spread of one utterance around its emotion's prosody, per field.
_SPREAD = Prosody(1.3, 0.6, 0.35, 2.0, 0.08, 1.0, 0.006, 0.05)

# First three resonances of five vowels, Hz, and their bandwidths.
_VOWELS = np.array(
    [[750, 1200, 2600], [300, 2300, 3000], [320, 800, 2400], [500, 1900, 2600], [500, 900, 2500]],
    dtype=float,
)
_BANDWIDTHS = np.array([80, 100, 140], dtype=float)


@dataclass(frozen=True)
class Voice:
    """A speaker's voice: mean pitch in Hz, resonances relative to the table, brightness added."""

    pitch: float
    tract: float
    brightness: float


def draw_voice(rng: np.random.Generator) -> Voice:
    """A voice: low ones with a long vocal tract or high ones with a short one."""
    high = rng.random() < 0.5
    pitch = rng.uniform(185, 235) if high else rng.uniform(95, 145)
    return Voice(
        float(pitch),
        float((1.12 if high else 0.97) * rng.uniform(0.94, 1.06)),
        float(rng.uniform(-0.08, 0.08)),
    )


def speak(
    voice: Voice,
    emotion: str,
    intent: str,
    intensity: float,
    duration: float,
    rng: np.random.Generator,
) -> Samples:
    """An utterance of `duration` seconds at 16 kHz, within [-1, 1].

    `intensity` 0 is said neutrally, 1 as the emotion's table says.
    """
    neutral = np.array(EMOTION_PROSODY["neutral"])
    said = neutral + intensity * (np.array(EMOTION_PROSODY[emotion]) - neutral)
    prosody = Prosody(*(said + rng.normal(size=len(said)) * np.array(_SPREAD)))
    tone = INTENT_TONE[intent]
    count = round(duration * SAMPLE_RATE)

    rate = float(np.clip(prosody.rate * tone.rate, 2.2, 7.0))
    amplitude, vowels, bursts, accents = _syllables(rate, count, rng)
    time = np.linspace(0, 1, count)
    semitones = (
        prosody.pitch
        + _contour(accents, max(prosody.range, 0.5), count, rng)
        + prosody.slope * (time - 0.5)
        + tone.glide * np.clip((time - 0.6) / 0.35, 0, 1) ** 1.5
        + max(prosody.tremor, 0.0) * np.sin(2 * np.pi * 6 * duration * time)
    )
    brightness = float(np.clip(prosody.brightness + voice.brightness, 0, 1))
    source = _glottal_source(voice.pitch * 2 ** (semitones / 12), brightness)
    source += max(prosody.breath, 0.002) * rng.normal(size=count)

    voiced = sum(
        (_smooth(vowels == index) * _resonate(source, formants * voice.tract))
        for index, formants in enumerate(_VOWELS)
        if np.any(vowels == index)
    )
    speech = np.asarray(voiced) * amplitude
    speech /= np.sqrt(np.mean(speech[amplitude > 0.1] ** 2)) + 1e-9
    speech += _smooth(bursts) * _hiss(count, rng)
    room = 10 ** (rng.uniform(-62, -48) / 20) * rng.normal(size=count)
    level = 10 ** ((prosody.level + tone.level) / 20)
    return np.clip(level * speech + room, -1, 1)


def mouth_opening(samples: Samples, frames: int) -> NDArray[np.float64]:
    """How wide the mouth is open in each video frame [frames], 0 to 1, from the loudness."""
    windows = np.array_split(samples, frames)
    loudness = np.array([np.sqrt(np.mean(window**2)) for window in windows])
    relative = np.clip(loudness / (np.percentile(loudness, 95) + 1e-9), 0, 1) ** 0.7
    return np.convolve(relative, [0.25, 0.5, 0.25], "same")


def _syllables(
    rate: float, count: int, rng: np.random.Generator
) -> tuple[Samples, NDArray[np.int64], Samples, list[int]]:
    """Amplitude, vowel index (-1 none) and burst strength of every sample; accent positions."""
    amplitude, bursts = np.zeros(count), np.zeros(count)
    vowels = np.full(count, -1)
    accents: list[int] = []
    attack, release = SAMPLE_RATE // 40, SAMPLE_RATE // 20
    position = int(rng.uniform(0.06, 0.18) * SAMPLE_RATE)
    while True:
        length = int(rng.uniform(0.75, 1.25) / rate * SAMPLE_RATE)
        start, stop = position, min(position + int(0.86 * length), count - SAMPLE_RATE // 20)
        if stop - start < attack + release:
            return amplitude, vowels, bursts, accents
        shape = np.linspace(1, 0.75, stop - start)
        shape[:attack] *= 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, attack))
        shape[-release:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, release))
        strength = rng.uniform(0.7, 1.0)
        amplitude[start:stop] = strength * shape
        vowels[start:stop] = rng.integers(len(_VOWELS))
        if rng.random() < 0.6:
            bursts[max(0, start - SAMPLE_RATE // 33) : start] = 0.25 * strength
        accents.append(start + (stop - start) // 3)
        position += length + (int(rng.uniform(0.1, 0.25) * SAMPLE_RATE) * (rng.random() < 0.08))


def _contour(accents: list[int], spread: float, count: int, rng: np.random.Generator) -> Samples:
    """Pitch accents, semitones: a random height a syllable, joined smoothly."""
    heights = rng.normal(0, spread / 2, len(accents))
    coarse = np.interp(np.arange(0, count, 160), accents, heights)  # every 10 ms
    smooth = np.convolve(np.pad(coarse, 5, mode="edge"), np.hanning(13)[1:-1] / 6, "valid")
    return np.interp(np.arange(count), np.arange(len(smooth)) * 160, smooth)


def _glottal_source(pitch: Samples, brightness: float) -> Samples:
    """Rosenberg pulses of the given pitch (Hz a sample), differentiated, tilted by brightness."""
    phase = (np.cumsum(pitch) / SAMPLE_RATE) % 1
    opening, closing = 0.4, 0.2  # shares of the period
    rise = 0.5 - 0.5 * np.cos(np.pi * phase / opening)
    fall = np.cos(np.pi / 2 * (phase - opening) / closing)
    flow = np.where(phase < opening, rise, np.where(phase < opening + closing, fall, 0.0))
    pulses = np.diff(flow, prepend=flow[0]) * (SAMPLE_RATE / 200)
    pole = 0.75 * (1 - brightness)
    return np.asarray(signal.lfilter([1 - pole], [1, -pole], pulses))


def _resonate(source: Samples, formants: Samples) -> Samples:
    """The source through a cascade of two-pole resonators of unit gain at 0 Hz."""
    radius = np.exp(-np.pi * _BANDWIDTHS / SAMPLE_RATE)
    middle = 2 * radius * np.cos(2 * np.pi * formants / SAMPLE_RATE)
    sections = np.zeros((len(formants), 6))
    sections[:, 0] = 1 - middle + radius**2
    sections[:, 3:] = np.stack([np.ones_like(middle), -middle, radius**2], axis=1)
    return np.asarray(signal.sosfilt(sections, source))


def _hiss(count: int, rng: np.random.Generator) -> Samples:
    band = signal.butter(2, [2500, 6500], "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(signal.sosfilt(band, rng.normal(size=count)))


def _smooth(gate: NDArray[np.generic]) -> Samples:
    """A gate with 20 ms cross-fades."""
    window = np.hanning(SAMPLE_RATE // 25)
    return np.asarray(signal.fftconvolve(gate.astype(float), window / window.sum(), "same"))
