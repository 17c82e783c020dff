"""Pictures out of decoded video frames: sampled by count in full, followed by time at 25 a second.

Frames are converted as soon as it is known how long they are shown, so that the decoder's own
buffers are not held. Imports PyAV, numpy and `streams`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from meiju_utils.media.streams import pixel_aspect

TRACKING_RATE = 25  # frames a second: the rate of active speaker detection
THUMBNAIL_SIDE = 96  # longest side of the pictures in which shot cuts are looked for

# Frames with more pixels are scaled down to so many: those of digital cinema, 4096x2160.
MAX_PIXELS = 4096 * 2160

# Half a tick of a clock in milliseconds (Matroska): a frame this little late is still in time.
TIME_TOLERANCE_S = 1e-3


class Screen:
    """Converts the frames of one stream to pictures as a player shows them.

    The first frame says how: `width` and `height` as shown (pixels square, turned as the container
    says), `scale` of pictures in full, below 1 where there are more than `MAX_PIXELS`.
    """

    def __init__(self, stream: Any, first: Any) -> None:
        # In the order in which the pixels are stored; all pictures are turned last.
        self._size = (max(1, round(first.width * pixel_aspect(stream))), first.height)
        self._orientation = _display_orientation(first)
        self._converters: dict[tuple[str, int], VideoReformatter] = {}
        self.scale = min(1.0, math.sqrt(MAX_PIXELS / (self._size[0] * self._size[1])))
        self.width, self.height = self._size[:: -1 if self._orientation[0] else 1]

    def in_full(self, frame: Any) -> NDArray[np.uint8]:
        """[height, width, 3] RGB."""
        return self.picture(frame, "rgb24", math.floor(max(self._size) * self.scale))

    def picture(self, frame: Any, pixels: str, side: int) -> NDArray[np.uint8]:
        """A frame whose longer side is at most `side`."""
        return self._converted(frame, pixels, *_fit(self._size, side))

    def square(self, frame: Any, side: int) -> NDArray[np.uint8]:
        """[side, side] grey, out of proportion."""
        return self._converted(frame, "gray", side, side)

    def _converted(self, frame: Any, pixels: str, width: int, height: int) -> NDArray[np.uint8]:
        # One converter an output: a new one costs more than the conversion itself.
        converter = self._converters.setdefault((pixels, width), VideoReformatter())
        shrunk = width < frame.width or height < frame.height
        converted = converter.reformat(
            frame,
            width=width,
            height=height,
            format=pixels,
            # Bicubic is what ffmpeg takes, so that a frame in full equals the one it extracts.
            interpolation="AREA" if shrunk else "BICUBIC",
            threads=1,
        )
        return _upright(np.asarray(converted.to_ndarray(), np.uint8), self._orientation)


@dataclass(frozen=True)
class Pictures:
    """What `FrameCollector` gathered; the arrays are those of `Media`."""

    sampled: NDArray[np.uint8]
    sampled_times: NDArray[np.float64]
    tracking: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    count: int
    end_s: float
    repaired: int


class FrameCollector:
    """Takes the frames of a stretch in order; `finish` gives the pictures.

    `stride`: one frame of so many is kept in RGB. `tracking_side`: longest side of the tracking
    frames, which are never enlarged; 0 leaves them out. `longest_s`: tracking frames end there.
    """

    def __init__(self, stride: int, tracking_side: int, longest_s: float) -> None:
        self.stride = stride
        self.tracking_side = tracking_side
        self.longest_s = longest_s
        self.count = 0
        self.repaired = 0
        self.end_s = 0.0  # of the last frame, from the start of the stretch
        self._sampled = _Stack((0, 0, 3))
        self._times: list[float] = []
        self._first: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._tracking = _Stack((0, 0))
        self._thumbnails = _Stack((0, 0, 3))

    def add(self, frame: Any, screen: Screen, start: float, end: float, repaired: bool) -> None:
        """A frame and when it is shown, seconds from the start of the stretch."""
        if self.count % self.stride == 0:
            self._sampled.append(screen.in_full(frame))
            self._times.append(max(start, 0.0))
        self.count += 1
        self.repaired += repaired
        self.end_s = min(end, self.longest_s)
        if self.tracking_side:
            self._show(frame, screen)

    def finish(self) -> Pictures:
        if self._first and not self._tracking.count:  # shown for no time at all
            self._append(self._first)
        return Pictures(
            sampled=self._sampled.finish(),
            sampled_times=np.asarray(self._times, np.float64),
            tracking=self._tracking.finish(),
            thumbnails=self._thumbnails.finish(),
            count=self.count,
            end_s=self.end_s,
            repaired=self.repaired,
        )

    def _show(self, frame: Any, screen: Screen) -> None:
        """The frame on screen fills every moment of the 25-a-second grid before its end."""
        shown = None
        while self._tracking.count / TRACKING_RATE < self.end_s - TIME_TOLERANCE_S:
            shown = shown or self._tracking_pictures(frame, screen)
            self._append(shown)
        if not self._first:
            self._first = shown or self._tracking_pictures(frame, screen)

    def _append(self, shown: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        self._tracking.append(shown[0])
        self._thumbnails.append(shown[1])

    def _tracking_pictures(
        self, frame: Any, screen: Screen
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        grey = screen.picture(frame, "gray", self.tracking_side)
        return grey, screen.picture(frame, "rgb24", THUMBNAIL_SIDE)


# Transposed, then mirrored left to right, then top to bottom.
_Orientation = tuple[bool, bool, bool]
_UPRIGHT: _Orientation = (False, False, False)


def _display_orientation(frame: Any) -> _Orientation:
    """How the container says the picture is to be shown, in quarter turns and mirrorings.

    The matrix maps a pixel (x, y) to (a·x + c·y, b·x + d·y); it is stored as nine 16.16 numbers
    a b u c d v x y w.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].tolist()
            if abs(b) + abs(c) > abs(a) + abs(d):
                return True, c < 0, b < 0
            return False, a < 0, d < 0
    return _UPRIGHT


def _upright(picture: NDArray[np.uint8], orientation: _Orientation) -> NDArray[np.uint8]:
    transposed, left_right, up_down = orientation
    if transposed:
        picture = picture.swapaxes(0, 1)
    if left_right:
        picture = picture[:, ::-1]
    if up_down:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height scaled down so that the longer is at most `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class _Stack:
    """Pictures of one size in one array that grows in place: a list, stacked, holds them twice."""

    def __init__(self, empty: tuple[int, ...]) -> None:
        self.count = 0
        self._array: NDArray[np.uint8] = np.empty((0, *empty), np.uint8)

    def append(self, picture: NDArray[np.uint8]) -> None:
        if self.count == 0:
            self._array = np.empty((8, *picture.shape), np.uint8)
        elif self.count == len(self._array):
            self._resize(self.count + self.count // 4)
        self._array[self.count] = picture
        self.count += 1

    def finish(self) -> NDArray[np.uint8]:
        self._resize(self.count)
        return self._array

    def _resize(self, count: int) -> None:
        self._array.resize((count, *self._array.shape[1:]), refcheck=False)
