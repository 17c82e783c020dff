"""What weights a training starts with: drawn as published, or another network's.

Imports torch, `network`.
"""

import torch
from torch import nn

from meiju_utils.errors import TrainingError
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.network import JointNetwork


def initialise_kaiming(network: JointNetwork) -> None:
    """Linear layers and convolutions as published: Kaiming-normal weights, zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start_from(network: JointNetwork, other: JointNetwork) -> None:
    """Take over another network's weights.

    All of them where what comes after the fusion is the same; else (stage "joint" after
    "pretrain") those of encoders and fusion, as heads then read other tokens. Raises TrainingError
    where a part that is taken over has other shapes.
    """
    own, theirs = network.state_dict(), other.state_dict()
    taken = _taken(network.config, other.config, own)
    for name in taken:
        shape = list(theirs[name].shape) if name in theirs else "none"
        if shape != list(own[name].shape):
            raise TrainingError(
                f"The network to start from is of another architecture: {name} is {shape} there "
                f"and {list(own[name].shape)} here. A recipe and its start must use the same "
                "encoders, widths and kernels; `like` takes the settings of a recipe alone."
            )
    network.load_state_dict({**own, **{name: theirs[name] for name in taken}})


def check_start(config: NetworkConfig, start: NetworkConfig) -> None:
    """Raise now what `start_from` would raise, and what cannot be built; no memory is used."""
    with torch.device("meta"):
        start_from(JointNetwork(config), JointNetwork(start))


def _taken(
    config: NetworkConfig, start: NetworkConfig, names: dict[str, torch.Tensor]
) -> list[str]:
    after = [(c.architecture.interaction, c.architecture.auxiliary) for c in (config, start)]
    early = (".encoders.", ".missing.", ".fusion.")
    return [n for n in names if after[0] == after[1] or any(part in n for part in early)]
