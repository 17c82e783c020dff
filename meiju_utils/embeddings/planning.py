"""What is a store made from, and where does it lie? Keys, folders, and whether its code still fits.

All stores of the same settings lie side by side: another where other code gave other embeddings.
Imports `encoders`, `encoding`, `store`, `stamping`, `run`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings.base import ClipSource, Encoder, EncoderContext
from meiju_utils.embeddings.checkpoints import fetched_commit, hub_id_of
from meiju_utils.embeddings.encoders import encoder_label, make_encoder
from meiju_utils.embeddings.encoding import READ_AT_ONCE, EncodedClips, code_of
from meiju_utils.embeddings.shards import set_damaged_aside
from meiju_utils.embeddings.store import META, FeatureStore, create_store, read_meta
from meiju_utils.errors import DamagedError, FeatureError
from meiju_utils.files import fingerprint, safe_name, write_record
from meiju_utils.references import cached_commit
from meiju_utils.run import Run
from meiju_utils.stamping import Stamp, renewed, spread_over, stamp_in

# Clips made again share their batches with others than before, which moves last bits: by less than
# these shares of a clip's largest value. (Reduced types have 8 and 11 bits; a model adds them up.)
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


@dataclass(frozen=True)
class StorePlan:
    """An encoder and what its store is made from.

    folder: where the store lies, with a number behind it where other code has made others. meta:
    what its description says whatever the code.
    """

    encoder: Encoder
    config: EncoderConfig
    settings: str
    code: str
    folder: Path
    meta: dict[str, Any]

    def folders(self) -> list[Path]:
        """All stores with these settings, the latest last."""
        numbered = [
            (int(number), path)
            for path in self.folder.parent.glob(f"{self.folder.name}-*")
            if (number := path.name.removeprefix(f"{self.folder.name}-")).isdecimal()
        ]
        first = [self.folder] if self.folder.is_dir() else []
        return [*first, *(path for _, path in sorted(numbered))]

    def current(self) -> Path | None:
        """The store with these settings that the present code makes, if there is one."""
        for folder in reversed(self.folders()):
            if (folder / META).is_file() and _stamp(read_meta(folder)).code == self.code:
                return folder
        return None

    def open_or_make(self, equal: Callable[[FeatureStore], bool]) -> FeatureStore:
        """The store to fill: one that the present code made, or would make the same, or a new one.

        `equal` tells whether a store of other code holds what the present code makes of a few
        clips. Shards that are damaged are set aside.
        """
        folders = self.folders()
        kept = [self._mended(folder) for folder in folders]
        still_right: list[Path] = []

        def is_equal(stamp: Stamp) -> bool:
            folder = folders[kept.index(stamp)]
            set_damaged_aside(folder)
            if equal(FeatureStore(folder)):
                still_right.append(folder)
            return bool(still_right)

        stamp = renewed(kept, self.settings, self.code, is_equal)
        meta = {**self.meta, "key": stamp.identity, "stamp": asdict(stamp)}
        if stamp in kept:
            folder = folders[kept.index(stamp)]
        elif still_right:
            (folder,) = still_right
            write_record(folder / META, meta)
        else:
            number = f"-{len(folders) + 1}" if folders else ""
            folder = self.folder.with_name(self.folder.name + number)
        set_damaged_aside(folder)
        return create_store(folder, meta)

    def _mended(self, folder: Path) -> Stamp:
        """The stamp of a store; where its description is lost or damaged, of unknown code."""
        try:
            return _stamp(read_meta(folder))
        except (FeatureError, DamagedError):
            stamp = Stamp(self.settings, "", "")
            write_record(folder / META, {**self.meta, "key": "", "stamp": asdict(stamp)})
            return stamp


def context_of(run: Run, fit_texts: Callable[[], list[str]]) -> EncoderContext:
    """What the run's settings say to encoders; `fit_texts` gives the texts to fit on."""
    settings = run.config.embeddings
    return EncoderContext(
        run_dir=run.folder,
        sample_rate=run.config.preprocessing.sample_rate,
        batch_images=settings.batch_images,
        batch_seconds=settings.batch_seconds,
        batch_tokens=settings.batch_tokens,
        device=settings.device,
        fit_texts=fit_texts,
    )


def plan_store(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource, fetch: bool = False
) -> StorePlan:
    """What an encoder's store is made from.

    A hub model's revision becomes its commit: the one that the run's first store was made with,
    though the model has moved on, or else that in this machine's cache; where there is none it is
    asked of the hub, if `fetch`.
    """
    label = encoder_label(config.name)
    asked = config.revision
    if hub_id := hub_id_of(config.name):
        commit = _commit_of_stores(run.folder, config) or cached_commit(hub_id, asked)
        commit = commit or (fetched_commit(config) if fetch else "")
        config = config.model_copy(update={"revision": commit or asked})

    def fit_texts() -> list[str]:
        clips = run.table("clips")
        fitted_on = set(clips.loc[clips["split"].isin(["train", "unlabeled"]), "clip_id"])
        return [source.text(clip_id) for clip_id in source.clip_ids if clip_id in fitted_on]

    embeddings = run.config.embeddings
    encoder = make_encoder(modality, config, context_of(run, fit_texts))
    settings = {**encoder.settings, "level": config.level, "inputs": encoder.inputs_key(source)}
    if not encoder.alone:
        settings["read_at_once"] = min(READ_AT_ONCE, embeddings.shard_size)
    key = fingerprint(modality, settings, config.dtype)
    meta = {
        "encoder": label,
        "modality": modality,
        "dtype": config.dtype,
        "settings": settings,
        "asked": [config.name, asked],
    }
    folder = run.path("features", f"{safe_name(label)}-{key}")
    return StorePlan(encoder, config, key, code_of(encoder), folder, meta)


def has_store(run_dir: Path, config: EncoderConfig) -> bool:
    """Whether a run folder holds embeddings of an encoder, of whatever other settings."""
    return bool(_described(run_dir, config))


def _commit_of_stores(run_dir: Path, config: EncoderConfig) -> str:
    """The commit of the first store of a hub model and revision. "" where there is none."""
    found = _described(run_dir, config)
    return str(found[0]["settings"].get("revision", "")) if found else ""


def _described(run_dir: Path, config: EncoderConfig) -> list[dict[str, Any]]:
    """Descriptions of the stores of an encoder and revision, the latest last."""
    label = safe_name(encoder_label(config.name))
    found: list[tuple[float, dict[str, Any]]] = []
    for path in (run_dir / "features").glob(f"{label}-*/{META}"):
        with suppress(FeatureError, DamagedError):
            meta = read_meta(path.parent)
            if meta.get("asked") == [config.name, config.revision]:
                found.append((path.stat().st_mtime, meta))
    return [meta for _, meta in sorted(found, key=lambda pair: pair[0])]


def compared_clips(store: FeatureStore, stamps: Mapping[str, str]) -> list[str]:
    """Clips to make again to see whether a store is still what the code makes: a few that have an
    embedding and a few that have nothing to encode, if made from what is there now."""
    stale, failed = set(store.stale(stamps)), store.failed()
    settled = [clip_id for clip_id in stamps if clip_id not in stale and clip_id not in failed]
    embedded = [clip_id for clip_id in settled if clip_id in store]
    absent = [clip_id for clip_id in settled if clip_id not in store]
    return [*spread_over(embedded), *spread_over(absent)]


def is_as_kept(store: FeatureStore, made: EncodedClips, plan: StorePlan) -> bool:
    """Whether clips made again are what the store holds of them: bit for bit where the encoder
    takes them one by one, else within the tolerance of the types."""
    tolerance = max(TOLERANCE[plan.config.dtype], TOLERANCE[plan.config.precision])
    for clip_id, array in made.arrays.items():
        if clip_id not in store:
            return False
        kept, new = store.get(clip_id), np.asarray(array, np.float32)
        atol = 0.0 if plan.encoder.alone else tolerance * float(np.abs(kept).max())
        if kept.shape != new.shape or not np.allclose(new, kept, rtol=0, atol=atol):
            return False
    return not any(clip_id in store for clip_id in made.missing)


def _stamp(meta: Mapping[str, Any]) -> Stamp:
    return stamp_in(meta.get("stamp", {}))
