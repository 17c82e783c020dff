"""What preprocessing made of each clip, read back by clip id.

Only what the manifest names is served, and only if it is what was written. Imports `manifest`.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from meiju_utils.errors import MissingStageError
from meiju_utils.files import fingerprint
from meiju_utils.preprocessing.manifest import MEDIA, ROWS, SUSPECT, checksum

NOTEBOOK = "01_preprocessing"


@dataclass(frozen=True)
class Place:
    """Where a clip's media are, each part's checksum, and what changes with the clip's source."""

    shard: str
    stamp: str
    parts: dict[str, int]


@dataclass(frozen=True)
class Preprocessed:
    """Audio, face crops and text of every clip of a corpus; picklable, reads on demand.

    key: changes with what shapes audio and faces. texts: clip id → text, all clips in the order of
    the clips table. places: of the clips that can be used. Asking for an unknown clip raises
    KeyError, reading what is damaged MissingStageError.
    """

    key: str
    folder: Path
    texts: dict[str, str]
    places: dict[str, Place] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)

    @property
    def clip_ids(self) -> list[str]:
        return list(self.texts)

    def stamp(self, clip_id: str) -> str:
        """Changes when audio and faces are made anew from another video; "" without one."""
        return self.stamps.get(clip_id, "")

    def has(self, clip_id: str, part: str) -> bool:
        """Whether the clip has a part: audio, frames, crops, track."""
        if clip_id not in self.texts:
            raise KeyError(clip_id)
        return clip_id in self.places and part in self.places[clip_id].parts

    def audio(self, clip_id: str) -> NDArray[np.float32]:
        """Mono samples in [-1, 1) at the profile's rate; empty where the clip has no sound."""
        return as_audio(self.samples(clip_id))

    def samples(self, clip_id: str) -> NDArray[np.int16]:
        """The same in 16 bit, as kept."""
        return self._part(clip_id, "audio", np.empty(0, np.int16))

    def frames(self, clip_id: str) -> list[NDArray[np.uint8]]:
        """The sampled frames, RGB [height, width, 3]."""
        return [picture_of(data) for data in self.jpegs(clip_id)]

    def jpegs(self, clip_id: str) -> list[NDArray[np.uint8]]:
        """The sampled frames as they are kept: bytes of JPEG files."""
        packed = self._part(clip_id, "frames", np.empty(0, np.uint8))
        return unpacked(packed, self._part(clip_id, "frame_ends", np.empty(0, np.int64)))

    def frame_times(self, clip_id: str) -> NDArray[np.float64]:
        """When each sampled frame is shown, in seconds from the clip's start: [n]."""
        return self._part(clip_id, "frame_times", np.empty(0))

    def faces(self, clip_id: str) -> NDArray[np.uint8]:
        """RGB crops [n, S, S, 3] of the face that stands for the clip; [0, 0, 0, 3] without."""
        return self._part(clip_id, "crops", np.empty((0, 0, 0, 3), np.uint8))

    def face_times(self, clip_id: str) -> NDArray[np.float64]:
        """When each crop is shown, in seconds from the clip's start: [n]."""
        return self._part(clip_id, "crop_times", np.empty(0))

    def track(self, clip_id: str) -> NDArray[np.float64]:
        """Where the face that stands for the clip is, 25 times a second: [T, 4] of seconds, centre
        x, centre y and half size in pixels of the frames (see `tracks.crop_face`)."""
        return self._part(clip_id, "track", np.empty((0, 4)))

    def text(self, clip_id: str) -> str:
        """The clean transcript, "" where there is none."""
        return self.texts[clip_id]

    def _part(self, clip_id: str, part: str, otherwise: NDArray[Any]) -> NDArray[Any]:
        if not self.has(clip_id, part):
            return otherwise
        place = self.places[clip_id]
        path = self.folder / f"{place.shard}{MEDIA}"
        try:
            status = path.stat()
            handle = _opened(path, status.st_size, status.st_mtime_ns)
            array = handle.get_tensor(f"{clip_id}/{part}")
        except FileNotFoundError:
            raise _again(path, "is not there") from None
        except (SafetensorError, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the file's
                raise
            raise _damaged(path, f"{error}") from error
        if checksum(array) != place.parts[part]:
            raise _damaged(path, f"the {part} of {clip_id} is not what was written")
        return np.asarray(array)


def as_audio(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples of 16 bit in [-1, 1)."""
    return np.asarray(samples.astype(np.float32) / np.float32(32768))


def unpacked(frames: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """The pictures, bytes of JPEG files, that lie one after another."""
    return [frames[start:end] for start, end in pairwise([0, *ends.tolist()])]


def picture_of(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB [height, width, 3] of the bytes of a JPEG file."""
    bgr = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return np.asarray(bgr, np.uint8)[..., ::-1].copy()


@lru_cache(maxsize=2)
def _opened(path: Path, size: int, modified_ns: int) -> Any:
    """A shard, mapped; few stay so, as what was read of them counts as memory."""
    path.open("rb").close()  # what cannot be opened is not damaged
    return safe_open(str(path), framework="numpy")


def _damaged(path: Path, reason: str) -> MissingStageError:
    """The other clips of the shard may still be read: 01 looks which are to be made again."""
    rows = path.with_suffix(ROWS)
    with suppress(OSError):
        rows.rename(rows.with_name(rows.name + SUSPECT))
    return _again(path, f"is damaged ({reason})")


def _again(path: Path, what: str) -> MissingStageError:
    return MissingStageError(
        f"{path} {what}. Run notebooks/{NOTEBOOK}.ipynb again: only its clips are made anew."
    )


def serve(key: str, folder: Path, texts: dict[str, str], manifest: pd.DataFrame) -> Preprocessed:
    """The clips of a manifest, with the texts of all."""
    stamps, places = {}, {}
    columns = ["clip_id", "shard", "parts", "problem", "source_size", "source_digest"]
    bounds = zip(manifest["start_s"], manifest["end_s"], strict=True)
    rows = manifest[columns].itertuples(index=False, name=None)
    for (clip_id, shard, parts, problem, size, digest), part in zip(rows, bounds, strict=True):
        stamps[clip_id] = fingerprint(size, digest, str(part), problem)
        if not problem:
            places[clip_id] = Place(shard, stamps[clip_id], json.loads(parts))
    return Preprocessed(key, folder, texts, places, stamps)
