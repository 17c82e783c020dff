"""When is each video frame shown? Its own time where that is credible, else the nominal rate.

Imports `streams`.
"""

from collections import deque
from typing import Any, NamedTuple

from meiju_utils.media.streams import LONGEST_FRAME_S, MAX_SECONDS


class DecodingOrderTimes(Exception):
    """The times of a stream are those in which its frames are decoded, not shown.

    AVI, ASF and MXF know no others; with B-frames the decoder puts the frames into the order in
    which they are shown, and the times go to and fro.
    """


class Shown(NamedTuple):
    """When a frame comes on screen, seconds after the first; whether its time was made up."""

    time: float
    repaired: bool


class PictureClock:
    """Times of a stream's frames, taken in the order in which they are shown.

    `rate`: frames a second where no time is credible. `offset`: by how much the times jumped as
    nobody can have filmed; they are taken to go on. `due`: where the frames' own times are of no
    use, those of their packets, in order; the frame shown n-th takes the n-th of them.
    """

    def __init__(self, rate: float, due: deque[float] | None = None) -> None:
        self.start_s = 0.0
        self.count = 0
        self.step = 1 / rate
        self.time = 0.0
        self.offset = 0.0
        self.due = due

    def next(self, frame: Any, others_s: float, rising: bool) -> Shown:
        """`others_s`: how far the other stream was read. `rising`: whether packets' times rose.

        Raises DecodingOrderTimes where times go back although those of the packets never did.
        """
        said = frame.time
        if self.due is not None:
            said = self.due.popleft() if self.due else None
        repaired = False
        if self.count == 0:
            self.start_s = said or 0.0
        else:
            credible = self._credible(said, others_s, rising and self.due is None)
            repaired = credible is None
            self.time = self.time + self.step if credible is None else credible
            if said is not None and repaired:
                self.offset = said - self.start_s - self.time
        self.count += 1
        return Shown(self.time, repaired)

    def duration(self, frame: Any) -> float:
        """How long a frame stays by itself, seconds."""
        timed = frame.duration and frame.time_base and self.due is None
        return min(float(frame.duration * frame.time_base), LONGEST_FRAME_S) if timed else self.step

    def _credible(self, said: float | None, others_s: float, rising: bool) -> float | None:
        if said is None:
            return None
        raw = float(said - self.start_s)
        if rising and not self.offset and raw < self.time:
            raise DecodingOrderTimes
        longest = longest_jump(said, others_s)
        times = [
            raw - offset
            for offset in {0.0, self.offset}
            if self.time < raw - offset <= self.time + longest
        ]
        if not times:
            return None
        chosen = min(times, key=lambda time: abs(time - self.time - self.step))
        if chosen == raw:
            self.offset = 0.0
        return chosen


def longest_jump(said: float, others_s: float) -> float:
    """By how much a stream's time may jump to what it says, seconds.

    Further where the other stream was read up to there: it went on, or stopped as well.
    """
    return MAX_SECONDS if said <= others_s + LONGEST_FRAME_S else LONGEST_FRAME_S
