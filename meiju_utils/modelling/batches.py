"""Batches from memory: standardised features on the device, gathered, padded, noised.

Statistics for standardising come from the labelled train clips alone. Imports numpy and torch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meiju_utils.challenge import Modality
from meiju_utils.modelling.dataset import Dataset

# Clips are sorted by length within so many batches, then cut into batches: little padding, and
# still other company in every epoch.
BUCKET = 16


@dataclass(frozen=True)
class Standardiser:
    """Mean and scale [D] of each modality; a feature constant in train becomes zero everywhere."""

    mean: dict[Modality, Tensor]
    scale: dict[Modality, Tensor]

    @classmethod
    def fit(cls, dataset: Dataset) -> "Standardiser":
        """Statistics over all frames of the labelled train clips."""
        mean: dict[Modality, Tensor] = {}
        scale: dict[Modality, Tensor] = {}
        train = dataset.labelled("train")
        for modality, sequences in dataset.features.items():
            frames = sequences.of(train)
            centre = frames.mean(axis=0, dtype=np.float64)
            spread = frames.std(axis=0, dtype=np.float64)
            # float32 features carry about 7 digits: less spread than that is rounding.
            varies = spread > 1e-6 * np.maximum(np.abs(centre), 1e-6)
            inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
            mean[modality] = torch.from_numpy(centre.astype(np.float32))
            scale[modality] = torch.from_numpy(inverse.astype(np.float32))
        return cls(mean, scale)

    def apply(self, modality: Modality, frames: NDArray[np.float32]) -> Tensor:
        """Frames [T, D] less the mean, times the inverse spread."""
        centred = torch.tensor(frames) - self.mean[modality]
        return centred.mul_(self.scale[modality])


class Batch(NamedTuple):
    """The arguments of the network: features, lengths, who has what (None: all real, all there)."""

    features: dict[Modality, Tensor]
    lengths: dict[Modality, Tensor]
    present: dict[Modality, Tensor]


class ClipTensors:
    """The features of a dataset on a device, ready to be cut into batches by row numbers."""

    def __init__(
        self, dataset: Dataset, standardiser: Standardiser, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self._values: dict[Modality, Tensor] = {}
        self._starts: dict[Modality, Tensor] = {}
        self._lengths: dict[Modality, Tensor] = {}
        self._complete: dict[Modality, bool] = {}
        self._varies: dict[Modality, Tensor] = {}
        self._cost = np.zeros(len(dataset.clip_ids))
        for modality, sequences in dataset.features.items():
            values = standardiser.apply(modality, sequences.frames)
            # The row of zeros at the end stands for every padded or missing frame.
            padded = torch.cat([values, values.new_zeros(1, sequences.width)])
            self._values[modality] = padded.to(self.device)
            self._starts[modality] = torch.from_numpy(sequences.starts).to(self.device)
            self._lengths[modality] = torch.from_numpy(sequences.lengths).to(self.device)
            self._complete[modality] = bool(sequences.present.all())
            self._varies[modality] = (standardiser.scale[modality] > 0).to(self.device)
            self._cost += sequences.lengths * sequences.width
        self._utterances = all(s.lengths.max() <= 1 for s in dataset.features.values())

    def batch(self, rows: NDArray[np.int64], noise: float = 0.0) -> Batch:
        """The clips of some rows, with Gaussian noise of `noise` standard deviations a feature."""
        index = torch.from_numpy(rows).to(self.device)
        features: dict[Modality, Tensor] = {}
        lengths: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for modality, values in self._values.items():
            length = self._lengths[modality][index]
            steps = torch.arange(
                1 if self._utterances else max(1, int(length.max())), device=self.device
            )
            real = steps < length.unsqueeze(1)
            frames = self._starts[modality][index].unsqueeze(1) + steps
            x = values[frames.where(real, len(values) - 1)]
            if noise:
                # Standardised features have spread 1, or 0 where constant.
                x = torch.addcmul(x, torch.randn_like(x), self._varies[modality], value=noise)
            features[modality] = x
            if len(steps) > 1:
                lengths[modality] = length
            if not self._complete[modality]:
                present[modality] = length > 0
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

    def by_length(self, rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
        """All rows once, in batches of similar length: for prediction."""
        return _cut(rows[np.argsort(self._cost[rows], kind="stable")], batch_size)


def _cut(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
