"""The joint network of emotion and intent: two branches, each fused, interacting.

Source: section III of the paper (arXiv 2501.06215) and the official baseline's published code
(AI-S2-Lab/MEIJU2025-baseline), from which a checkpoint can be loaded. Shapes: B clips, T steps,
D features, M streams, H hidden units. Imports torch and the modules beside it.
"""

from collections import namedtuple
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from meiju_utils.components import build
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.architecture import Branch, NetworkConfig
from meiju_utils.modelling.official import official_config, official_weights
from meiju_utils.modelling.parts import ENCODERS, FUSIONS, HEADS, INTERACTIONS
from meiju_utils.modelling.streams import Stream, read_streams


class TaskBranch(nn.Module):
    """One task's layers: encoders of its streams, fusion, head and auxiliary head."""

    def __init__(
        self, spec: Branch, widths: Mapping[str, int], classes: int, auxiliary: bool
    ) -> None:
        super().__init__()
        hidden, tokens = spec.hidden, len(widths)
        self.encoders = nn.ModuleDict(
            {s: build(spec.encoders[s], ENCODERS, width, hidden) for s, width in widths.items()}
        )
        # Zero until clips without the stream have taught it something.
        self.missing = nn.ParameterDict({s: nn.Parameter(torch.zeros(hidden)) for s in widths})
        self.fusion = build(spec.fusion, FUSIONS, hidden)
        self.head = build(spec.head, HEADS, tokens, hidden, classes)
        self.auxiliary = build(spec.head, HEADS, tokens, hidden, classes) if auxiliary else None

    def embed(self, streams: Mapping[str, Stream], clips: int) -> Tensor:
        """Tokens [B, M, H], the learned one where a clip lacks the stream."""
        tokens = []
        for name, encoder in self.encoders.items():
            token = missing = self.missing[name].expand(clips, -1)
            if name in streams:
                x, lengths, present = streams[name]
                token = encoder(x, lengths)
                if present is not None:
                    token = torch.where(present.unsqueeze(1), token, missing)
            tokens.append(token)
        return torch.stack(tokens, dim=1)


class JointNetwork(nn.Module):
    """Logits of one or two tasks from streams of features (sequences, or vectors as T = 1)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        spec = config.architecture
        self.branches: Any = nn.ModuleDict()
        self.interactions: Any = nn.ModuleDict()
        for task, classes in config.classes.items():
            branch = spec.branches[task]
            self.branches[task] = TaskBranch(branch, config.widths, classes, spec.auxiliary)
        if spec.interaction is not None:
            for own, other in other_task(config.classes).items():
                widths = spec.branches[own].hidden, spec.branches[other].hidden
                self.interactions[own] = build(spec.interaction, INTERACTIONS, *widths)

    def forward(
        self,
        features: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Logits [B, C] of each task by its name, those of auxiliary heads as `<task>_auxiliary`,
        and what the head reads, [B, H'], as `<task>_features`.

        `features` has [B, T, D] of each stream, padding last; `lengths` [B] the real steps where
        not all are real; `present` [B] (bool) who has the stream, by default those of length > 0.
        A learned token stands for what a clip, or the whole batch, lacks. Raises FeatureError for
        another width than the network's, and where nothing is there.
        """
        spec, widths = self.config.architecture, self.config.widths
        streams, clips = read_streams(widths, features, lengths or {}, present or {}, spec.masking)
        tokens = {task: branch.embed(streams, clips) for task, branch in self.branches.items()}
        fused = {task: branch.fusion(tokens[task]) for task, branch in self.branches.items()}
        last, other = dict(fused), other_task(fused)
        for task, interaction in self.interactions.items():
            last[task] = interaction(fused[task], fused[other[task]])
        logits = [branch.head(last[task]) for task, branch in self.branches.items()]
        for task, branch in self.branches.items():
            logits.append(branch.auxiliary(tokens[task]) if spec.auxiliary else None)
        return logits_type(tuple(self.branches))(*logits, *(last[t] for t in self.branches))

    def parts(self) -> list[nn.Module]:
        """The sub-networks whose gradients the published code clips one by one."""
        found: list[nn.Module] = list(self.interactions.values())
        for branch in self.branches.values():
            found += [*branch.encoders.values(), branch.missing, branch.fusion, branch.head]
            found += [branch.auxiliary] if branch.auxiliary is not None else []
        return found

    @classmethod
    def from_official(
        cls, state_dict: Mapping[str, Tensor], fusion_heads: int | Mapping[str, int]
    ) -> "JointNetwork":
        """The network of a published checkpoint, in evaluation mode.

        `state_dict` has the names of the official baseline (stage "joint"), `fusion_heads` the
        heads of the fusion, which its shapes do not tell. Raises TrainingError where names or
        shapes do not fit.
        """
        network = cls(official_config(state_dict, fusion_heads))
        weights = official_weights(network.state_dict(), state_dict)
        try:
            network.load_state_dict({**network.state_dict(), **weights})
        except RuntimeError as error:
            raise TrainingError(f"The official checkpoint has odd shapes: {error}") from None
        return network.eval()


def other_task(tasks: Iterable[str]) -> dict[str, str]:
    """Of two tasks, each one's other; nothing of one."""
    found = list(tasks)
    return dict(zip(found, found[::-1], strict=True)) if len(found) == 2 else {}


@lru_cache
def logits_type(tasks: tuple[str, ...]) -> type[Any]:
    """A named tuple: each task's logits, auxiliary ones (None without) and features."""
    kinds = ("", "_auxiliary", "_features")
    return namedtuple("JointLogits", [f"{task}{kind}" for kind in kinds for task in tasks])
