"""The feature store: embeddings of one encoder on disk, by clip id, found and read fast.

A store is a folder of safetensors shards, an index and `meta.json`. A shard holds `[T, D]` arrays
named by clip id and, in its header, why clips of its batch have none and what each was made from;
it appears whole or not at all, so the shards are the truth and the index only saves reading their
headers. Imports `errors`, `files` and `html` only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from meiju_utils.errors import FeatureError
from meiju_utils.files import atomic_path, fingerprint, read_json, write_json
from meiju_utils.html import definition_table

Array = NDArray[np.float32]

# Opens the reason of a clip whose reading or encoding raised: it is tried again next time, while
# a clip that has nothing to encode (no face, empty text) is settled.
FAILED = "failed: "


@dataclass(frozen=True)
class ShardIndex:
    """What a shard holds: frames T of each clip, reasons of absent ones, how it came about.

    `stamps` change with what a clip's embedding, or its absence, was made from.
    """

    width: int
    frames: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class FeatureStore:
    """Embeddings of one encoder, opened from its folder; arrays are memory-mapped when read.

    `meta` holds encoder, modality, key, width, dtype and settings; `missing` maps each absent clip
    to its reason. Raises FeatureError where the folder is no store or its shards do not agree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.meta: dict[str, Any] = read_json(folder / "meta.json")
            self.key: str = self.meta["key"]
        except FileNotFoundError:
            raise FeatureError(
                f"{folder} is no feature store: it has no meta.json. Extract features first "
                "(notebook 02), or import a folder of .npy files."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise FeatureError(
                f"{folder} is no feature store: its meta.json cannot be read ({error!r}). Delete "
                "the folder and extract again."
            ) from error
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
        self._open: tuple[str, Any] = ("", None)

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
        """Clips whose reading or encoding raised, with the reason: worth another try."""
        return {c: r.removeprefix(FAILED) for c, r in self.missing.items() if r.startswith(FAILED)}

    def unsettled(self, stamps: Mapping[str, str]) -> list[str]:
        """Clips, of these with their stamps, that are stale or failed, in the same order."""
        left = {*self.stale(stamps), *self.failed()}
        return [clip_id for clip_id in stamps if clip_id in left]

    def get(self, clip_id: str) -> Array:
        """The clip's embedding as float32 `[T, D]`; FeatureError says why there is none."""
        name = self._shard_of.get(clip_id)
        if name is None:
            reason = self.missing.get(clip_id, "it was not among the clips extracted")
            raise FeatureError(f"{self.folder.name} has no embedding of {clip_id}: {reason}.")
        try:
            array = self._handle(name).get_tensor(clip_id)
        except SafetensorError as error:
            raise _unreadable(self.folder / name, error) from error
        return np.asarray(array, dtype=np.float32)

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
            write_json(
                self.folder / "index.json",
                {name: asdict(shard) for name, shard in self._shards.items()},
            )
            self._indexed = True
        if self.meta.get("width") != self.width:
            self.meta["width"] = self.width
            write_json(self.folder / "meta.json", self.meta)

    def verify(self) -> pd.DataFrame:
        """Read everything; faults as rows of clip_id, stage, problem, reason (none: sound).

        Problems: `unreadable`, `shape`, `not finite`, `constant` (every clip has the same values)
        and `duplicate` (same values as another clip; normal for repeated subtitles).
        """
        faults: list[tuple[str, str, str]] = []
        seen: dict[bytes, str] = {}
        compared = 0
        for clip_id in self.clip_ids:
            try:
                array = self.get(clip_id)
            except FeatureError as error:
                faults.append((clip_id, "unreadable", str(error)))
                continue
            if array.shape != (self.frames(clip_id), self.width) or not len(array):
                faults.append((clip_id, "shape", f"{array.shape}, expected [T, {self.width}]"))
            elif not np.isfinite(array).all():
                faults.append((clip_id, "not finite", f"{(~np.isfinite(array)).sum()} values"))
            else:
                compared += 1
                twin = seen.setdefault(array.tobytes(), clip_id)
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

    def _handle(self, name: str) -> Any:
        """A shard, mapped; only the last one stays so, as what was read of it counts as memory."""
        if self._open[0] != name:
            try:
                self._open = name, safe_open(str(self.folder / name), framework="numpy")
            except (SafetensorError, OSError) as error:
                raise _unreadable(self.folder / name, error) from error
        return self._open[1]


def create_store(folder: Path, meta: Mapping[str, Any]) -> FeatureStore:
    """Open the store in `folder`, made first where there is none.

    `meta` must hold `key`; FeatureError where another key's store is already there.
    """
    path = folder / "meta.json"
    if path.is_file() and read_json(path)["key"] != meta["key"]:
        raise FeatureError(
            f"{folder} was made with other settings (key {read_json(path)['key']}, wanted "
            f"{meta['key']}). Use another folder, or delete this one."
        )
    if not path.is_file():
        write_json(path, dict(meta))
    return FeatureStore(folder)


def write_shard(
    folder: Path,
    number: int,
    arrays: Mapping[str, NDArray[Any]],
    missing: Mapping[str, str],
    dtype: str = "float32",
    seconds: float = 0.0,
    stamps: Mapping[str, str] | None = None,
) -> Path:
    """Write one shard, whole or not at all; where clips recur, the higher number counts.

    `arrays` maps clip ids to `[T, D]` with one D and T >= 1. Raises FeatureError for another shape,
    values that are not finite in `dtype`, and ids that are no file names.
    """
    width = 0
    for clip_id, array in arrays.items():
        if array.ndim != 2 or not array.size:
            raise FeatureError(f"{clip_id}: an embedding of shape {array.shape}, expected [T, D].")
        width = width or array.shape[1]
        if array.shape[1] != width:
            raise FeatureError(
                f"{clip_id} has {array.shape[1]} features a frame where {next(iter(arrays))} has "
                f"{width}; the clips of a store must agree."
            )
    for clip_id in (*arrays, *missing):
        # "__metadata__" names the header's own entry in the safetensors format
        if Path(clip_id).name != clip_id or clip_id in ("", "__metadata__"):
            raise FeatureError(f"{clip_id!r} cannot be a clip id: it is no plain file name.")
    with np.errstate(over="ignore"):
        tensors = {c: np.ascontiguousarray(a, dtype=np.dtype(dtype)) for c, a in arrays.items()}
    for clip_id, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise FeatureError(f"{clip_id}: the embedding holds values not finite as {dtype}.")
    shard = ShardIndex(
        width=width,
        frames={clip_id: len(tensor) for clip_id, tensor in tensors.items()},
        missing=dict(missing),
        stamps=dict(stamps or {}),
        seconds=seconds,
    )
    path = shard_path(folder, number, [*arrays, *missing])
    with atomic_path(path) as temporary:
        header = json.dumps(asdict(shard), ensure_ascii=False)
        save_file(tensors, temporary, {"shard": header})
    return path


def shard_path(folder: Path, number: int, clip_ids: Sequence[str]) -> Path:
    """Where the shard of some clips is, or will be."""
    return folder / f"{number:05d}-{fingerprint(sorted(clip_ids))}.safetensors"


def next_shard_number(folder: Path) -> int:
    """One more than the highest shard number of the store."""
    return 1 + max((int(path.name.split("-")[0]) for path in _shard_paths(folder)), default=-1)


def _shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*-*.safetensors"))


def _read_shards(folder: Path) -> tuple[dict[str, ShardIndex], bool]:
    """Shards in order of writing, and whether the index file lists just these."""
    try:
        entries = read_json(folder / "index.json")
        indexed = {name: ShardIndex(**entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # the headers say the same
        indexed = {}
    names = [path.name for path in _shard_paths(folder)]
    shards = {
        name: indexed[name] if name in indexed else _read_header(folder / name) for name in names
    }
    return shards, bool(indexed) and list(indexed) == names


def _read_header(path: Path) -> ShardIndex:
    try:
        with safe_open(str(path), framework="numpy") as shard:
            return ShardIndex(**json.loads(shard.metadata()["shard"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FeatureError:
    return FeatureError(
        f"The shard {path} cannot be read ({error}). Delete this one file and extract again: only "
        "its clips are computed anew."
    )
