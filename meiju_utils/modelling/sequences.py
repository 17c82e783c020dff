"""One stream of features of many clips: all frames one after another in one array.

So means (one frame a clip) and sequences are the same thing, nothing is padded before a batch is
made, and worker processes can share the array. Imports numpy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sequences:
    """One modality of N clips: `frames` [sum of lengths, D], `lengths` int64 [N].

    Frames are float32, or float16 where they are stored so: batches are float32 all the same. A
    clip without the modality has length 0.
    """

    frames: NDArray[np.float32] | NDArray[np.float16]
    lengths: NDArray[np.int64]

    @property
    def width(self) -> int:
        return int(self.frames.shape[1])

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.lengths > 0

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths) - self.lengths

    def of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The frames of some clips, one after another."""
        return self.frames[self.frame_rows(rows)]

    def frame_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the frames of some clips are."""
        chosen = np.zeros(len(self.lengths), dtype=bool)
        chosen[rows] = True
        return np.flatnonzero(np.repeat(chosen, self.lengths))

    def means(self) -> NDArray[np.float32]:
        """Means over time [N, D]; NaN where the modality is missing."""
        means = np.full((len(self.lengths), self.width), np.nan, dtype=np.float32)
        if len(self.frames) and self.lengths.max() == 1:
            means[self.present] = self.frames
        elif self.present.any():
            starts = self.starts[self.present]
            sums = np.add.reduceat(self.frames, starts, axis=0, dtype=np.float32)
            means[self.present] = sums / self.lengths[self.present, None]
        return means

    @classmethod
    def of_means(cls, means: NDArray[Any], present: NDArray[np.bool_]) -> "Sequences":
        """One frame a clip: means [N, D] of the clips that have the modality."""
        frames = np.ascontiguousarray(means[present], dtype=np.float32)
        return cls(frames, present.astype(np.int64))

    @classmethod
    def of_list(cls, arrays: Sequence[NDArray[Any] | None], width: int) -> "Sequences":
        """Frames [T, D] of each clip, None where it lacks the modality."""
        return cls.of_parts(arrays, [0 if array is None else len(array) for array in arrays], width)

    @classmethod
    def of_parts(
        cls,
        arrays: Iterable[NDArray[Any] | None],
        lengths: Sequence[int],
        width: int,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> "Sequences":
        """The same of arrays that come one at a time, their lengths known: one copy at most."""
        counts = np.array(lengths, dtype=np.int64)
        frames = np.empty((counts.sum(), width), dtype=np.dtype(dtype))
        end = 0
        for array, count in zip(arrays, lengths, strict=True):
            start, end = end, end + count
            if array is not None:
                frames[start:end] = array
        return cls(frames, counts)
