"""Folders of the official layout, `<name>/<clip_id>.npy`: as an encoder and as a store.

So that embeddings made elsewhere can be used. Imports `base`, `store`.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings.base import Absent, ClipSource, Encode, Encoded, EncoderContext, refuse
from meiju_utils.embeddings.shards import check_ids, next_shard_number, write_shard
from meiju_utils.embeddings.store import (
    FAILED,
    FAULTY,
    FeatureStore,
    create_store,
)
from meiju_utils.errors import FeatureError
from meiju_utils.files import fingerprint, listing
from meiju_utils.references import parse_reference

MOST_VALUES = 2**28  # of a clip: 1 GB; an hour's frames, 1024 wide, have 1.8e8


@dataclass(frozen=True)
class NpyFolder:
    """`npy:<folder>`: one file a clip, `[T, D]`, or `[D]` for one frame."""

    folder: Path
    spread: bool = True
    alone: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": "npy"}

    def inputs_key(self, source: ClipSource) -> str:
        return listing_key(self.folder)

    def read(self, source: ClipSource, clip_id: str) -> Encoded:
        return read_npy(self.folder, clip_id)

    def load(self) -> Encode:
        return list


@dataclass(frozen=True)
class OtherStore:
    """`npy:<feature store>`: embeddings another run extracted, or that were imported.

    `version` changes when the other store does.
    """

    folder: Path
    version: str
    spread: bool = False
    alone: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": "npy"}

    def inputs_key(self, source: ClipSource) -> str:
        return _opened(self.folder, self.version).state

    def read(self, source: ClipSource, clip_id: str) -> Encoded:
        store = _opened(self.folder, self.version)
        if clip_id in store:
            return store.get(clip_id)
        reason = store.missing.get(clip_id, "not in the store")
        return Absent(reason.removeprefix(FAILED).removeprefix(FAULTY))

    def load(self) -> Encode:
        return list


@lru_cache(maxsize=4)
def _opened(folder: Path, version: str) -> FeatureStore:
    """The store of that version: another process may extract into it while this one goes on."""
    return FeatureStore(folder)


def npy_folder(config: EncoderConfig, context: EncoderContext) -> NpyFolder | OtherStore:
    """The encoder of a name `npy:<folder>`; FeatureError where there is no such folder."""
    refuse(config, "layers", "combine", "special_tokens", "revision", "precision")
    folder = parse_reference(config.name, context.run_dir).path
    if folder is None or not folder.is_dir():
        raise FeatureError(
            f"{config.name!r}: there is no folder {folder}. Expected one with <clip_id>.npy files."
        )
    if (folder / "meta.json").is_file():
        return OtherStore(folder, fingerprint(listing(folder)))
    return NpyFolder(folder)


def read_npy(folder: Path, clip_id: str) -> Encoded:
    """`<folder>/<clip_id>.npy` as float32 `[T, D]`, or why not."""
    check_ids([clip_id])
    path = folder / f"{clip_id}.npy"
    try:
        # mapped: a header that claims more than the file holds takes no memory
        mapped = np.lib.format.open_memmap(path, mode="r")
        if mapped.size > MOST_VALUES:
            return Absent(
                f"{path.name} holds {mapped.size} values, over {MOST_VALUES}", failed=True
            )
        array = np.atleast_2d(np.array(mapped, dtype=np.float32))
    except FileNotFoundError:
        return Absent("no .npy file of this clip")
    except Exception as error:  # a header made to do harm raises anything
        return Absent(f"{path.name} is no readable .npy file of numbers: {error}", failed=True)
    if array.ndim != 2 or not array.size:
        return Absent(f"{path.name} has shape {array.shape}, expected [T, D]", failed=True)
    if not np.isfinite(array).all():
        return Absent(f"{path.name} holds values that are not finite", failed=True)
    return array


def listing_key(folder: Path) -> str:
    """A fingerprint of a folder of .npy files: names, sizes, times of change.

    Contents are not read: frame-level features of 20 000 clips are tens of gigabytes.
    """
    if not folder.is_dir():
        raise FeatureError(f"There is no folder {folder}. Expected one with <clip_id>.npy files.")
    with os.scandir(folder) as entries:  # without a Path for each of 20 000
        files = [(e.name, e.stat()) for e in entries if e.name.endswith(".npy")]
    if not files:
        raise FeatureError(
            f"{folder} holds no .npy file; expected <clip_id>.npy, one array [T, D] a clip."
        )
    return fingerprint(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files))


def import_folder(
    source: Path, folder: Path, modality: Modality, dtype: str = "float32", shard_size: int = 256
) -> FeatureStore:
    """Make a store in `folder` of every `<source>/<clip_id>.npy`; continues where it was stopped.

    Files that cannot be used are listed in the store's `missing`.
    """
    key = fingerprint("import", listing_key(source), modality, dtype)
    store = create_store(
        folder,
        {
            "encoder": f"npy:{source.name}",
            "modality": modality,
            "key": key,
            "dtype": dtype,
            "settings": {"folder": source.name},
        },
    )
    wanted = store.unsettled({path.stem: "" for path in sorted(source.glob("*.npy"))})
    first = next_shard_number(folder)
    for number, start in enumerate(range(0, len(wanted), shard_size), start=first):
        arrays, missing = {}, {}
        for clip_id in wanted[start : start + shard_size]:
            read = read_npy(source, clip_id)
            if isinstance(read, Absent):
                missing[clip_id] = FAULTY * read.failed + read.reason
            else:
                arrays[clip_id] = read
        write_shard(folder, number, arrays, missing, dtype)
    store = FeatureStore(folder)
    store.save_index()
    return store
