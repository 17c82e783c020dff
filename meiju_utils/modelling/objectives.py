"""Objectives: what a training minimises, by name. One of one's own has a file of its own.

An objective is called with the network's logits (a named tuple: each task's, `<task>_auxiliary`
where there are auxiliary heads, and `<task>_features`, what the head reads) and the targets of the
same clips, and returns one number [scalar tensor]. One with `consistency` also asks the network to
agree with itself on clips of the pool: it is called with the logits of the network, on noised
features, and of its moving average, and returns one number more. Imports torch, `targets`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat
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


class Contrastive(CrossEntropy):
    """Cross-entropy, and clips of one class drawn together before the head, others pushed apart.

    Supervised contrastive loss (Khosla et al. 2020; for this challenge with self-training: Fan et
    al. 2024) of each task, `weight` times: a pair of clips counts by the probability that both have
    the same class, so that soft and pseudo labels take part.
    """

    def __init__(
        self,
        *,
        auxiliary: NonNegativeFloat = 1.0,
        weight: NonNegativeFloat = 0.1,
        temperature: PositiveFloat = 0.2,
    ) -> None:
        super().__init__(auxiliary=auxiliary)
        self.weight, self.temperature = weight, temperature

    def __call__(self, logits: Any, targets: Mapping[str, TaskTargets]) -> Tensor:
        loss = super().__call__(logits, targets)
        for task, (probabilities, weights) in targets.items():
            features = getattr(logits, f"{task}_features")
            loss = loss + self.weight * self._drawn(features, probabilities, weights)
        return loss

    def _drawn(self, features: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
        """The loss of one task's features [B, H], classes [B, C] and weights [B]."""
        unit = F.normalize(features.flatten(1), dim=1)
        own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        logs = (unit @ unit.T / self.temperature).masked_fill(own, -1e4).log_softmax(dim=1)
        alike = (probabilities @ probabilities.T * weights).masked_fill(own, 0)
        total = alike.sum(dim=1)
        loss = -(alike * logs).sum(dim=1) / total.clamp(min=1e-6)
        counted = weights * (total > 1e-6)
        return (loss * counted).sum() / counted.sum().clamp(min=1e-6)


class Consistent(CrossEntropy):
    """Cross-entropy, and agreement with the moving average of the network on clips of the pool.

    `weight` times the cross-entropy of the network's probabilities, on noised features, with those
    of the average, on the features as they are (mean teacher: Tarvainen and Valpola 2017). Needs
    `training.ema`.
    """

    def __init__(
        self, *, auxiliary: NonNegativeFloat = 1.0, weight: NonNegativeFloat = 1.0
    ) -> None:
        super().__init__(auxiliary=auxiliary)
        self.weight = weight

    def consistency(self, logits: Any, averaged: Any, tasks: Iterable[str]) -> Tensor:
        """How little the network agrees with its average: one number."""
        losses = [
            F.cross_entropy(getattr(logits, task), getattr(averaged, task).softmax(dim=1))
            for task in tasks
        ]
        return self.weight * torch.stack(losses).sum()


OBJECTIVES: dict[str, type] = {
    "cross-entropy": CrossEntropy,
    "contrastive": Contrastive,
    "consistent": Consistent,
}
