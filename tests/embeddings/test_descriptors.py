"""The download-free encoders: prosody, hog, char-ngram."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings.base import Absent, EncoderContext
from meiju_utils.embeddings.encoders import encoder_label, make_encoder
from meiju_utils.embeddings.prosody import Prosody, _melody_and_rhythm
from meiju_utils.embeddings.text import CharNgram
from meiju_utils.embeddings.visual import Hog
from meiju_utils.errors import ConfigError

RATE = 16000
CONTEXT = EncoderContext(run_dir=Path("run"))
Voice = Callable[..., np.ndarray]


def melody(samples: np.ndarray) -> dict[str, float]:
    values = _melody_and_rhythm(samples, RATE)
    names = ("pitch", "spread", "range", "high", "low", "slope", "final_rise", "wobble")
    more = ("ending_slope", "loudness", "loudness_spread", "soft", "loud", "loudness_slope")
    rest = ("loudness_change", "ending_loudness", "voiced", "syllable_rate", "pauses")
    return dict(zip((*names, *more, *rest), values.tolist(), strict=True))


def test_prosody_measures_pitch_in_semitones(voice: Voice) -> None:
    low, high = melody(voice(1.0, 100, 100)), melody(voice(1.0, 200, 200))
    assert low["pitch"] == pytest.approx(0, abs=0.1)
    assert high["pitch"] == pytest.approx(12, abs=0.1)
    assert high["voiced"] > 0.9


def test_prosody_tells_a_rise_from_a_fall(voice: Voice) -> None:
    rise, fall = melody(voice(1.0, 120, 200)), melody(voice(1.0, 200, 120))
    assert rise["slope"] == pytest.approx(12 * np.log2(200 / 120), abs=1.5)
    assert rise["final_rise"] > 1.5 > -1.5 > fall["final_rise"]


def test_prosody_counts_syllables_and_pauses(voice: Voice) -> None:
    assert melody(voice(2.0))["syllable_rate"] == pytest.approx(4, abs=1)
    gap = np.zeros(RATE // 2, np.float32)
    assert melody(np.concatenate([voice(0.5), gap, voice(0.5)]))["pauses"] > 0.2
    noise = np.random.default_rng(0).standard_normal(RATE).astype("float32") * 0.1
    assert melody(noise)["voiced"] < 0.1


def test_prosody_does_not_depend_on_silence_around_the_speech(voice: Voice) -> None:
    encode = Prosody(RATE).load()
    silence = np.zeros(RATE // 2, np.float32)
    alone, padded = encode([voice(1.0), np.concatenate([silence, voice(1.0), silence])])
    assert alone.shape == (1, 107)
    # frames at the edges differ, nothing else
    assert np.median(np.abs(alone - padded) / (np.abs(alone) + 1)) < 0.05


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.empty(0), "no audio"),
        (np.zeros(RATE), "silent audio"),
        (np.full(RATE, 1e-5), "silent audio"),
        (np.ones(1000), "shorter than 0.1 s"),
        (np.full(RATE, np.nan), "not finite"),
    ],
)
def test_unusable_audio_is_absent_with_a_reason(samples: np.ndarray, reason: str) -> None:
    encoded = Prosody(RATE).load()([samples.astype("float32")])[0]
    assert isinstance(encoded, Absent)
    assert reason in encoded.reason


@pytest.mark.parametrize(
    "samples",
    [
        np.ones(RATE),
        np.sign(np.sin(np.arange(1600) * 0.01)),
        np.eye(1, RATE)[0],
        np.random.default_rng(0).standard_normal(1700),
    ],
    ids=["constant", "shortest", "click", "noise"],
)
def test_prosody_is_finite_on_odd_audio(samples: np.ndarray) -> None:
    encoded = Prosody(RATE).load()([samples.astype("float32")])[0]
    assert np.isfinite(encoded).all()


def test_hog_describes_every_crop_of_any_size() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (3, 112, 112, 3), dtype=np.uint8)
    none = np.empty((0, 0, 0, 3), np.uint8)
    encode = Hog().load()
    several, small, absent = encode([crops, crops[:1, ::2, ::2], none])
    assert several.shape == (3, 512)
    assert small.shape == (1, 512)
    assert absent == Absent("no face")
    assert np.array_equal(encode([crops[1:2]])[0][0], several[1])


def test_char_ngrams_are_fitted_on_the_texts_given_and_dense() -> None:
    texts = [f"第{i}次你{'好' if i % 2 else '坏'}吗？" for i in range(30)]
    encoder = CharNgram(EncoderContext(run_dir=Path("run"), fit_texts=lambda: texts))
    encode = encoder.load()
    first, blank, unseen = encode([texts[0], "  ", "xyz"])
    assert first.shape == (1, 29)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert blank == Absent("empty text")
    assert not unseen.any()
    assert np.array_equal(encode([texts[0]])[0], first)
    others = CharNgram(EncoderContext(run_dir=Path("run"), fit_texts=lambda: texts[1:]))
    assert others.settings != encoder.settings


def test_char_ngram_features_have_like_spreads() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("你好吗我的是不了在人有"), 8)) for _ in range(300)]
    context = EncoderContext(run_dir=Path("run"), fit_texts=lambda: texts)
    spreads = np.concatenate(CharNgram(context).load()(texts)).std(axis=0)
    assert spreads.max() / spreads.min() < 2  # without the rotation: 5


@pytest.mark.parametrize(
    ("modality", "settings", "message"),
    [
        ("audio", {"name": "prosdy"}, "did you mean 'prosody'"),
        ("audio", {"name": "timm:vit"}, "No audio encoder"),
        ("text", {"name": "hf:"}, "hub id"),
        ("visual", {"name": "hog:x"}, "No visual encoder"),
        ("audio", {"name": "prosody", "layers": [-1]}, "has no layers"),
        ("text", {"name": "char-ngram", "level": "frame"}, "has no level"),
        ("audio", {"name": "hf:x", "special_tokens": True}, "has no special_tokens"),
    ],
)
def test_an_encoder_that_is_not_or_cannot_is_refused(
    modality: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(modality, EncoderConfig(**settings), CONTEXT)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("prosody", "prosody"),
        ("hf:TencentGameMate/chinese-hubert-large", "hf:TencentGameMate/chinese-hubert-large"),
        ("hf:{run_dir}/checkpoints/tiny-bert", "hf:tiny-bert"),
        ("timm:/home/someone/models/vit", "timm:vit"),
        ("npy:../features/HUBERT-LARGE", "npy:HUBERT-LARGE"),
    ],
)
def test_labels_are_short_for_paths(name: str, label: str) -> None:
    assert encoder_label(name) == label
