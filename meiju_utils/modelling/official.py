"""Reading a checkpoint of the official baseline into the joint network's names and shapes.

Source of the names: the published code (AI-S2-Lab/MEIJU2025-baseline), stage "joint".
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from meiju_utils.challenge import TASKS, Modality, Task
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.layers import G


def convert_official(
    state_dict: Mapping[str, Tensor], fusion_heads: int | Mapping[Task, int]
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Architecture and weights of a published checkpoint; the missing-modality tokens are zero.

    Raises TrainingError where a name is absent or left over.
    """
    source = _Source(state_dict)
    weights: dict[str, Tensor] = {}
    widths: dict[Modality, int] = {}
    modalities: tuple[tuple[Modality, str], ...] = (("audio", "A"), ("visual", "V"))
    for modality, letter in modalities:
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            both = source.take(f"{{own}}{letter}.rnn.{name}")
            for task, weight in enumerate(both):
                weights[f"encoders.{modality}.rnns.{task}.{name}"] = weight
        widths[modality] = weights[f"encoders.{modality}.rnns.0.weight_ih_l0"].shape[1]
    kernels = [source.take(f"{{own}}L.conv{n}.weight")[:, :, 0] for n in (1, 2, 3)]  # [G, H, h, D]
    widths["text"] = kernels[0].shape[3]
    heights = tuple(kernel.shape[2] for kernel in kernels)
    for row in range(max(heights)):
        tall = [kernel[:, :, row] for kernel in kernels if kernel.shape[2] > row]
        weights[f"encoders.text.rows.{row}"] = torch.cat(tall, dim=1)
    biases = [source.take(f"{{own}}L.conv{n}.bias") for n in (1, 2, 3)]
    weights["encoders.text.bias"] = torch.cat(biases, dim=1)
    source.linear(weights, "encoders.text.project", "{own}L.embd.0")

    source.attention(weights, "fusion.attention", "{own}Fusion.layers.0.self_attn")
    for ours, theirs in (("widen", "linear1"), ("narrow", "linear2")):
        source.linear(weights, f"fusion.{ours}", f"{{own}}Fusion.layers.0.{theirs}")
    for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
        both = source.take(f"{{own}}Fusion.layers.0.{name}")
        weights[f"fusion.{name}"] = both.view(G, 1, 1, -1)
    for part in ("inter_attention", "hence_attention"):
        source.attention(weights, f"interaction.{part}", f"{{own}}_{{other}}_interaction.{part}")
    for ours, theirs in (("classifiers", "C"), ("auxiliary", "CF")):
        for layer, name in (("first", "module.0"), ("second", "module.3"), ("output", "fc_out")):
            source.linear(weights, f"{ours}.{layer}", f"{{own}}{theirs}.{name}")
    source.check_empty()

    hidden = kernels[0].shape[1]
    for modality in widths:
        weights[f"missing.{modality}"] = torch.zeros(G, 1, hidden)
    config = NetworkConfig(
        widths=widths,
        fusion_heads={
            task: fusion_heads if isinstance(fusion_heads, int) else fusion_heads[task]
            for task in TASKS
        },
        kernel_heights=heights,
        hidden=hidden,
        feed_forward=weights["fusion.widen.weight"].shape[2],
    )
    return config, weights


class _Source:
    """A published state dict from which entries are taken, those of both tasks stacked."""

    def __init__(self, state_dict: Mapping[str, Tensor]) -> None:
        self.left = dict(state_dict)

    def take(self, template: str) -> Tensor:
        """[G, ...] of the names with `{own}` and `{other}` replaced by Emo and Int."""
        names = [
            template.format(own=own, other=other) for own, other in (("Emo", "Int"), ("Int", "Emo"))
        ]
        for name in names:
            if name not in self.left:
                raise TrainingError(
                    f"Not a checkpoint of the official joint network: it has no {name!r}. "
                    "Expected all its sub-networks (EmoA, EmoV, EmoL, EmoFusion, …) in one "
                    "state dict."
                )
        both = [self.left.pop(name) for name in names]
        # Emotion has one class fewer than intent: its last output stays unused.
        rows = max(len(tensor) for tensor in both)
        padded = [torch.cat([t, t.new_zeros(rows - len(t), *t.shape[1:])]) for t in both]
        return torch.stack(padded)

    def linear(self, weights: dict[str, Tensor], ours: str, theirs: str) -> None:
        weights[f"{ours}.weight"] = self.take(f"{theirs}.weight").mT
        weights[f"{ours}.bias"] = self.take(f"{theirs}.bias").unsqueeze(1)

    def attention(self, weights: dict[str, Tensor], ours: str, theirs: str) -> None:
        weight = self.take(f"{theirs}.in_proj_weight")  # queries, keys, values
        bias = self.take(f"{theirs}.in_proj_bias")
        hidden = weight.shape[2]
        for part, rows in (("query", slice(0, hidden)), ("memory", slice(hidden, None))):
            weights[f"{ours}.{part}.weight"] = weight[:, rows].mT
            weights[f"{ours}.{part}.bias"] = bias[:, rows].unsqueeze(1)
        self.linear(weights, f"{ours}.project", f"{theirs}.out_proj")

    def check_empty(self) -> None:
        if self.left:
            raise TrainingError(f"Unknown names in the official checkpoint: {sorted(self.left)}.")
