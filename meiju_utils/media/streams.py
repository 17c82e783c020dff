"""How a clip's file is opened, which of its streams are taken, what of its header is believed.

The doctor and the pipeline both go by these rules. Imports PyAV and `errors`.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from meiju_utils.errors import MediaError

# Clips of the challenge last seconds; a film put there by mistake must not exhaust the memory.
# A minute of 1280x720 takes about 1 GB: 1500 tracking frames of 800x450, 50 in full.
MAX_SECONDS = 60.0

# AAC pads to whole frames of 1024 samples (HE-AAC: 2048): at 8 kHz up to 0.25 s.
MAX_PADDING_S = 0.25

# A header may promise a little more than there is, a stream start or pause a little: no fault.
TOLERANCE_S = 0.25

# A still picture may stay; a longer jump between two frames of a clip is a broken time, unless the
# other stream went on meanwhile.
LONGEST_FRAME_S = 10.0

# Frames a second; a header that says more, or less than one in LONGEST_FRAME_S, is damaged.
FASTEST = 1000.0
USUAL_RATE = 25.0

# Pixels wider or higher than this are a damaged header; DVDs have 0.89 to 1.46, anamorphic film 2.
_ODDEST_PIXEL = 4.0
# Headers round: 1920 columns may be said to be 1921 wide.
_SQUARE = 0.01

# Of several video streams one with less than half the packets of the fullest is a poster or a
# preview; so many packets are looked at, 20 s of two streams at 25 a second.
_COUNTED = 1000

# Formats that are lists of other files or addresses: dressed as a clip, one would have them read.
_REFERRING = {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp"} | {
    "tee",
    "vapoursynth",
    "vobsub",
    "webm_dash_manifest",
}


@dataclass(frozen=True)
class Source:
    """An open file and the streams of it that are used; None where there is no such stream."""

    path: Path
    container: Any
    video: Any
    audio: Any

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def streams(self) -> list[Any]:
        return [stream for stream in (self.video, self.audio) if stream is not None]


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a clip and choose its streams. MediaError where it is missing, empty or no media."""
    if not path.is_file():
        raise MediaError(f"{path.name}: no such file. Restore it or take it off the list.")
    try:
        if not path.stat().st_size:
            raise MediaError(f"{path.name} is empty (0 bytes). Fetch it again.")
        container = open_container(path)
    except (FFmpegError, OSError) as error:
        raise MediaError(
            f"{path.name} does not open as a media file ({_plain(error)}): no media, or cut short "
            "with its index missing. Fetch it again."
        ) from error
    with container:
        source = Source(path, container, main_video(path, container), _best(container, "audio"))
        for stream in source.streams:
            stream.thread_type = "NONE"  # clips are spread over processes instead
        yield source


def open_container(path: Path) -> Any:
    """The file as a container of PyAV that opens no other file and no connection."""
    return av.open(
        f"file:{path}",  # else a name such as "http:a.mp4" would be an address
        metadata_errors="ignore",
        options={"format_whitelist": _harmless_formats(), "protocol_whitelist": "file"},
    )


@functools.cache
def _harmless_formats() -> str:
    return ",".join(sorted(av.formats_available - _REFERRING))


def main_video(path: Path, container: Any) -> Any:
    """The stream a player shows: no cover, no poster, no preview; None without any."""
    candidates = [stream for stream in container.streams.video if not _is_cover(stream)]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    counts = _packet_counts(path, [stream.index for stream in candidates])
    fullest = max(counts.values())
    moving = [stream for stream in candidates if 2 * counts[stream.index] >= fullest]
    best = _best(container, "video")
    if any(stream.index == best.index for stream in moving):
        return best
    return max(moving, key=lambda stream: stream.width * stream.height)


def frame_rate(stream: Any) -> float:
    """Frames a second as the header has it, where that is credible."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 / LONGEST_FRAME_S <= rate <= FASTEST:
            return float(rate)
    return USUAL_RATE


def pixel_aspect(stream: Any) -> float:
    """Width of a pixel by its height, as the header has it, where that is credible."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if abs(aspect - 1) < _SQUARE or not 1 / _ODDEST_PIXEL <= aspect <= _ODDEST_PIXEL:
        return 1.0
    return aspect


def start_s(stream: Any) -> float | None:
    """When a stream starts by its header, seconds; None where it says nothing."""
    if stream is None or stream.start_time is None:
        return None
    return float(stream.start_time * stream.time_base)


def promised_s(stream: Any) -> float:
    """Length of a stream by its header, seconds; 0 where there is none or it says nothing."""
    if stream is None:
        return 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska: the time of the stream's end, as "00:01:02.345000000".
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = map(float, parts)
    except ValueError:
        return 0.0
    return max(0.0, 3600 * hours + 60 * minutes + seconds - (start_s(stream) or 0.0))


def _best(container: Any, kind: str) -> Any:
    return container.streams.best(kind)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _packet_counts(path: Path, indices: list[int]) -> Counter[int]:
    counts = Counter(dict.fromkeys(indices, 0))
    with open_container(path) as container:
        packets = container.demux(*(container.streams[index] for index in indices))
        try:
            for packet in itertools.islice(packets, _COUNTED):
                counts[packet.stream.index] += packet.size > 0
        except (FFmpegError, IndexError):  # see Packets
            pass  # what was counted counts
    return counts


def _plain(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
