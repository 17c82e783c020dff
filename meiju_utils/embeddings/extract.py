"""From preprocessed clips to a feature store, computing only what is not there yet.

The key of a store covers the encoder's settings and those of what it reads, a stamp each clip's own
video or text; clips are taken in shards, each written when it is whole. A model's batches, and so
its last bits, depend on which clips are read at once, which is the same for every backend and any
number of workers. Imports `encoders`, `store`, `parallel`, `run`.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig, Parallel
from meiju_utils.devices import single_thread
from meiju_utils.embeddings.base import (
    Absent,
    ClipSource,
    Encode,
    Encoded,
    Encoder,
    EncoderContext,
    one_ahead,
)
from meiju_utils.embeddings.checkpoints import CheckpointEncoder
from meiju_utils.embeddings.encoders import encoder_label, make_encoder
from meiju_utils.embeddings.store import (
    FAILED,
    FeatureStore,
    create_store,
    next_shard_number,
    shard_path,
    write_shard,
)
from meiju_utils.errors import FeatureError
from meiju_utils.files import fingerprint, safe_name
from meiju_utils.parallel import map_items
from meiju_utils.run import Run

NOTEBOOK = "02_embedding_extraction"
# Clips whose audio or crops are in memory at once, twice over: one group is encoded, one is read.
READ_AT_ONCE = 32

LAG_S = 60  # a shared file system shows a folder's new files this late

# The model this process has loaded, by the key of its store: it serves shard after shard.
_loaded: dict[str, Encode] = {}


def extract_features(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> FeatureStore:
    """The store of an encoder's embeddings for every preprocessed clip of the run.

    Clips already in the store, made from the same video or text, are not computed again. A clip
    with nothing to encode, and one whose reading or encoding raised, is listed in the store's
    `missing` with its reason; the latter is tried again next time. Raises FeatureError where no
    clip at all could be encoded for errors, where workers wrote elsewhere, and for a model that
    cannot be loaded.
    """
    source = source or _preprocessed(run)
    encoder, folder, meta = _identify(run, modality, config, source)
    store = create_store(folder, meta)
    stamps = _stamps(modality, source)
    wanted = store.unsettled(stamps)
    if wanted:
        settings = run.config.parallel
        # Whole groups of clips that are read at once, and where it can be a shard for each worker.
        group = min(READ_AT_ONCE, run.config.embeddings.shard_size)
        groups = run.config.embeddings.shard_size // group
        if encoder.spread:
            groups = min(groups, ceil(len(wanted) / settings.workers / group))
        elif settings.backend == "loky" or not isinstance(encoder, CheckpointEncoder):
            settings = Parallel(backend="serial")
        first, size = next_shard_number(folder), groups * group
        shards = [
            _Shard(folder, first + number, {c: stamps[c] for c in wanted[start : start + size]})
            for number, start in enumerate(range(0, len(wanted), size))
        ]
        work = _Extraction(source, encoder, config, store.key)
        names = [f"clips {min(shard.stamps)} to {max(shard.stamps)}" for shard in shards]
        try:
            map_items(work, shards, names, settings, encoder_label(config.name), tolerant=False)
        finally:
            _loaded.clear()
        store = _gather(folder, stamps, LAG_S if settings.address else 0)
        failed = list(store.failed().values())
        if failed and not len(store):
            raise FeatureError(
                f"{config.name!r} encoded none of {len(wanted)} clips; the first reason of "
                f"{len(failed)}: {failed[0]}"
            )
    store.save_index()
    return store


def open_features(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> FeatureStore:
    """The store `extract_features` made; MissingStageError where it is absent or unfinished."""
    source = source or _preprocessed(run)
    _, folder, _ = _identify(run, modality, config, source)
    what = f"{modality} features of {encoder_label(config.name)} with these settings"
    if not (folder / "meta.json").is_file():
        raise run.missing(what, NOTEBOOK)
    store = FeatureStore(folder)
    if left := store.stale(_stamps(modality, source)):
        raise run.missing(f"{what} for {len(left)} of {len(source.clip_ids)} clips", NOTEBOOK)
    return store


def store_folder(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> Path:
    """Where the store of an encoder lies, or will; MissingStageError where 01 has not run."""
    return _identify(run, modality, config, source or _preprocessed(run))[1]


def _gather(folder: Path, stamps: Mapping[str, str], patience: int) -> FeatureStore:
    """The store with every clip in it; FeatureError where some are not there in so many seconds."""
    store = FeatureStore(folder)
    for _ in range(patience):
        if not store.stale(stamps):
            break
        sleep(1)
        store = FeatureStore(folder)
    if lost := store.stale(stamps):
        raise FeatureError(
            f"{len(lost)} clips are not in {folder} though the workers are done, the first "
            f"{lost[0]}. Every machine must see the run folder under this path, as on a shared "
            "file system: see the README on clusters."
        )
    return store


@dataclass(frozen=True)
class _Shard:
    folder: Path
    number: int
    stamps: dict[str, str]  # of its clips


def _stamps(modality: Modality, source: ClipSource) -> dict[str, str]:
    """What changes with a clip's own text, else with its video; the rest is in the store's key."""
    if modality == "text":
        return {clip_id: fingerprint(source.text(clip_id)) for clip_id in source.clip_ids}
    return {clip_id: source.stamp(clip_id) for clip_id in source.clip_ids}


def _identify(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource
) -> tuple[Encoder, Path, dict[str, Any]]:
    """The encoder, the folder of its store, and the store's `meta.json`."""

    def fit_texts() -> list[str]:
        clips = run.table("clips")
        fitted_on = set(clips.loc[clips["split"].isin(["train", "unlabeled"]), "clip_id"])
        return [source.text(clip_id) for clip_id in source.clip_ids if clip_id in fitted_on]

    context = EncoderContext(
        run_dir=run.folder,
        sample_rate=run.config.preprocessing.sample_rate,
        batch_images=run.config.embeddings.batch_images,
        batch_seconds=run.config.embeddings.batch_seconds,
        batch_tokens=run.config.embeddings.batch_tokens,
        device=run.config.embeddings.device,
        fit_texts=fit_texts,
    )
    encoder = make_encoder(modality, config, context)
    settings = {**encoder.settings, "level": config.level, "inputs": encoder.inputs_key(source)}
    key = fingerprint(modality, settings, config.dtype)
    label = encoder_label(config.name)
    meta = {
        "encoder": label,
        "modality": modality,
        "key": key,
        "dtype": config.dtype,
        "settings": settings,
    }
    return encoder, run.path("features", f"{safe_name(label)}-{key}"), meta


def _preprocessed(run: Run) -> ClipSource:
    from meiju_utils.preprocessing.pipeline import open_preprocessed

    return open_preprocessed(run)


@dataclass(frozen=True)
class _Extraction:
    """Reads, encodes and writes shards, with a model that a process loads once.

    (loky replaces a process that has grown by 300 MB; the new one loads it again.)

    A shard that is there already is left alone: an engine may ask for it again where the worker
    that wrote it has died.
    """

    source: ClipSource
    encoder: Encoder
    config: EncoderConfig
    key: str

    def __call__(self, shard: _Shard) -> None:
        if shard_path(shard.folder, shard.number, list(shard.stamps)).is_file():
            return
        is_model = isinstance(self.encoder, CheckpointEncoder)
        with single_thread() if is_model else nullcontext():
            self._make(shard)

    def _make(self, shard: _Shard) -> None:
        if self.key not in _loaded:
            _loaded.clear()
            _loaded[self.key] = self.encoder.load()
        encode = _loaded[self.key]
        started = perf_counter()
        encoded: dict[str, Encoded] = {}
        ids = list(shard.stamps)
        groups = [ids[i : i + READ_AT_ONCE] for i in range(0, len(ids), READ_AT_ONCE)]
        for inputs, unread in one_ahead(partial(_read, self.source, self.encoder), groups):
            encoded |= unread | _encode_tolerantly(encode, inputs)
        stored = {c: _stored(e, self.config) for c, e in encoded.items()}
        arrays = {c: value for c, value in stored.items() if not isinstance(value, Absent)}
        missing = {
            c: FAILED * value.failed + value.reason
            for c, value in stored.items()
            if isinstance(value, Absent)
        }
        seconds = perf_counter() - started
        dtype = self.config.dtype
        write_shard(shard.folder, shard.number, arrays, missing, dtype, seconds, shard.stamps)


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
    return Absent(f"{type(error).__name__}: {error}", failed=True)


def _stored(encoded: Encoded, config: EncoderConfig) -> NDArray[Any] | Absent:
    """What goes into the store: the level asked for, in the type asked for."""
    if isinstance(encoded, Absent):
        return encoded
    array = encoded.mean(axis=0, keepdims=True) if config.level == "utterance" else encoded
    with np.errstate(over="ignore"):
        array = array.astype(config.dtype)
    if not np.isfinite(array).all():
        return Absent(f"the embedding holds values not finite as {config.dtype}", failed=True)
    return array
