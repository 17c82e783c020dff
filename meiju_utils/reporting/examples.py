"""Which clips illustrate a notebook: chosen so that nothing optional is taken for granted.

A clip may lack words, sound, picture, faces or its video, and there may be none that shows what is
to be seen. Imports `challenge`, `errors`, `reporting.plots`, `run` and, when used, `preprocessing`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import Task
from meiju_utils.errors import MeijuError
from meiju_utils.reporting import plots
from meiju_utils.run import Run

Picture = NDArray[np.uint8]  # [H, W, 3] RGB
Pictures = NDArray[np.uint8]  # [n, H, W, 3] RGB
Some = TypeVar("Some", bound=Sized)

_LABELS = 10  # of which faces are shown
_TRIED = 20  # clips that are looked at before it is said that there is none


def example_clip(clips: pd.DataFrame, media: pd.DataFrame) -> pd.Series:
    """A row of the clips table: the first that was decoded and has words, else one of the two."""
    decoded = clips["clip_id"].isin(media["clip_id"])
    merits = 2 * decoded.to_numpy() + (clips["text"] != "").to_numpy()
    return clips.iloc[int(merits.argmax())]


def kept_frames(
    media: pd.DataFrame, frames_of: Callable[[str], Sequence[Picture]], clips: int = 3
) -> plots.Plot:
    """The frames that are kept of the first so many clips with a picture."""
    shown = _first_with_pictures(media["clip_id"], frames_of, clips)
    pairs = [(frame, clip_id) for clip_id, frames in shown.items() for frame in frames]
    return plots.frame_strip([frame for frame, _ in pairs], [clip_id for _, clip_id in pairs])


def faces_by_label(
    clips: pd.DataFrame, task: Task, faces_of: Callable[[str], Pictures]
) -> plots.Plot:
    """Of each of a task's most frequent labels the face crops of a labelled clip that has any."""
    crops: dict[str, Pictures] = {}
    counts = clips.loc[clips[task] != "", task].value_counts().head(_LABELS)
    for label in sorted(counts.index):
        found = _first_with_pictures(clips.loc[clips[task] == label, "clip_id"], faces_of, 1)
        crops |= {f"{label} · {clip_id}": faces for clip_id, faces in found.items()}
    return plots.face_crops(crops)


def speaking_faces(run: Run, media: pd.DataFrame, clips: int = 2) -> list[plots.Plot]:
    """The faces of the first so many clips with two, how each follows the voice, which was chosen.

    Where no clip has two faces, one figure that says so.
    """
    from meiju_utils.preprocessing import inspect_clip

    with_two = media.loc[media["faces"] == 2, "clip_id"].head(clips)
    shown = []
    for clip_id in with_two:
        try:
            shown.append(plots.speaker_tracks(*inspect_clip(run, clip_id), title=clip_id))
        except MeijuError as error:
            shown.append(plots.message(f"{clip_id} cannot be shown: {type(error).__name__}."))
    return shown or [plots.message("No clip has two faces: there was no speaker to choose.")]


def _first_with_pictures(
    clip_ids: Iterable[str], pictures_of: Callable[[str], Some], clips: int
) -> Mapping[str, Some]:
    found: dict[str, Some] = {}
    for clip_id in list(clip_ids)[:_TRIED]:
        if len(found) == clips:
            break
        try:
            pictures = pictures_of(clip_id)
        except MeijuError:  # its video is gone or was replaced; another illustrates as well
            continue
        if len(pictures):
            found[clip_id] = pictures
    return found
