"""Objectives: what a training minimises, by name. One of one's own has a file of its own.

An objective is called with the network's logits (a named tuple: each task's and, where there are
auxiliary heads, `<task>_auxiliary`) and the targets of the same clips, and returns one number
[scalar tensor]. Imports torch, `targets`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn import functional as F

from meiju_utils.modelling.targets import TaskTargets


class CrossEntropy:
    """Cross-entropies of all tasks added up, each a weighted mean over the clips of a batch.

    `auxiliary` is the weight of the auxiliary heads' own (published: 1).
    """

    def __init__(self, *, auxiliary: NonNegativeFloat = 1.0) -> None:
        self.auxiliary = auxiliary

    def __call__(self, logits: Any, targets: Mapping[str, TaskTargets]) -> Tensor:
        losses = []
        for task, (probabilities, weights) in targets.items():
            loss = F.cross_entropy(getattr(logits, task), probabilities, reduction="none")
            extra = getattr(logits, f"{task}_auxiliary")
            if extra is not None and self.auxiliary:
                more = F.cross_entropy(extra, probabilities, reduction="none")
                loss = loss + self.auxiliary * more
            # A batch may hold no known label of a task.
            losses.append((loss * weights).sum() / weights.sum().clamp(min=1e-6))
        return torch.stack(losses).sum()


OBJECTIVES: dict[str, type] = {"cross-entropy": CrossEntropy}
