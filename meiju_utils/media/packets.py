"""Packets of a clip's streams, close to each other in time however they lie in the file.

Imports PyAV and `streams`.
"""

import heapq
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

    `broken`: how often reading broke off.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.broken = 0
        self._indices: list[int] = [stream.index for stream in source.streams]
        self._tick = {stream.index: float(stream.time_base) for stream in source.streams}
        self._count = dict.fromkeys(self._indices, 0)
        self._rising = dict.fromkeys(self._indices, True)
        self._last_pts: dict[int, int] = {}
        self._behind: int | None = None  # the stream that is far behind the other in the file
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
                behind = self._behind
                if behind is not None and (not self._count[behind] or self._promised(behind)):
                    own = stack.enter_context(open_container(self.source.path))
                    (ahead,) = (index for index in self._indices if index != behind)
                    rest = self._only(ahead, items)
                    late = self._only(behind, self._demux(own, self._indices), self._count[behind])
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
        behind = self._behind
        if behind is None or not self._count[behind] or self._promised(behind):
            return None
        return behind

    def _promised(self, index: int) -> bool:
        return self._reached[index] < self._end.get(index, -float("inf"))

    def _only(self, index: int, items: Iterator[Item], known: int = 0) -> Iterator[Item]:
        """Items of one stream after the `known` first, until it seems to have ended."""
        for item in items:
            other, packet = item
            if other == index:
                if known and packet is not None:
                    known -= 1
                    continue
                yield item
                continue
            behind = packet is not None and self._time(item) - self._reached[index] > LAG_S
            if behind and self._count[index] and not self._promised(index):
                yield index, None
                return

    def _demux(self, container: Any, indices: list[int]) -> Iterator[Item]:
        packets = container.demux(*(container.streams[index] for index in indices))
        try:
            for packet in packets:
                if packet.size:
                    yield packet.stream.index, packet
                elif packet.dts is None and packet.pts is None:  # demuxing ends with such
                    yield packet.stream.index, None
        except FFmpegError:
            self.broken += 1
            yield from ((index, None) for index in indices)
        except IndexError:  # PyAV at the end, where a stream showed up after the header
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
            end = (ticks + (packet.duration or 0)) * self._tick[index] - self._zero[index]
            if end > self._reached[index]:
                self._reached[index] = end
                lags = (i for i in self._indices if end - self._reached[i] > LAG_S)
                self._behind = next(lags, None)

    def _time(self, item: Item) -> float:
        """When a packet is due on the clock of both streams; ends come last."""
        index, packet = item
        if packet is None:
            return float("inf")
        time = packet_time(packet)
        return self._reached[index] if time is None else time - self._zero[index]


def packet_time(packet: Any) -> float | None:
    """When a packet is to be decoded, seconds of its stream's clock."""
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None else float(ticks * packet.time_base)
