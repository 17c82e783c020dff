"""Batches from memory: features on the device, gathered, standardised, noised; never padded.

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

from meiju_utils.challenge import Modality
from meiju_utils.modelling.dataset import Dataset

# Clips are sorted by length within so many batches, then cut into batches: little padding, and
# still other company in every epoch.
BUCKET = 16
# Clips predicted at once; more are slower, sequences for their memory.
PREDICTED_VECTORS, PREDICTED_SEQUENCES = 256, 32
# Frames that go through the network at once on a CPU, which bounds the memory of a step: a batch of
# more goes in pieces, whose gradients add up.
FRAMES = 4096
BLOCK = 1024  # frames whose statistics are taken at once, in float64


@dataclass(frozen=True)
class Standardiser:
    """What is taken from features [D] of each modality, and what they are then multiplied with.

    A feature constant in train becomes zero everywhere. `spread` is left of a feature's standard
    deviation in train.
    """

    mean: dict[Modality, Tensor]
    scale: dict[Modality, Tensor]
    spread: dict[Modality, Tensor]

    @classmethod
    def fit(cls, dataset: Dataset, standardise: bool = True) -> "Standardiser":
        """Statistics over all frames of the labelled train clips; or one that changes nothing."""
        found = cls({}, {}, {})
        train = dataset.labelled("train")
        for modality, sequences in dataset.features.items():
            rows = sequences.frame_rows(train)
            # Block by block: at frame level a copy in float64 could be gigabytes.
            blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
            frames = sequences.frames
            centre = sum(frames[b].sum(axis=0, dtype=np.float64) for b in blocks) / len(rows)
            squares = sum(np.square(frames[b] - centre).sum(axis=0) for b in blocks)
            spread = np.sqrt(squares / len(rows))
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

    def apply_(self, modality: Modality, x: Tensor) -> Tensor:
        """Frames [..., D] less the mean, times the inverse spread; in place, in one pass."""
        scale = self.scale[modality]
        shift = self.mean[modality] * -scale
        return torch.addcmul(shift, x, scale, out=x)


class Batch(NamedTuple):
    """The arguments of the network; `present` only of modalities that some clip of all lacks.

    Features are vectors [B, 1, D] or, with lengths, the steps [n, D] of all clips in turn.
    """

    features: dict[Modality, Tensor]
    lengths: dict[Modality, Tensor]
    present: dict[Modality, Tensor]


class ClipTensors:
    """The features of a dataset on a device, ready to be cut into batches by row numbers.

    `whole` batches are never cut into pieces: for a network that sees padding, and so company.
    """

    def __init__(
        self,
        dataset: Dataset,
        standardiser: Standardiser,
        device: torch.device | str = "cpu",
        whole: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self._whole = whole or self.device.type != "cpu"
        self._standardiser = standardiser.to(self.device)
        self._values: dict[Modality, Tensor] = {}
        self._starts: dict[Modality, Tensor] = {}
        self._lengths: dict[Modality, Tensor] = {}
        self._complete: dict[Modality, bool] = {}
        self._cost = np.zeros(len(dataset.clip_ids))
        self._frames = np.zeros(len(dataset.clip_ids), dtype=np.int64)
        for modality, sequences in dataset.features.items():
            with warnings.catch_warnings():  # a worker's view is read-only: nothing is written
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                self._values[modality] = torch.from_numpy(sequences.frames).to(self.device)
            self._starts[modality] = torch.from_numpy(sequences.starts).to(self.device)
            self._lengths[modality] = torch.from_numpy(sequences.lengths).to(self.device)
            self._complete[modality] = bool(sequences.present.all())
            self._cost += sequences.lengths * sequences.width
            self._frames += sequences.lengths
        self._utterances = all(s.lengths.max() <= 1 for s in dataset.features.values())

    def batch(self, rows: NDArray[np.int64], noise: float = 0.0, drop: float = 0.0) -> Batch:
        """The clips of some rows, with Gaussian noise of `noise` standard deviations a feature.

        A modality that some clip of the dataset lacks is left out of a share `drop` of the clips,
        so that the network learns what to do without. A vector that a clip lacks is zero.
        """
        index = torch.from_numpy(rows).to(self.device)
        features: dict[Modality, Tensor] = {}
        lengths: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for modality, values in self._values.items():
            length = self._lengths[modality][index]
            frames = self._starts[modality][index].unsqueeze(1)
            if self._utterances:
                frames = frames.clamp_(max=len(values) - 1)
            else:
                lengths[modality] = length
                steps = torch.arange(int(length.max()), device=self.device)
                frames = (frames + steps)[steps < length.unsqueeze(1)]
            x = self._standardiser.apply_(modality, values[frames].float())
            if noise:
                x.addcmul_(torch.randn_like(x), self._standardiser.spread[modality], value=noise)
            if not self._complete[modality]:
                present[modality] = length > 0
                if drop:
                    kept = torch.rand(len(index), device=self.device) >= drop
                    present[modality] = present[modality] & kept
                if self._utterances:
                    x.masked_fill_((length == 0).view(-1, 1, 1), 0)
            features[modality] = x
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

    def pieces(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Sequences on a CPU in parts of like many frames, as few as have about FRAMES at most."""
        frames = self._frames[rows]
        count = -(-int(frames.sum()) // FRAMES)
        if self._utterances or self._whole or count <= 1:
            return [rows]
        part = (np.cumsum(frames) - frames / 2) * count // frames.sum()
        return np.split(rows, np.flatnonzero(np.diff(part)) + 1)

    def by_length(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """All rows once, in batches of similar length: for prediction."""
        size = PREDICTED_VECTORS if self._utterances else PREDICTED_SEQUENCES
        batches = _cut(rows[np.argsort(self._cost[rows], kind="stable")], size)
        return [piece for batch in batches for piece in self.pieces(batch)]


def _cut(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
