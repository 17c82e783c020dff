"""The still part of a drawn face: a shaded head with hair and ears, one for every speaker.

A head is drawn once from a height field lit from the upper left; eyes, brows and mouth are drawn
on a copy of it for every frame (`expressions.py`). Lengths are in head units: half the width of
a face is about 88. Imports nothing of the package.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SCALE = 0.75  # pixels of the patch a head unit
PATCH = (264, 344)  # width and height of the patch, head units
CENTRE = (132.0, 178.0)  # where the middle of the face lies in the patch, head units

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

_HAIR = ((20, 22, 28), (25, 32, 44), (25, 40, 62), (40, 62, 95), (95, 95, 98))  # BGR
_IRIS = ((30, 45, 70), (25, 35, 50), (60, 60, 45), (90, 75, 45))  # BGR


@dataclass(frozen=True)
class Head:
    """A speaker's head: patch [H, W, 4] BGRA with premultiplied alpha, and where its parts lie."""

    patch: Image
    half_width: float
    half_height: float
    eye_x: float
    eye_y: float
    mouth_y: float
    mouth_width: float
    brow: float
    skin: NDArray[np.float64]
    lip: NDArray[np.float64]
    hair: NDArray[np.float64]
    iris: NDArray[np.float64]


def draw_head(rng: np.random.Generator) -> Head:
    """A head of random shape, colours and hair."""
    skin = np.array([146, 176, 222]) * rng.uniform(0.62, 1.0) + [rng.normal(0, 5), 0, 0]
    hair = np.array(_HAIR[rng.integers(len(_HAIR))], dtype=float) * rng.uniform(0.8, 1.2)
    a, b = 88 + rng.uniform(-6, 6), 118 + rng.uniform(-7, 7)
    eye_x, eye_y = 37 + rng.uniform(-2.5, 2.5), -22 + rng.uniform(-4, 4)
    mouth_y, nose = 58 + rng.uniform(-4, 4), 22 + rng.uniform(-4, 4)

    x, y = _grid()
    canvas = _Canvas(x.shape)
    strands = _hair_texture(x, y, hair, rng)
    long = rng.random() < 0.5
    if long:
        sides = _ellipse(x, y, 0, 20, a + 22, 150) * np.clip((np.abs(x) - 50) / 8, 0, 1)
        canvas.over(strands * 0.8, sides)
    canvas.over(strands, _ellipse(x, y, 0, -38, a + 13, b * rng.uniform(0.8, 0.92)))
    if not long:
        for side in (-1, 1):
            ear = _ellipse(x, y, side * (a + 1), 4, 9, 22, 8)
            canvas.over(np.broadcast_to(np.float32(skin * 0.75), (*x.shape, 3)), ear)
    jaw = rng.uniform(0.10, 0.22)
    canvas.over(*_shaded_face(x, y, skin, (a, b, jaw), (eye_x, eye_y, mouth_y, nose), rng))
    parting = rng.uniform(-45, 45)
    fringe = _ellipse(x, y, parting, -122, a + 20, 48 + rng.uniform(-6, 12), 14)
    canvas.over(strands, fringe * _ellipse(x, y, 0, -38, a + 13, b * 0.85))

    patch = canvas.patch()
    nostril = (*(0.33 * skin).tolist(), 255)
    for side in (-1, 1):
        at = (round((CENTRE[0] + side * 9) * SCALE), round((CENTRE[1] + nose + 14) * SCALE))
        cv2.ellipse(patch, at, (4, 2), -15 * side, 0, 360, nostril, -1, cv2.LINE_AA)
    return Head(
        patch,
        half_width=a,
        half_height=b,
        eye_x=eye_x,
        eye_y=eye_y,
        mouth_y=mouth_y,
        mouth_width=34 + rng.uniform(-3, 3),
        brow=rng.uniform(0.8, 1.25),
        skin=skin,
        lip=skin * np.array([0.62, 0.55, 0.82]) * rng.uniform(0.92, 1.05),
        hair=hair,
        iris=np.array(_IRIS[rng.integers(len(_IRIS))], dtype=float),
    )


class _Canvas:
    """A picture being built from layers, with the coverage of all of them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.colour = np.zeros((*shape, 3), np.float32)
        self.alpha = np.zeros(shape, np.float32)

    def over(self, colour: Plane, mask: Plane) -> None:
        self.colour += (colour - self.colour) * mask[..., None]
        self.alpha = np.maximum(self.alpha, mask)

    def patch(self) -> Image:
        alpha = cv2.GaussianBlur(self.alpha, (0, 0), 0.8)[..., None]
        premultiplied = np.concatenate([self.colour * alpha, 255 * alpha], axis=2)
        return np.ascontiguousarray(np.clip(premultiplied, 0, 255).astype(np.uint8))


def _grid() -> tuple[Plane, Plane]:
    width, height = round(PATCH[0] * SCALE), round(PATCH[1] * SCALE)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (x + 0.5) / SCALE - CENTRE[0], (y + 0.5) / SCALE - CENTRE[1]


def _ellipse(
    x: Plane, y: Plane, cx: float, cy: float, a: float, b: float, edge: float = 25.0
) -> Plane:
    return np.clip((1 - ((x - cx) / a) ** 2 - ((y - cy) / b) ** 2) * edge, 0, 1).astype(np.float32)


def _hair_texture(x: Plane, y: Plane, hair: NDArray[np.float64], rng: np.random.Generator) -> Plane:
    """Strands that run down from the parting, lighter towards the top."""
    waves = cv2.GaussianBlur(rng.normal(size=x.shape).astype(np.float32), (0, 0), 3) * 9
    strands = 1 + 0.22 * np.sin(0.5 * x * (1 - 0.002 * y) + waves)
    light = 0.8 + 0.5 * np.clip(-y / 150, 0, 1)
    return np.asarray(hair[None, None] * (strands * light)[..., None], dtype=np.float32)


def _shaded_face(
    x: Plane,
    y: Plane,
    skin: NDArray[np.float64],
    outline: tuple[float, float, float],
    parts: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> tuple[Plane, Plane]:
    """Colour and mask of the face: Lambert's law on an ellipsoid with nose, sockets, lips."""
    a, b, jaw = outline
    eye_x, eye_y, mouth_y, nose = parts

    def bump(cx: float, cy: float, sx: float, sy: float) -> Plane:
        return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)

    def pair(cx: float, cy: float, sx: float, sy: float) -> Plane:
        return bump(-cx, cy, sx, sy) + bump(cx, cy, sx, sy)

    u, v = x / a, y / b
    radius = (u / (1 - jaw * np.clip(v, 0, 1) ** 1.5)) ** 2 + v**2
    height = 95 * np.sqrt(np.clip(1 - radius, 0.02, 1))
    height += 16 * bump(0, nose - 10, 9, 26) + 10 * bump(0, nose + 4, 13, 10)
    height += 4 * pair(12, nose + 6, 7, 6) - 9 * pair(eye_x, eye_y, 22, 13)
    height += 5 * pair(eye_x, eye_y - 20, 28, 9) + 5 * pair(48, 28, 24, 20)
    height += 6 * bump(0, 92, 22, 14) + 3 * bump(0, mouth_y, 34, 14)
    height -= 3 * bump(0, mouth_y + 22, 24, 7)
    gy, gx = np.gradient(cv2.GaussianBlur(height, (0, 0), 1.2), 1 / SCALE)
    normal = np.stack([-gx, -gy, np.ones_like(gx)], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    light = np.array([-0.28, -0.5, 0.82])
    shade = 0.40 + 0.66 * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    shade -= 0.16 * pair(eye_x, eye_y - 3, 20, 10) + 0.12 * bump(0, nose + 19, 13, 5)
    shade -= 0.05 * bump(0, mouth_y + 24, 20, 6)
    colour = skin[None, None] * shade[..., None] + rng.normal(0, 1.5, (*x.shape, 1))
    colour[..., 2] += 12 * pair(45, 30, 22, 18)
    return colour.astype(np.float32), np.clip((1 - radius) * 25, 0, 1).astype(np.float32)
