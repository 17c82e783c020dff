"""Pieces of one person's track are joined, those of two people are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.preprocessing.linking import LONGEST_AWAY, Joined, link_pieces
from meiju_utils.preprocessing.tracks import follow_faces

SIDE = 60
Faces = dict[str, NDArray[np.uint8]]


@pytest.fixture
def faces() -> Faces:
    """Looks of two people: soft patterns that have nothing in common."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 255, (6, 6), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
        for name in ("anna", "ben")
    }


def film(faces: Faces, seen: dict[int, list[tuple[str, int, int]]]) -> NDArray[np.uint8]:
    """Frames with faces: frame → who, left, top."""
    frames = np.full((140, 240, 400), 90, np.uint8)
    for frame, there in seen.items():
        for who, left, top in there:
            frames[frame, top : top + SIDE, left : left + SIDE] = faces[who]
    return frames


def at(frame: int, left: float, top: float, side: float = SIDE) -> tuple[int, NDArray[np.float64]]:
    return frame, np.array([left, top, left + side, top + side], float)


def spans(linked: list[Joined]) -> list[list[int]]:
    return sorted([frame for frame, _ in piece] for piece in linked)


def test_who_turns_away_and_comes_back_is_one_person(faces: Faces) -> None:
    seen = {0: [("anna", 50, 50)], 10: [("anna", 60, 50)], 40: [("anna", 130, 60)]}
    pieces = [[at(0, 50, 50), at(10, 60, 50)], [at(40, 130, 60)]]
    assert spans(link_pieces(pieces, film(faces, seen))) == [[0, 10, 40]]
    assert spans(link_pieces(pieces[::-1], film(faces, seen))) == [[0, 10, 40]]


def test_who_looks_unlike_is_another_person(faces: Faces) -> None:
    seen = {10: [("anna", 50, 50)], 40: [("ben", 50, 50)]}
    pieces = [[at(10, 50, 50)], [at(40, 50, 50)]]
    assert spans(link_pieces(pieces, film(faces, seen))) == [[10], [40]]


@pytest.mark.parametrize(
    ("frame", "left", "side", "linked"),
    [
        (30, 50 + 125, SIDE, True),  # 0.8 s: 2.1 sizes
        (30, 50 + 130, SIDE, False),
        (10 + LONGEST_AWAY, 50, SIDE, True),
        (11 + LONGEST_AWAY, 50, SIDE, False),
        (30, 50, 84, True),
        (30, 50, 90, False),
    ],
)
def test_a_head_can_only_be_where_it_can_have_got_to(
    faces: Faces, frame: int, left: int, side: int, linked: bool
) -> None:
    frames = film(faces, {10: [("anna", 50, 50)]})
    grown = np.kron(faces["anna"][::10, ::10], np.ones((side // 6, side // 6), np.uint8))
    frames[frame, 50 : 50 + len(grown), left : left + len(grown)] = grown
    frames[5] = frames[10]
    found = link_pieces([[at(5, 50, 50), at(10, 50, 50)], [at(frame, left, 50, side)]], frames)
    assert (len(found) == 1) == linked


def test_two_people_who_pass_each_other_stay_two(faces: Faces) -> None:
    before, after = [("anna", 100, 50), ("ben", 180, 50)], [("anna", 180, 50), ("ben", 100, 50)]
    seen = {4: before, 5: before, 30: after}
    pieces = [[at(n, left, 50) for n in (4, 5)] for left in (100, 180)]
    pieces += [[at(30, 100, 50)], [at(30, 180, 50)]]
    linked = link_pieces(pieces, film(faces, seen))
    lefts = sorted([int(box[0]) for _, box in piece] for piece in linked)
    assert lefts == [[100, 100, 180], [180, 180, 100]]


def test_pieces_seen_at_once_are_two_people_however_alike(faces: Faces) -> None:
    seen = {n: [("anna", 50, 50), ("anna", 120, 50)] for n in (0, 10, 20)}
    pieces = [[at(0, 50, 50), at(20, 50, 50)], [at(10, 120, 50)]]
    assert spans(link_pieces(pieces, film(faces, seen))) == [[0, 20], [10]]


def test_while_it_is_away_a_face_neither_shows_nor_counts(faces: Faces) -> None:
    frames = film(faces, {n: [("anna", 50, 50)] for n in [*range(0, 31, 10), *range(70, 101, 10)]})

    class Detector:
        def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
            there = picture.max() != picture.min()
            return np.array([[50, 50, 110, 110]] * int(there), float).reshape(-1, 4)

    (track,) = follow_faces(frames[:101], [], Detector(), every=10)
    assert track.away == ((36, 65),)
    shown = [frame for frame in range(-3, 120) if track.shows(frame)]
    assert shown == [*range(36), *range(65, 101)]
    scores = np.ones(101, np.float32)
    scores[36:65] = -9
    assert track.mean_of(scores) == 1


def test_a_pattern_of_the_wall_found_twice_is_no_person(faces: Faces) -> None:
    frames = film(faces, {8: [("ben", 200, 50)], 48: [("ben", 200, 50)]})
    twice = [[at(8, 200, 50)], [at(48, 200, 50)]]
    assert spans(link_pieces(twice, frames)) == [[8], [48]]
    seen = [[at(8, 200, 50), at(16, 200, 50)], [at(48, 200, 50)]]
    frames = film(faces, {n: [("ben", 200, 50)] for n in (8, 16, 48)})
    assert spans(link_pieces(seen, frames)) == [[8, 16, 48]]


def test_boxes_beyond_the_picture_are_looked_at_as_far_as_they_reach(faces: Faces) -> None:
    frames = film(faces, {n: [("anna", 0, 0)] for n in (0, 1, 9)})
    pieces = [[at(0, -30, -10), at(1, -30, -10)], [at(9, -30, -10)], [at(20, 900, 900)]]
    assert spans(link_pieces(pieces, frames)) == [[0, 1, 9], [20]]
    assert link_pieces([], frames) == []
