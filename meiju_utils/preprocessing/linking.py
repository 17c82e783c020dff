"""Which pieces of tracks show one person? Within a shot, by place, size and looks.

A detector loses a head that turns away or moves fast, and finds it again elsewhere: what overlaps
no more is then told by whether it is where the head can be by now, as large, and looks alike.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from meiju_utils.media.frames import TRACKING_RATE

Box = NDArray[np.float64]
Joined = list[tuple[int, Box]]  # detections of one face: frame, then left, top, right, bottom

LONGEST_AWAY = 2 * TRACKING_RATE  # frames between two pieces
REACH = 0.5  # face sizes a head may be off where it was, and
SPEED = 2.0  # more for every second in between
SIZES = 1.4  # times as large or small, at most
ALIKE = 0.6  # correlation of looks; chosen, as the others, on drawn heads (benchmarks/tracks.py)
SEEN_ONCE_EACH = 2  # detections
LOOKED_AT = 3  # detections at a piece's end whose looks are compared
LOOK = 16  # pixels of a look's side


def link_pieces(pieces: Sequence[Joined], frames: NDArray[np.uint8]) -> list[Joined]:
    """The pieces of one shot, those of one person joined; best matches first.

    frames: [t, h, w], all tracking frames of the clip, grey.
    """
    looks = [(_looks(p[:LOOKED_AT], frames), _looks(p[-LOOKED_AT:], frames)) for p in pieces]
    found = sorted(
        (
            (likeness, before, after)
            for before, one in enumerate(pieces)
            for after, other in enumerate(pieces)
            if before != after
            and len(one) + len(other) > SEEN_ONCE_EACH  # or a pattern of the wall found twice
            and _can_follow(one, other)
            and (likeness := _likeness(looks[before][1], looks[after][0])) >= ALIKE
        ),
        reverse=True,
    )
    next_of: dict[int, int] = {}
    taken: set[int] = set()
    for _, before, after in found:
        if before not in next_of and after not in taken:
            next_of[before] = after
            taken.add(after)
    linked = []
    for first in range(len(pieces)):
        if first in taken:
            continue
        chain, at = list(pieces[first]), first
        while at in next_of:
            at = next_of[at]
            chain += pieces[at]
        linked.append(chain)
    return linked


def _can_follow(before: Joined, after: Joined) -> bool:
    """Whether a head can have come from the end of one piece to the start of another."""
    (last, box), (first, other) = before[-1], after[0]
    if not 0 < first - last <= LONGEST_AWAY:
        return False
    sizes = sorted([_size(box), _size(other)])
    way = float(np.hypot(*(_centre(other) - _centre(box))))
    reach = (REACH + SPEED * (first - last) / TRACKING_RATE) * sizes[0]
    return sizes[1] <= SIZES * sizes[0] and way <= reach


def _centre(box: Box) -> NDArray[np.float64]:
    return np.asarray((box[:2] + box[2:]) / 2)


def _size(box: Box) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


def _looks(detections: Joined, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The faces of some detections [n, LOOK²], each of mean 0 and length 1."""
    looks = []
    for frame, box in detections:
        height, width = frames.shape[1:]
        left, top = np.clip(np.rint(box[:2]).astype(int), 0, (width - 1, height - 1))
        right, bottom = np.clip(np.rint(box[2:]).astype(int), (left + 1, top + 1), (width, height))
        face = cv2.resize(
            frames[frame, top:bottom, left:right], (LOOK, LOOK), interpolation=cv2.INTER_AREA
        ).astype(np.float64)
        face -= face.mean()
        looks.append((face / max(float(np.linalg.norm(face)), 1e-6)).ravel())
    return np.array(looks)


def _likeness(some: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The best correlation between looks, as of two frontal moments."""
    return float((some @ others.T).max())
