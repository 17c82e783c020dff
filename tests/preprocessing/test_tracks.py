"""Detections become tracks within shots, and crops keep the geometry of the published tracker."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.preprocessing.tracks import FaceTrack, crop_face, follow_faces, scored_crops

Boxes = list[tuple[float, float, float, float]]


class Scripted:
    """A detector that is told what is in each frame, whose number is its first pixel."""

    def __init__(self, boxes_at: Callable[[int], Boxes]) -> None:
        self.boxes_at = boxes_at
        self.asked: list[int] = []

    def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.asked.append(int(picture[0, 0]))
        return np.array(self.boxes_at(self.asked[-1]), float).reshape(-1, 4)


def numbered(count: int) -> NDArray[np.uint8]:
    return np.arange(count, dtype=np.uint8)[:, None, None].repeat(4, axis=1).repeat(4, axis=2)


def test_faces_are_looked_for_in_one_frame_of_so_many_and_the_last_of_each_shot() -> None:
    detector = Scripted(lambda _: [])
    follow_faces(numbered(35), [22], detector, every=10)
    assert detector.asked == [0, 10, 20, 21, 22, 32, 34]


def test_boxes_are_interpolated_between_detections() -> None:
    detector = Scripted(lambda frame: [(frame, 0, frame + 100, 100)])
    (track,) = follow_faces(numbered(31), [], detector, every=10)
    assert (track.start, track.stop) == (0, 31)
    assert track.boxes[:, 0] == pytest.approx(np.arange(31))
    assert track.detected == (0, 10, 20, 30)


def test_two_faces_make_two_tracks_whatever_the_order_of_detections() -> None:
    both: Boxes = [(0, 0, 50, 50), (100, 0, 150, 50)]
    detector = Scripted(lambda frame: both[:: 1 if frame % 20 else -1])
    left, right = follow_faces(numbered(41), [], detector, every=10)
    assert np.ptp(left.boxes, axis=0).tolist() == [0, 0, 0, 0]
    assert right.boxes[0].tolist() == [100, 0, 150, 50]


def test_a_track_ends_at_a_cut() -> None:
    detector = Scripted(lambda _: [(0, 0, 50, 50)])
    first, second = follow_faces(numbered(40), [15], detector, every=5)
    assert (first.start, first.stop, first.shot) == (0, 15, 0)
    assert (second.start, second.stop, second.shot) == (15, 40, 1)


@pytest.mark.parametrize(("left", "tracks"), [(28, 1), (30, 2)])
def test_an_overlap_of_a_third_or_less_is_another_face(left: int, tracks: int) -> None:
    detector = Scripted(lambda frame: [(0, 0, 60, 60) if frame < 10 else (left, 0, left + 60, 60)])
    assert len(follow_faces(numbered(20), [], detector, every=5)) == tracks  # IoU 0.36, 0.33


def test_a_moving_face_is_found_where_it_must_have_gone_after_a_missed_detection() -> None:
    def boxes_at(frame: int) -> Boxes:
        return [] if frame == 20 else [(5 * frame, 0, 5 * frame + 90, 90)]  # 10 frames: IoU 0.29

    detector = Scripted(boxes_at)
    (track,) = follow_faces(numbered(41), [], detector, every=5)
    assert track.boxes[:, 0] == pytest.approx(5 * np.arange(41))


def test_jitter_of_a_still_face_does_not_send_it_away() -> None:
    def boxes_at(frame: int) -> Boxes:
        return [] if 10 < frame < 19 else [(8 * (frame % 2), 0, 50 + 8 * (frame % 2), 50)]

    assert len(follow_faces(numbered(40), [], Scripted(boxes_at), every=1)) == 1


@pytest.mark.parametrize(("gap", "tracks"), [(10, 1), (11, 2)])
def test_a_face_may_be_missed_for_ten_frames(gap: int, tracks: int) -> None:
    def boxes_at(frame: int) -> Boxes:
        return [] if 10 < frame < 10 + gap else [(0, 0, 50, 50)]

    assert len(follow_faces(numbered(40), [], Scripted(boxes_at), every=1)) == tracks


def test_one_missed_detection_does_not_end_a_track_where_detections_are_sparse() -> None:
    detector = Scripted(lambda frame: [] if frame == 10 else [(0, 0, 50, 50)])
    assert len(follow_faces(numbered(31), [], detector, every=10)) == 1


def test_a_face_is_held_half_an_interval_beyond_its_detections() -> None:
    detector = Scripted(lambda frame: [(0, 0, 50, 50)] if frame == 20 else [])
    (track,) = follow_faces(numbered(41), [], detector, every=10)
    assert (track.start, track.stop) == (15, 26)


def test_centre_and_size_are_smoothed_by_a_median_of_13() -> None:
    boxes = np.tile([10.0, 20.0, 50.0, 80.0], (30, 1))
    boxes[12:17] += 40  # five bad frames
    geometry = FaceTrack(0, boxes, (0, 29), 0).geometry()
    assert geometry == pytest.approx(np.tile([30, 50, 30], (30, 1)))


def test_a_crop_spans_1_4_half_sizes_sideways_1_above_and_1_8_below() -> None:
    picture = np.zeros((400, 400), np.uint8)
    x, y, half = 200, 180, 50
    picture[y - 50 : y + 90, x - 70 : x + 70] = 255
    crop = crop_face(picture, x, y, half, 140)
    assert crop.min() == 255  # exactly this region
    assert crop_face(picture, x + 10, y, half, 140)[:, -1].max() == 0


def test_beyond_the_picture_a_crop_is_padded_with_110() -> None:
    crop = crop_face(np.zeros((100, 100, 3), np.uint8), 0, 50, 50, 140)
    assert crop.shape == (140, 140, 3)
    assert (crop[:, :70] == 110).all()
    assert (crop[:100, 70:] == 0).all()
    assert (crop_face(np.zeros((9, 9), np.uint8), 500, 500, 20, 16) == 110).all()


def test_scored_crops_are_the_centres_of_the_wide_ones() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 120, 160), dtype=np.uint8)
    track = FaceTrack(1, np.tile([40.0, 20.0, 100.0, 80.0], (2, 1)), (1, 2), 0)
    wide = crop_face(frames[2], 70, 50, 30, 224)
    crops = scored_crops(frames, track)
    assert crops.shape == (2, 112, 112)
    assert np.array_equal(crops[1], wide[56:168, 56:168])
