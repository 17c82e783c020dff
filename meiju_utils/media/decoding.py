"""One pass of decoding over a video, which hands frames and samples to the parts that want them.

Imports its neighbours, PyAV and `errors`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
from av.error import FFmpegError

from meiju_utils.errors import MediaError
from meiju_utils.media.frames import TIME_TOLERANCE_S, Screen
from meiju_utils.media.packets import Packets, packet_time
from meiju_utils.media.parts import Facts, Media, Part, PartCollector
from meiju_utils.media.sound import Block, SoundStream
from meiju_utils.media.streams import (
    MAX_PADDING_S,
    MAX_SECONDS,
    TOLERANCE_S,
    Source,
    frame_rate,
    promised_s,
    start_s,
)
from meiju_utils.media.times import PictureClock


class _Pending(NamedTuple):
    """A frame that came on screen at `time`, and stands there from `start` on."""

    frame: Any
    start: float
    time: float
    repaired: bool


class DecodingPass:
    """One pass over an open file, for all parts (index, part) that are wanted of it.

    Raises DecodingOrderTimes, maybe after some parts, where `by_packet` is to be set.
    """

    def __init__(
        self,
        source: Source,
        parts: Sequence[tuple[int, Part]],
        sample_rate: int,
        frame_stride: int,
        tracking_side: int,
        by_packet: bool,
    ) -> None:
        self.source = source
        self.packets = Packets(source)
        self.sound = SoundStream(sample_rate)
        rate = frame_rate(source.video) if source.video else 0.0
        self.clock = PictureClock(rate or 1.0, deque() if by_packet else None)
        self.facts = Facts(
            source.name,
            has_video=source.video is not None,
            has_audio=source.audio is not None,
            fps=rate,
            sample_rate=sample_rate,
            by_packet=by_packet,
        )
        self._promised_s = max(map(promised_s, source.streams), default=0.0)
        collectors = [
            PartCollector(index, part, sample_rate, frame_stride, tracking_side)
            for index, part in parts
        ]
        self._waiting = deque(sorted(collectors, key=lambda c: c.part.start_s))
        self._open: list[PartCollector] = []
        self._open_until(TIME_TOLERANCE_S)
        self._ended: set[int] = set()
        self._damaged = 0
        self._pending: _Pending | None = None
        self._placed = source.video is None  # whether it is known when the sound is to start
        self._sound_zero: float | None = None  # time of sample 0; None: of the first one
        self._shift: int | None = None  # number of the first sample
        self._unplaced: list[Block] = []

    def run(self) -> Iterator[tuple[int, Media | MediaError]]:
        for index, packet in self.packets:
            self._take(index, packet)
            behind = self.packets.left_behind()
            if behind is not None and behind not in self._ended:
                self._take(behind, None)
            yield from self._complete()
            if not self._open and not self._waiting:
                return
        self._damage(self.packets.broken)
        for collector in [*self._open, *self._waiting]:
            yield collector.index, collector.finish(self._known())

    def _take(self, index: int, packet: Any) -> None:
        """Decode a packet; None: the stream has ended, or so it seems."""
        video, audio = self.source.video, self.source.audio
        is_video = video is not None and index == video.index
        stream = video if is_video else audio
        if index in self._ended:
            if packet is None:
                return
            stream.codec_context.flush_buffers()  # it goes on after all
            self._ended.discard(index)
        if packet is not None and not self._wanted(is_video):
            return
        due = None if packet is None or not is_video else packet_time(packet)
        if self.clock.due is not None and due is not None:
            self.clock.due.append(due)
        for frame in self._decode(stream, packet):
            if is_video:
                self._damage(frame.is_corrupt)
                self._show(frame)
            else:
                for block in self.sound.add(frame, self.packets.others_s(audio)):
                    self._hear(block)
        if packet is None:
            self._ended.add(index)
            self._end(is_video)

    def _decode(self, stream: Any, packet: Any) -> list[Any]:
        if packet is None:
            packet = av.Packet()  # empty: the decoder gives what it holds back
            packet.time_base = stream.time_base
        try:
            return list(stream.decode(packet))
        except FFmpegError:
            self._damage(1)
            return []

    def _damage(self, count: int) -> None:
        self._damaged += count
        for collector in self._open:
            collector.damaged += count

    def _wanted(self, is_video: bool) -> bool:
        """Whether some part still lacks something of a stream."""
        if self._waiting:
            return True
        if is_video:
            return not all(collector.seen for collector in self._open)
        return any(self.facts.sound_end < c.sound.end for c in self._open)

    def _complete(self) -> Iterator[tuple[int, Media | MediaError]]:
        """The parts that are complete, each once."""
        no_video, no_audio = (
            stream is None or stream.index in self._ended
            for stream in (self.source.video, self.source.audio)
        )
        for collector in list(self._open):
            seen = no_video or collector.seen
            if seen and (no_audio or self.facts.sound_end >= collector.sound.end):
                self._open.remove(collector)
                yield collector.index, collector.finish(self._known())

    def _open_until(self, time: float) -> None:
        while self._waiting and self._waiting[0].part.start_s < time:
            self._open.append(self._waiting.popleft())

    def _show(self, frame: Any) -> None:
        video, facts = self.source.video, self.facts
        first, before = facts.screen is None, self.clock.time
        rising = self.packets.rising(video) and not self._damaged
        shown = self.clock.next(frame, self.packets.others_s(video), rising)
        if facts.screen is None:
            facts.screen = Screen(video, frame)
            self._place(self.clock.start_s)
        time = facts.late_picture_s + shown.time
        if not first and shown.time - before - self.clock.step > TOLERANCE_S:
            facts.picture_gaps.append((time - (shown.time - before - self.clock.step), time))
        self._deliver(time)
        # The first frame stands for those before it.
        self._pending = _Pending(frame, 0.0 if first else time, time, shown.repaired)

    def _deliver(self, until: float | None) -> None:
        """Give the frame on screen, shown until then (None: as long as it says), to the parts."""
        if self._pending is None or self.facts.screen is None:
            return
        frame, start, time, repaired = self._pending
        end = time + self.clock.duration(frame) if until is None else until
        self.facts.end_s = max(self.facts.end_s, end)
        self._open_until(end)
        for collector in self._open:
            collector.show(frame, self.facts.screen, start, end, repaired, until is None)
        self._pending = None

    def _hear(self, block: Block) -> None:
        """Give samples to the parts, once it is known where they belong."""
        self._unplaced.append(block)
        if not self._placed and self.sound.samples > MAX_SECONDS * self.facts.sample_rate:
            self._place(start_s(self.source.video))  # no picture for long: by the header
        if self._placed:
            self._hand_on()

    def _hand_on(self) -> None:
        rate = self.facts.sample_rate
        if self._shift is None:
            zero = self.sound.start_s if self._sound_zero is None else self._sound_zero
            late = self.sound.start_s - zero
            self._shift = round(late * rate) if abs(late) <= MAX_SECONDS else 0
            self.facts.late_sound_s = max(0.0, self._shift / rate)
        for waiting in self._unplaced:
            placed = Block(waiting.first + self._shift, waiting.samples)
            self.facts.sound_end = placed.first + placed.samples.size
            self._open_until(self.facts.sound_end / rate)
            for collector in self._open:
                collector.hear(placed)
        self._unplaced.clear()

    def _place(self, picture_s: float | None) -> None:
        """Decide where the time axis begins, given the time of the first picture (None: unknown).

        With the picture; with the sound where that starts so much earlier that it is no priming.
        """
        sound_s = self.sound.start_s if self.sound.rate else start_s(self.source.audio)
        if self._placed and self._sound_zero is not None:
            sound_s = self._sound_zero
        self.facts.late_picture_s = 0.0
        if picture_s is not None and sound_s is not None:
            # Further apart, the two clocks have nothing to do with each other.
            early = picture_s - sound_s
            if MAX_PADDING_S < early <= MAX_SECONDS:
                self.facts.late_picture_s, picture_s = early, sound_s
            elif abs(early) > MAX_SECONDS:
                picture_s = None
        if not self._placed:
            self._sound_zero = picture_s
        self._placed = True
        if self._unplaced:
            self._hand_on()

    def _end(self, is_video: bool) -> None:
        if is_video:
            self._deliver(None)
            if not self._placed:
                self._place(None)
        else:
            for block in self.sound.flush():
                self._hear(block)

    def _known(self) -> Facts:
        """The facts, with all that is known of the sound."""
        facts, rate, shift = self.facts, self.facts.sample_rate, self._shift or 0
        facts.end_s = max(facts.end_s, facts.sound_end / rate)
        facts.audio_rate, facts.audio_channels = self.sound.rate, self.sound.channels
        facts.sound_gaps = [((a + shift) / rate, (b + shift) / rate) for a, b in self.sound.gaps]
        facts.sound_jumps = self.sound.jumps
        facts.promised_s = self._promised_s - max(0.0, self.clock.offset)
        if facts.screen is None:
            facts.late_sound_s = 0.0
        return facts
