"""Can a clip be opened, and what does it look and sound like in a few hundred bytes?

The sound's fingerprint follows Haitsma and Kalker (A Highly Robust Audio Fingerprinting System,
ISMIR 2002) with half their bands, each twice as wide: one utterance must suffice, not a song. The
picture's is the usual perceptual hash, signs of low DCT coefficients. Both are written here:
Chromaprint wants several seconds and a system library, imagehash brings Pillow, SciPy and
PyWavelets for the five lines of `picture_hash`. Imports PyAV, OpenCV.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

VERSION = 1  # raise it when the same file gives another glimpse

RATE = 8000  # Hz; the bands end at 2 kHz
FRAME = 2960  # samples, 0.37 s: so long that a shift by half a hop changes little
HOP = 93  # samples, 11.6 ms
BITS = 16
EDGES = np.geomspace(300, 2000, BITS + 2)  # Hz; 17 bands have 16 differences
FFT = 4096
QUIET = 10 ** (-55 / 20)  # RMS; below -55 dBFS the signs are those of the noise
HASHED_SIDE = 32  # pixels a picture is reduced to
FLAT = 4.0  # grey levels; a picture with less spread (black, white) has no hash
LOST_S = 0.25  # a header may promise a little more than there is


@dataclass(frozen=True)
class Glimpse:
    """What was seen of one clip.

    `fault` says why nothing can be read ("" if something can), `remarks` what else is amiss. After
    a deep look: `digest` hashes the decoded samples ("" without sound), `sound` is uint16 [hops]
    (0 where quiet), `pictures` hashes the first and the middle frame, uint64 [2] (0: no hash),
    `picture_s` is the picture's length by its header (0: none, or it does not say).
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
        with av.open(str(path), metadata_errors="ignore") as container:
            return _look(container, deep)
    except (FFmpegError, OSError) as error:
        return Glimpse(fault=f"does not open as a media file ({error.strerror})")


def _look(container: Any, deep: bool) -> Glimpse:
    video, audio = container.streams.best("video"), container.streams.best("audio")
    if video is not None:
        video.thread_type = "NONE"  # clips are spread over processes instead
    first = _frame(container, video, 0.0)
    remarks = [] if first else ["no picture"]
    samples, sound_s = _samples(container, audio, None if deep else 1)
    if not samples.size:
        remarks.append("no sound")
    if len(remarks) == 2:
        return Glimpse(fault="opens, but neither picture nor sound decodes")
    if not deep:
        return Glimpse(remarks=tuple(remarks))
    picture_s = _promised_s(video)
    # Of the picture, not of the file: sound may go on long after it.
    middle = _frame(container, video, (picture_s or (container.duration or 0) / av.time_base) / 2)
    lost = samples.size and samples.size / RATE < sound_s - LOST_S
    if lost or (first and picture_s and not middle):
        remarks.append("cut short or damaged")
    silent = not samples.any()
    if samples.size and silent:
        remarks.append("silent")
    return Glimpse(
        remarks=tuple(remarks),
        digest="" if silent else hashlib.sha256(samples.tobytes()).hexdigest(),
        sound=sound_fingerprint(samples),
        pictures=np.array([_hash(first), _hash(middle)], np.uint64),
        picture_s=picture_s,
    )


def _frame(container: Any, video: Any, time_s: float) -> Any:
    """The first frame shown at `time_s` or later, else the one still shown then; None: neither."""
    if video is None:
        return None
    frame = None
    try:
        container.seek(round(time_s * av.time_base))
        for frame in container.decode(video):
            if frame.time is None or frame.time >= time_s:
                return frame
    except FFmpegError:
        pass
    if frame is None:
        return None
    timed = frame.duration and frame.time_base
    shown_s = float(frame.duration * frame.time_base) if timed else 0.0
    return frame if frame.time + shown_s >= time_s - LOST_S else None


def _promised_s(stream: Any) -> float:
    """Length of a stream by its header, seconds; 0 where there is none or it says nothing."""
    return float(stream.duration * stream.time_base) if stream and stream.duration else 0.0


def _samples(container: Any, audio: Any, most: int | None) -> tuple[NDArray[np.int16], float]:
    """Mono samples at RATE of at most so many packets, and the length the header promises, s."""
    if audio is None:
        return np.zeros(0, np.int16), 0.0
    resampler = av.AudioResampler("s16", "mono", RATE)
    parts: list[NDArray[np.int16]] = []
    try:
        container.seek(0)
        for count, frame in enumerate(container.decode(audio), start=1):
            parts.extend(part.to_ndarray()[0] for part in resampler.resample(frame))
            if count == most:
                break
    except FFmpegError:
        pass  # what decoded is kept; the promised length shows the loss
    parts.extend(part.to_ndarray()[0] for part in resampler.resample(None) if parts)
    return np.concatenate(parts) if parts else np.zeros(0, np.int16), _promised_s(audio)


def sound_fingerprint(samples: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Fingerprint [hops] of mono samples at RATE, one word of 16 signs every 11.6 ms.

    Bit m of word n says whether the energy difference between bands m and m + 1 fell from hop n
    to hop n + 1. Empty where the sound is shorter than two frames.
    """
    if len(samples) < FRAME + HOP:
        return np.zeros(0, np.uint16)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP] / np.float32(2**15)
    window = np.hanning(FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, FFT)) ** 2
    edges = np.searchsorted(np.fft.rfftfreq(FFT, 1 / RATE), EDGES)
    energy = np.add.reduceat(power, edges, axis=1)[:, :-1]  # [hops + 1, 17]; last: above the bands
    fell = np.diff(np.diff(energy, axis=1), axis=0) < 0
    words = np.packbits(fell, axis=1).view(np.uint16)[:, 0]
    loud = np.sqrt((frames**2).mean(axis=1)) > QUIET
    return np.where(loud[1:] & loud[:-1], words, np.uint16(0))


def picture_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits of a picture [32, 32] that survive scaling and re-encoding; 0 for a flat one."""
    if grey.std() < FLAT:
        return 0
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    signs = low > np.median(low[1:])  # the first coefficient is the brightness
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


def _hash(frame: Any) -> int:
    if frame is None:
        return 0
    small = frame.reformat(HASHED_SIDE, HASHED_SIDE, "gray", interpolation=Interpolation.AREA)
    return picture_hash(small.to_ndarray())
