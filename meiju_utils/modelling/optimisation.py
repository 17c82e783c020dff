"""What a training step is made of: loss, class weights, learning rate, AdamW, clipping, averaging.

Each is a small function or class of its own, with the published choice among its options.
Imports numpy and torch.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adamw import adamw

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.config import Training
from meiju_utils.modelling.dataset import UNKNOWN
from meiju_utils.modelling.network import JointLogits, JointNetwork

SCALING = ("cpu", "cuda")  # devices whose fused AdamW divides gradients by a scale


def label_weights(
    labels: Mapping[Task, NDArray[np.int64]], rows: NDArray[np.int64], balanced: bool
) -> dict[Task, NDArray[np.float32]]:
    """Weight [N] of every clip in each task's loss: 1, or 0 where its label is unknown.

    `balanced` weights are inverse to the class's count among `rows`, 1 on average over them.
    """
    weights: dict[Task, NDArray[np.float32]] = {}
    for task in TASKS:
        known = labels[task] != UNKNOWN
        per_class = np.ones(len(CLASSES[task]))
        if balanced:
            trained = labels[task][rows]
            counts = np.bincount(trained[trained != UNKNOWN], minlength=len(per_class))
            per_class = counts.sum() / np.maximum(counts, 1) / (counts > 0).sum()
        weights[task] = np.where(known, per_class[labels[task]], 0).astype(np.float32)
    return weights


class JointLoss:
    """Cross-entropies of both tasks, main and (weighted) auxiliary, over the known labels."""

    def __init__(
        self,
        labels: Mapping[Task, NDArray[np.int64]],
        weights: Mapping[Task, NDArray[np.float32]],
        auxiliary_weight: float,
        device: torch.device,
    ) -> None:
        self.auxiliary_weight = auxiliary_weight
        self._targets = {t: torch.from_numpy(labels[t].clip(min=0)).to(device) for t in TASKS}
        self._weights = {t: torch.from_numpy(weights[t]).to(device) for t in TASKS}

    def __call__(
        self, output: JointLogits, rows: NDArray[np.int64], batch: NDArray[np.int64] | None = None
    ) -> Tensor:
        """The share of the clips `rows` in the loss of `batch` (default: they are all of it).

        That is, for each task, the weighted mean over the batch's clips; the shares of its parts
        add up to it.
        """
        index = torch.from_numpy(rows).to(output.emotion.device)
        whole = index if batch is None else torch.from_numpy(batch).to(output.emotion.device)
        main = (output.emotion, output.intent)
        auxiliary = (output.emotion_auxiliary, output.intent_auxiliary)
        total = output.emotion.new_zeros(())
        for task, logits, extra in zip(TASKS, main, auxiliary, strict=True):
            target, weight = self._targets[task][index], self._weights[task][index]
            entropy = F.cross_entropy(logits, target, reduction="none")
            if extra is not None and self.auxiliary_weight:
                more = F.cross_entropy(extra, target, reduction="none")
                entropy = entropy + self.auxiliary_weight * more
            # A batch may hold no known label of a task (pseudo labels given per task).
            known = self._weights[task][whole].sum().clamp(min=1e-6)
            total = total + (entropy * weight).sum() / known
        return total

    def uniform(self, auxiliary: bool) -> float:
        """The loss of answering every class with the same probability."""
        entropy = sum(float(np.log(len(CLASSES[task]))) for task in TASKS)
        return entropy * (1 + self.auxiliary_weight * auxiliary)


def learning_rate(training: Training, epoch: int) -> float:
    """Learning rate of an epoch (counted from 1): constant, or held and then linear.

    As published the rate would be zero in the epoch after the last.
    """
    if training.schedule == "constant":
        return training.learning_rate
    decay = max(0, training.epochs - training.hold_epochs)
    elapsed = max(0, epoch - training.hold_epochs)
    return training.learning_rate * (1 - elapsed / (decay + 1))


class AdamW:
    """Torch's AdamW by its functional form, in one fused pass over parameters and gradients.

    Torch's optimiser classes import its compiler, which takes every process that trains time and
    memory. `state` has, by a parameter's number, its `step`, `exp_avg` and `exp_avg_sq`; none where
    it never had a gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], training: Training) -> None:
        self.parameters = list(parameters)
        self.beta1, self.weight_decay = training.beta1, training.weight_decay
        self.state: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float, scale: Tensor | None = None) -> None:
        """One step at a learning rate, with gradients divided by `scale` as they are read."""
        parameters: list[Tensor] = []
        gradients: list[Tensor] = []
        states: list[dict[str, Tensor]] = []
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            if index not in self.state:
                self.state[index] = {
                    "step": parameter.new_zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            parameters.append(parameter)
            gradients.append(parameter.grad)
            states.append(self.state[index])
        adamw(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            beta1=self.beta1,
            beta2=0.999,
            lr=rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def clipped_step(network: JointNetwork, optimizer: AdamW, training: Training, rate: float) -> None:
    """A step with gradients scaled down to the norm, of the whole network or (published) each part.

    The whole is scaled by the fused optimiser as it reads, a pass over all gradients less, where
    it is known to heed that.
    """
    scale = None
    if training.clipping == "global":
        norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        if norm.device.type in SCALING:
            scale = (norm / training.clip_norm).clamp(min=1.0)
        else:
            nn.utils.clip_grads_with_norm_(network.parameters(), training.clip_norm, norm)
    elif training.clipping == "per-network":
        for gradients in network.gradients_by_part():
            norm = nn.utils.get_total_norm(gradients)
            factor = (training.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor)
    optimizer.step(rate, scale)


def average_into(average: JointNetwork, network: JointNetwork, decay: float, step: int) -> None:
    """Move an exponential moving average of weights towards the network's.

    The decay grows with the steps (counted from 1), so that the first weights are soon forgotten.
    """
    decay = min(decay, step / (step + 10))
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
