"""From preprocessed clips to what a store keeps of them: read, encoded, of the type asked for.

No clip costs another anything. Imports `base`, `checkpoints`, `store`, `devices`, `sources`.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils import devices, ngrams
from meiju_utils.config import EncoderConfig
from meiju_utils.devices import single_thread
from meiju_utils.embeddings import base
from meiju_utils.embeddings.base import Absent, ClipSource, Encode, Encoded, Encoder, one_ahead
from meiju_utils.embeddings.checkpoints import CheckpointEncoder
from meiju_utils.embeddings.store import FAILED, FAULTY
from meiju_utils.errors import ConfigError, FeatureError
from meiju_utils.files import fingerprint
from meiju_utils.parallel.faults import OWN
from meiju_utils.sources import code_key, library_versions

# Clips whose audio or crops are in memory at once, twice over: one group is encoded, one is read.
READ_AT_ONCE = 32

# The model this process has loaded, by what it was loaded for: it serves shard after shard.
_loaded: dict[str, Encode] = {}


def code_of(encoder: Encoder) -> str:
    """Changes with the code that makes an encoder's embeddings, and its libraries' versions.

    ConfigError where some of it was edited after it was loaded.
    """
    here = sys.modules[__name__]
    code = code_key(type(encoder), base, devices, ngrams, here)
    return fingerprint(code, library_versions(*encoder.libraries))


@dataclass
class EncodedClips:
    """Arrays `[T, D]` by clip id, and why other clips have none.

    `halved`: how often a batch was halved because memory did not hold it.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    halved: int = 0


@dataclass(frozen=True)
class ClipEncoding:
    """Reads and encodes clips, with a model that a process loads once.

    (loky replaces a process that has grown by 300 MB; the new one loads it again.) Picklable.
    Raises ConfigError where the process has other code than the one that planned the work.
    key: of all settings that shape the model.
    """

    source: ClipSource
    encoder: Encoder
    config: EncoderConfig
    key: str
    code: str

    def __call__(self, clip_ids: Sequence[str]) -> EncodedClips:
        encode = self.encode_function()
        return encode_clips(encode, self.encoder, self.config, self.source, clip_ids)

    def encode_function(self) -> Encode:
        """The encoder's function, loaded once."""
        key = self.key + self.code
        if key not in _loaded:
            if code_of(self.encoder) != self.code:
                raise ConfigError(
                    f"A worker has other code of encoder {self.config.name!r}, or other libraries, "
                    "than the process that sent the work. Use the same installation on all "
                    "machines, and restart the kernel and the cluster's workers."
                )
            _loaded.clear()
            _loaded[key] = self.encoder.load()
        return _loaded[key]


def encode_clips(
    encode: Encode,
    encoder: Encoder,
    config: EncoderConfig,
    source: ClipSource,
    clip_ids: Sequence[str],
) -> EncodedClips:
    """What an encoder's loaded function makes of some clips, as a store keeps it."""
    with single_thread() if isinstance(encoder, CheckpointEncoder) else nullcontext():
        before = getattr(encode, "halved", 0)
        groups = [clip_ids[i : i + READ_AT_ONCE] for i in range(0, len(clip_ids), READ_AT_ONCE)]
        encoded: dict[str, Encoded] = {}
        for inputs, unread in one_ahead(partial(_read, source, encoder), groups):
            encoded |= unread | _encode_tolerantly(encode, inputs)
        made = EncodedClips(halved=getattr(encode, "halved", 0) - before)
    for clip_id, result in encoded.items():
        kept = _stored(result, config)
        if isinstance(kept, Absent):
            made.missing[clip_id] = FAULTY * kept.failed + kept.reason
        else:
            made.arrays[clip_id] = kept
    return made


def forget_model() -> None:
    """Let go of the model this process has loaded."""
    _loaded.clear()


def _read(
    source: ClipSource, encoder: Encoder, clip_ids: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Encoded]]:
    """Inputs by clip, and the clips whose files are at fault."""
    inputs: dict[str, Any] = {}
    unread: dict[str, Encoded] = {}
    for clip_id in clip_ids:
        try:
            inputs[clip_id] = encoder.read(source, clip_id)
        except Exception as error:  # any fault of one clip's files, so that the others go on
            unread[clip_id] = _failure(error)
    return inputs, unread


def _encode_tolerantly(encode: Encode, inputs: Mapping[str, Any]) -> dict[str, Encoded]:
    """Encode all together; where that raises, one by one, to find whose fault it is."""
    values: Sequence[Any] = list(inputs.values())
    try:
        return dict(zip(inputs, encode(values) if values else [], strict=True))
    except FeatureError:  # the encoder's settings are wrong, not a clip
        raise
    except Exception:
        encoded: dict[str, Encoded] = {}
        for clip_id, value in inputs.items():
            try:
                encoded[clip_id] = encode([value])[0]
            except Exception as error:
                encoded[clip_id] = _failure(error)
        return encoded


def _failure(error: Exception) -> Absent:
    """Of a fault that is not known to be the clip's own the reason says so by how it opens."""
    own = isinstance(error, OWN)
    return Absent(f"{'' if own else FAILED}{type(error).__name__}: {error}", failed=own)


def _stored(encoded: Encoded, config: EncoderConfig) -> NDArray[Any] | Absent:
    """What goes into the store: the level asked for, in the type asked for."""
    if isinstance(encoded, Absent):
        return encoded
    array = encoded.mean(axis=0, keepdims=True) if config.level == "utterance" else encoded
    with np.errstate(over="ignore"):
        array = array.astype(config.dtype)
    if not np.isfinite(array).all():
        return Absent(f"{FAILED}the embedding holds values not finite as {config.dtype}")
    return array
