"""What is gathered for one clip, which is a video or a part of one, and what is said of it.

Imports its neighbours and `errors`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meiju_utils.errors import MediaError
from meiju_utils.media.frames import TIME_TOLERANCE_S, FrameCollector, Pictures, Screen
from meiju_utils.media.sound import Block, SoundCollector
from meiju_utils.media.streams import MAX_PADDING_S, MAX_SECONDS, TOLERANCE_S


class Flag(NamedTuple):
    """Something wrong with a clip that is still usable: a short name and what was found."""

    problem: str
    reason: str


@dataclass(frozen=True)
class Part:
    """A stretch of a video, seconds from its beginning; by default all of it."""

    start_s: float = 0.0
    end_s: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s or math.isinf(self.start_s):
            raise MediaError(
                f"A part from {self.start_s} to {self.end_s} s: expected a start of 0 or later and "
                "an end after it. Correct start_s and end_s."
            )

    @property
    def limit_s(self) -> float:
        """Where reading ends at the latest."""
        return min(self.end_s, self.start_s + MAX_SECONDS)


def part_of(start_s: float, end_s: float) -> Part:
    """A part as a clips table has it: NaN stands for the video's start and its end."""
    return Part(0.0 if math.isnan(start_s) else start_s, math.inf if math.isnan(end_s) else end_s)


@dataclass(frozen=True)
class Media:
    """A decoded clip. Time 0 is the start of its part.

    audio: [samples] in [-1, 1), mono, whole steps of 2^-15 as in 16 bit; empty without sound.
    frames: [n, height, width, 3] RGB, one of every `frame_stride`; frame_times: [n] seconds.
    tracking: [t, h, w] grey, 25 a second; thumbnails: [t, h', w', 3] RGB, small, the same moments.
    width, height: of the video as shown, which very large `frames` are not. fps, audio_rate,
    audio_channels: of the source. video_frames: how many the clip has.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.uint8]
    frame_times: NDArray[np.float64]
    tracking: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    duration_s: float
    fps: float
    width: int
    height: int
    video_frames: int
    audio_rate: int
    audio_channels: int
    flags: tuple[Flag, ...] = ()


@dataclass
class Facts:
    """What is known of the whole file so far, times in seconds on the axis that begins with it.

    `sound_end`: number of the sample after the last one. `end_s`: of what decodes. `late_picture_s`
    and `late_sound_s`: by how much a stream starts after the other. Gaps: (start, end).
    """

    name: str
    has_video: bool
    has_audio: bool
    fps: float
    sample_rate: int
    screen: Screen | None = None
    promised_s: float = 0.0
    sound_end: int = 0
    end_s: float = 0.0
    audio_rate: int = 0
    audio_channels: int = 0
    late_picture_s: float = 0.0
    late_sound_s: float = 0.0
    picture_gaps: list[tuple[float, float]] = field(default_factory=list)
    sound_gaps: list[tuple[float, float]] = field(default_factory=list)
    sound_jumps: int = 0
    by_packet: bool = False


class PartCollector:
    """Takes the frames and samples of a whole file, in order, and keeps those of one part."""

    def __init__(
        self, index: int, part: Part, sample_rate: int, stride: int, tracking_side: int
    ) -> None:
        self.index = index
        self.part = part
        self.pictures = FrameCollector(stride, tracking_side, part.limit_s - part.start_s)
        # A little more than the part, to tell sound that goes on from the codec's padding.
        self.sound = SoundCollector(
            round(part.start_s * sample_rate), round((part.limit_s + MAX_PADDING_S) * sample_rate)
        )
        self.damaged = 0
        self.seen = False  # the pictures are complete
        self._more = False  # and go on after the part

    def show(
        self, frame: Any, screen: Screen, start: float, end: float, repaired: bool, last: bool
    ) -> None:
        """A frame, and from when to when it is on screen."""
        first, limit = self.part.start_s, self.part.limit_s - TIME_TOLERANCE_S
        within = start < limit and (start >= first or end > first + TIME_TOLERANCE_S)
        if within and not self.seen:
            self.pictures.add(frame, screen, start - first, end - first, repaired)
        if end >= limit:
            self.seen = True
            self._more |= start >= limit or not last

    def hear(self, block: Block) -> None:
        self.sound.add(block)

    def finish(self, facts: Facts) -> Media | MediaError:
        pictures = self.pictures.finish()
        samples, more_sound = self._trimmed(pictures, facts)
        if not pictures.count and not samples.size:
            return self._nothing(facts)
        seconds = max(pictures.end_s, samples.size / facts.sample_rate)
        too_long = self.part.limit_s < self.part.end_s and (self._more or more_sound)
        flags = [
            *self._length_flags(pictures, samples.size, seconds, too_long, facts),
            *self._stream_flags(pictures, samples.size, facts),
            *self._time_flags(pictures, seconds, facts),
        ]
        screen = facts.screen if pictures.count else None
        return Media(
            audio=samples.astype(np.float32) / np.float32(32768),
            sample_rate=facts.sample_rate,
            frames=pictures.sampled,
            frame_times=pictures.sampled_times,
            tracking=pictures.tracking,
            thumbnails=pictures.thumbnails,
            duration_s=seconds,
            fps=facts.fps if pictures.count else 0.0,
            width=screen.width if screen else 0,
            height=screen.height if screen else 0,
            video_frames=pictures.count,
            audio_rate=facts.audio_rate,
            audio_channels=facts.audio_channels,
            flags=tuple(flags),
        )

    def _trimmed(self, pictures: Pictures, facts: Facts) -> tuple[NDArray[np.int16], bool]:
        """The samples without the codec's padding, and whether sound goes on after the limit."""
        rate, first = facts.sample_rate, self.sound.first
        samples = self.sound.finish(facts.sound_end)
        limit = round(self.part.limit_s * rate) - first
        overrun = samples.size / rate - pictures.end_s
        padded = bool(pictures.count) and 0 < overrun <= MAX_PADDING_S
        more = samples.size > limit and not (padded and overrun < MAX_PADDING_S)
        if padded:
            samples = samples[: round((self.part.start_s + pictures.end_s) * rate) - first]
        return samples[:limit], more

    def _nothing(self, facts: Facts) -> MediaError:
        if not facts.end_s:
            return MediaError(
                f"{facts.name} opens, but neither picture nor sound decodes. Fetch it again."
            )
        promised = f" of {facts.promised_s:.2f} s promised"
        cut = promised if facts.promised_s - facts.end_s > TOLERANCE_S else ""
        return MediaError(
            f"{facts.name}: nothing lies between {self.part.start_s:.2f} and {self.part.end_s:.2f} "
            f"s; it ends after {facts.end_s:.2f} s{cut}. Correct start_s and end_s."
        )

    def _length_flags(
        self, pictures: Pictures, samples: int, seconds: float, too_long: bool, facts: Facts
    ) -> Iterator[Flag]:
        if too_long:
            yield Flag("too-long", f"only the first {MAX_SECONDS:.0f} s are used")
        overrun = samples / facts.sample_rate - pictures.end_s
        if pictures.count and overrun > MAX_PADDING_S:
            yield Flag("audio-overrun", f"sound ends {overrun:.2f} s after the picture")
        if too_long:
            return
        end, wanted, promised = self.part.start_s + seconds, self.part.end_s, facts.promised_s
        if min(promised, wanted) - end > TOLERANCE_S:
            yield Flag("truncated", f"{end:.2f} s decode of {promised:.2f} s promised")
        if math.isfinite(wanted) and wanted - max(promised, end) > TOLERANCE_S:
            there = f"it ends after {max(promised, end):.2f} s"
            yield Flag("outside", f"the part goes on to {wanted:.2f} s of the video, but {there}")

    def _stream_flags(self, pictures: Pictures, samples: int, facts: Facts) -> Iterator[Flag]:
        if not pictures.count:
            ended = "the picture ends before the part" if facts.screen else "no frame decodes"
            yield Flag("no-video", ended if facts.has_video else "no video stream")
        elif facts.screen and facts.screen.scale < 1:
            size = "x".join(map(str, pictures.sampled.shape[2:0:-1]))
            of = f"{facts.screen.width}x{facts.screen.height}"
            yield Flag("too-large", f"{of} pixels; the frames are scaled down to {size}")
        if not samples:
            ended = "the sound ends before the part" if facts.audio_rate else "no sample decodes"
            yield Flag("no-audio", ended if facts.has_audio else "no audio stream")
        if self.damaged:
            yield Flag("corrupt", f"{self.damaged} packets or frames are damaged")

    def _time_flags(self, pictures: Pictures, seconds: float, facts: Facts) -> Iterator[Flag]:
        start, end = self.part.start_s, self.part.start_s + seconds

        def within(gaps: list[tuple[float, float]]) -> list[float]:
            found = [min(end, high) - max(start, low) for low, high in gaps]
            return [length for length in found if length > 0]

        (late_picture,) = within([(0.0, facts.late_picture_s)]) or [0.0]
        if late_picture > TOLERANCE_S:
            what = "the first one stands there"
            yield Flag("video-late", f"{late_picture:.2f} s of sound before any picture; {what}")
        (late_sound,) = within([(0.0, facts.late_sound_s)]) or [0.0]
        if late_sound > TOLERANCE_S:
            yield Flag("audio-late", f"{late_sound:.2f} s of silence before the sound starts")
        if gaps := within(facts.picture_gaps):
            what = "the picture before stays"
            yield Flag(
                "video-gap", f"{sum(gaps):.2f} s without pictures ({len(gaps)} gaps); {what}"
            )
        if gaps := within(facts.sound_gaps):
            what = "silence stands there"
            yield Flag("audio-gap", f"{sum(gaps):.2f} s without sound ({len(gaps)} gaps); {what}")
        if facts.by_packet and pictures.count:
            yield Flag(
                "timestamps", "times are those of decoding, not of showing; they are put in order"
            )
        elif pictures.repaired or facts.sound_jumps:
            yield Flag(
                "timestamps",
                f"{pictures.repaired} frames without a credible time; the nominal rate is assumed"
                if pictures.repaired
                else f"{facts.sound_jumps} odd jumps in the sound's times; it is taken to go on",
            )
