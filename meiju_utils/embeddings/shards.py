"""A shard of a feature store: one safetensors file, whole or not at all, whose damage is noticed.

Its header says what it holds, why clips of its batch have no embedding, what each was made from,
and has a checksum of each tensor and of itself. Imports `errors` and `files` only.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from meiju_utils.errors import DamagedError, FeatureError
from meiju_utils.files import (
    DAMAGED,
    atomic_path,
    fingerprint,
    read_record,
    set_aside,
    write_record,
)

INDEX = "index.json"


@dataclass(frozen=True)
class ShardIndex:
    """What a shard holds: frames T of each clip, reasons of absent ones, how it came about.

    `stamps` change with what a clip's embedding, or its absence, was made from. `halved`: how often
    a batch was halved because the device's memory did not hold it, which moves last bits.
    """

    width: int
    frames: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    halved: int = 0

    def __post_init__(self) -> None:
        check_ids((*self.frames, *self.missing))


def check_ids(clip_ids: Sequence[str]) -> None:
    """FeatureError for an id that is no plain file name: it would lead out of a folder."""
    for clip_id in clip_ids:
        # "__metadata__" names the header's own entry in the safetensors format
        if clip_id in ("", ".", "..", "__metadata__") or "/" in clip_id or "\0" in clip_id:
            raise FeatureError(f"{clip_id!r} cannot be a clip id: it is no plain file name.")


def write_shard(
    folder: Path,
    number: int,
    arrays: Mapping[str, NDArray[Any]],
    missing: Mapping[str, str],
    dtype: str = "float32",
    seconds: float = 0.0,
    stamps: Mapping[str, str] | None = None,
    halved: int = 0,
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
        halved=halved,
    )
    path = shard_path(folder, number, [*arrays, *missing])
    about = {
        "shard": json.dumps(asdict(shard), ensure_ascii=False),
        "checksums": json.dumps({c: _checksum(t) for c, t in tensors.items()}, ensure_ascii=False),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {**about, "header": _header_checksum(about)})
    return path


class OpenShard:
    """A shard, mapped into memory; DamagedError where its header or a tensor is not as written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.open("rb").close()  # what cannot be opened is not damaged
        try:
            file: Any = safe_open(str(path), framework="numpy")
            about: dict[str, str] = file.metadata() or {}
            intact = about.pop("header") == _header_checksum(about)
            self._file, self._about = file, about
            self._checksums: dict[str, int] = json.loads(about["checksums"])
            intact = intact and self._checksums.keys() == set(file.keys())
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the file's
                raise
            raise _unreadable(path, error) from error
        if not intact:
            raise _unreadable(path, "its header is not what was written")

    def index(self) -> ShardIndex:
        """What the header says; FeatureError for an id that is no plain file name."""
        try:
            return ShardIndex(**json.loads(self._about["shard"]))
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def get(self, clip_id: str) -> NDArray[Any]:
        """A clip's tensor as stored."""
        try:
            tensor: NDArray[Any] = self._file.get_tensor(clip_id)
        except (SafetensorError, ValueError, TypeError) as error:
            raise _unreadable(self.path, error) from error
        if _checksum(tensor) != self._checksums.get(clip_id):
            raise _unreadable(self.path, f"{clip_id} is not what was written")
        return tensor

    def check(self) -> None:
        """Read every tensor; DamagedError for the first that is not as written."""
        for clip_id in self._checksums:
            self.get(clip_id)


def _checksum(tensor: NDArray[Any]) -> int:
    about = f"{tensor.dtype.str}{tensor.shape}".encode()
    values: Any = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    return zlib.crc32(values, zlib.crc32(about))


def _header_checksum(about: Mapping[str, str]) -> str:
    return fingerprint(about)


def set_damaged_aside(folder: Path) -> list[Path]:
    """Read all shards of a store, rename those that are damaged and return their new paths.

    So they count as not there, and their clips are computed anew.
    """
    aside = []
    for path in shard_paths(folder):
        try:
            OpenShard(path).check()
        except DamagedError:
            if set_aside(path):
                aside.append(path.with_name(path.name + DAMAGED))
    return aside


def shard_path(folder: Path, number: int, clip_ids: Sequence[str]) -> Path:
    """Where the shard of some clips is, or will be."""
    return folder / f"{number:05d}-{fingerprint(sorted(clip_ids))}.safetensors"


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a store in order of writing."""
    return sorted(folder.glob("[0-9]*-*.safetensors"))


def next_shard_number(folder: Path) -> int:
    """One more than the highest shard number that the store has or had.

    So the index never takes a new shard for one that was deleted.
    """
    names = {path.name for path in folder.glob("[0-9]*-*.safetensors*")} | read_index(folder).keys()
    return 1 + max((int(name.split("-")[0]) for name in names), default=-1)


def read_index(folder: Path) -> dict[str, ShardIndex]:
    """The index of a store, by shard; empty where it is missing or damaged: headers say the same.

    FeatureError for an id that is no plain file name.
    """
    try:
        entries = read_record(folder / INDEX)
        return {name: ShardIndex(**entry) for name, entry in entries.items()}
    except (OSError, DamagedError, TypeError):
        return {}


def write_index(folder: Path, shards: Mapping[str, ShardIndex]) -> None:
    """Write what the shards of a store hold, so that opening it need not read them."""
    write_record(folder / INDEX, {name: asdict(shard) for name, shard in shards.items()})


def _unreadable(path: Path, reason: object) -> DamagedError:
    return DamagedError(
        f"The shard {path} is damaged ({reason}). Run notebook 02 again: only its clips are "
        "computed anew. (Of a store that was imported delete this file and import again.)"
    )
