"""Rounds of students, written as one recipe: what they stand for, recipe by recipe.

    students:
      ensemble: {opinion-pool: {from: [a, b, c]}}
      students: {teacher: opinions, of: [a, b], rounds: 2}

In every round the models `of` are trained on train and the whole pool, which the round before
(first the `teacher`) labels softly, and join the ensemble's members; the recipe itself is the last
round that gained. Imports `errors`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from meiju_utils.errors import ConfigError


class Students(BaseModel):
    """`rule` chooses clips of the pool; `weight` is theirs, where a true label has 1; `gain`: see
    `decisions.rounds.LastGain`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    of: Annotated[list[str], Field(min_length=1)]
    rounds: PositiveInt = 2
    rule: Any = "everything"
    weight: PositiveFloat = 1.0
    shift: bool = False
    gain: float = Field(default=0.0, ge=0)


def with_students(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Recipes by name as they stand in YAML, those with `students` spelled out."""
    found: dict[str, Any] = {}
    for name, values in raw.items():
        if isinstance(values, dict) and "students" in values:
            found |= _spelled_out(name, values)
        else:
            found[name] = values
    return found


def _spelled_out(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    where = f"Recipe {name!r}: students"
    try:
        students = Students.model_validate(values["students"])
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ConfigError(
            f"{where}: {place}: {fault['msg']}. Expected as {{teacher: opinions, of: [a model], "
            "rounds: 2}}, and perhaps rule, weight, gain."
        ) from None
    ensemble = values.get("ensemble") or None
    kind, options = next(iter(ensemble.items())) if isinstance(ensemble, dict) else ("", None)
    members = options.get("from") if isinstance(options, dict) else None
    if not isinstance(options, dict) or not isinstance(members, list):
        raise ConfigError(
            f"{where} join an ensemble that is fitted, with one list of members: give the recipe "
            "`ensemble: {opinion-pool: {from: [...]}}`."
        )
    common = {"chain": name} | {key: values[key] for key in ("notebook",) if key in values}
    targets = {"rule": students.rule, "soft": True, "weight": students.weight}
    targets |= {"shift": students.shift}
    found: dict[str, Any] = {}
    rounds = [students.teacher]
    for number in range(1, students.rounds + 1):
        own = {f"{name}-{number}:{model}": model for model in students.of}
        for student, model in own.items():
            taught = {**targets, "teacher": rounds[-1]}
            found[student] = {"like": model, "targets": taught, **common}
        joined = {kind: {**options, "from": [*members, *own]}}
        calibrate = {key: values[key] for key in ("calibrate",) if key in values}
        found[f"{name}-{number}"] = {"ensemble": joined, **calibrate, **common}
        rounds.append(f"{name}-{number}")
    kept = {key: value for key, value in values.items() if key != "students"}
    last = {"last-gain": {"from": rounds, "gain": students.gain}}
    found[name] = {**kept, "ensemble": last, "teacher": students.teacher}
    return found
