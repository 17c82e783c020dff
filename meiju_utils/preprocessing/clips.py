"""One clip: from its file to audio, face crops and a record in the run folder.

The record is written last and whole, so a clip is done exactly when its record is there. Imports
`media`, `faces`, `speaker`, `pitch`, `files`, `config`, `errors`.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile

from meiju_utils.config import Preprocessing
from meiju_utils.errors import MediaError
from meiju_utils.files import atomic_path, read_json, write_json
from meiju_utils.media.reading import Media, read_media
from meiju_utils.preprocessing.faces import ClipFaces, find_faces
from meiju_utils.preprocessing.pitch import final_rise
from meiju_utils.preprocessing.speaker import is_silent

# A record is plain JSON:
#   clip_id, source (size and time of the file it was made from), problem and reason ("" if usable);
#   of a usable clip also media (its row of the media table), files (names below the folder),
#   flags ([problem, reason] of what is only partly wrong), final_rise (semitones or null).
Record = dict[str, Any]

# A worker writes a file in well under this; older ones are from a process that was killed.
_PARTIAL_AGE_S = 60


@dataclass(frozen=True)
class ClipTask:
    """A clip's name, its video and the folder its outputs go to."""

    clip_id: str
    video: Path
    folder: Path
    settings: Preprocessing

    @property
    def record(self) -> Path:
        return self.folder / "records" / f"{self.clip_id}.json"


def finished_record(task: ClipTask) -> Record | None:
    """The record of a clip that is done; None if it is not, or its video or outputs changed."""
    try:
        record: Record = read_json(task.record)
        source = file_stamp(task.video)
    except (OSError, ValueError):
        return None
    whole = all((task.folder / name).is_file() for name in record.get("files", []))
    return record if whole and record["source"] == source else None


def preprocess_clip(task: ClipTask) -> Record:
    """Decode a clip, follow its faces, write its outputs and its record; returns the record.

    A clip that cannot be used gets a record that says so, and is not tried again until its file
    changes. An unexpected error is returned in the same form but not recorded.
    """
    cv2.setNumThreads(1)  # clips are spread over processes; OpenCV would take every core in each
    try:
        record = _preprocess(task)
    except MediaError as error:
        record = _unusable(task, error)
        _forget(task)
    except Exception as error:  # whatever one odd clip provokes must not stop the others
        return _unusable(task, error)
    write_json(task.record, record)
    return record


def remove_partial_files(folder: Path) -> None:
    """Delete what killed processes left half written below the folder of preprocessed clips."""
    for path in folder.glob("*/.partial-*"):
        if time.time() - path.stat().st_mtime > _PARTIAL_AGE_S:
            path.unlink(missing_ok=True)


def _preprocess(task: ClipTask) -> Record:
    settings = task.settings
    source = file_stamp(task.video) if task.video.is_file() else {}
    media = read_media(
        task.video, settings.sample_rate, settings.frame_stride, settings.faces.tracking_side
    )
    faces = find_faces(media, settings)
    _forget(task)
    return {
        "clip_id": task.clip_id,
        "source": source,
        "problem": "",
        "reason": "",
        "media": _media_row(task.clip_id, media, faces),
        "files": _write_outputs(task, media, faces),
        "flags": [list(flag) for flag in media.flags],
        "final_rise": _number(
            math.nan if is_silent(media.audio) else final_rise(media.audio, media.sample_rate)
        ),
    }


def _media_row(clip_id: str, media: Media, faces: ClipFaces) -> Record:
    return {
        "clip_id": clip_id,
        "duration_s": round(media.duration_s, 4),
        "fps": round(media.fps, 4),
        "width": media.width,
        "height": media.height,
        "video_frames": media.video_frames,
        "sampled_frames": len(media.frames),
        "audio_rate": media.audio_rate,
        "audio_channels": media.audio_channels,
        "faces": len(faces.tracks),
        "face_choice": faces.choice,
        "face_score": _number(faces.score),
        "face_reason": faces.reason,
    }


def _write_outputs(task: ClipTask, media: Media, faces: ClipFaces) -> list[str]:
    files = []
    if media.audio.size:
        files.append(f"audio/{task.clip_id}.wav")
        with atomic_path(task.folder / files[-1]) as temporary:
            samples = np.rint(media.audio * 32768).astype(np.int16)  # exact: see Media.audio
            soundfile.write(temporary, samples, media.sample_rate, subtype="PCM_16")
    if len(faces.crops):
        files.append(f"faces/{task.clip_id}.npz")
        with atomic_path(task.folder / files[-1]) as temporary:
            np.savez_compressed(temporary, crops=faces.crops, times=faces.times)
    return files


def _forget(task: ClipTask) -> None:
    """Remove what an earlier video of this clip left, its record first."""
    for path in (
        task.record,
        task.folder / "audio" / f"{task.clip_id}.wav",
        task.folder / "faces" / f"{task.clip_id}.npz",
    ):
        path.unlink(missing_ok=True)


def _unusable(task: ClipTask, error: Exception) -> Record:
    return {
        "clip_id": task.clip_id,
        "source": file_stamp(task.video) if task.video.is_file() else {},
        "problem": type(error).__name__,
        "reason": str(error),
    }


def file_stamp(path: Path) -> dict[str, int]:
    """Size and time of a file: what was made from it is made anew when they change."""
    status = path.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else round(value, 4)
