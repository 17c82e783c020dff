"""Recipes as data: named experiments and how they build on each other.

The built-in ones are in `recipes.yaml`: the official baseline and the rows of the paper's Table I.
Imports `challenge`, `errors` only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meiju_utils.challenge import TASKS, Modality, Task
from meiju_utils.errors import ConfigError, nearest

BUILT_IN = Path(__file__).with_name("recipes.yaml")


class NetworkSpec(BaseModel):
    """What of the network a recipe decides; the rest follows from features and profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fusion_heads: int | dict[Task, int] = 2
    kernel_heights: list[int] = Field(default=[2, 3, 4], min_length=1)
    stage: Literal["pretrain", "joint"] = "joint"


class Recipe(BaseModel):
    """One named experiment (see `recipes.yaml` for what the fields mean)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    notebook: str = "05_head_variant_training"
    start: str | None = None
    pseudo_labels: str | None = None
    network: NetworkSpec = NetworkSpec()
    training: dict[str, Any] = {}
    encoders: dict[Modality, str | None] = {}
    combine: dict[Task, list[str]] | None = None

    @model_validator(mode="after")
    def _both_tasks(self) -> "Recipe":
        if self.combine is not None and not all(self.combine.get(task) for task in TASKS):
            raise ValueError("combine must name at least one recipe for emotion and for intent")
        return self

    def needs(self) -> list[str]:
        """The recipes whose results this one is made from."""
        combined = [name for names in (self.combine or {}).values() for name in names]
        return [name for name in (self.start, self.pseudo_labels, *combined) if name]


def load_recipes(path: Path | None = None) -> dict[str, Recipe]:
    """The built-in recipes and, over them, those of a YAML file of the same form.

    Raises ConfigError for what is no recipe and for names that are not there.
    """
    raw: dict[str, Any] = {}
    for file in (BUILT_IN, *([path] if path else [])):
        raw |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    recipes: dict[str, Recipe] = {}
    for name in raw:
        try:
            recipes[name] = Recipe.model_validate(_inherited(raw, name))
        except ValidationError as error:
            faults = "; ".join(f"{fault['loc']}: {fault['msg']}" for fault in error.errors())
            raise ConfigError(f"Recipe {name!r} does not fit: {faults}.") from None
    return recipes


def _inherited(raw: Mapping[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's values over those it takes from its start."""
    if name not in raw:
        raise ConfigError(f"Recipe {seen[-1]!r} builds on {name!r}: {nearest(name, raw)}")
    if name in seen:
        raise ConfigError(f"Recipes build on each other in a circle: {' → '.join((*seen, name))}.")
    own = dict(raw[name])
    combined = [other for others in (own.get("combine") or {}).values() for other in others]
    for other in (*combined, *([own["pseudo_labels"]] if own.get("pseudo_labels") else [])):
        _inherited(raw, other, (*seen, name))  # that it is there, and not made from this one
    if own.get("start"):
        base = _inherited(raw, own["start"], (*seen, name))
        for part in ("network", "training", "encoders"):
            own[part] = {**base.get(part, {}), **own.get(part, {})}
    return own
