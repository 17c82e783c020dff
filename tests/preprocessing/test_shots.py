"""Shot cuts are found where the picture changes as a whole, and only there."""

import numpy as np
from numpy.typing import NDArray

from meiju_utils.preprocessing.shots import shot_boundaries


def scene(seed: int, frames: int) -> list[NDArray[np.uint8]]:
    """A coloured picture that drifts sideways by a pixel a frame."""
    chance = np.random.default_rng(seed)
    blocks = chance.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = blocks.repeat(12, axis=0).repeat(12, axis=1)
    return [np.roll(picture, index, axis=1) for index in range(frames)]


def test_cuts_are_found_where_the_scene_changes() -> None:
    frames = np.stack([*scene(1, 12), *scene(2, 4), *scene(3, 20)])
    assert shot_boundaries(frames) == [12, 16]


def test_movement_and_a_brighter_lamp_are_no_cuts() -> None:
    moving = np.stack(scene(1, 30)).astype(int)
    brighter = moving + np.linspace(0, 40, 30).astype(int)[:, None, None, None]
    assert shot_boundaries(np.clip(brighter, 0, 255).astype(np.uint8)) == []


def test_no_frames_and_one_frame_have_no_cuts() -> None:
    assert shot_boundaries(np.empty((0, 0, 0, 3), np.uint8)) == []
    assert shot_boundaries(np.stack(scene(1, 1))) == []
