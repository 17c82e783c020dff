"""The architecture of a joint network as data: what a recipe says, and what rebuilds a checkpoint.

Imports `challenge`, `components`, `errors`, `parts`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt

from meiju_utils.challenge import MODALITIES, TASKS
from meiju_utils.components import Component, make_component
from meiju_utils.errors import ConfigError, nearest
from meiju_utils.modelling.parts import ENCODERS, FUSIONS, HEADS, INTERACTIONS

TOKENS = ("visual", "audio", "text")  # their order in the published network
_STREAM_ENCODERS = {"visual": "lstm", "audio": "lstm", "text": "textcnn"}


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Branch(_Data):
    """One task's branch: an encoder for each stream, their fusion, the classifier."""

    encoders: dict[str, Component]
    fusion: Component
    head: Component
    hidden: PositiveInt = 128


class Architecture(_Data):
    """A branch for each task, how two branches interact, and whether there are auxiliary heads.

    Auxiliary heads read the tokens before the fusion. Without `masking` padded steps count as real
    ones, as in the published code.
    """

    branches: dict[str, Branch]
    interaction: Component | None
    auxiliary: bool = True
    masking: bool = True

    def changed(self, values: Mapping[str, Any], where: str) -> "Architecture":
        """This architecture with what a recipe says under `network` in its place.

        `values` has `both` and the tasks' names, each with streams, `fusion`, `head`, `hidden`;
        and `interaction` (none: null), `auxiliary`, `masking`. Raises ConfigError for all else.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where} = {values!r}: expected parts of the network by name.")
        tasks = dict.fromkeys([*self.branches, *TASKS])  # MEIJU's are ignored where not in use
        valid = ["both", *tasks, "interaction", "auxiliary", "masking"]
        for key in values:
            if key not in valid:
                raise ConfigError(f"{where}: no part {key!r}: {nearest(str(key), valid)}")
        branches = dict(self.branches)
        for key in ("both", *self.branches):  # what is said of one task goes over `both`
            for task in branches if key == "both" else [key]:
                branches[task] = _branch(branches[task], values.get(key) or {}, f"{where}.{key}")
        interaction = self.interaction
        if "interaction" in values:
            wanted = values["interaction"]
            none = wanted in (None, "none")
            place = f"{where}.interaction"
            interaction = (
                None if none else make_component(wanted, INTERACTIONS, place, self.interaction)
            )
        flags = {name: values.get(name, getattr(self, name)) for name in ("auxiliary", "masking")}
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise ConfigError(f"{where}.{name} = {flag!r}: expected true or false.")
        return Architecture(branches=branches, interaction=interaction, **flags)

    def of_streams(self, streams: list[str]) -> "Architecture":
        """The same with the encoders of the streams in use alone.

        Raises ConfigError for a stream that no encoder is named for.
        """
        branches = {}
        for task, branch in self.branches.items():
            for stream in streams:
                if stream not in branch.encoders:
                    raise ConfigError(
                        f"The {task} branch has no encoder for the stream {stream!r}; it has some "
                        f"for {', '.join(branch.encoders)}."
                    )
            used = {s: e for s, e in branch.encoders.items() if s in streams}
            branches[task] = branch.model_copy(update={"encoders": used})
        return self.model_copy(update={"branches": branches})


class NetworkConfig(_Data):
    """All that shapes a network: the architecture, the streams in use and the classes.

    `widths` has each stream's number of features, in the order of their tokens; `classes` each
    task's number of classes.
    """

    architecture: Architecture
    widths: dict[str, int]
    classes: dict[str, int]


def published_architecture(tasks: Iterable[str]) -> Architecture:
    """The published network (stage "joint") for these tasks."""
    branch = Branch(
        encoders={
            stream: make_component(name, ENCODERS, stream)
            for stream, name in _STREAM_ENCODERS.items()
        },
        fusion=make_component("transformer", FUSIONS, "fusion"),
        head=make_component("mlp", HEADS, "head"),
    )
    return Architecture(
        branches=dict.fromkeys(tasks, branch),
        interaction=make_component("gated", INTERACTIONS, "interaction"),
    )


def in_token_order(widths: Mapping[str, int]) -> dict[str, int]:
    """Streams in the published order of their tokens, others behind them."""
    rank = {stream: place for place, stream in enumerate(TOKENS)}
    return dict(sorted(widths.items(), key=lambda item: rank.get(item[0], len(rank))))


def _branch(branch: Branch, values: Any, where: str) -> Branch:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} = {values!r}: expected parts of a branch by name.")
    valid = ["fusion", "head", "hidden", *dict.fromkeys([*MODALITIES, *branch.encoders])]
    changed: dict[str, Any] = {"encoders": dict(branch.encoders)}
    for key, value in values.items():
        if key not in valid:
            raise ConfigError(f"{where}: no part {key!r}: {nearest(str(key), valid)}")
        place = f"{where}.{key}"
        if key == "fusion":
            changed["fusion"] = make_component(value, FUSIONS, place, branch.fusion)
        elif key == "head":
            changed["head"] = make_component(value, HEADS, place, branch.head)
        elif key == "hidden":
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{place} = {value!r}: expected a whole number above 0.")
            changed["hidden"] = value
        else:
            base = branch.encoders.get(key)
            changed["encoders"][key] = make_component(value, ENCODERS, place, base)
    return branch.model_copy(update=changed)
