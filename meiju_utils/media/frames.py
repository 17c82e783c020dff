"""Pictures out of decoded video frames: sampled by count in full, followed by time at 25 a second.

Frames arrive one by one and are converted at once, so that the decoder's own buffers are not held.
Imports PyAV and numpy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

TRACKING_RATE = 25  # frames a second: the rate of active speaker detection
THUMBNAIL_SIDE = 96  # longest side of the pictures in which shot cuts are looked for

# Half a tick of a clock in milliseconds (Matroska): a frame this little late is still in time.
_TIME_TOLERANCE_S = 1e-3

# A still picture may stay; a longer jump between two frames of a clip is a broken time.
LONGEST_FRAME_S = 10.0


@dataclass(frozen=True)
class Pictures:
    """What `FrameCollector` gathered; the arrays are those of `media.Media`."""

    sampled: NDArray[np.uint8]
    sampled_times: NDArray[np.float64]
    tracking: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    width: int
    height: int
    count: int
    start_s: float
    duration_s: float
    repaired: int


class FrameCollector:
    """Takes a stream's frames in order; `finish` gives the pictures.

    `stride`: one frame of so many is kept in RGB. `tracking_side`: longest side of the tracking
    frames, which are never enlarged; 0 leaves them out. `longest_s`: tracking frames end there.
    """

    def __init__(self, stride: int, tracking_side: int, longest_s: float) -> None:
        self.stride = stride
        self.tracking_side = tracking_side
        self.longest_s = longest_s
        self.count = 0
        self.repaired = 0
        self.start_s = 0.0
        self.end_s = 0.0  # of the last frame, from the first one's start
        self._time = 0.0
        self._size = (0, 0)  # coded width, height of the first frame
        self._orientation = _UPRIGHT
        self._converters: dict[tuple[str, int], VideoReformatter] = {}
        self._sampled = _Stack((0, 0, 3))
        self._times: list[float] = []
        self._shown: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._tracking = _Stack((0, 0))
        self._thumbnails = _Stack((0, 0, 3))

    def add(self, frame: Any, nominal_rate: float) -> None:
        step = 1 / nominal_rate
        if self.count == 0:
            self._size = (frame.width, frame.height)
            self._orientation = _display_orientation(frame)
            self.start_s = frame.time or 0.0
        else:
            self._time = self._time_of(frame, step)
        if self.count % self.stride == 0:
            self._sampled.append(self._picture(frame, "rgb24", max(self._size)))
            self._times.append(self._time)
        if self.tracking_side:
            self._repeat_until(self._time)
            self._shown = self._tracking_pictures(frame)
        self.count += 1
        timed = frame.duration and frame.time_base
        duration = float(frame.duration * frame.time_base) if timed else step
        self.end_s = self._time + min(duration, LONGEST_FRAME_S)

    def finish(self) -> Pictures:
        self._repeat_until(self.end_s)
        if self._shown and not self._tracking.count:
            self._append(self._shown)
        width, height = self._size
        if self._orientation[0]:
            width, height = height, width
        return Pictures(
            sampled=self._sampled.finish(),
            sampled_times=np.asarray(self._times, np.float64),
            tracking=self._tracking.finish(),
            thumbnails=self._thumbnails.finish(),
            width=width,
            height=height,
            count=self.count,
            start_s=self.start_s,
            duration_s=self.end_s,
            repaired=self.repaired,
        )

    def _time_of(self, frame: Any, step: float) -> float:
        """Seconds since the first frame; where the file's time is absurd, one step on."""
        time = None if frame.time is None else frame.time - self.start_s
        if time is None or not self._time < time <= self._time + LONGEST_FRAME_S:
            self.repaired += 1
            return self._time + step
        return float(time)

    def _repeat_until(self, time: float) -> None:
        """The frame on screen fills every moment of the 25-a-second grid before `time`."""
        if self._shown is None:
            return
        time = min(time, self.longest_s)
        while self._tracking.count / TRACKING_RATE < time - _TIME_TOLERANCE_S:
            self._append(self._shown)

    def _append(self, shown: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        self._tracking.append(shown[0])
        self._thumbnails.append(shown[1])

    def _tracking_pictures(self, frame: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        grey = self._picture(frame, "gray", self.tracking_side)
        return grey, self._picture(frame, "rgb24", THUMBNAIL_SIDE)

    def _picture(self, frame: Any, pixels: str, side: int) -> NDArray[np.uint8]:
        # One converter an output: a new one costs more than the conversion itself.
        converter = self._converters.setdefault((pixels, side), VideoReformatter())
        width, height = _fit(self._size, side)
        converted = converter.reformat(
            frame,
            width=width,
            height=height,
            format=pixels,
            # Bicubic is what ffmpeg takes, so that a frame in full equals the one it extracts.
            interpolation="BICUBIC" if (frame.width, frame.height) == (width, height) else "AREA",
            threads=1,
        )
        return _upright(np.asarray(converted.to_ndarray(), np.uint8), self._orientation)


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
