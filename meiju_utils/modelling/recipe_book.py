"""Recipes as data: named experiments and how they build on each other.

The built-in ones are in `recipes.yaml`: the official baseline and the rows of the paper's Table I.
Imports `challenge`, `errors` only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from meiju_utils.challenge import TASKS, Modality, Task
from meiju_utils.errors import ConfigError, nearest

BUILT_IN = Path(__file__).with_name("recipes.yaml")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


# Of the encoders a profile extracts, the one with these settings (at least its name).
Choice = Annotated[dict[str, Any], BeforeValidator(_named)]


class NetworkSpec(BaseModel):
    """What of the network a recipe decides; the rest follows from features and profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fusion_heads: int | dict[Task, int] = 2
    kernel_heights: list[int] = Field(default=[2, 3, 4], min_length=1)
    stage: Literal["pretrain", "joint"] = "joint"

    @field_validator("fusion_heads")
    @classmethod
    def _of_both_tasks(cls, heads: int | dict[Task, int]) -> int | dict[Task, int]:
        if isinstance(heads, dict) and set(heads) != set(TASKS):
            raise ValueError("give one number, or one for emotion and one for intent")
        return heads


class Recipe(BaseModel):
    """One named experiment (see `recipes.yaml` for what the fields mean)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    notebook: str = "05_head_variant_training"
    start: str | None = None
    pseudo_labels: str | None = None
    network: NetworkSpec = NetworkSpec()
    training: dict[str, Any] = {}
    encoders: dict[Modality, Choice | None] = {}
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

    Raises ConfigError for a file that cannot be read, for what is no recipe and for names that are
    not there.
    """
    raw = {name: values for file in (BUILT_IN, path) if file for name, values in _read(file)}
    recipes: dict[str, Recipe] = {}
    for name in raw:
        try:
            recipes[name] = Recipe.model_validate(_inherited(raw, name))
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or name}: {fault['msg']}"
                for fault in error.errors()
            )
            raise ConfigError(f"Recipe {name!r} does not fit: {faults}.") from None
    for name, recipe in recipes.items():
        for other in (recipe.start, recipe.pseudo_labels):
            if other and recipes[other].combine:
                raise ConfigError(
                    f"Recipe {name!r} builds on {other!r}, which has no weights of its own: it "
                    "combines others. Name a recipe that trains."
                )
    return recipes


def _read(file: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The recipes {file} cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise ConfigError(
            f"The recipes {file} must map each recipe's name to its settings, as recipes.yaml does."
        )
    return [(str(name), values) for name, values in found.items()]


def _inherited(raw: Mapping[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's values over those it takes from its start."""
    if name not in raw:
        raise ConfigError(f"Recipe {seen[-1]!r} builds on {name!r}: {nearest(name, raw)}")
    if name in seen:
        raise ConfigError(f"Recipes build on each other in a circle: {' → '.join((*seen, name))}.")
    own = dict(raw[name])
    # Of other kinds than these nothing is taken here: the recipe's check says what is wrong.
    combine = own.get("combine")
    members = list(combine.values()) if isinstance(combine, dict) else []
    combined = [other for others in members if isinstance(others, list) for other in others]
    for other in (*combined, own.get("pseudo_labels")):
        if isinstance(other, str):
            _inherited(raw, other, (*seen, name))  # that it is there, and not made from this one
    if isinstance(own.get("start"), str):
        base = _inherited(raw, own["start"], (*seen, name))
        for part in ("network", "training", "encoders"):
            if isinstance(own.get(part, {}), dict):
                own[part] = {**base.get(part, {}), **own.get(part, {})}
    return own
