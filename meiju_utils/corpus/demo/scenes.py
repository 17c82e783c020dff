"""One clip's pictures: a backdrop, one or two people, their heads in motion, frame by frame.

Imports `heads` and `expressions` only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meiju_utils.corpus.demo.expressions import Expression, draw_face
from meiju_utils.corpus.demo.heads import CENTRE, PATCH, SCALE, Head, Image

FRAME_RATE = 25


@dataclass(frozen=True)
class Person:
    """Someone in the picture.

    `centre` of the face and its `width` in pixels of the frame; `speech` [frames] opens the mouth,
    0-1; `intent` moves the head, "" for somebody who only listens.
    """

    head: Head
    centre: tuple[float, float]
    width: float
    expression: Expression
    intent: str
    speech: NDArray[np.float64]


def draw_frames(
    size: tuple[int, int], people: Sequence[Person], frames: int, rng: np.random.Generator
) -> Iterator[Image]:
    """The frames [H, W, 3] BGR of a scene; `size` is (width, height), both even."""
    backdrop = _backdrop(size, rng)
    for person in people:
        _draw_body(backdrop, person, rng)
    motions = [_Motion(person, frames, rng) for person in people]
    for index in range(frames):
        picture = backdrop.copy()
        for person, motion in zip(people, motions, strict=True):
            face = draw_face(
                person.head, person.expression, person.speech[index], motion.blink[index]
            )
            _paste(picture, face, person, motion, index)
        yield picture


class _Motion:
    """Where a head is in every frame: shift in pixels, tilt in degrees, nearness, blinks."""

    def __init__(self, person: Person, frames: int, rng: np.random.Generator) -> None:
        time = np.arange(frames) / FRAME_RATE
        phases = rng.uniform(0, 2 * np.pi, 4)
        unit = person.width / 100
        self.x = 2.5 * unit * np.sin(1.3 * time + phases[0])
        self.y = 1.5 * unit * np.sin(1.9 * time + phases[1])
        self.tilt = 2.5 * np.sin(0.8 * time + phases[2]) + rng.normal(0, 1.5)
        self.near = np.ones(frames)
        side = rng.choice([-1.0, 1.0])
        if person.intent == "agreeing":
            self.y += 4.0 * unit * np.sin(2 * np.pi * rng.uniform(1.6, 2.4) * time + phases[3])
        elif person.intent == "acknowledging":
            moment = rng.uniform(0.3, 0.8) * time[-1]
            self.y += 6.0 * unit * np.exp(-(((time - moment) / 0.2) ** 2))
        elif person.intent == "questioning":
            self.tilt += side * 6.0
        elif person.intent == "consoling":
            self.tilt += side * 5.0 * np.sin(1.2 * time + phases[3])
        elif person.intent == "encouraging":
            self.near += 0.06 * np.linspace(0, 1, frames)
        elif person.intent == "suggesting":
            self.x += 3.5 * unit * np.sin(2 * np.pi * 0.9 * time + phases[3])
        self.blink = _blinks(time, rng)


def _blinks(time: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """How far the eyes are shut in each frame, 0-1: blinks of 0.2 s every 1.5 to 3.5 s."""
    period, start = rng.uniform(1.5, 3.5), rng.uniform(0, 3.5)
    since = (time + start) % period
    return np.asarray(np.clip(1 - np.abs(since - 0.1) / 0.1, 0, 1))


def _paste(picture: Image, face: Image, person: Person, motion: _Motion, index: int) -> None:
    """Put a face patch into the picture, turned and scaled, by its alpha."""
    scale = person.width / (2 * person.head.half_width * SCALE) * motion.near[index]
    pivot = CENTRE[0] * SCALE, CENTRE[1] * SCALE
    matrix = cv2.getRotationMatrix2D(pivot, float(motion.tilt[index]), scale)
    matrix[0, 2] += person.centre[0] + motion.x[index] - pivot[0]
    matrix[1, 2] += person.centre[1] + motion.y[index] - pivot[1]
    corners = np.array([[0, 0], [PATCH[0], 0], [0, PATCH[1]], PATCH]) * SCALE
    placed = corners @ matrix[:, :2].T + matrix[:, 2]
    height, width = picture.shape[:2]
    left, top = np.maximum(np.floor(placed.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(placed.max(axis=0)).astype(int), (width, height))
    matrix[:, 2] -= left, top
    method = cv2.INTER_LINEAR
    warped = cv2.warpAffine(face, matrix, (int(right - left), int(bottom - top)), flags=method)
    below = picture[top:bottom, left:right]
    shown = 255 - warped[..., 3:].astype(np.uint16)
    below[:] = warped[..., :3] + ((below * shown + 127) // 255).astype(np.uint8)


def _backdrop(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A wall with a colour gradient, some soft furniture and low noise."""
    width, height = size
    top, bottom = (rng.uniform(60, 190) + rng.normal(0, 22, 3) for _ in range(2))
    fade = np.linspace(0, 1, height)[:, None, None]
    wall = np.repeat(top * (1 - fade) + bottom * fade, width, axis=1)
    for _ in range(5):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(20, 120), rng.integers(20, 100)
        wall[y : y + h, x : x + w] *= rng.uniform(0.75, 1.2)
    noise = rng.normal(0, 5, (height // 8, width // 8)).astype(np.float32)
    wall += cv2.resize(noise, (width, height))[..., None]
    blurred = cv2.GaussianBlur(np.clip(wall, 0, 255), (0, 0), 1.5)
    return np.asarray(blurred, dtype=np.uint8)


def _draw_body(picture: Image, person: Person, rng: np.random.Generator) -> None:
    """Neck and shoulders; the head moves over them."""
    unit = person.width / (2 * person.head.half_width)
    floor = (picture.shape[0] - person.centre[1]) / unit + 20

    def fill(points: list[tuple[float, float]], colour: NDArray[np.float64]) -> None:
        pixels = np.rint((np.array(points) * unit + person.centre) * 16).astype(np.int32)
        cv2.fillPoly(picture, [pixels], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, 4)

    skin, cloth = person.head.skin, rng.uniform(30, 200, 3)
    hips, chest = max(floor, 260.0), 185.0
    fill([(-44, 60), (44, 60), (48, 165), (-48, 165)], skin * 0.58)
    fill([(-150, hips), (-140, chest), (-52, 138), (52, 138), (140, chest), (150, hips)], cloth)
    fill([(-46, 132), (46, 132), (0, 185)], skin * 0.66)
    fill([(-46, 128), (-58, 140), (0, 205), (0, 185)], cloth * 0.75)
    fill([(46, 128), (58, 140), (0, 205), (0, 185)], cloth * 0.75)
