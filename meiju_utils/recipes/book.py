"""Recipes as data: named experiments, the components they name, how they build on each other.

The built-in ones are in `library.yaml`, which says what the keys mean. Imports `components`,
`modelling`, `decisions`, `pool`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from meiju_utils.challenge import TASKS, Modality
from meiju_utils.components import Component, Registry, build, make_component
from meiju_utils.decisions import CALIBRATIONS, DECODERS, ENSEMBLES
from meiju_utils.errors import ConfigError, nearest
from meiju_utils.graphs import in_order
from meiju_utils.modelling.architecture import published_architecture
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.objectives import OBJECTIVES
from meiju_utils.modelling.partitions import Folds
from meiju_utils.pool import RULES
from meiju_utils.recipes.learning import check_learning
from meiju_utils.recipes.recipe import Choice, PoolTargets, Recipe
from meiju_utils.recipes.students import with_students
from meiju_utils.strict_yaml import read_yaml

LIBRARY = Path(__file__).with_name("library.yaml")
_KINDS: dict[str, Registry] = {"model": MODELS, "ensemble": ENSEMBLES}


class _Written(BaseModel):
    """A recipe as it stands in YAML; components are checked once their base is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    notebook: str = "05_head_variant_training"
    start: str | None = None
    like: str | None = None
    network: Any = None
    model: Any = None
    ensemble: Any = None
    objective: Any = None
    targets: dict[str, Any] | None = None
    partition: Any = None
    training: dict[str, Any] = {}
    encoders: dict[Modality, Choice | None] = {}
    calibrate: Any = None
    decode: Any = None
    chain: str = ""
    teacher: str = ""


def load_recipes(path: Path | None = None, tasks: Iterable[str] = TASKS) -> dict[str, Recipe]:
    """The built-in recipes and, over them, those of a YAML file of the same form.

    Raises ConfigError for a file that cannot be read, for what is no recipe, for unknown names of
    recipes, components and options, and for recipes that build on each other in a circle.
    """
    raw = {name: values for file in (LIBRARY, path) if file for name, values in _read(file)}
    return make_recipes(raw, tasks)


def make_recipes(raw: Mapping[str, Any], tasks: Iterable[str] = TASKS) -> dict[str, Recipe]:
    """Recipes of their YAML values by name; ConfigError as of `load_recipes`."""
    raw = with_students(raw)
    written = {name: _checked(name, values) for name, values in raw.items()}
    for name, own in written.items():
        for base in (own.start, own.like):
            if base is not None and base not in written:
                raise ConfigError(f"Recipe {name!r} builds on {base!r}: {nearest(base, written)}")
    inherits = {n: [b for b in (own.start, own.like) if b] for n, own in written.items()}
    recipes: dict[str, Recipe] = {}
    for name in in_order(inherits, "Recipes build on each other"):
        recipes[name] = _made(name, written[name], recipes, list(tasks))
    for name, recipe in recipes.items():
        for other in recipe.needs():
            if other not in recipes:
                raise ConfigError(f"Recipe {name!r} builds on {other!r}: {nearest(other, recipes)}")
    in_order({n: r.needs() for n, r in recipes.items()}, "Recipes build on each other")
    for recipe in recipes.values():
        check_learning(recipe, recipes)
    return {name: recipes[name] for name in raw}


def _made(name: str, own: _Written, recipes: Mapping[str, Recipe], tasks: list[str]) -> Recipe:
    """A recipe over the one it starts from or is like."""
    where = f"Recipe {name!r}"
    if own.start and own.like:
        raise ConfigError(
            f"{where} has a `start` and is `like` another; a start gives settings too."
        )
    named = own.start or own.like
    base = recipes[named] if named else None
    kinds = [kind for kind in ("network", "model", "ensemble") if getattr(own, kind) is not None]
    if len(kinds) > 1:
        raise ConfigError(f"{where} is a {' and a '.join(kinds)}; say one of them.")
    kind: Any = kinds[0] if kinds else (base.kind if base else "network")
    if own.start and (kind != "network" or base is None or base.kind != "network"):
        raise ConfigError(
            f"{where} starts from {own.start!r}, but only a network has weights to start from, and "
            f"only a network can start from them: {own.start!r} is a {base and base.kind}, "
            f"{name!r} a {kind}. To take settings alone say `like`."
        )
    architecture = component = None
    members: dict[str, list[str]] = {}
    if kind == "network":
        inherited = base.architecture if base else None
        architecture = inherited or published_architecture(tasks)
        architecture = architecture.changed(own.network or {}, f"{where}: network")
    else:
        inherited_part = base.component if base and base.kind == kind else None
        component = inherited_part
        if getattr(own, kind) is not None or component is None:
            component = make_component(
                getattr(own, kind), _KINDS[kind], f"{where}: {kind}", inherited_part
            )
    if kind != "network":
        unused = [key for key in ("objective", "training") if getattr(own, key)]
        if unused:
            raise ConfigError(f"{where} is a {kind}, which has no {unused[0]}.")
    if kind == "ensemble" and component is not None:
        if own.targets or own.encoders or own.partition:
            raise ConfigError(
                f"{where} combines others: targets, partition and encoders are theirs."
            )
        try:
            members = build(component, ENSEMBLES).members(tasks)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    calibrate = base.calibrate if base else None
    if own.calibrate is not None:
        calibrate = make_component(own.calibrate, CALIBRATIONS, f"{where}: calibrate", calibrate)
    objective = base.objective if base else make_component("cross-entropy", OBJECTIVES, where)
    if own.objective is not None:
        objective = make_component(own.objective, OBJECTIVES, f"{where}: objective", objective)
    return Recipe(
        name=name,
        title=own.title,
        notebook=own.notebook,
        kind=kind,
        start=own.start,
        architecture=architecture,
        component=component,
        objective=objective,
        targets=_targets(own.targets, where) if own.targets else None,
        partition=_partition(own.partition, base, where),
        training={**(base.training if base else {}), **own.training},
        encoders={**(base.encoders if base else {}), **own.encoders},
        members=members,
        calibrate=calibrate,
        decode=_decoders(own.decode, base, where),
        chain=own.chain,
        teacher=own.teacher,
    )


def _decoders(value: Any, base: Recipe | None, where: str) -> list[Component]:
    """The decoders a recipe names, one or a list, or those of its base."""
    before = base.decode if base else [make_component("argmax", DECODERS, where)]
    if value is None:
        return before
    where = f"{where}: decode"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise ConfigError(f"{where} is empty; name a decoder, as argmax.")
        return [make_component(one, DECODERS, where) for one in value]
    return [make_component(value, DECODERS, where, before[0] if len(before) == 1 else None)]


def _partition(value: Any, base: Recipe | None, where: str) -> Any:
    """The partition a recipe names, or that of its base."""
    if value is None:
        return base.partition if base else "validation"
    if value == "validation":
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{where}: partition = {value!r}: expected `validation`, or folds as {{folds: 5}}, "
            "{folds: 5, repeats: 2} or {folds: 5, refit: true}."
        )
    return _validated(Folds, value, f"{where}: partition")


def _targets(values: Mapping[str, Any], where: str) -> PoolTargets:
    if "teacher" not in values:
        raise ConfigError(f"{where}: targets: name a `teacher`, the recipe that labels the pool.")
    rule = make_component(values.get("rule", "quantile"), RULES, f"{where}: targets: rule")
    found: PoolTargets = _validated(PoolTargets, {**values, "rule": rule}, f"{where}: targets")
    return found


def _checked(name: str, values: Any) -> _Written:
    if not isinstance(values, dict):
        raise ConfigError(
            f"Recipe {name!r} = {values!r}: a file of recipes must map each recipe's name to its "
            "settings, as library.yaml does."
        )
    found: _Written = _validated(_Written, values, f"Recipe {name!r}")
    return found


def _validated(model: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            place = ".".join(map(str, fault["loc"]))
            if fault["type"] == "extra_forbidden":
                valid = [key for key in model.model_fields if key != "kind"]
                faults.append(f"no key {place!r}: {nearest(place, valid)}")
            else:
                faults.append(f"{place}: {fault['msg']}")
        raise ConfigError(f"{where} does not fit: {'; '.join(faults)}") from None


def _read(file: Path) -> list[tuple[str, Any]]:
    if not file.is_file():
        raise ConfigError(f"No file of recipes {file}; the profile's `recipes` names it.")
    found = read_yaml(file) or {}
    if not isinstance(found, dict):
        raise ConfigError(
            f"The recipes {file} must map each recipe's name to its settings, as library.yaml does."
        )
    return [(str(name), values) for name, values in found.items()]
