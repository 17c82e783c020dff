"""Batches from memory: features on the device, gathered, padded, standardised, noised.

Features stay in memory as they are stored, in one copy that worker processes share. Statistics for
standardising come from the labelled train clips alone. Imports numpy and torch.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meiju_utils.modelling.dataset import Dataset

# Clips are sorted by length within so many batches, then cut into batches: little padding, and
# still other company in every epoch.
BUCKET = 16
# Clips predicted at once; more are slower, sequences for their memory.
PREDICTED_VECTORS, PREDICTED_SEQUENCES = 256, 32
BLOCK = 1024  # frames whose statistics are taken at once, in float64


@dataclass(frozen=True)
class Standardiser:
    """What is taken from features [D] of each modality, and what they are then multiplied with.

    A feature constant in the clips it was fitted on becomes zero everywhere. `spread` is left of a
    feature's standard deviation there.
    """

    mean: dict[str, Tensor]
    scale: dict[str, Tensor]
    spread: dict[str, Tensor]

    @classmethod
    def fit(
        cls, dataset: Dataset, standardise: bool = True, clips: NDArray[np.int64] | None = None
    ) -> "Standardiser":
        """Statistics over all frames of the clips in some rows (default: the labelled train clips).

        Without `standardise` one that changes nothing. What none of the clips has becomes zero.
        """
        found = cls({}, {}, {})
        clips = dataset.labelled("train") if clips is None else clips
        for modality, sequences in dataset.features.items():
            rows = sequences.frame_rows(clips)
            number = max(len(rows), 1)
            # Block by block: at frame level a copy in float64 could be gigabytes.
            blocks = [rows[start : start + BLOCK] for start in range(0, number, BLOCK)]
            frames = sequences.frames
            centre = sum(frames[b].sum(axis=0, dtype=np.float64) for b in blocks) / number
            squares = sum(np.square(frames[b] - centre).sum(axis=0) for b in blocks)
            spread = np.sqrt(squares / number)
            # float32 features carry about 7 digits: less spread than that is rounding.
            varies = spread > 1e-6 * np.maximum(np.abs(centre), 1e-6)
            scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
            if not standardise:
                centre, scale = np.zeros_like(centre), np.ones_like(scale)
            left = np.where(varies, spread * scale, 0)
            for part, values in ((found.mean, centre), (found.scale, scale), (found.spread, left)):
                part[modality] = torch.from_numpy(values.astype(np.float32))
        return found

    def to(self, device: torch.device) -> "Standardiser":
        """The same on a device."""
        parts = (self.mean, self.scale, self.spread)
        return Standardiser(*({m: values.to(device) for m, values in p.items()} for p in parts))

    def apply_(self, modality: str, x: Tensor) -> Tensor:
        """Frames [..., D] less the mean, times the inverse spread; in place, in one pass."""
        scale = self.scale[modality]
        shift = self.mean[modality] * -scale
        return torch.addcmul(shift, x, scale, out=x)


class Batch(NamedTuple):
    """The arguments of the network: features [B, T, D], zeros behind the end of a clip; `lengths`
    [B] where clips have sequences, `present` [B] of streams that some clip of the dataset lacks."""

    features: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: dict[str, Tensor]


class ClipTensors:
    """The features of a dataset on a device, ready to be cut into batches by row numbers."""

    def __init__(
        self, dataset: Dataset, standardiser: Standardiser, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self._standardiser = standardiser.to(self.device)
        self._values: dict[str, Tensor] = {}
        self._starts: dict[str, Tensor] = {}
        self._lengths: dict[str, Tensor] = {}
        self._complete: dict[str, bool] = {}
        self._cost = np.zeros(len(dataset.clip_ids))
        for stream, sequences in dataset.features.items():
            with warnings.catch_warnings():  # a worker's view is read-only: nothing is written
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                # where no clip has any, one frame that nobody looks at
                frames = (
                    sequences.frames if len(sequences.frames) else np.zeros((1, sequences.width))
                )
                self._values[stream] = torch.from_numpy(frames).to(self.device)
            self._starts[stream] = torch.from_numpy(sequences.starts).to(self.device)
            self._lengths[stream] = torch.from_numpy(sequences.lengths).to(self.device)
            self._complete[stream] = bool(sequences.present.all())
            self._cost += sequences.lengths * sequences.width
        self._utterances = all(s.lengths.max() <= 1 for s in dataset.features.values())

    def batch(self, rows: NDArray[np.int64], noise: float = 0.0, drop: float = 0.0) -> Batch:
        """The clips of some rows, with Gaussian noise of `noise` standard deviations a feature.

        A stream that some clip of the dataset lacks is left out of a share `drop` of the clips, so
        that the network learns what to do without.
        """
        index = torch.from_numpy(rows).to(self.device)
        features: dict[str, Tensor] = {}
        lengths: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for stream, values in self._values.items():
            length = self._lengths[stream][index]
            steps = torch.arange(max(int(length.max()), 1), device=self.device)
            frames = self._starts[stream][index].unsqueeze(1) + steps
            x = values[frames.clamp_(max=len(values) - 1)].float()
            x = self._standardiser.apply_(stream, x)
            if noise:
                x.addcmul_(torch.randn_like(x), self._standardiser.spread[stream], value=noise)
            if not self._complete[stream]:
                present[stream] = length > 0
                if drop:
                    kept = torch.rand(len(index), device=self.device) >= drop
                    present[stream] = present[stream] & kept
            if not (self._utterances and self._complete[stream]):
                x.masked_fill_((steps >= length.unsqueeze(1)).unsqueeze(2), 0)
            if not self._utterances:
                lengths[stream] = length
            features[stream] = x
        return Batch(features, lengths, present)

    def shuffled(
        self, rows: NDArray[np.int64], batch_size: int, generator: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """All rows once, in batches of chance and, for sequences, of similar length."""
        order = generator.permutation(rows)
        if self._utterances:
            return _cut(order, batch_size)
        batches: list[NDArray[np.int64]] = []
        for bucket in _cut(order, batch_size * BUCKET):
            batches += _cut(bucket[np.argsort(self._cost[bucket], kind="stable")], batch_size)
        return [batches[i] for i in generator.permutation(len(batches))]

    def by_length(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """All rows once, in batches of similar length: for prediction."""
        size = PREDICTED_VECTORS if self._utterances else PREDICTED_SEQUENCES
        return _cut(rows[np.argsort(self._cost[rows], kind="stable")], size)


def _cut(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
