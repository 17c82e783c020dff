"""The moving part of a drawn face: eyes, brows and mouth by expression, drawn for every frame.

Imports `heads` only.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from meiju_utils.corpus.demo.heads import CENTRE, SCALE, Head, Image

Points = NDArray[np.float64]


class Expression(NamedTuple):
    """What a face shows; 0 is the resting face except where said, 1 a strong movement."""

    brow_inner: float = 0.0  # raised; negative: lowered
    brow_outer: float = 0.0
    lids: float = 1.0  # opening of the eyes, 1 at rest
    squint: float = 0.0  # lower lids raised
    corners: float = 0.0  # mouth corners raised; negative: drawn down
    mouth_width: float = 1.0  # 1 at rest
    opening: float = 0.0  # of the mouth, without speech
    upper_lip: float = 0.0  # raised
    wrinkles: float = 0.0  # beside the nose and between the brows
    gaze_x: float = 0.0
    gaze_y: float = 0.0  # positive: down


EMOTION_EXPRESSION = {
    "happy": Expression(0.1, 0.1, 0.8, 0.6, 1.0, 1.22, 0.06),
    "surprise": Expression(1.0, 1.0, 1.4, 0.0, 0.0, 0.8, 0.4),
    "sad": Expression(0.9, -0.4, 0.7, 0.0, -0.9, 0.9, 0.0, gaze_y=0.5),
    "disgust": Expression(-0.5, -0.3, 0.6, 0.7, -0.6, 0.88, 0.06, 1.0, 1.0),
    "anger": Expression(-1.0, 0.45, 0.85, 0.3, -0.5, 0.95, 0.0, wrinkles=0.5),
    "fear": Expression(1.0, 0.35, 1.35, 0.0, -0.4, 1.18, 0.18),
    "neutral": Expression(),
}

# What an intent adds to the face (differences to the resting face).
INTENT_EXPRESSION = {
    "questioning": Expression(0.3, 0.6, 1.08),
    "agreeing": Expression(0.0, 0.1, 0.95, 0.2, 0.3),
    "acknowledging": Expression(0.0, 0.0, 0.8, gaze_y=0.6),
    "encouraging": Expression(0.3, 0.3, 1.05, 0.2, 0.4, 1.05),
    "consoling": Expression(0.45, -0.1, 0.85, 0.1, 0.1),
    "suggesting": Expression(0.1, 0.1, 1.0, gaze_x=0.9),
    "wishing": Expression(0.3, 0.2, 1.05, gaze_y=-0.9),
    "neutral": Expression(),
}

# Spread of one clip's face around its table entry, per field.
_SPREAD = np.array([0.22, 0.22, 0.10, 0.12, 0.22, 0.06, 0.03, 0.12, 0.12, 0.35, 0.25])


def draw_expression(
    emotion: str, intent: str, intensity: float, rng: np.random.Generator
) -> Expression:
    """An expression of the emotion at an intensity (0 rest, 1 full) with that of the intent."""
    rest = np.array(Expression())
    felt = np.array(EMOTION_EXPRESSION[emotion]) - rest
    meant = np.array(INTENT_EXPRESSION[intent]) - rest
    spread = rng.normal(size=len(rest)) * _SPREAD
    return Expression(*(rest + intensity * felt + meant + spread).tolist())


def draw_face(head: Head, shown: Expression, speech: float, blink: float) -> Image:
    """The head's patch [H, W, 4] with a face on it; `speech` 0-1 opens the mouth, `blink` 0-1."""
    brush = _Brush(head.patch.copy())
    for side in (-1, 1):
        _draw_eye(brush, head, shown, side, blink)
        _draw_brow(brush, head, shown, side)
    _draw_folds(brush, head, shown)
    _draw_mouth(brush, head, shown, speech)
    return brush.patch


class _Brush:
    """Draws on a patch in head units around the middle of the face, with sub-pixel precision."""

    def __init__(self, patch: Image) -> None:
        self.patch = patch

    def fill(self, points: Points, colour: NDArray[np.float64]) -> None:
        cv2.fillPoly(self.patch, [_pixels(points)], _opaque(colour), cv2.LINE_AA, 4)

    def line(self, points: Points, colour: NDArray[np.float64], width: int) -> None:
        pixels = [_pixels(points)]
        cv2.polylines(self.patch, pixels, False, _opaque(colour), width, cv2.LINE_AA, 4)


def _pixels(points: Points) -> NDArray[np.int32]:
    return np.rint((points + CENTRE) * (16 * SCALE)).astype(np.int32)  # 4 fractional bits


def _opaque(colour: NDArray[np.float64]) -> tuple[float, float, float, float]:
    b, g, r = np.clip(colour, 0, 255).tolist()
    return b, g, r, 255.0


def _outline(x: Points, upper: Points, lower: Points) -> Points:
    """A closed polygon from an upper and a lower edge over the same x."""
    return np.concatenate([np.stack([x, upper], axis=1), np.stack([x[::-1], lower[::-1]], axis=1)])


_ACROSS = np.linspace(-1, 1, 13)
_ARCH = np.sqrt(1 - _ACROSS**2)
_WHITE = np.array([215.0, 222.0, 228.0])
_PUPIL = np.array([12.0, 12.0, 12.0])
_GLINT = np.array([250.0, 250.0, 250.0])
_TEETH = np.array([205.0, 212.0, 218.0])
_THROAT = np.array([45.0, 18.0, 45.0])


def _draw_eye(brush: _Brush, head: Head, shown: Expression, side: int, blink: float) -> None:
    x0, y0 = side * head.eye_x, head.eye_y
    open_ = max(0.0, shown.lids) * (1 - blink)
    x = x0 + 18 * _ACROSS
    upper = y0 - 9.0 * open_ * _ARCH
    lower = y0 + max(1.0, 5.5 * min(1.0, open_ + 0.15) * (1 - 0.5 * shown.squint)) * _ARCH
    if open_ > 0.08:
        brush.fill(_outline(x, upper, lower), _WHITE)
        centre = x0 + 4.5 * np.clip(shown.gaze_x, -1, 1), y0 - 0.5 + 2.5 * shown.gaze_y
        for radius, colour in ((8.4, head.iris), (4.2, _PUPIL)):
            across = np.clip(centre[0] + radius * _ACROSS, x[0], x[-1])
            top = np.maximum(centre[1] - radius * _ARCH, np.interp(across, x, upper))
            bottom = np.minimum(centre[1] + radius * _ARCH, np.interp(across, x, lower))
            brush.fill(_outline(across, np.minimum(top, bottom), bottom), colour)
        if open_ > 0.5:
            glint = np.array([centre]) + [-2.6, -2.8] + 1.6 * np.stack([_ACROSS, _ARCH], axis=1)
            brush.fill(glint, _GLINT)
    brush.line(np.stack([x, upper], axis=1), head.skin * 0.18, 3)
    brush.line(np.stack([x, lower], axis=1), head.skin * 0.5, 1)
    brush.line(np.stack([x0 + 19 * _ACROSS, upper - 6], axis=1), head.skin * 0.6, 1)


_BROW_X = np.array([-20.0, -10.0, 0.0, 10.0, 22.0])  # inner to outer end
_BROW_ARCH = np.array([0.0, 1.5, 3.5, 3.0, -1.0])
_BROW_HALF = np.array([4.0, 4.6, 4.2, 3.2, 1.5])


def _draw_brow(brush: _Brush, head: Head, shown: Expression, side: int) -> None:
    inner, outer = 9.5 * shown.brow_inner, 6.5 * shown.brow_outer
    raised = np.interp(_BROW_X, [-20, 22], [inner, outer]) + _BROW_ARCH
    x = side * (head.eye_x + _BROW_X - 2.0 * max(0.0, -shown.brow_inner))
    y = head.eye_y - 25 - raised
    half = _BROW_HALF * head.brow
    brush.fill(_outline(x, y - half, y + half), head.hair * 0.8)


def _draw_folds(brush: _Brush, head: Head, shown: Expression) -> None:
    shade = head.skin * 0.66
    for side in (-1.0, 1.0):
        if shown.corners > 0.3 or shown.upper_lip > 0.4:
            fold = np.array([[20.0, 24.0], [33.0, 38.0], [43.0, 53.0]])
            brush.line(fold * [side, 1], shade, 1)
        if shown.wrinkles > 0.25:
            frown = np.array([[5.0, -36.0], [6.0, -47.0 - 6 * shown.wrinkles]])
            brush.line(frown * [side, 1], shade, 2)
        if shown.wrinkles > 0.6:
            for step in range(3):
                nose = np.array([[9.0, -12.0 + 7 * step], [15.0, -8.0 + 7 * step]])
                brush.line(nose * [side, 1], shade, 1)


def _draw_mouth(brush: _Brush, head: Head, shown: Expression, speech: float) -> None:
    opening = float(np.clip(speech + shown.opening, 0, 1))
    x = head.mouth_width * shown.mouth_width * (1 - 0.12 * opening) * _ACROSS
    arch = 1 - _ACROSS**2
    middle = head.mouth_y - 9.5 * shown.corners * np.abs(_ACROSS) ** 1.6
    lift = 7.0 * max(0.0, shown.upper_lip)
    top = middle - arch * (7 * opening + 1.0 + lift)
    bottom = middle + arch * (24 * opening + 1.2)
    bow = 2.2 * np.exp(-((_ACROSS / 0.12) ** 2))
    brush.fill(_outline(1.06 * x, top - 7 * arch + bow, bottom + 9.8 * arch), head.lip)
    brush.fill(_outline(x, top, bottom), _THROAT)
    if opening > 0.12 or lift > 3:
        teeth = np.minimum(bottom, top + arch * min(8.0, 4 + 10 * opening))
        brush.fill(_outline(0.8 * x, top, teeth), _TEETH)
    brush.line(np.stack([x, top], axis=1), head.lip * 0.45, 1)
    brush.line(np.stack([0.6 * x, bottom + 10.5 * arch], axis=1), head.lip * 0.6, 1)
