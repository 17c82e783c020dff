"""What a training step is made of besides its loss: learning rate, optimiser, clipping, averaging.

Each has the published choice among its options. Imports torch.
"""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from meiju_utils.config import Training
from meiju_utils.modelling.network import JointNetwork

FUSED = ("cpu", "cuda")  # devices with AdamW in one pass over parameters and gradients


def learning_rate(training: Training, epoch: int) -> float:
    """Learning rate of an epoch (counted from 1): constant, or held and then linear.

    As published the rate would be zero in the epoch after the last.
    """
    if training.schedule == "constant":
        return training.learning_rate
    decay = max(0, training.epochs - training.hold_epochs)
    elapsed = max(0, epoch - training.hold_epochs)
    return training.learning_rate * (1 - elapsed / (decay + 1))


def make_optimizer(network: JointNetwork, training: Training) -> torch.optim.Optimizer:
    """AdamW; with weight decay 0 it is Adam."""
    device = next(network.parameters()).device
    return torch.optim.AdamW(
        network.parameters(),
        lr=training.learning_rate,
        betas=(training.beta1, 0.999),
        weight_decay=training.weight_decay,
        fused=device.type in FUSED,
    )


def clip_gradients(network: JointNetwork, training: Training) -> None:
    """Scale gradients down to the norm, of the whole network or (published) of each part."""
    whole: list[nn.Module] = [network]
    clipped = {"none": [], "global": whole, "per-network": network.parts()}[training.clipping]
    for part in clipped:
        nn.utils.clip_grad_norm_(part.parameters(), training.clip_norm)


def moving_average(network: JointNetwork, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights, moved by `update_parameters`.

    The decay grows with the steps, so that the first weights are soon forgotten.
    """

    def average(slow: Tensor, fast: Tensor, steps: Tensor | int) -> Tensor:
        step = int(steps) + 1
        return slow.lerp(fast, 1 - min(decay, step / (step + 10)))

    return AveragedModel(network, avg_fn=average)
