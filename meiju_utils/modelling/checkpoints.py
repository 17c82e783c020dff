"""A trained network as one safetensors file that rebuilds it alone, and predictions from it.

The file holds weights and the statistics features are standardised with; its header names the
architecture and the classes that occurred in train. Imports torch, `arrays`, `batches`, `network`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from meiju_utils.arrays import read_arrays, write_arrays
from meiju_utils.devices import single_thread, torch_device
from meiju_utils.errors import DamagedError, FeatureError, TrainingError
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.network import JointNetwork

Seen = dict[str, list[int]]  # task → indices of the classes that occur in train


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, what its inputs are standardised with, and the classes it has seen."""

    network: JointNetwork
    standardiser: Standardiser
    seen: Seen

    def save(self, path: Path) -> None:
        """Write everything needed to rebuild it, atomically."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for part, values in vars(self.standardiser).items():
            tensors |= {f"{part}.{stream}": tensor for stream, tensor in values.items()}
        about = {"network": self.network.config.model_dump(), "seen": self.seen}
        write_arrays(path, {k: v.detach().cpu().numpy() for k, v in tensors.items()}, about)

    @classmethod
    def load(cls, path: Path) -> "TrainedNetwork":
        """Rebuild a network in evaluation mode. Raises TrainingError for a file that is not one."""
        try:
            arrays, about = read_arrays(path)
            network = JointNetwork(NetworkConfig.model_validate(about["network"]))
        except (DamagedError, OSError, KeyError, TypeError, ValidationError) as error:
            raise TrainingError(
                f"{path.name} is not a checkpoint of this package's training ({error}). Delete it "
                "and train anew."
            ) from None
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        network.load_state_dict(_with_prefix(tensors, "network."))
        parts = [
            {stream: tensors[f"{part}.{stream}"] for stream in network.config.widths}
            for part in ("mean", "scale", "spread")
        ]
        return cls(network.eval(), Standardiser(*parts), about["seen"])

    def probabilities(
        self, dataset: Dataset, rows: NDArray[np.int64], device: str = "auto"
    ) -> dict[str, NDArray[np.float32]]:
        """Class probabilities [len(rows), classes] of each task for some clips of a dataset.

        Raises FeatureError where the features are not those the network was trained on.
        """
        widths = self.network.config.widths
        if widths != dataset.widths:
            raise FeatureError(
                f"The checkpoint takes features of width {widths}, the dataset has "
                f"{dataset.widths}. Use the encoders it was trained with, or train anew."
            )
        target = torch_device(device)
        with single_thread():
            tensors = ClipTensors(dataset, self.standardiser, target)
            outputs = list(predict(self.network.to(target), tensors, rows))
            return gather(outputs, rows, self.seen, self.network.config.classes)


def predict(
    network: JointNetwork, tensors: ClipTensors, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Rows and their logits, batch by batch, in evaluation mode; the network's mode is kept."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        for some in tensors.by_length(rows):
            yield some, network(*tensors.batch(some))
    network.train(training)


def gather(
    outputs: list[tuple[NDArray[np.int64], Any]],
    rows: NDArray[np.int64],
    seen: Seen,
    classes: dict[str, int],
) -> dict[str, NDArray[np.float32]]:
    """Probabilities [len(rows), classes] in the order of `rows`; classes never seen get zero."""
    positions = np.empty(int(rows.max()) + 1 if len(rows) else 0, dtype=np.int64)
    positions[rows] = np.arange(len(rows))
    found = {task: np.empty((len(rows), n), dtype=np.float32) for task, n in classes.items()}
    for some, logits in outputs:
        for task, n in classes.items():
            unseen = torch.ones(n, dtype=torch.bool)
            unseen[seen[task]] = False
            values = getattr(logits, task).float().cpu().masked_fill(unseen, -torch.inf)
            found[task][positions[some]] = values.softmax(dim=1).numpy()
    return found


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
