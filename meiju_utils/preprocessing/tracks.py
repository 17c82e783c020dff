"""Which boxes are the same face? Detections joined into tracks within shots, and their crops.

The geometry is that of TalkNet's published demo. Imports OpenCV, numpy, `detectors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from meiju_utils.preprocessing.detectors import Detector
from meiju_utils.preprocessing.linking import Joined, link_pieces

LEAST_IOU = 0.35  # published: 0.5, which a box of the next scale but one of a detector has not
LONGEST_GAP = 10  # frames without a detection inside a track
MEDIAN_FRAMES = 13
PADDING = 110  # grey value beyond the picture's edge
WIDE_SIZE = 224  # pixels of a whole crop, whose centre is scored
SCORED_SIZE = 112


@dataclass(frozen=True)
class FaceTrack:
    """One face in one shot, frame by frame at 25 a second.

    start: its first frame. boxes: [T, 4] left, top, right, bottom in pixels of the tracking
    frames, detected or interpolated. detected: the frames of actual detections. shot: which one.
    away: [from, to) of the moments between two of its pieces, when nobody saw the face.
    """

    start: int
    boxes: NDArray[np.float64]
    detected: tuple[int, ...]
    shot: int
    away: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def stop(self) -> int:
        """The frame after its last."""
        return self.start + len(self.boxes)

    def shows(self, frame: int) -> bool:
        """Whether the face is to be seen in a frame of the clip."""
        away = any(first <= frame < stop for first, stop in self.away)
        return self.start <= frame < self.stop and not away

    @property
    def shown(self) -> int:
        """In how many frames the face is to be seen."""
        return len(self) - sum(stop - first for first, stop in self.away)

    def mean_of(self, scores: NDArray[np.float32]) -> float:
        """The mean of scores by frame [T], over those that show the face."""
        seen = [self.shows(frame) for frame in range(self.start, self.start + len(scores))]
        return float(scores[seen].mean())

    def geometry(self) -> NDArray[np.float64]:
        """Centre x, centre y and half size of the face [T, 3], smoothed by a running median."""
        left, top, right, bottom = self.boxes.T
        size = np.maximum(right - left, bottom - top) / 2
        edge = MEDIAN_FRAMES // 2
        values = np.stack([(left + right) / 2, (top + bottom) / 2, size], axis=1)
        padded = np.pad(values, ((edge, edge), (0, 0)), mode="edge")
        windows = sliding_window_view(padded, MEDIAN_FRAMES, axis=0)
        return np.asarray(np.median(windows, axis=-1), np.float64)


def follow_faces(
    frames: NDArray[np.uint8], cuts: Sequence[int], detector: Detector, every: int
) -> list[FaceTrack]:
    """Tracks in grey frames [t, h, w] at 25 a second, cut into shots at the frames `cuts`.

    Faces are looked for in one of `every` frames of a shot and in its last one. A detection
    continues the track it overlaps most, by more than LEAST_IOU, at the track's last box or where
    that would be if the face moved on as before. The box may be LONGEST_GAP frames old, or one
    missed detection where detections are further apart; pieces of one person are then linked (see
    `linking`). Between detections boxes are interpolated;
    half an interval before the first and after the last they stay.
    """
    bounds = [0, *cuts, len(frames)]
    tracks = []
    for shot, (first, end) in enumerate(pairwise(bounds)):
        looked = sorted({*range(first, end, every), end - 1}) if end > first else []
        found = [(frame, detector.detect(frames[frame])) for frame in looked]
        gap = max(LONGEST_GAP, 2 * every)
        for joined in link_pieces(_join(found, gap), frames):
            tracks.append(_track(joined, shot, first, end, every // 2, gap))
    return sorted(tracks, key=lambda track: (track.start, track.boxes[0, 0]))


def _join(found: Sequence[tuple[int, NDArray[np.float64]]], gap: int) -> list[Joined]:
    """Detections of one shot as lists of (frame, box), one list a face; best overlaps first."""
    tracks: list[Joined] = []
    for frame, boxes in found:
        open_tracks = [track for track in tracks if frame - track[-1][0] <= gap]
        overlaps = np.array(
            [[_overlap(track, frame, box) for box in boxes] for track in open_tracks]
        ).reshape(len(open_tracks), len(boxes))
        new = set(range(len(boxes)))
        while overlaps.size and overlaps.max() > LEAST_IOU:
            which, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
            open_tracks[which].append((frame, boxes[box]))
            new.discard(int(box))
            overlaps[which, :] = 0
            overlaps[:, box] = 0
        tracks.extend([(frame, boxes[box])] for box in sorted(new))
    return tracks


def _track(joined: Joined, shot: int, first: int, end: int, hold: int, gap: int) -> FaceTrack:
    detected = [frame for frame, _ in joined]
    start, stop = max(first, detected[0] - hold), min(end, detected[-1] + hold + 1)
    boxes = np.stack([box for _, box in joined])
    moments = np.arange(start, stop)
    between = [np.interp(moments, detected, column) for column in boxes.T]
    away = tuple((a + hold + 1, b - hold) for a, b in pairwise(detected) if b - a > gap)
    return FaceTrack(start, np.stack(between, axis=1), tuple(detected), shot, away)


def _overlap(track: Joined, frame: int, box: NDArray[np.float64]) -> float:
    """Of a box with the track's last one, resting or moved on as before, whichever fits better.

    Resting counts too, since the steps of a still face are the detector's jitter.
    """
    last, resting = track[-1]
    if len(track) == 1:
        return _iou(resting, box)
    before, earlier = track[-2]
    moved = resting + (resting - earlier) * (frame - last) / (last - before)
    return max(_iou(resting, box), _iou(moved, box))


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes."""
    across, down = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(shared / (areas - shared))


def crop_face(
    picture: NDArray[np.uint8], x: float, y: float, half: float, size: int
) -> NDArray[np.uint8]:
    """The square around a face of centre (x, y) and half size `half`, scaled to `size` pixels.

    It spans x ± 1.4·half and y from −half to +1.8·half; beyond the picture it is PADDING.
    """
    left, top = round(x - 1.4 * half), round(y - half)
    side = max(1, round(2.8 * half))
    height, width = picture.shape[:2]
    inside = picture[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    beyond = (
        min(max(0, -top), side),
        min(max(0, top + side - height), side),
        min(max(0, -left), side),
        min(max(0, left + side - width), side),
    )
    if inside.size == 0:  # wholly beyond the edge
        return np.full((size, size, *picture.shape[2:]), PADDING, np.uint8)
    square = cv2.copyMakeBorder(
        inside, *beyond, borderType=cv2.BORDER_CONSTANT, value=(PADDING,) * 3
    )
    quality = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=quality), np.uint8)


def scored_crops(frames: NDArray[np.uint8], track: FaceTrack) -> NDArray[np.uint8]:
    """What a speaker scorer sees of a track: grey [T, 112, 112], the centres of 224-pixel crops.

    `frames` are all tracking frames of the clip.
    """
    edge = (WIDE_SIZE - SCORED_SIZE) // 2
    centre = slice(edge, edge + SCORED_SIZE)
    crops = [
        crop_face(frame, x, y, half, WIDE_SIZE)[centre, centre]
        for frame, (x, y, half) in zip(
            frames[track.start : track.stop], track.geometry(), strict=True
        )
    ]
    return np.stack(crops)
