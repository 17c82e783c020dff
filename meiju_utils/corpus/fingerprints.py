"""Can a clip be opened, and what does it look and sound like in a few hundred bytes?

The sound's fingerprint follows Haitsma and Kalker (A Highly Robust Audio Fingerprinting System,
ISMIR 2002) with half their bands, each twice as wide: one utterance must suffice, not a song. The
picture's is the usual perceptual hash, signs of low DCT coefficients. Both are written here:
Chromaprint wants several seconds and a system library, imagehash brings Pillow, SciPy and
PyWavelets for the five lines of `picture_hash`. Opening, streams, times and limits are those of
`media`. Imports `media`, PyAV, OpenCV.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from meiju_utils.errors import MediaError
from meiju_utils.media.frames import Screen
from meiju_utils.media.reading import Part, read_parts
from meiju_utils.media.sound import SoundCollector, SoundStream
from meiju_utils.media.streams import (
    MAX_PADDING_S,
    MAX_SECONDS,
    TOLERANCE_S,
    Source,
    open_source,
    promised_s,
    start_s,
)

RATE = 8000  # Hz; the bands end at 2 kHz
FRAME = 2960  # samples, 0.37 s: so long that a shift by half a hop changes little
HOP = 93  # samples, 11.6 ms
HOPS_AT_ONCE = 128  # some 13 MB on the way; a minute at once takes 500
BITS = 16
EDGES = np.geomspace(300, 2000, BITS + 2)  # Hz; 17 bands have 16 differences
FFT = 4096
QUIET = 10 ** (-55 / 20)  # RMS; below -55 dBFS the signs are those of the noise
HASHED_SIDE = 32  # pixels a picture is reduced to
FLAT = 4.0  # grey levels; a picture with less spread (black, white) has no hash


_BY_SEEKING = {"no-video", "no-audio", "truncated"}  # remarks that a failed seek may cause


@dataclass(frozen=True)
class Glimpse:
    """What was seen of one clip.

    `fault` says why nothing can be read ("" if something can), `remarks` what else is amiss, in the
    names of `media`'s flags. After a deep look: `digest` hashes the decoded samples ("" without
    sound), `sound` is uint16 [hops] (0 where quiet), `pictures` hashes the first and the middle
    frame, uint64 [2] (0: no hash), `picture_s` is the picture's length by its header (0: none, or
    it does not say).
    """

    fault: str = ""
    remarks: tuple[str, ...] = ()
    digest: str = ""
    sound: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    pictures: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(2, np.uint64))
    picture_s: float = 0.0


def look_at(path: Path, deep: bool) -> Glimpse:
    """Open a clip and decode its first frame; if `deep`, also its sound and its middle frame.

    Never raises for a bad file: that is what it is asked to find.
    """
    try:
        with open_source(path) as source:
            found = _look(source, deep)
    except (MediaError, FFmpegError, OSError) as error:
        return Glimpse(fault=str(error))
    return _confirmed(path, [Part()], [found])[0]


def look_at_parts(path: Path, parts: Sequence[Part], deep: bool) -> list[Glimpse]:
    """The same of clips that are parts of one video, which is opened once: a glimpse each."""
    try:
        with open_source(path) as source:
            found = _look_at_parts(source, parts, deep)
    except (MediaError, FFmpegError, OSError) as error:
        return [Glimpse(fault=str(error))] * len(parts)
    return _confirmed(path, parts, found)


def _confirmed(path: Path, parts: Sequence[Part], found: Sequence[Glimpse]) -> list[Glimpse]:
    """What the pipeline's own reading says of what was not found: in some containers (FLV, MPEG-TS)
    seeking fails where decoding does not."""
    certain = list(found)
    doubtful = [i for i, g in enumerate(found) if g.fault or _BY_SEEKING.intersection(g.remarks)]
    if not doubtful:
        return certain
    try:
        read = read_parts(path, [parts[i] for i in doubtful], RATE, sys.maxsize, 0)
        for place, media in read:
            i = doubtful[place]
            if isinstance(media, MediaError):
                certain[i] = Glimpse(fault=str(media))
                continue
            flags = {flag.problem: None for flag in media.flags if flag.problem in _BY_SEEKING}
            held = [r for r in found[i].remarks if r not in _BY_SEEKING or r in flags]
            remarks = tuple(dict.fromkeys([*held, *flags]))
            certain[i] = replace(found[i], fault="", remarks=remarks)
    except MediaError as error:
        for i in doubtful:
            certain[i] = Glimpse(fault=str(error))
    return certain


def _look(source: Source, deep: bool) -> Glimpse:
    video = source.video
    first = _frame(source, 0.0)
    sound, (samples,) = _sounds(source, [Part()], None if deep else 1)
    remarks = []
    if not first:
        remarks.append("no-video")
    elif Screen(video, first).scale < 1:
        remarks.append("too-large")
    if not samples.size:
        remarks.append("no-audio")
    if not first and not samples.size:
        return Glimpse(fault="opens, but neither picture nor sound decodes")
    if not deep:
        return Glimpse(remarks=tuple(remarks))
    picture_s, sound_s = promised_s(video), promised_s(source.audio)
    # Of the picture, not of the file: sound may go on long after it.
    length = picture_s or (source.container.duration or 0) / av.time_base
    middle = _frame(source, (start_s(video) or 0.0) + length / 2)
    if picture_s > MAX_SECONDS or sound.samples > (MAX_SECONDS + MAX_PADDING_S) * RATE:
        remarks.append("too-long")
    lost = samples.size and samples.size / RATE < min(sound_s, MAX_SECONDS) - TOLERANCE_S
    if lost or (first and picture_s and not middle):
        remarks.append("truncated")
    silent = not samples.any()
    if samples.size and silent:
        remarks.append("silent")
    return Glimpse(
        remarks=tuple(remarks),
        digest="" if silent else hashlib.sha256(samples.tobytes()).hexdigest(),
        sound=sound_fingerprint(samples),
        pictures=np.array([_hash(video, first), _hash(video, middle)], np.uint64),
        picture_s=picture_s,
    )


def _look_at_parts(source: Source, parts: Sequence[Part], deep: bool) -> list[Glimpse]:
    video, begin = source.video, start_s(source.video) or 0.0
    of_file = (source.container.duration or 0) / av.time_base
    length = max(promised_s(video), promised_s(source.audio)) or of_file or math.inf
    none = [np.zeros(0, np.int16)] * len(parts)
    samples = _sounds(source, parts, None)[1] if deep else none
    found = []
    for part, own in zip(parts, samples, strict=True):
        if part.start_s >= length:
            found.append(Glimpse(fault="lies beyond the end"))  # which reading is to confirm
            continue
        end = min(part.end_s, length)
        first = _frame(source, begin + part.start_s)
        middle = (
            _frame(source, begin + (part.start_s + end) / 2) if deep and end < math.inf else None
        )
        remarks = {
            "outside": part.end_s < math.inf and part.end_s > length + TOLERANCE_S,
            "no-video": first is None,
            "no-audio": (not own.size) if deep else source.audio is None,
            "silent": own.size > 0 and not own.any(),
            "too-long": end < math.inf and end - part.start_s > MAX_SECONDS,
        }
        glimpse = Glimpse(remarks=tuple(name for name, is_so in remarks.items() if is_so))
        if deep:
            glimpse = replace(
                glimpse,
                digest=hashlib.sha256(own.tobytes()).hexdigest() if own.any() else "",
                sound=sound_fingerprint(own),
                pictures=np.array([_hash(video, first), _hash(video, middle)], np.uint64),
                picture_s=end - part.start_s if first is not None and end < math.inf else 0.0,
            )
        found.append(glimpse)
    return found


def _frame(source: Source, time_s: float) -> Any:
    """The first frame shown at `time_s` or later, else the one still shown then; None: neither."""
    if source.video is None:
        return None
    frame = None
    try:
        source.container.seek(round(time_s * av.time_base))
        for frame in source.container.decode(source.video):
            if frame.time is None or frame.time >= time_s:
                return frame
    except (FFmpegError, IndexError):  # see `media.packets`
        pass
    if frame is None:
        return None
    timed = frame.duration and frame.time_base
    shown_s = float(frame.duration * frame.time_base) if timed else 0.0
    return frame if frame.time + shown_s >= time_s - TOLERANCE_S else None


def _sounds(
    source: Source, parts: Sequence[Part], most: int | None
) -> tuple[SoundStream, list[NDArray[np.int16]]]:
    """The sound, of at most so many frames, and the mono samples at RATE of each part, up to
    `MAX_SECONDS`."""
    sound = SoundStream(RATE)
    kept = [SoundCollector(round(p.start_s * RATE), round(p.limit_s * RATE)) for p in parts]
    last_s = max(part.limit_s for part in parts)
    if source.audio is None:
        return sound, [one.finish(0) for one in kept]
    try:
        source.container.seek(0)
        for count, frame in enumerate(source.container.decode(source.audio), start=1):
            for block in sound.add(frame):
                for one in kept:
                    one.add(block)
            if count == most or sound.samples > (last_s + MAX_PADDING_S) * RATE:
                break
    except (FFmpegError, IndexError):
        pass  # what decoded is kept; the promised length shows the loss
    for block in sound.flush():
        for one in kept:
            one.add(block)
    return sound, [one.finish(sound.samples) for one in kept]


def sound_fingerprint(samples: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Fingerprint [hops] of mono samples at RATE, one word of 16 signs every 11.6 ms.

    Bit m of word n says whether the energy difference between bands m and m + 1 fell from hop n
    to hop n + 1. Empty where the sound is shorter than two frames.
    """
    if len(samples) < FRAME + HOP:
        return np.zeros(0, np.uint16)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    blocks = [
        _bands(frames[start : start + HOPS_AT_ONCE])
        for start in range(0, len(frames), HOPS_AT_ONCE)
    ]
    energy = np.concatenate([energy for energy, _ in blocks])
    loud = np.concatenate([loud for _, loud in blocks])
    fell = np.diff(np.diff(energy, axis=1), axis=0) < 0
    words = np.packbits(fell, axis=1).view(np.uint16)[:, 0]
    return np.where(loud[1:] & loud[:-1], words, np.uint16(0))


def _bands(frames: NDArray[np.int16]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Energy [frames, 17] in the bands of each frame, and which frames are loud enough."""
    scaled = frames / np.float32(2**15)
    window = np.hanning(FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(scaled * window, FFT)) ** 2
    edges = np.searchsorted(np.fft.rfftfreq(FFT, 1 / RATE), EDGES)
    energy = np.add.reduceat(power, edges, axis=1)[:, :-1]  # the last is above the bands
    return energy, np.sqrt((scaled**2).mean(axis=1)) > QUIET


def picture_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits of a picture [32, 32] that survive scaling and re-encoding; 0 for a flat one."""
    if grey.std() < FLAT:
        return 0
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    signs = low > np.median(low[1:])  # the first coefficient is the brightness
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


def _hash(video: Any, frame: Any) -> int:
    return 0 if frame is None else picture_hash(Screen(video, frame).square(frame, HASHED_SIDE))
