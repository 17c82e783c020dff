"""The joint network of emotion and intent: two branches, fused, interacting (the winners' network).

Source: section III of the paper (arXiv 2501.06215) and the official baseline's published code
(AI-S2-Lab/MEIJU2025-baseline), from which a checkpoint can be loaded. Imports torch and `layers`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.layers import (
    Attention,
    Classifiers,
    Fusion,
    G,
    Interaction,
    LstmEncoder,
    TaskLinear,
    TextCnn,
    padded,
)
from meiju_utils.modelling.official import convert_official


class JointLogits(NamedTuple):
    """Logits [B, 7] of emotion, [B, 8] of intent, and the auxiliary ones (None in "pretrain")."""

    emotion: Tensor
    intent: Tensor
    emotion_auxiliary: Tensor | None
    intent_auxiliary: Tensor | None


class JointNetwork(nn.Module):
    """Emotion and intent logits from sequences (or means, T = 1) of up to three modalities."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.encoders = nn.ModuleDict()
        self.missing = nn.ParameterDict()
        for modality in config.modalities:
            self.encoders[modality] = (
                TextCnn(config.widths[modality], hidden, config.kernel_heights, config.text_dropout)
                if modality == "text"
                else LstmEncoder(config.widths[modality], hidden)
            )
            # Zero until clips without this modality have taught it something.
            self.missing[modality] = nn.Parameter(torch.zeros(G, 1, hidden))
        heads = [config.fusion_heads[task] for task in TASKS]
        self.fusion = Fusion(hidden, heads, config.feed_forward, config.fusion_dropout)
        joined = hidden * len(config.modalities)
        classes = [len(CLASSES[task]) for task in TASKS]
        self.classifiers = Classifiers(joined, hidden, classes, config.dropout)
        self.interaction: Interaction | None = None
        self.auxiliary: Classifiers | None = None
        if config.stage == "joint":
            self.interaction = Interaction(hidden)
            self.auxiliary = Classifiers(joined, hidden, classes, config.dropout)

    def forward(
        self,
        features: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> JointLogits:
        """Logits of a batch.

        `features` has a float tensor [B, T, D] a modality, padding last, or [n, D], the real steps
        of all clips one after another; `lengths` [B] the real steps where not all are real, and
        where they are packed; `present` [B] (bool) who has the modality at all, by default those of
        length > 0. A learned token stands for what a clip, or the whole batch, lacks.
        Raises FeatureError for another width than the network's, and where nothing is there.
        """
        embedded = self.embed(features, lengths or {}, present or {})
        fused = self.fusion(embedded)
        if self.interaction is None or self.auxiliary is None:
            emotion, intent = self.classifiers(fused.flatten(2))
            return JointLogits(emotion, intent, None, None)
        main = self.classifiers(self.interaction(fused).flatten(2))
        return JointLogits(*main, *self.auxiliary(embedded.flatten(2)))

    def embed(
        self,
        features: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Tensor:
        """Tokens [G, B, M, H] in the order of TOKENS, the learned one where a clip lacks it."""
        tokens = []
        clips = self._batch_size(features, lengths)
        for modality in self.config.modalities:
            x = features.get(modality)
            if x is None or not x.shape[-2]:
                tokens.append(self.missing[modality].expand(-1, clips, -1))
                continue
            length, has = lengths.get(modality), present.get(modality)
            if has is None and length is not None:
                has = length > 0
            token = self.encoders[modality](*self._steps(x, length))
            if has is not None:
                token = torch.where(has.unsqueeze(1), token, self.missing[modality])
            tokens.append(token)
        return torch.stack(tokens, dim=2)

    def _steps(self, x: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The arguments of an encoder: steps [n, D] that count, and which these are of [B, T]."""
        if x.ndim == 3 and x.shape[1] == 1:
            return x[:, 0], None
        if length is None:
            return x.flatten(0, 1), torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        steps = int(length.max()) if x.ndim == 2 else x.shape[1]
        valid = torch.arange(steps, device=x.device) < length.unsqueeze(1)
        if self.config.masking:
            return x if x.ndim == 2 else x[valid], valid
        if x.ndim == 2:
            x = padded(x, valid)
        return x.flatten(0, 1), torch.ones_like(valid)

    def _batch_size(self, features: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> int:
        """B of the features, whose shapes are checked."""
        found = {m: features[m] for m in self.config.modalities if features.get(m) is not None}
        for modality, x in found.items():
            width = self.config.widths[modality]
            packed = x.ndim == 2 and modality in lengths
            if not (packed or x.ndim == 3) or x.shape[-1] != width:
                raise FeatureError(
                    f"The network takes {modality} features [B, T, {width}]; got {list(x.shape)}. "
                    "Use the encoder it was trained with, or train anew."
                )
        if not found:
            names = ", ".join(self.config.modalities)
            raise FeatureError(f"The network needs features of at least one of: {names}.")
        modality, x = next(iter(found.items()))
        return len(x if x.ndim == 3 else lengths[modality])

    def start_from(self, other: "JointNetwork") -> None:
        """Take over all weights or, after stage "pretrain", those of encoders and fusion.

        The classifiers of the joint stage read other tokens, so they start anew. Raises
        TrainingError where the architectures differ.
        """
        weights = other.state_dict()
        if self.config.stage != other.config.stage:
            kept = ("encoders.", "missing.", "fusion.")
            weights = {
                name: weights[name] if name.startswith(kept) and name in weights else own
                for name, own in self.state_dict().items()
            }
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise TrainingError(
                f"The network to start from is of another architecture: {error} "
                "A recipe and its start must use the same encoders, heads and kernels."
            ) from None

    def initialise_kaiming(self) -> None:
        """Linear layers and convolutions as published: Kaiming-normal weights, zero biases."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, TaskLinear | TextCnn):
                    module.bias.zero_()
                if isinstance(module, TaskLinear):
                    module.weight.normal_(std=(2 / module.weight.shape[1]) ** 0.5)
                elif isinstance(module, TextCnn):
                    for height, row in module.kernel_rows():
                        row.normal_(std=(2 / (height * row.shape[2])) ** 0.5)
        for module in self.modules():
            if isinstance(module, Attention):
                module.reset_projections()

    def gradients_by_part(self) -> list[list[Tensor]]:
        """Gradients of each sub-network that the published code clips alone, as views."""
        found: list[list[Tensor]] = []
        for task in range(G):
            parts: list[nn.Module] = [self.missing, self.fusion, self.classifiers]
            parts += [part for part in (self.interaction, self.auxiliary) if part is not None]
            for encoder in self.encoders.values():
                if isinstance(encoder, LstmEncoder):
                    own = encoder.rnns[task].parameters()
                    found.append([p.grad for p in own if p.grad is not None])
                else:
                    parts.append(encoder)
            for part in parts:
                found.append([p.grad[task] for p in part.parameters() if p.grad is not None])
        return [gradients for gradients in found if gradients]

    @classmethod
    def from_official(
        cls, state_dict: Mapping[str, Tensor], fusion_heads: int | Mapping[Task, int]
    ) -> "JointNetwork":
        """The network of a published checkpoint, in evaluation mode.

        `state_dict` has the names of the official baseline (stage "joint"), `fusion_heads` the
        heads of the fusion, which its shapes do not tell. Raises TrainingError where names or
        shapes do not fit.
        """
        config, weights = convert_official(state_dict, fusion_heads)
        network = cls(config)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise TrainingError(f"The official checkpoint has odd shapes: {error}") from None
        return network.eval()
