"""The feature store: embeddings of one encoder on disk, by clip id, found and read fast.

A store is a folder of shards (see `shards`), an index and `meta.json`. The shards are the truth,
the index only saves reading their headers. Everything has a checksum that is looked at when it is
read. Imports `shards`, `errors`, `files`, `html`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.embeddings.shards import (
    OpenShard,
    ShardIndex,
    read_index,
    shard_paths,
    write_index,
)
from meiju_utils.errors import DamagedError, FeatureError
from meiju_utils.files import atomic_path, fingerprint, read_record, set_aside, write_record
from meiju_utils.html import definition_table

Array = NDArray[np.float32]
META = "meta.json"

# What opens the reason of a clip that is tried again next time, while one that has nothing to
# encode (no face, empty text) is settled. Of what is faulty the fault is known to be the clip's own
# (a file that cannot be read); what has failed may be the machine's or the settings' fault.
FAULTY, FAILED = "faulty: ", "failed: "


class FeatureStore:
    """Embeddings of one encoder, opened from its folder; arrays are memory-mapped when read.

    `meta` holds encoder, modality, key, width, dtype and settings; `missing` maps each absent clip
    to its reason. `made_here`: 02 of this run makes again what is damaged. Raises FeatureError
    where the folder is no store or its shards do not agree.
    """

    def __init__(self, folder: Path, made_here: bool = False) -> None:
        self.folder, self.made_here = folder, made_here
        self.meta = read_meta(folder)
        self.key: str = self.meta["key"]
        self._shards, self._indexed = _read_shards(folder)
        self._shard_of: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._stamps: dict[str, str] = {}
        self._width = 0
        for name, shard in self._shards.items():
            if shard.frames and self._width not in (0, shard.width):
                raise FeatureError(
                    f"{folder} mixes widths: {name} holds {shard.width} features a frame, earlier "
                    f"shards {self._width}. Where they come from .npy files, mend those of another "
                    "width. Then delete the store and extract again."
                )
            self._width = shard.width or self._width
            self._stamps.update(dict.fromkeys((*shard.frames, *shard.missing), "") | shard.stamps)
            for clip_id in shard.frames:
                self._shard_of[clip_id] = name
                self.missing.pop(clip_id, None)
            for clip_id in shard.missing:
                self._shard_of.pop(clip_id, None)
            self.missing.update(shard.missing)
        self._open: tuple[str, OpenShard | None] = ("", None)

    @property
    def width(self) -> int:
        """D, the number of features; 0 while the store holds no clip."""
        return self._width

    @property
    def clip_ids(self) -> list[str]:
        """The clips that have an embedding, sorted."""
        return sorted(self._shard_of)

    @property
    def seconds(self) -> float:
        """Time spent encoding, summed over workers, in seconds."""
        return sum(shard.seconds for shard in self._shards.values())

    @property
    def halved(self) -> int:
        """How often a batch was halved because the device's memory did not hold it."""
        return sum(shard.halved for shard in self._shards.values())

    @property
    def megabytes(self) -> float:
        """Size of the shards on disk, in MB (1e6 bytes)."""
        return sum((self.folder / name).stat().st_size for name in self._shards) / 1e6

    def __repr__(self) -> str:
        return (
            f"<FeatureStore {self.meta.get('encoder', self.folder.name)}: {len(self)} clips, "
            f"{self.width} wide, {self.megabytes:.1f} MB>"
        )

    def _repr_html_(self) -> str:
        entries = {name: self.meta.get(name, "unknown") for name in ("modality", "encoder")}
        entries |= {
            "clips": f"{len(self)} ({len(self.missing)} absent)",
            "width": self.width,
            "stored as": self.meta.get("dtype", "unknown"),
            "size": f"{self.megabytes:.1f} MB",
            "time of encoding": f"{self.seconds:.1f} s",
        }
        return definition_table(f"Features {self.folder.name}", entries)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._shard_of

    def stamps(self, clip_ids: Sequence[str]) -> list[str | None]:
        """What the embeddings of some clips, or their absence, were made from; None: not tried."""
        return [self._stamps.get(clip_id) for clip_id in clip_ids]

    @property
    def state(self) -> str:
        """Changes with any embedding: the settings, the clips and what each was made from."""
        embedded = self.clip_ids
        return fingerprint(self.key, embedded, self.stamps(embedded))

    def stale(self, stamps: Mapping[str, str]) -> list[str]:
        """Clips, of these with their stamps, that are not in the store as they are now."""
        return [clip_id for clip_id, stamp in stamps.items() if self._stamps.get(clip_id) != stamp]

    def failed(self) -> dict[str, str]:
        """Clips whose reading or encoding went wrong, with the reason: worth another try."""
        return {c: r for c, r in self.missing.items() if r.startswith((FAULTY, FAILED))}

    def unsettled(self, stamps: Mapping[str, str]) -> list[str]:
        """Clips, of these with their stamps, that are stale or failed, in the same order."""
        left = {*self.stale(stamps), *self.failed()}
        return [clip_id for clip_id in stamps if clip_id in left]

    def get(self, clip_id: str) -> Array:
        """The clip's embedding as float32 `[T, D]`.

        FeatureError says why there is none; DamagedError where it is not what was written. The
        shard is then set aside, if it was `made_here`.
        """
        name = self._shard_of.get(clip_id)
        if name is None:
            reason = self.missing.get(clip_id, "it was not among the clips extracted")
            raise FeatureError(f"{self.folder.name} has no embedding of {clip_id}: {reason}.")
        try:
            return np.asarray(self._opened(name).get(clip_id), dtype=np.float32)
        except DamagedError:
            if self.made_here:
                set_aside(self.folder / name)
            raise

    def frames(self, clip_id: str) -> int:
        """T of a clip, without reading it."""
        return self._shards[self._shard_of[clip_id]].frames[clip_id]

    def means(self, clip_ids: Sequence[str]) -> tuple[Array, NDArray[np.bool_]]:
        """Means over time `[N, D]`, zeros where a clip is absent, and which are present `[N]`."""
        values = np.zeros((len(clip_ids), self.width), dtype=np.float32)
        present = np.array([clip_id in self._shard_of for clip_id in clip_ids], dtype=bool)
        for row in np.flatnonzero(present).tolist():
            values[row] = self.get(clip_ids[row]).mean(axis=0)
        return values, present

    def save_index(self) -> None:
        """Write the index (and the width in `meta.json`) anew where the shards have changed."""
        if not self._indexed:
            write_index(self.folder, self._shards)
            self._indexed = True
        if self.meta.get("width") != self.width:
            self.write_meta({"width": self.width})

    def write_meta(self, changes: Mapping[str, Any]) -> None:
        """Write the description with some entries changed."""
        self.meta |= changes
        write_record(self.folder / META, self.meta)

    def verify(self) -> pd.DataFrame:
        """Read everything; faults as rows of clip_id, stage, problem, reason (none: sound).

        Problems: `unreadable`, `shape`, `not finite`, `constant` (every clip has the same values)
        and `duplicate` (same values as another clip; normal for repeated subtitles).
        """
        faults: list[tuple[str, str, str]] = []
        seen: dict[bytes, str] = {}  # by digest: the values of all clips may not fit into memory
        compared = 0
        for clip_id in self.clip_ids:
            try:
                array = self.get(clip_id)
            except DamagedError as error:
                faults.append((clip_id, "unreadable", str(error)))
                continue
            if array.shape != (self.frames(clip_id), self.width) or not len(array):
                faults.append((clip_id, "shape", f"{array.shape}, expected [T, {self.width}]"))
            elif not np.isfinite(array).all():
                faults.append((clip_id, "not finite", f"{(~np.isfinite(array)).sum()} values"))
            else:
                compared += 1
                digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
                twin = seen.setdefault(digest, clip_id)
                if twin != clip_id:
                    faults.append((clip_id, "duplicate", f"same values as {twin}"))
        if compared > 1 and len(seen) == 1:
            faults.append(("", "constant", f"all {len(self)} clips have the same values"))
        rows = [(clip_id, "features", problem, reason) for clip_id, problem, reason in faults]
        return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")

    def export(self, folder: Path) -> int:
        """Write `<folder>/<clip_id>.npy` (float32 `[T, D]`), the layout of the official baseline.

        Returns the number of files.
        """
        for clip_id in self.clip_ids:
            with atomic_path(folder / f"{clip_id}.npy") as temporary:
                np.save(temporary, self.get(clip_id), allow_pickle=False)
        return len(self)

    def _opened(self, name: str) -> OpenShard:
        """A shard, mapped; only the last one stays so, as what was read of it counts as memory."""
        before, shard = self._open
        if shard is None or before != name:
            shard = OpenShard(self.folder / name)
            self._open = name, shard
        return shard


def read_meta(folder: Path) -> dict[str, Any]:
    """What `meta.json` says of a store.

    FeatureError where there is no store, DamagedError where it is not what was written.
    """
    try:
        meta = read_record(folder / META)
    except FileNotFoundError:
        raise FeatureError(
            f"{folder} is no feature store: it has no {META}. Extract features first "
            "(notebook 02), or import a folder of .npy files."
        ) from None
    except DamagedError as error:
        raise DamagedError(
            f"{error} Delete this one file and run notebook 02 again. (One of an earlier version "
            "has no checksum: delete the folder.)"
        ) from error
    if not isinstance(meta.get("key"), str):
        raise FeatureError(f"{folder} is no feature store: its {META} has no key.")
    return meta


def create_store(folder: Path, meta: Mapping[str, Any]) -> FeatureStore:
    """Open the store in `folder`, made first where there is none.

    `meta` must hold `key`; FeatureError where another key's store is already there.
    """
    if not (folder / META).is_file():
        write_record(folder / META, dict(meta))
    elif (key := read_meta(folder)["key"]) != meta["key"]:
        raise FeatureError(
            f"{folder} was made with other settings (key {key}, wanted {meta['key']}). Use another "
            "folder, or delete this one."
        )
    return FeatureStore(folder)


def _read_shards(folder: Path) -> tuple[dict[str, ShardIndex], bool]:
    """Shards in order of writing, and whether the index file lists just these."""
    indexed = read_index(folder)
    paths = shard_paths(folder)
    shards = {path.name: indexed.get(path.name) or OpenShard(path).index() for path in paths}
    return shards, bool(indexed) and list(indexed) == list(shards)
