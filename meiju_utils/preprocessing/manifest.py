"""What preprocessing made of clips, shard by shard: rows of the manifest, and media beside them.

A shard is two files: `00000.safetensors` with the media of some clips, then `00000.parquet` with a
row for each. A shard without rows is one that was being written; of a clip that was made again the
last row counts. What no row names does not exist. Imports `files` and `errors` only.
"""

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from meiju_utils.errors import DamagedError
from meiju_utils.files import atomic_path, read_table, set_aside, write_table

# Column → its kind, in order; what is not known of a clip is "", 0 or NaN.
ROW = {
    "clip_id": "str",
    "video": "str",  # relative to the data folder
    "start_s": "float64",
    "end_s": "float64",
    "source_size": "int64",  # of the video that was decoded, in bytes; -1: there was none
    "source_modified_ns": "int64",
    "source_digest": "str",  # SHA-256 of its content
    "setting": "str",  # what the clip was made with: the identity of the store
    "problem": "str",  # "" where the clip can be used
    "reason": "str",
    "duration_s": "float64",
    "fps": "float64",
    "width": "int64",
    "height": "int64",
    "video_frames": "int64",
    "sampled_frames": "int64",
    "sample_rate": "int64",  # of the sound as kept, Hz
    "audio_rate": "int64",  # of the source, Hz
    "audio_channels": "int64",
    "faces": "int64",
    "face_choice": "str",
    "face_score": "float64",
    "face_reason": "str",
    "final_rise": "float64",  # semitones by which the voice rises at the end
    "flags": "str",  # JSON: [problem, reason] of what is only partly wrong
    "parts": "str",  # JSON: part → checksum of its media
    "shard": "str",
}

MANIFEST_NAME = "manifest.parquet"  # the table of the run folder that is put together from the rows
ROWS, MEDIA = ".parquet", ".safetensors"
SUSPECT = ".suspect"  # ends the name of rows some of whose media were found damaged

MOST_HEADER = 100_000_000  # bytes, as the format has it
# A shard is written when it holds so much, or work of so long, which a killed run would lose: at
# least 20 s, later a hundredth of the whole, so that the number of shards grows slowly.
MOST_CLIPS = 64
MOST_BYTES = 64 * 2**20
LEAST_S = 20.0
SHARE = 0.01

Row = dict[str, Any]
# Part → array: audio int16 [samples], frames uint8 [bytes] (JPEG pictures one after another) with
# frame_ends int64 [n] and frame_times [n], crops uint8 [n, S, S, 3] RGB with crop_times [n], track
# [T, 4] (see ClipFaces.track). Times are float64, in seconds.
Media = Mapping[str, NDArray[Any]]
PARTS = ("audio", "frames", "frame_ends", "frame_times", "crops", "crop_times", "track")


def empty_rows() -> pd.DataFrame:
    """A manifest of no clip."""
    return pd.DataFrame(columns=list(ROW)).astype(ROW)


def rows_table(rows: list[Row]) -> pd.DataFrame:
    """Rows as a table of the manifest; what a row leaves out is not known."""
    if not rows:
        return empty_rows()
    blank = {"str": "", "float64": float("nan"), "int64": 0}
    complete = [{name: row.get(name, blank[kind]) for name, kind in ROW.items()} for row in rows]
    return pd.DataFrame(complete, columns=list(ROW)).astype(ROW)


def checksum(array: NDArray[Any]) -> int:
    """CRC-32 of an array's type, shape and values."""
    about = zlib.crc32(f"{array.dtype.str}{array.shape}".encode())
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"", about)


@dataclass
class ShardWriter:
    """Gathers clips and writes them in shards; on leaving, also after an error, what is left.

    One process writes a folder at a time.
    """

    folder: Path
    _rows: list[Row] = field(default_factory=list)
    _media: dict[str, NDArray[Any]] = field(default_factory=dict)
    _bytes: int = 0
    _began: float = field(default_factory=lambda: time.monotonic())
    _written: float = field(default_factory=lambda: time.monotonic())

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, row: Row, media: Media) -> None:
        """Take a clip's row, without its parts and shard, and its media."""
        kept = {name: array for name, array in media.items() if array.size}
        sums = {name: checksum(array) for name, array in kept.items()}
        self._rows.append({**row, "parts": json.dumps(sums)})
        self._media |= {f"{row['clip_id']}/{name}": array for name, array in kept.items()}
        self._bytes += sum(array.nbytes for array in kept.values())
        now = time.monotonic()
        full = len(self._rows) >= MOST_CLIPS or self._bytes >= MOST_BYTES
        if full or now - self._written > max(LEAST_S, SHARE * (now - self._began)):
            self.flush()

    def flush(self) -> None:
        """Write what was gathered: the media first, then the rows that make them exist."""
        if not self._rows:
            return
        taken = [int(path.name.partition(".")[0]) for path in self.folder.glob(f"[0-9]*{ROWS}*")]
        shard = f"{max(taken, default=-1) + 1:05d}"
        with atomic_path(self.folder / f"{shard}{MEDIA}") as temporary:
            contiguous = {name: np.ascontiguousarray(a) for name, a in self._media.items()}
            save_file(contiguous, temporary)
        rows = [{**row, "shard": shard} for row in self._rows]
        write_table(self.folder / f"{shard}{ROWS}", rows_table(rows))
        self._rows, self._media, self._bytes = [], {}, 0
        self._written = time.monotonic()


def read_rows(folder: Path) -> pd.DataFrame:
    """The last row of every clip in a folder's shards, in order of writing.

    A shard whose rows or media are damaged as far as can be told without reading them is set aside
    (both files get the suffix `.damaged`): its clips are made again.
    """
    tables = []
    for path in sorted(folder.glob(f"[0-9]*{ROWS}")):
        media = path.with_suffix(MEDIA)
        try:
            rows = read_table(path)
            if list(rows.columns) != list(ROW) or not is_whole(media):
                raise DamagedError(f"{path} and its media do not agree.")
        except DamagedError:
            for damaged in (path, media):
                set_aside(damaged)
            continue
        tables.append(rows)
    if not tables:
        return empty_rows()
    return pd.concat(tables, ignore_index=True).drop_duplicates("clip_id", keep="last")


def check_shard(path: Path) -> None:
    """Read a shard's rows and all their media; DamagedError where they are not what was written."""
    rows = read_table(path)
    media = path.with_name(path.name.partition(".")[0] + MEDIA)
    try:
        media.open("rb").close()  # what cannot be opened is not damaged
        with safe_open(media, framework="numpy") as opened:
            for clip_id, parts in zip(rows["clip_id"], rows["parts"], strict=True):
                for part, known in json.loads(parts).items():
                    if checksum(opened.get_tensor(f"{clip_id}/{part}")) != known:
                        raise DamagedError(
                            f"{media} is damaged: the {part} of {clip_id} is not what was written."
                        )
    except (SafetensorError, FileNotFoundError) as error:
        raise DamagedError(f"{media} is damaged or gone ({error}).") from error


def remove_leftovers(folder: Path) -> None:
    """Delete media whose rows a killed process did not come to write, and set aside the shards that
    were found damaged; of these the clips are made again."""
    for path in folder.glob(f"[0-9]*{ROWS}{SUSPECT}"):
        rows = path.rename(path.with_name(path.name.removesuffix(SUSPECT)))
        try:
            check_shard(rows)
        except DamagedError:
            for damaged in (rows, rows.with_suffix(MEDIA)):
                set_aside(damaged)
    for media in folder.glob(f"[0-9]*{MEDIA}"):
        if not media.with_suffix(ROWS).is_file():
            media.unlink()


def is_whole(path: Path) -> bool:
    """Whether a file of media has the length that its header promises."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if length > min(size - 8, MOST_HEADER):
                return False
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return size == 8 + length + end
