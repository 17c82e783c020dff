"""Packets of a clip's streams, close to each other in time however they lie in the file.

Imports PyAV and `streams`.
"""

import heapq
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from av.error import FFmpegError

from meiju_utils.media.streams import (
    MAX_SECONDS,
    TOLERANCE_S,
    Source,
    open_container,
    promised_s,
    start_s,
)

# A stream so far behind the other in the file has ended, or the two are not interleaved.
LAG_S = 10.0

# The stream's index and its packet; None: what its decoder holds back is due.
Item = tuple[int, Any]


class Packets:
    """Iterates over the packets of a source, and knows how far each stream was read.

    `broken`: how often reading broke off. `first_s`: decoding time of each stream's first packet.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.broken = 0
        self.first_s: dict[int, float] = {}
        self._indices: list[int] = [stream.index for stream in source.streams]
        self._tick = {stream.index: float(stream.time_base) for stream in source.streams}
        self._count = dict.fromkeys(self._indices, 0)
        self._rising = dict.fromkeys(self._indices, True)
        self._last_pts: dict[int, int] = {}
        starts: dict[int, float] = {s.index: start_s(s) or 0.0 for s in source.streams}
        first = min(starts.values(), default=0.0)
        # Clocks further apart than that have nothing to do with each other.
        related = max(starts.values(), default=0.0) - first <= MAX_SECONDS
        self._zero = {index: first if related else start for index, start in starts.items()}
        self._reached = {index: start - self._zero[index] for index, start in starts.items()}
        self._end: dict[int, float] = {
            stream.index: self._reached[stream.index] + promised - TOLERANCE_S
            for stream in source.streams
            if (promised := promised_s(stream))
        }

    def __iter__(self) -> Iterator[Item]:
        if not self._indices:
            return
        with ExitStack() as stack:
            items = self._demux(self.source.container, self._indices)
            for item in items:
                self._note(*item)
                yield item
                behind = self._behind()
                if behind is not None and (not self._count[behind] or self._promised(behind)):
                    own = stack.enter_context(open_container(self.source.path))
                    late = itertools.islice(self._demux(own, [behind]), self._count[behind], None)
                    rest = (item for item in items if item[0] != behind)
                    for merged in heapq.merge(rest, late, key=self._time):
                        self._note(*merged)
                        yield merged
                    return

    def rising(self, stream: Any) -> bool:
        """Whether the packets' times only ever rose, as those of decoding order do."""
        return self._rising[stream.index]

    def others_s(self, stream: Any) -> float:
        """How far the other stream was read, seconds of its own clock."""
        for index in self._indices:
            if index != stream.index and self._count[index]:
                return self._reached[index] + self._zero[index]
        return -float("inf")

    def left_behind(self) -> int | None:
        """The stream that seems to have ended: far behind the other, and promised no more."""
        behind = self._behind()
        if behind is None or not self._count[behind] or self._promised(behind):
            return None
        return behind

    def _behind(self) -> int | None:
        """The stream that is far behind the other in the file, if one is."""
        if len(self._indices) < 2:
            return None
        one, other = self._indices
        apart = self._reached[one] - self._reached[other]
        if abs(apart) <= LAG_S:
            return None
        return other if apart > 0 else one

    def _promised(self, index: int) -> bool:
        return self._reached[index] < self._end.get(index, -float("inf"))

    def _demux(self, container: Any, indices: list[int]) -> Iterator[Item]:
        packets = container.demux(*(container.streams[index] for index in indices))
        try:
            for packet in packets:
                # Demuxing ends with empty packets.
                yield packet.stream.index, packet if packet.size else None
        except FFmpegError:
            self.broken += 1
            yield from ((index, None) for index in indices)

    def _note(self, index: int, packet: Any) -> None:
        if packet is None:
            return
        self._count[index] += 1
        pts, dts = packet.pts, packet.dts
        if pts is None or pts <= self._last_pts.get(index, pts - 1):
            self._rising[index] = False
        else:
            self._last_pts[index] = pts
        ticks = pts if dts is None else dts
        if ticks is not None:
            tick = self._tick[index]
            if index not in self.first_s:
                self.first_s[index] = ticks * tick
            end = (ticks + (packet.duration or 0)) * tick - self._zero[index]
            if end > self._reached[index]:
                self._reached[index] = end

    def _time(self, item: Item) -> float:
        """When a packet is due on the clock of both streams; ends come last."""
        index, packet = item
        if packet is None:
            return float("inf")
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is None:
            return self._reached[index]
        return float(ticks * self._tick[index] - self._zero[index])
