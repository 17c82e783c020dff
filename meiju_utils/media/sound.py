"""Sound out of decoded audio frames: 16-bit mono at one rate, in its place on the clip's time axis.

Imports PyAV, numpy, `streams` and `times`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from meiju_utils.media.streams import TOLERANCE_S
from meiju_utils.media.times import longest_jump

# Time stamps of frames jitter; what is missing between two is silence where it is longer.
SHORTEST_GAP_S = 0.1

_NONE = np.empty(0, np.int16)


class Block(NamedTuple):
    """Samples and the number of the first one, counted from the first of the stream."""

    first: int
    samples: NDArray[np.int16]


class SoundStream:
    """Turns the audio frames of a stream, in order, into blocks of mono samples without gaps.

    `rate`, `channels`: of the source. `start_s`: time of the first frame. `samples`: given so far.
    `gaps`: (first, end) of the silences, in samples. `jumps`: times too odd to go by.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.rate = 0
        self.channels = 0
        self.start_s = 0.0
        self.samples = 0
        self.gaps: list[tuple[int, int]] = []
        self.jumps = 0
        self._kind: tuple[Any, ...] = ()
        self._resampler: Any = None
        self._due_s: float | None = None  # when the next frame is to start

    def add(self, frame: Any, others_s: float = -float("inf")) -> Iterator[Block]:
        """`others_s`: how far the other stream was read, for gaps that are credible with it."""
        silence_s = self._gap_s(frame, others_s)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if silence_s or kind != self._kind:  # or the first frame, or sound that is switched
            if not self._kind:
                self.rate = frame.sample_rate
                self.channels = frame.layout.nb_channels
                self.start_s = frame.time or 0.0
            yield from self.flush()
            self._kind = kind
            self._resampler = av.AudioResampler("s16", "mono", self.sample_rate)
        if silence_s:
            silence = np.zeros(round(silence_s * self.sample_rate), np.int16)
            self.gaps.append((self.samples, self.samples + silence.size))
            yield self._block(silence)
        yield from self._resampled(frame)

    def flush(self) -> Iterator[Block]:
        """What the resampler still holds back."""
        if self._resampler is not None:
            yield from self._resampled(None)
            self._resampler = None
            self._kind = self._kind and ("flushed",)

    def _gap_s(self, frame: Any, others_s: float) -> float:
        """Seconds missing before a frame. Only neighbours are compared: clocks drift."""
        due, time = self._due_s, frame.time
        length = frame.samples / frame.sample_rate
        if time is None:
            self._due_s = None if due is None else due + length
            return 0.0
        self._due_s = float(time) + length
        if due is None or -TOLERANCE_S <= time - due <= SHORTEST_GAP_S:
            return 0.0
        if 0 < time - due <= longest_jump(time, others_s):
            return float(time - due)
        self.jumps += 1
        return 0.0

    def _resampled(self, frame: Any) -> Iterator[Block]:
        for resampled in self._resampler.resample(frame):
            # What to_ndarray gives, at a third of its cost; a plane is longer than its samples.
            samples = np.frombuffer(resampled.planes[0], np.int16, resampled.samples)
            yield self._block(samples.copy())

    def _block(self, samples: NDArray[np.int16]) -> Block:
        block = Block(self.samples, samples)
        self.samples += samples.size
        return block


class SoundCollector:
    """Samples `first` to `end` of a clip, out of blocks that follow each other."""

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self._parts: list[NDArray[np.int16]] = []

    def add(self, block: Block) -> None:
        low = max(0, self.first - block.first)
        high = min(block.samples.size, self.end - block.first)
        if low < high:
            # A copy, where it is a part: a view would keep the whole block.
            whole = high - low == block.samples.size
            self._parts.append(block.samples if whole else block.samples[low:high].copy())

    def finish(self, reached: int) -> NDArray[np.int16]:
        """The samples up to number `reached`, where the sound ends; silence before it starts."""
        samples = np.concatenate([_NONE, *self._parts])
        wanted = max(0, min(self.end, reached) - self.first)
        if samples.size == wanted:
            return samples
        return np.concatenate([np.zeros(wanted - samples.size, np.int16), samples])
