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
        self._count = dict.fromkeys(self._indices, 0)
        self._rising = dict.fromkeys(self._indices, True)
        self._last_pts: dict[int, int] = {}
        starts: dict[int, float] = {
            stream.index: start_s(stream) or 0.0 for stream in source.streams
        }
        first = min(starts.values(), default=0.0)
        # Clocks further apart than that have nothing to do with each other.
        related = max(starts.values(), default=0.0) - first <= MAX_SECONDS
        self._zero = {index: first if related else start for index, start in starts.items()}
        self._reached = dict(starts)
        self._end: dict[int, float] = {
            stream.index: starts[stream.index] + promised - TOLERANCE_S
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
                if (behind := self._missed(item[0])) is not None:
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
        other = [index for index in self._indices if index != stream.index]
        return self._reached[other[0]] if other and self._count[other[0]] else -float("inf")

    def left_behind(self, stream: Any) -> bool:
        """Whether a stream seems to have ended: far behind the other, and promised no more."""
        index: int = stream.index
        return bool(self._count[index]) and self._lag(index) > LAG_S and not self._promised(index)

    def _missed(self, ahead: int) -> int | None:
        """The stream that comes far too late in the file, if there is one."""
        for index in self._indices:
            missed = not self._count[index] or self._promised(index)
            if index != ahead and missed and self._lag(index) > LAG_S:
                return index
        return None

    def _lag(self, index: int) -> float:
        reached = {i: time - self._zero[i] for i, time in self._reached.items()}
        return max(reached.values()) - reached[index]

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
        if packet.pts is None or packet.pts <= self._last_pts.get(index, packet.pts - 1):
            self._rising[index] = False
        else:
            self._last_pts[index] = packet.pts
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is not None:
            time = float((ticks + (packet.duration or 0)) * packet.time_base)
            self.first_s.setdefault(index, float(ticks * packet.time_base))
            self._reached[index] = max(time, self._reached[index])

    def _time(self, item: Item) -> float:
        """When a packet is due on the clock of both streams; ends come last."""
        index, packet = item
        if packet is None:
            return float("inf")
        ticks = packet.pts if packet.dts is None else packet.dts
        time = self._reached[index] if ticks is None else float(ticks * packet.time_base)
        return time - self._zero[index]
