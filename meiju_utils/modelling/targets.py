"""Targets in memory: what each clip of a dataset is trained on, to be cut into batches.

Imports torch, `predictions`.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meiju_utils.predictions import Targets


class TaskTargets(NamedTuple):
    """Of one task: what each clip is trained on, [B, C] (rows sum to one), and how much it counts
    [B] (0: not at all)."""

    probabilities: Tensor
    weights: Tensor


class TargetTensors:
    """Targets of the clips of a dataset on a device, to be cut into batches by row numbers.

    A clip without targets has weight 0. Raises KeyError for targets of clips that are not there.
    """

    def __init__(
        self, targets: Targets, clip_ids: NDArray[Any], device: torch.device | str = "cpu"
    ) -> None:
        place = {clip_id: row for row, clip_id in enumerate(clip_ids.tolist())}
        rows = [place[clip_id] for clip_id in targets.table["clip_id"]]
        self._tasks: dict[str, TaskTargets] = {}
        counted = np.zeros(len(clip_ids), dtype=bool)
        for task, labels in targets.classes.items():
            probabilities = np.full((len(clip_ids), len(labels)), 1 / len(labels), np.float32)
            weights = np.zeros(len(clip_ids), dtype=np.float32)
            probabilities[rows], weights[rows] = targets.probabilities(task), targets.weights(task)
            counted |= weights > 0
            self._tasks[task] = TaskTargets(
                torch.from_numpy(probabilities).to(device), torch.from_numpy(weights).to(device)
            )
        self.rows = np.flatnonzero(counted)  # those that count in some task

    def batch(self, rows: NDArray[np.int64]) -> dict[str, TaskTargets]:
        """The targets of some clips."""
        return {
            task: TaskTargets(*(part[torch.from_numpy(rows).to(part.device)] for part in parts))
            for task, parts in self._tasks.items()
        }


def balanced(targets: Targets, counted: Targets) -> Targets:
    """Targets weighted inversely to how often their classes occur in `counted`: 1 on average."""
    columns = {}
    for task in targets.classes:
        mass = (counted.probabilities(task) * counted.weights(task)[:, None]).sum(axis=0)
        present = mass > 0
        per_class = np.where(present, mass.sum() / np.maximum(mass, 1e-12), 0) / present.sum()
        factor = targets.probabilities(task) @ per_class
        columns[f"{task}_weight"] = targets.weights(task) * factor
    return Targets(targets.table.assign(**columns))
