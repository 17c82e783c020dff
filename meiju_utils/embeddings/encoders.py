"""Encoders by name: which there are for each modality, and the one a profile asks for.

Imports the encoder modules; the heavy libraries come when an encoder is loaded.
"""

from collections.abc import Callable
from pathlib import PurePath

from meiju_utils.challenge import Modality
from meiju_utils.config import Embeddings, EncoderConfig
from meiju_utils.embeddings.audio import HfAudio
from meiju_utils.embeddings.base import Encoder, EncoderContext, refuse
from meiju_utils.embeddings.npy import npy_folder
from meiju_utils.embeddings.prosody import Prosody
from meiju_utils.embeddings.text import CharNgram, HfText
from meiju_utils.embeddings.visual import Hog, Timm
from meiju_utils.errors import ConfigError, nearest

Constructor = Callable[[EncoderConfig, EncoderContext], Encoder]

_MODEL_OPTIONS = ("layers", "combine", "special_tokens", "revision", "precision")


def _prosody(config: EncoderConfig, context: EncoderContext) -> Encoder:
    refuse(config, "level", *_MODEL_OPTIONS)
    return Prosody(context.sample_rate)


def _hog(config: EncoderConfig, context: EncoderContext) -> Encoder:
    refuse(config, *_MODEL_OPTIONS)
    return Hog()


def _char_ngram(config: EncoderConfig, context: EncoderContext) -> Encoder:
    refuse(config, "level", *_MODEL_OPTIONS)
    return CharNgram(context)


# What a name starts with -> its constructor; a colon says that something follows.
ENCODERS: dict[Modality, dict[str, Constructor]] = {
    "audio": {"prosody": _prosody, "hf:": HfAudio, "npy:": npy_folder},
    "visual": {"hog": _hog, "timm:": Timm, "npy:": npy_folder},
    "text": {"char-ngram": _char_ngram, "hf:": HfText, "npy:": npy_folder},
}


def make_encoder(modality: Modality, config: EncoderConfig, context: EncoderContext) -> Encoder:
    """The encoder of a name, not yet loaded; ConfigError for a name the modality does not have."""
    kind, colon, rest = config.name.partition(":")
    constructor = ENCODERS[modality].get(kind + colon)
    if constructor is None or bool(colon) != bool(rest.strip()):
        raise ConfigError(
            f"No {modality} encoder {config.name!r}: {nearest(kind + colon, ENCODERS[modality])} "
            "After a colon comes a hub id, a model's name or a folder."
        )
    return constructor(config, context)


def all_encoders(settings: Embeddings) -> list[tuple[Modality, EncoderConfig]]:
    """All that a profile extracts, with their modality: of each first the one of the network."""
    return [
        (modality, encoder)
        for modality, chosen in settings.chosen().items()
        for encoder in (chosen, *settings.compare.get(modality, []))
    ]


def encoder_label(name: str) -> str:
    """A short name for tables and folders: of a path only its last part."""
    kind, colon, rest = name.partition(":")
    path = PurePath(rest)
    is_path = path.is_absolute() or rest.startswith((".", "~", "{run_dir}")) or len(path.parts) > 2
    return f"{kind}{colon}{path.name if is_path else rest}"
