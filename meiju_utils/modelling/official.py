"""A checkpoint of the official baseline, in the joint network's architecture and names.

Source of the names: the published code (AI-S2-Lab/MEIJU2025-baseline), stage "joint".
Imports torch, `architecture`.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from meiju_utils.challenge import TASKS
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.architecture import (
    NetworkConfig,
    in_token_order,
    published_architecture,
)

# Beginnings of names: ours within a task's branch → the published code's, {own} being Emo or Int.
RENAMES = {
    "branches.{task}.encoders.audio.": "{own}A.",
    "branches.{task}.encoders.visual.": "{own}V.",
    "branches.{task}.encoders.text.convolutions.0.": "{own}L.conv1.",
    "branches.{task}.encoders.text.convolutions.1.": "{own}L.conv2.",
    "branches.{task}.encoders.text.convolutions.2.": "{own}L.conv3.",
    "branches.{task}.encoders.text.project.": "{own}L.embd.0.",
    "branches.{task}.fusion.layer.": "{own}Fusion.layers.0.",
    "branches.{task}.head.layers.1.": "{own}C.module.0.",
    "branches.{task}.head.layers.4.": "{own}C.module.3.",
    "branches.{task}.head.layers.7.": "{own}C.fc_out.",
    "branches.{task}.auxiliary.layers.1.": "{own}CF.module.0.",
    "branches.{task}.auxiliary.layers.4.": "{own}CF.module.3.",
    "branches.{task}.auxiliary.layers.7.": "{own}CF.fc_out.",
    "interactions.{task}.": "{own}_{other}_interaction.",
}
_PREFIXES = {"emotion": ("Emo", "Int"), "intent": ("Int", "Emo")}


def official_config(
    state_dict: Mapping[str, Tensor], fusion_heads: int | Mapping[str, int]
) -> NetworkConfig:
    """The architecture of a published checkpoint. TrainingError where a name is absent."""
    convolutions = [_of(state_dict, f"EmoL.conv{n}.weight") for n in (1, 2, 3)]  # [H, 1, h, D]
    heights = [kernel.shape[2] for kernel in convolutions]
    feed_forward = len(_of(state_dict, "EmoFusion.layers.0.linear1.weight"))
    branches = {
        task: {
            "hidden": len(convolutions[0]),
            "text": {"textcnn": {"heights": heights}},
            "fusion": {
                "heads": fusion_heads if isinstance(fusion_heads, int) else fusion_heads[task],
                "feed_forward": feed_forward,
            },
        }
        for task in TASKS
    }
    widths = {
        "audio": _of(state_dict, "EmoA.rnn.weight_ih_l0").shape[1],
        "visual": _of(state_dict, "EmoV.rnn.weight_ih_l0").shape[1],
        "text": convolutions[0].shape[3],
    }
    return NetworkConfig(
        architecture=published_architecture(TASKS).changed(branches, "official"),
        widths=in_token_order(widths),
        classes={
            task: len(_of(state_dict, f"{own}C.fc_out.weight"))
            for task, (own, _) in _PREFIXES.items()
        },
    )


def official_weights(names: Iterable[str], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published checkpoint's weights under our `names`; a missing-modality token has none.

    Raises TrainingError where a name is absent or left over.
    """
    left = dict(state_dict)
    weights: dict[str, Tensor] = {}
    for name in names:
        theirs = _official_name(name)
        if theirs is not None:
            weight = _of(left, theirs)
            del left[theirs]
            # theirs convolve [B, 1, T, D] images, ours [B, D, T] sequences
            weights[name] = weight[:, 0].transpose(1, 2) if weight.ndim == 4 else weight
    if left:
        raise TrainingError(f"Unknown names in the official checkpoint: {sorted(left)}.")
    return weights


def _official_name(name: str) -> str | None:
    for task, (own, other) in _PREFIXES.items():
        for ours, theirs in RENAMES.items():
            prefix = ours.format(task=task)
            if name.startswith(prefix):
                return theirs.format(own=own, other=other) + name.removeprefix(prefix)
    return None


def _of(state_dict: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state_dict:
        raise TrainingError(
            f"Not a checkpoint of the official joint network: it has no {name!r}. Expected all its "
            "sub-networks (EmoA, EmoV, EmoL, EmoFusion, …) in one state dict."
        )
    return state_dict[name]
