"""Whose face stands for the clip? The speaker's where it can be told, else the best there is.

Imports `media`, `shots`, `tracks`, `detectors`, `speaker`, `config`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from meiju_utils.config import Preprocessing
from meiju_utils.media.frames import TRACKING_RATE
from meiju_utils.media.reading import Media
from meiju_utils.preprocessing.detectors import make_detector
from meiju_utils.preprocessing.shots import shot_boundaries
from meiju_utils.preprocessing.speaker import LEAST_FRAMES, is_silent, make_scorer
from meiju_utils.preprocessing.tracks import (
    PADDING,
    FaceTrack,
    crop_face,
    follow_faces,
    scored_crops,
)

Choice = Literal["speaker", "only-face", "largest-face", "whole-frame", "none"]

# A face seen for less is taken for a false detection while others are there. As published, each
# of these frames must show it; where they are not all looked at, those that are, and at least two.
LEAST_TRACK = 10  # frames
NO_TRACK = np.empty((0, 4))


@dataclass(frozen=True)
class ClipFaces:
    """The faces of a clip, how each moves with the voice, and which stands for the clip.

    tracks: all of them. scores: for each its scores [T] by frame, None where it was not scored.
    chosen: for each sampled frame the track its crop is taken from; -1: the whole frame, or none.
    choice, reason: by which rule and why. score: of the chosen track, NaN where not scored.
    crops: [n, S, S, 3] RGB at `times` [n] seconds; frames without the chosen face are left out.
    track: [T, 4], where that face is at each moment that shows it, 25 a second: seconds, then
    centre x, centre y and half size in pixels of the sampled frames, of which `crop_face` makes a
    crop.
    """

    tracks: tuple[FaceTrack, ...]
    scores: tuple[NDArray[np.float32] | None, ...]
    chosen: tuple[int, ...]
    choice: Choice
    reason: str
    score: float
    crops: NDArray[np.uint8]
    times: NDArray[np.float64]
    track: NDArray[np.float64]

    @property
    def track_scores(self) -> NDArray[np.float64]:
        """Mean score of every track, NaN where not scored."""
        pairs = zip(self.tracks, self.scores, strict=True)
        return np.array([np.nan if s is None else track.mean_of(s) for track, s in pairs])


@dataclass(frozen=True)
class _Decision:
    """For each sampled frame its track or -1, by which rule and why; `allowed` stand for the clip,
    in each frame the one of the highest `means`."""

    chosen: tuple[int, ...]
    choice: Choice
    reason: str
    allowed: frozenset[int] = frozenset()
    means: dict[int, float] = field(default_factory=dict)

    def at(self, tracks: Sequence[FaceTrack], moment: int) -> int:
        """The track that stands for the clip at a moment; -1 where none of the allowed shows."""
        showing = [w for w in self.allowed if tracks[w].shows(moment)]
        return max(showing, key=lambda which: (self.means.get(which, 0), -which), default=-1)


def find_faces(media: Media, settings: Preprocessing) -> ClipFaces:
    """Follow the faces of a clip, score them, and crop the one that stands for it.

    The rules, in this order:

    1. one face only: it is taken, its score recorded;
    2. active speaker: in every sampled frame the face whose track scores highest, if above zero;
       frames that show no such face, as when it is turned away, are left out. Tracks under one
       second are not scored, nor is any where the clip is silent;
    3. largest face: where nothing was scored, or nothing scores above zero;
    4. whole frame: where no sampled frame shows a face.
    """
    size = settings.faces.crop_size
    if not len(media.frames):
        decision = _Decision((), "none", "no video")
        return _result((), (), decision, [], media.frame_times)
    tracks = _tracks(media, settings)
    silent = is_silent(media.audio)
    scorer = make_scorer(settings.speaker, media.sample_rate, settings.device)
    hop = media.sample_rate // TRACKING_RATE
    asked = [w for w, track in enumerate(tracks) if not silent and track.shown >= LEAST_FRAMES]
    heard = scorer.score_all(
        [
            (media.audio[tracks[w].start * hop :], scored_crops(media.tracking, tracks[w]))
            for w in asked
        ]
    )
    answers = dict(zip(asked, heard, strict=True))
    scores = tuple(answers.get(which) for which in range(len(tracks)))
    moments = np.rint(media.frame_times * TRACKING_RATE).astype(int)
    moments = np.minimum(moments, len(media.tracking) - 1)
    decision = _decide(tracks, scores, moments, silent)
    if decision.choice == "whole-frame":
        crops = [_letterbox(frame, size) for frame in media.frames]
        return _result(tracks, scores, decision, crops, media.frame_times)
    track = _chosen_track(tracks, decision, media)
    place = {round(row[0] * TRACKING_RATE): row[1:] for row in track}
    shown = [index for index, which in enumerate(decision.chosen) if which >= 0]
    crops = [_crop(media.frames[i], place[int(moments[i])], size) for i in shown]
    return _result(tracks, scores, decision, crops, media.frame_times[shown], track)


def _chosen_track(
    tracks: Sequence[FaceTrack], decision: _Decision, media: Media
) -> NDArray[np.float64]:
    """Where the face that stands for the clip is, as `ClipFaces.track`."""
    scale = media.frames.shape[2] / media.tracking.shape[2]
    geometry = {which: tracks[which].geometry() * scale for which in decision.allowed}
    rows = [
        (moment / TRACKING_RATE, *geometry[which][moment - tracks[which].start])
        for moment in range(len(media.tracking))
        if (which := decision.at(tracks, moment)) >= 0
    ]
    return np.asarray(rows, np.float64).reshape(-1, 4)


def _tracks(media: Media, settings: Preprocessing) -> tuple[FaceTrack, ...]:
    every = settings.faces.detect_every
    tracks = follow_faces(
        media.tracking,
        shot_boundaries(media.thumbnails),
        make_detector(settings.faces.detector),
        every,
    )
    least = max(2, math.ceil(LEAST_TRACK / every))
    lasting = [t for t in tracks if len(t) >= LEAST_TRACK and len(t.detected) >= least]
    return tuple(lasting or tracks)


def _decide(
    tracks: Sequence[FaceTrack],
    scores: Sequence[NDArray[np.float32] | None],
    moments: Iterable[int],
    silent: bool,
) -> _Decision:
    moments = tuple(moments)
    showing = [
        [which for which, track in enumerate(tracks) if track.shows(moment)] for moment in moments
    ]
    usable = {which for faces in showing for which in faces}
    if not usable:
        reason = "the faces appear between the sampled frames" if tracks else "no face found"
        return _Decision((-1,) * len(moments), "whole-frame", reason)
    means = {w: tracks[w].mean_of(s) for w, s in enumerate(scores) if s is not None}
    speaking = {which for which in usable if means.get(which, 0) > 0}
    choice: Choice
    if len(usable) == 1:
        allowed, choice = usable, "only-face"
        reason = "no other face" + (" in the sampled frames" if len(tracks) > 1 else "")
        if not usable & means.keys():
            reason += ", not scored: " + ("silent clip" if silent else "under one second")
        elif not speaking:
            reason += "; it does not follow the voice"
    elif speaking:
        allowed, choice = speaking, "speaker"
        reason = f"follows the voice best of {len(usable)} faces"
    else:
        sizes = {which: float(np.median(tracks[which].geometry()[:, 2])) for which in usable}
        allowed, choice = {max(sizes, key=lambda which: sizes[which])}, "largest-face"
        if silent:
            reason = "silent clip"
        elif not usable & means.keys():
            reason = "faces seen for under one second"
        else:
            reason = "no face follows the voice"
    decision = _Decision((), choice, reason, frozenset(allowed), means)
    return replace(decision, chosen=tuple(decision.at(tracks, moment) for moment in moments))


def _result(
    tracks: tuple[FaceTrack, ...],
    scores: tuple[NDArray[np.float32] | None, ...],
    decision: _Decision,
    crops: list[NDArray[np.uint8]],
    times: NDArray[np.float64],
    track: NDArray[np.float64] = NO_TRACK,
) -> ClipFaces:
    stand = set(decision.chosen) - {-1}
    means = [tracks[w].mean_of(s) for w in stand if (s := scores[w]) is not None]
    return ClipFaces(
        tracks=tracks,
        scores=scores,
        chosen=decision.chosen,
        choice=decision.choice,
        reason=decision.reason,
        score=max(means, default=float("nan")),
        crops=np.stack(crops) if crops else np.empty((0, 0, 0, 3), np.uint8),
        times=times,
        track=track,
    )


def _crop(frame: NDArray[np.uint8], place: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    x, y, half = place.tolist()
    return crop_face(frame, x, y, half, size)


def _letterbox(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole frame scaled into a square, padded where it is not one."""
    height, width = frame.shape[:2]
    scale = size / max(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    quality = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((size, size, 3), PADDING, np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = cv2.resize(
        frame, (wide, high), interpolation=quality
    )
    return square
