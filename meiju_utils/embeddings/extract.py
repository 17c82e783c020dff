"""From preprocessed clips to a feature store, computing only what is not there yet.

Clips are taken in shards, each written when it is whole; a stamp is each clip's own video or text.
A model's batches, and so its last bits, depend on which clips are read at once, which is the same
for every backend and any number of workers. Imports `planning`, `encoding`, `store`, `parallel`,
`run`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from meiju_utils.arrays import write_arrays
from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig, Parallel
from meiju_utils.embeddings.base import ClipSource, Encoder
from meiju_utils.embeddings.checkpoints import CheckpointEncoder
from meiju_utils.embeddings.encoding import READ_AT_ONCE, ClipEncoding, forget_model
from meiju_utils.embeddings.planning import StorePlan, compared_clips, is_as_kept, plan_store
from meiju_utils.embeddings.shards import OpenShard, next_shard_number, shard_path, write_shard
from meiju_utils.embeddings.store import FAILED, FeatureStore
from meiju_utils.errors import FeatureError
from meiju_utils.files import fingerprint
from meiju_utils.integrity import intact
from meiju_utils.parallel import map_items, model_places
from meiju_utils.parallel.faults import FEW, Failure, WorkerDied, failure_of, stop_if_systemic
from meiju_utils.run import Run
from meiju_utils.run_folder import writing

NOTEBOOK = "02_embedding_extraction"
LAG_S = 60  # a shared file system shows a folder's new files this late
FITTED = "encoder.safetensors"  # in a store: what its encoder was fitted to
PIECES = 8  # of a shard under which a process died: three rounds find the clip among 256


def extract_features(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> FeatureStore:
    """The store of an encoder's embeddings for every preprocessed clip of the run.

    Clips already in the store, made from the same video or text, are not computed again, unless
    other code made them that gave something else. A clip with nothing to encode, and one whose
    reading or encoding went wrong, is listed in the store's `missing` with its reason; the latter
    is tried again next time. A damaged shard counts as not there.

    Raises SystemicError where faults strike too many of the run's clips to be theirs, FeatureError
    where no clip at all could be encoded for errors, where workers wrote elsewhere, and for a model
    that cannot be loaded, BusyError where another process writes the run folder.
    """
    with writing(run.folder, NOTEBOOK):
        return _extract_features(run, modality, config, source or _preprocessed(run))


def _extract_features(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource
) -> FeatureStore:
    plan = plan_store(run, modality, config, source, fetch=True)
    stamps = _stamps(modality, source)
    encoding = ClipEncoding(source, plan.encoder, plan.config, plan.settings, plan.code)
    label = plan.meta["encoder"]
    settings = encoder_places(run, plan.encoder)

    def equal(store: FeatureStore) -> bool:
        """Whether the present code makes a few of a store's clips the same."""
        clips = compared_clips(store, stamps)
        here = Parallel(backend="serial") if settings.backend == "loky" else settings
        names = [f"clips of {store.folder.name}"] if clips else []
        made = map_items(
            encoding,
            [clips] if clips else [],
            names,
            here,
            f"{label}: comparing",
            tolerant=False,
            sizes=[len(clips)] if clips else [],
        )
        forget_model()  # the workers have theirs
        return all(is_as_kept(store, one, plan) for one in made.succeeded())

    try:
        store = plan.open_or_make(equal)
        wanted = store.unsettled(stamps)
        if wanted:
            size = _shard_size(run, plan, len(wanted), settings.processes)
            work = _Extraction(store.folder, encoding)
            stale, failed = set(store.stale(stamps)), store.failed()
            known = {clip_id: failed[clip_id] for clip_id in failed if clip_id not in stale}
            _extract(work, wanted, size, stamps, known, settings, label)
        if hasattr(plan.encoder, "restore") and (wanted or not intact(store.folder / FITTED)):
            fitted: Any = encoding.encode_function()
            write_arrays(store.folder / FITTED, fitted.state)
    finally:
        forget_model()
    if wanted:
        store = _gather(store.folder, stamps, LAG_S if settings.address else 0)
        reasons = list(store.failed().values())
        if reasons and not len(store):
            raise FeatureError(
                f"{config.name!r} encoded none of {len(wanted)} clips; the first reason of "
                f"{len(reasons)}: {reasons[0]}"
            )
    store.save_index()
    return store


def encoder_places(run: Run, encoder: Encoder) -> Parallel:
    """Where an encoder's shards are made."""
    if isinstance(encoder, CheckpointEncoder):
        return model_places(run.config.parallel, run.config.embeddings.device, "embeddings.device")
    return run.config.parallel if encoder.spread else Parallel(backend="serial")


def open_features(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> FeatureStore:
    """The store `extract_features` made; MissingStageError where it is absent or unfinished, or
    where the code that makes it has changed since."""
    source = source or _preprocessed(run)
    plan = plan_store(run, modality, config, source)
    what = f"{modality} features of {plan.meta['encoder']} with these settings"
    folder = plan.current()
    if folder is None:
        changed = ", as the present code makes them" if plan.folders() else ""
        raise run.missing(what + changed, NOTEBOOK)
    store = FeatureStore(folder, made_here=True)
    if left := store.stale(_stamps(modality, source)):
        raise run.missing(f"{what} for {len(left)} of {len(source.clip_ids)} clips", NOTEBOOK)
    return store


def store_folders(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource | None = None
) -> list[Path]:
    """The stores that an encoder has with the present settings, whatever code made them."""
    return plan_store(run, modality, config, source or _preprocessed(run)).folders()


@dataclass(frozen=True)
class _Shard:
    """Clips to be written together; stamps and known failures of each."""

    number: int
    stamps: dict[str, str]
    known: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"clips {min(self.stamps)} to {max(self.stamps)}"

    def pieces(self, numbers: "count[int]") -> "list[_Shard]":
        ids = list(self.stamps)
        size = ceil(len(ids) / PIECES)
        return [
            _Shard(next(numbers), {c: self.stamps[c] for c in ids[i : i + size]}, self.known)
            for i in range(0, len(ids), size)
        ]


@dataclass(frozen=True)
class _Extraction:
    """Makes and writes a shard; returns the reasons of its clips that have no embedding.

    A shard that is there already is left alone: an engine may ask for it again where the worker
    that wrote it has died. One that says only what the store says already is not written.
    """

    folder: Path
    encoding: ClipEncoding

    def __call__(self, shard: _Shard) -> dict[str, str]:
        path = shard_path(self.folder, shard.number, list(shard.stamps))
        if path.is_file():
            return OpenShard(path).index().missing
        started = perf_counter()
        made = self.encoding(list(shard.stamps))
        if made.arrays or not _is_known(shard, made.missing):
            write_shard(
                self.folder,
                shard.number,
                made.arrays,
                made.missing,
                self.encoding.config.dtype,
                perf_counter() - started,
                shard.stamps,
                made.halved,
            )
        return made.missing

    def write_failure(self, shard: _Shard, reason: str) -> None:
        """Note of clips whose process died that they failed."""
        missing = dict.fromkeys(shard.stamps, reason)
        if not _is_known(shard, missing):
            write_shard(self.folder, shard.number, {}, missing, stamps=shard.stamps)


def _is_known(shard: _Shard, missing: Mapping[str, str]) -> bool:
    return all(shard.known.get(clip_id) == reason for clip_id, reason in missing.items())


def _extract(
    work: _Extraction,
    wanted: Sequence[str],
    size: int,
    stamps: Mapping[str, str],
    known: Mapping[str, str],
    settings: Parallel,
    label: str,
) -> None:
    """Write shards of all wanted clips. Of a shard under which processes die, the pieces are tried,
    until the clip is found whose fault it is."""
    numbers = count(next_shard_number(work.folder))
    waiting = [
        _Shard(next(numbers), {c: stamps[c] for c in clips}, {c: known.get(c, "") for c in clips})
        for clips in (wanted[start : start + size] for start in range(0, len(wanted), size))
    ]
    failures: list[Failure] = []
    while waiting:
        died: list[tuple[_Shard, Exception]] = []
        map_items(
            work,
            waiting,
            [shard.name for shard in waiting],
            settings,
            label,
            tolerant=False,
            then=_noting(waiting, failures, died, len(stamps), label),
            sizes=[len(shard.stamps) for shard in waiting],
        )
        told = [failure_of(shard.name, error) for shard, error in died]
        if len(died) == len(waiting) > FEW:  # it is not one clip in each
            stop_if_systemic(told, len(waiting), label)
        for (shard, _), failure in zip(died, told, strict=True):
            if len(shard.stamps) == 1:
                work.write_failure(shard, f"{FAILED}{failure.error}: {failure.reason}")
                failures.append(failure)
        stop_if_systemic(failures, len(stamps), label)
        waiting = [
            piece for shard, _ in died if len(shard.stamps) > 1 for piece in shard.pieces(numbers)
        ]


def _noting(
    shards: Sequence[_Shard],
    failures: list[Failure],
    died: list[tuple[_Shard, Exception]],
    of: int,
    label: str,
) -> Callable[[int, dict[str, str] | None, Exception | None], bool]:
    """Notes what became of each shard as it finishes; SystemicError where too many clips failed."""

    def then(place: int, missing: dict[str, str] | None, error: Exception | None) -> bool:
        if isinstance(error, WorkerDied):
            died.append((shards[place], error))
            return True
        for clip_id, reason in (missing or {}).items():
            if reason.startswith(FAILED):
                kind, _, text = reason.removeprefix(FAILED).partition(": ")
                failures.append(Failure(clip_id, kind, text))
        stop_if_systemic(failures, of, label)
        return False

    return then


def _shard_size(run: Run, plan: StorePlan, wanted: int, workers: int) -> int:
    """Clips a shard: whole groups that are read at once; where it can be, one for each worker."""
    group = min(READ_AT_ONCE, run.config.embeddings.shard_size)
    groups = run.config.embeddings.shard_size // group
    if plan.encoder.spread:
        groups = min(groups, ceil(wanted / workers / group))
    return groups * group


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


def _stamps(modality: Modality, source: ClipSource) -> dict[str, str]:
    """What changes with a clip's own text, else with its video; the rest is in the store's key."""
    if modality == "text":
        return {clip_id: fingerprint(source.text(clip_id)) for clip_id in source.clip_ids}
    return {clip_id: source.stamp(clip_id) for clip_id in source.clip_ids}


def _preprocessed(run: Run) -> ClipSource:
    from meiju_utils.preprocessing.pipeline import open_preprocessed

    return open_preprocessed(run)
