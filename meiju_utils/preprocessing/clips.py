"""One video: from its file to a manifest row and media for each clip that is it or a part of it.

Imports `media`, `faces`, `manifest`, `pitch`, `speaker`, `config`, `errors`, `parallel`.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from meiju_utils.config import Preprocessing
from meiju_utils.errors import MediaError
from meiju_utils.media.reading import Media, Part, read_parts
from meiju_utils.parallel.faults import Failure, failure_of
from meiju_utils.preprocessing.faces import ClipFaces, find_faces
from meiju_utils.preprocessing.manifest import Media as Arrays
from meiju_utils.preprocessing.manifest import Row
from meiju_utils.preprocessing.pitch import final_rise
from meiju_utils.preprocessing.speaker import is_silent

JPEG_QUALITY = 95


@dataclass(frozen=True)
class VideoTask:
    """A video, and the clips that are it or parts of it; `name` is relative to the data folder."""

    video: Path
    name: str
    clips: tuple[tuple[str, Part], ...]
    settings: Preprocessing
    setting: str  # the store's identity, for the rows

    @property
    def clip_ids(self) -> list[str]:
        return [clip_id for clip_id, _ in self.clips]


@dataclass(frozen=True)
class Made:
    """What became of a video's clips: rows with their media, and clips that raised unexpectedly."""

    clips: list[tuple[Row, Arrays]]
    failures: list[Failure]


@dataclass(frozen=True)
class Source:
    """What a clip was made from: a file's size, time of change and content."""

    size: int
    modified_ns: int
    digest: str


def preprocess_video(task: VideoTask) -> Made:
    """Decode a video once, follow the faces of each of its clips, and say what becomes of it.

    A clip that cannot be used has a row that says so, and is not tried again until its file
    changes. An unexpected error of one clip is a failure and stops no other.
    """
    cv2.setNumThreads(1)  # clips are spread over processes; OpenCV would take every core in each
    source = source_of(task.video)
    if source.size < 0:
        gone = MediaError(f"{task.name}: no such file. Restore it or take it off the list.")
        return Made([], [failure_of(clip_id, gone) for clip_id in task.clip_ids])
    settings = task.settings
    made: dict[int, tuple[Row, Arrays]] = {}
    failures = []
    try:
        for index, media in read_parts(
            task.video,
            [part for _, part in task.clips],
            settings.sample_rate,
            settings.frame_stride,
            settings.faces.tracking_side,
        ):
            try:
                made[index] = _usable(task, index, source, media)
            except MediaError as error:
                made[index] = _unusable(task, index, source, error), {}
            except Exception as error:  # whatever one odd clip provokes must not stop the others
                failures.append(failure_of(task.clips[index][0], error))
                made[index] = {}, {}
    except MediaError as error:  # of the whole video
        for index in set(range(len(task.clips))) - made.keys():
            made[index] = _unusable(task, index, source, error), {}
    return Made([made[index] for index in sorted(made) if made[index][0]], failures)


def source_of(video: Path) -> Source:
    """Size, time of change and content of a video as they are now; size -1 where there is none."""
    try:
        with video.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        status = video.stat()
    except OSError:
        return Source(-1, 0, "")
    return Source(status.st_size, status.st_mtime_ns, digest)


def _usable(
    task: VideoTask, index: int, source: Source, media: Media | MediaError
) -> tuple[Row, Arrays]:
    if isinstance(media, MediaError):
        raise media
    faces = find_faces(media, task.settings)
    silent = is_silent(media.audio)
    row = {
        **_origin(task, index, source),
        "duration_s": round(media.duration_s, 4),
        "fps": round(media.fps, 4),
        "width": media.width,
        "height": media.height,
        "video_frames": media.video_frames,
        "sampled_frames": len(media.frames),
        "sample_rate": media.sample_rate,
        "audio_rate": media.audio_rate,
        "audio_channels": media.audio_channels,
        "faces": len(faces.tracks),
        "face_choice": faces.choice,
        "face_score": _rounded(faces.score),
        "face_reason": faces.reason,
        "final_rise": _rounded(math.nan if silent else final_rise(media.audio, media.sample_rate)),
        "flags": json.dumps([list(flag) for flag in media.flags], ensure_ascii=False),
    }
    return row, _arrays(media, faces)


def _arrays(media: Media, faces: ClipFaces) -> Arrays:
    jpegs = [jpeg(frame) for frame in media.frames]
    return {
        "audio": np.rint(media.audio * 32768).astype(np.int16),  # exact: see Media.audio
        "frames": np.concatenate([np.empty(0, np.uint8), *jpegs]),
        "frame_ends": np.cumsum([picture.size for picture in jpegs], dtype=np.int64),
        "frame_times": media.frame_times,
        "crops": faces.crops,
        "crop_times": faces.times,
        "track": faces.track,
    }


def jpeg(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes of an RGB picture as a JPEG file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(encoded, np.uint8).ravel()


def _unusable(task: VideoTask, index: int, source: Source, error: Exception) -> Row:
    row = _origin(task, index, source)
    return {**row, "problem": type(error).__name__, "reason": str(error), "flags": "[]"}


def _origin(task: VideoTask, index: int, source: Source) -> Row:
    clip_id, part = task.clips[index]
    return {
        "clip_id": clip_id,
        "video": task.name,
        "start_s": part.start_s,
        "end_s": part.end_s,
        "source_size": source.size,
        "source_modified_ns": source.modified_ns,
        "source_digest": source.digest,
        "setting": task.setting,
    }


def _rounded(value: float) -> float:
    return value if math.isnan(value) else round(value, 4)
