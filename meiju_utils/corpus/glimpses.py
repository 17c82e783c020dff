"""A glimpse of every clip, looked at once: kept in a folder until the clip's own file changes.

Imports `fingerprints`, `media`, `listing`, `files`, `parallel`, `sources`, `config`.
"""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from meiju_utils.config import Parallel
from meiju_utils.corpus import fingerprints
from meiju_utils.corpus.fingerprints import Glimpse, look_at, look_at_parts
from meiju_utils.corpus.listing import Stamp
from meiju_utils.errors import DamagedError
from meiju_utils.files import read_table, write_table
from meiju_utils.media import frames, parts, sound, streams, times
from meiju_utils.media.reading import Part
from meiju_utils.parallel import map_items
from meiju_utils.sources import code_key

# What was seen is written when it took so long, which a killed look would lose: at least 10 s,
# later a fiftieth of the whole, so that the number of files grows slowly.
LEAST_S = 10.0
SHARE = 0.02

SUFFIX = ".parquet"
_COLUMNS = [
    *("video", "size", "modified_ns", "start_s", "end_s", "deep", "fault", "remarks", "digest"),
    *("sound", "pictures", "picture_s"),
]

# A video's path in the data folder, its size and time of change, and the part looked at.
Key = tuple[str, int, int, Part]
Seen = tuple[Glimpse, bool]  # whether it was a deep look


def look_at_all(
    root: Path,
    clips: Mapping[str, tuple[str, Part]],
    stamps: Mapping[str, Stamp],
    deep: bool,
    parallel: Parallel,
    cache: Path | None = None,
) -> dict[str, Glimpse]:
    """A glimpse of each clip, by its id.

    `clips`: of each the video, by its path below `root`, and the part that it is. `stamps`: of the
    videos. Clips of one video are looked at together.

    What the folder `cache` holds of files that are as they were is not looked at again; what is
    new is written there as it comes. What a deep look saw serves a quick one. A video whose look
    fails, be it that it kills its process, has a glimpse with that fault and is looked at again the
    next time. Raises SystemicError where that strikes too many.
    """
    kept = _Kept(cache)
    keys: dict[str, Key] = {
        clip_id: (video, *stamps[video], part) for clip_id, (video, part) in clips.items()
    }
    seen = {clip_id: glimpse for clip_id, key in keys.items() if (glimpse := kept.get(key, deep))}
    new: dict[str, list[str]] = {}  # video → its clips
    for clip_id, (video, _) in clips.items():
        if clip_id not in seen:
            new.setdefault(video, []).append(clip_id)
    videos = list(new)

    def take(place: int, glimpses: list[Glimpse] | None, error: Exception | None) -> None:
        for clip_id, glimpse in zip(new[videos[place]], glimpses or (), strict=False):
            seen[clip_id] = glimpse
            if not glimpse.fault:  # it may be the disk's, and is looked at again
                kept.add(keys[clip_id], glimpse, deep)

    try:
        mapped = map_items(
            partial(_look, deep=deep),
            [(root / video, [clips[clip_id][1] for clip_id in new[video]]) for video in videos],
            videos,
            parallel,
            "Opening clips",
            then=take,
            of=len(stamps),
            keep=False,
            sizes=[len(new[video]) for video in videos],
        )
    finally:
        kept.flush()
    kept.tidy(list(keys.values()))
    for failure in mapped.failures:
        seen |= dict.fromkeys(new[failure.name], Glimpse(fault=failure.reason))
    return {clip_id: seen[clip_id] if deep else _quick(seen[clip_id]) for clip_id in clips}


def _look(item: tuple[Path, list[Part]], deep: bool) -> list[Glimpse]:
    path, wanted = item
    return [look_at(path, deep)] if wanted == [Part()] else look_at_parts(path, wanted, deep)


def _quick(glimpse: Glimpse) -> Glimpse:
    """Without what only a deep look has, so that copies are sought alike among all clips."""
    blank = Glimpse()
    return replace(glimpse, digest="", sound=blank.sound, pictures=blank.pictures)


@dataclass
class _Kept:
    """What was seen before, in the files of a folder (None: nowhere); `add` and `flush` write on.

    Files of other code, and damaged ones, count for nothing.
    """

    folder: Path | None
    _rows: dict[Key, Seen] = field(default_factory=dict)
    _new: dict[Key, Seen] = field(default_factory=dict)
    _files: list[Path] = field(default_factory=list)
    _prefix: str = ""
    _began: float = field(default_factory=time.monotonic)
    _written: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        self._prefix = f"{code_key(fingerprints, frames, parts, sound, streams, times)}-"
        for path in self._present():
            self._files.append(path)
            with suppress(DamagedError, OSError):
                self._rows |= _read(path)

    def get(self, key: Key, deep: bool) -> Glimpse | None:
        glimpse, was_deep = self._rows.get(key, (None, False))
        return glimpse if was_deep or not deep else None

    def add(self, key: Key, glimpse: Glimpse, deep: bool) -> None:
        if self.folder is None:
            return
        self._new[key] = glimpse, deep
        now = time.monotonic()
        if now - self._written > max(LEAST_S, SHARE * (now - self._began)):
            self.flush()

    def flush(self) -> None:
        """Write what is new into a file of its own."""
        if self.folder is None or not self._new:
            return
        taken = [path.stem.removeprefix(self._prefix) for path in self._present()]
        number = 1 + max((int(one) for one in taken if one.isdecimal()), default=-1)
        path = self.folder / f"{self._prefix}{number:05d}{SUFFIX}"
        try:
            write_table(path, _table(self._new))
        except OSError:  # no place to keep it is no reason not to look
            self.folder = None
            return
        self._files.append(path)
        self._rows |= self._new
        self._new = {}
        self._written = time.monotonic()

    def tidy(self, keys: Collection[Key]) -> None:
        """Put several files into one, without what is not there any more; delete other code's."""
        if self.folder is None:
            return
        old = [path for path in self.folder.glob(f"*{SUFFIX}") if path not in self._present()]
        if len(self._files) > 1:
            old += self._files
            self._new = {key: self._rows[key] for key in keys if key in self._rows}
            self.flush()
        for path in old if self.folder else ():
            path.unlink(missing_ok=True)

    def _present(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self._prefix}*{SUFFIX}")) if self.folder else []


def _table(seen: Mapping[Key, Seen]) -> pd.DataFrame:
    rows = [
        (
            *key[:3],
            key[3].start_s,
            key[3].end_s,
            deep,
            glimpse.fault,
            "\n".join(glimpse.remarks),
            glimpse.digest,
            glimpse.sound.tobytes(),
            glimpse.pictures.tobytes(),
            glimpse.picture_s,
        )
        for key, (glimpse, deep) in seen.items()
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _read(path: Path) -> dict[Key, Seen]:
    """DamagedError where it is not what was written."""
    rows = read_table(path, _COLUMNS)
    return {
        (video, size, modified_ns, Part(start_s, end_s)): (
            Glimpse(
                fault,
                tuple(remarks.split("\n")) if remarks else (),
                digest,
                np.frombuffer(sound, np.uint16),
                np.frombuffer(pictures, np.uint64),
                picture_s,
            ),
            deep,
        )
        for (
            video,
            size,
            modified_ns,
            start_s,
            end_s,
            deep,
            fault,
            remarks,
            digest,
            sound,
            pictures,
            picture_s,
        ) in rows.itertuples(index=False, name=None)
    }
