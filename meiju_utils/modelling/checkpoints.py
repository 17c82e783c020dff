"""A trained network as one safetensors file that rebuilds it alone, and predictions from it.

The file holds weights and the statistics features are standardised with; its header names the
architecture and the classes that occurred in train. Imports torch, safetensors, `batches`,
`network`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from meiju_utils.challenge import TASKS, Modality, Task
from meiju_utils.embeddings.checkpoints import single_thread, torch_device
from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.files import atomic_path
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.network import JointNetwork


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, what its inputs are standardised with, and the classes it has seen (indices)."""

    network: JointNetwork
    standardiser: Standardiser
    seen: dict[Task, list[int]]

    def save(self, path: Path) -> None:
        """Write everything needed to rebuild it, atomically."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for part, values in vars(self.standardiser).items():
            tensors |= {f"{part}.{modality}": tensor for modality, tensor in values.items()}
        about = {"network": self.network.config.to_json(), "seen": self.seen}
        save_tensors(path, tensors, about)

    @classmethod
    def load(cls, path: Path) -> "TrainedNetwork":
        """Rebuild a network in evaluation mode. Raises TrainingError for a file that is not one."""
        tensors, about = load_tensors(path)
        if "network" not in about:
            raise TrainingError(f"{path.name} is not a checkpoint of this package's training.")
        network = JointNetwork(NetworkConfig.from_json(about["network"]))
        network.load_state_dict(with_prefix(tensors, "network."))
        parts: list[dict[Modality, Tensor]] = [
            {modality: tensors[f"{part}.{modality}"] for modality in network.config.widths}
            for part in ("mean", "scale", "spread")
        ]
        return cls(network.eval(), Standardiser(*parts), about["seen"])

    def probabilities(
        self, dataset: Dataset, rows: NDArray[np.int64], device: str = "auto"
    ) -> dict[Task, NDArray[np.float32]]:
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
            whole = not self.network.config.masking
            tensors = ClipTensors(dataset, self.standardiser, target, whole)
            return predict(self.network.to(target), tensors, rows, self.seen)


def predict(
    network: JointNetwork,
    tensors: ClipTensors,
    rows: NDArray[np.int64],
    seen: dict[Task, list[int]],
) -> dict[Task, NDArray[np.float32]]:
    """Probabilities [len(rows), classes] in the order of `rows`; classes never seen get zero."""
    training = network.training
    network.eval()
    positions = np.empty(int(rows.max()) + 1 if len(rows) else 0, dtype=np.int64)
    positions[rows] = np.arange(len(rows))
    sizes: dict[Task, int] = {}
    found: dict[Task, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for some in tensors.by_length(rows):
            output = network(*tensors.batch(some))
            for task, logits in zip(TASKS, (output.emotion, output.intent), strict=True):
                sizes[task] = logits.shape[1]
                unseen = torch.ones(sizes[task], dtype=torch.bool, device=logits.device)
                unseen[seen[task]] = False
                values = logits.masked_fill(unseen, -torch.inf).softmax(dim=1)
                if task not in found:
                    found[task] = np.empty((len(rows), sizes[task]), dtype=np.float32)
                found[task][positions[some]] = values.float().cpu().numpy()
    network.train(training)
    return found


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts as one safetensors file, atomically."""
    flat = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(flat, temporary, metadata={"about": json.dumps(about)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote. Raises TrainingError for a missing or broken file."""
    try:
        with safe_open(path, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            about = json.loads((opened.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"Cannot read {path.name}: {error}. Delete it and train anew."
        ) from None
    return tensors, about


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
