"""What a clip holds: its sound, its sampled frames, the pictures in which faces are followed.

A clip is opened and decoded once, in this process and thread, without temporary files; memory is
bounded by `MAX_SECONDS` of one clip. Imports PyAV, numpy, `errors` and `frames`.

| the clip                             | outcome                                                 |
|--------------------------------------|---------------------------------------------------------|
| sound and picture                    | all fields filled; time 0 is the first video frame      |
| no sound, or no sample decodes       | `audio` empty, flag `no-audio`                          |
| no picture, or no frame decodes      | `frames`, `tracking` empty, flag `no-video`             |
| neither                              | MediaError                                              |
| empty or missing file, no media file | MediaError                                              |
| index missing (cut MP4, moov at end) | MediaError                                              |
| cut short, index present             | what decodes is kept, flag `truncated`                  |
| damaged inside                       | what decodes is kept, flag `corrupt` with the count     |
| variable frame rate                  | `frames` by count; `tracking` by time, 25 a second      |
| times missing, going back, jumping   | the nominal duration is used, flag `timestamps`         |
| rotated or mirrored by its metadata  | turned as a player shows it                             |
| odd width or height                  | kept as it is                                           |
| size changes inside                  | scaled to the size of the first frame                   |
| mono, stereo, 5.1; 8-96 kHz          | mixed and resampled by libswresample, as ffmpeg does    |
| sound starts later than the picture  | silence before it; earlier: its beginning is dropped    |
| sound ends up to 0.25 s after it     | trimmed: the codec's padding, see `MAX_PADDING_S`       |
| sound ends later still               | kept, flag `audio-overrun`                              |
| longer than `MAX_SECONDS`            | the beginning is kept, flag `too-long`                  |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from meiju_utils.errors import MediaError
from meiju_utils.media.frames import LONGEST_FRAME_S, TRACKING_RATE, FrameCollector

# Clips of the challenge last seconds; a film put there by mistake must not exhaust the memory.
# A minute of 1280x720 takes about 1 GB: 1500 tracking frames of 960x540, 50 in full.
MAX_SECONDS = 60.0

# AAC pads to whole frames of 1024 samples (HE-AAC: 2048): at 8 kHz up to 0.25 s.
MAX_PADDING_S = 0.25

# Frames a second; a header that says more, or less than one in LONGEST_FRAME_S, is damaged.
FASTEST = 1000.0

# A header may promise a little more than there is; less than this is no truncation.
_TOLERATED_LOSS_S = 0.25


class Flag(NamedTuple):
    """Something wrong with a clip that is still usable: a short name and what was found."""

    problem: str
    reason: str


@dataclass(frozen=True)
class Media:
    """A decoded clip. Time 0 is its first video frame, or its first sample without video.

    audio: [samples] in [-1, 1), mono, whole steps of 2^-15 as in 16 bit; empty without sound.
    frames: [n, height, width, 3] RGB, one of every `frame_stride`; frame_times: [n] seconds.
    tracking: [t, h, w] grey, 25 a second; thumbnails: [t, h', w', 3] RGB, small, the same moments.
    width, height: as shown. fps, video_frames, audio_rate, audio_channels: of the source.
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


def read_media(
    path: Path, sample_rate: int = 16000, frame_stride: int = 30, tracking_side: int = 960
) -> Media:
    """Decode a clip once. `tracking_side`: longest side of the tracking frames; 0: leave them out.

    Raises MediaError where nothing can be used; the table above says what else becomes of a clip.
    """
    if not path.is_file():
        raise MediaError(f"{path.name}: no such file. Restore it or take it off the list.")
    if not path.stat().st_size:
        raise MediaError(f"{path.name} is empty (0 bytes). Fetch it again.")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        raise MediaError(
            f"{path.name} does not open as a media file ({_plain(error)}): no media, or cut short "
            "with its index missing. Fetch it again."
        ) from error
    with container:
        return _Reading(path.name, container, sample_rate, frame_stride, tracking_side).run()


class _Reading:
    """One pass over an open container."""

    def __init__(
        self, name: str, container: Any, sample_rate: int, frame_stride: int, tracking_side: int
    ) -> None:
        self.name = name
        self.container = container
        self.sample_rate = sample_rate
        self.video = next((s for s in container.streams.video if not _is_cover(s)), None)
        self.audio = container.streams.best("audio")
        self.pictures = FrameCollector(frame_stride, tracking_side, MAX_SECONDS)
        self.sound = _Sound(sample_rate)
        self.damaged = 0
        self.too_long = False

    def run(self) -> Media:
        streams = [stream for stream in (self.video, self.audio) if stream is not None]
        for stream in streams:
            stream.thread_type = "NONE"  # clips are spread over processes instead
        for frame in self._frames(streams):
            if isinstance(frame, av.VideoFrame):
                self.damaged += frame.is_corrupt
                self.pictures.add(frame, _rate(self.video))
                self.too_long = self.pictures.end_s > MAX_SECONDS
            else:
                self.sound.add(frame)
                self.too_long = self.sound.seconds > MAX_SECONDS
            if self.too_long:
                break
        return self._media()

    def _frames(self, streams: list[Any]) -> Iterator[Any]:
        """Decoded frames in file order; what does not decode is counted and skipped."""
        if not streams:
            return
        packets = self.container.demux(*streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return  # demuxing ends with empty packets, which flush the decoders
            except FFmpegError:
                self.damaged += 1
                break
            yield from self._decode(packet.stream, packet)
        for stream in streams:
            yield from self._decode(stream, None)

    def _decode(self, stream: Any, packet: Any) -> list[Any]:
        try:
            return list(stream.decode(packet))
        except FFmpegError:
            self.damaged += 1
            return []

    def _media(self) -> Media:
        pictures = self.pictures.finish()
        samples = self.sound.finish()
        if not pictures.count and not samples.size:
            raise MediaError(
                f"{self.name} opens, but neither picture nor sound decodes. Fetch it again."
            )
        flags = []
        if pictures.count and samples.size:
            samples = _align(samples, self.sound.start_s - pictures.start_s, self.sample_rate)
        if self.too_long:
            flags.append(Flag("too-long", f"only the first {MAX_SECONDS:.0f} s are used"))
            samples = samples[: round(MAX_SECONDS * self.sample_rate)]
        overrun = samples.size / self.sample_rate - pictures.duration_s
        if pictures.count and 0 < overrun <= MAX_PADDING_S:
            samples = samples[: round(pictures.duration_s * self.sample_rate)]
        elif pictures.count and overrun > 0:
            flags.append(Flag("audio-overrun", f"sound ends {overrun:.2f} s after the picture"))
        seconds = max(pictures.duration_s, samples.size / self.sample_rate)
        flags += self._flags(pictures.count, samples.size, seconds, pictures.repaired)
        return Media(
            audio=samples.astype(np.float32) / np.float32(32768),
            sample_rate=self.sample_rate,
            frames=pictures.sampled,
            frame_times=pictures.sampled_times,
            tracking=pictures.tracking,
            thumbnails=pictures.thumbnails,
            duration_s=seconds,
            fps=_rate(self.video) if pictures.count else 0.0,
            width=pictures.width,
            height=pictures.height,
            video_frames=pictures.count,
            audio_rate=self.sound.rate,
            audio_channels=self.sound.channels,
            flags=tuple(flags),
        )

    def _flags(self, pictures: int, samples: int, seconds: float, repaired: int) -> Iterator[Flag]:
        if not pictures:
            yield Flag("no-video", "no frame decodes" if self.video else "no video stream")
        if not samples:
            yield Flag("no-audio", "no sample decodes" if self.audio else "no audio stream")
        promised = max((_promised_s(s) for s in (self.video, self.audio) if s), default=0.0)
        if not self.too_long and promised - seconds > _TOLERATED_LOSS_S:
            yield Flag("truncated", f"{seconds:.2f} s decode of {promised:.2f} s promised")
        if self.damaged:
            yield Flag("corrupt", f"{self.damaged} packets or frames are damaged")
        if repaired:
            yield Flag(
                "timestamps",
                f"{repaired} frames without a credible time; the nominal rate is assumed",
            )


class _Sound:
    """Collects audio frames as 16-bit mono at one rate."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.rate = 0
        self.channels = 0
        self.start_s = 0.0
        self._kind: tuple[Any, ...] = ()
        self._resampler: Any = None
        self._parts: list[NDArray[np.int16]] = []
        self._samples = 0

    @property
    def seconds(self) -> float:
        return self._samples / self.sample_rate

    def add(self, frame: Any) -> None:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:  # the first frame, or a broadcast that switches its sound
            if self._resampler is None:
                self.rate = frame.sample_rate
                self.channels = frame.layout.nb_channels
                self.start_s = frame.time or 0.0
            else:
                self._keep(None)
            self._kind = kind
            self._resampler = av.AudioResampler("s16", "mono", self.sample_rate)
        self._keep(frame)

    def finish(self) -> NDArray[np.int16]:
        """All samples; the resampler holds some back until it is flushed."""
        if self._resampler is not None:
            self._keep(None)
        return np.concatenate([np.empty(0, np.int16), *self._parts])

    def _keep(self, frame: Any) -> None:
        for resampled in self._resampler.resample(frame):
            part = resampled.to_ndarray()[0]
            self._parts.append(part)
            self._samples += part.size


def _align(samples: NDArray[np.int16], late_s: float, rate: int) -> NDArray[np.int16]:
    """Shift sound that starts `late_s` after the picture onto the picture's time axis.

    More than `MAX_SECONDS` apart, the two clocks have nothing to do with each other.
    """
    shift = round(late_s * rate) if abs(late_s) <= MAX_SECONDS else 0
    if shift >= 0:
        return np.concatenate([np.zeros(shift, np.int16), samples])
    return samples[-shift:]


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _rate(stream: Any) -> float:
    """Frames a second as the header has it, where that is credible."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 / LONGEST_FRAME_S <= rate <= FASTEST:
            return float(rate)
    return float(TRACKING_RATE)


def _promised_s(stream: Any) -> float:
    """Duration of a stream by its header, seconds; 0 where it says nothing."""
    return float(stream.duration * stream.time_base) if stream.duration else 0.0


def _plain(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
