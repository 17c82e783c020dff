"""Reading a profile: a YAML file with overrides on top, and what is wrong with it in words.

Built-in profiles lie in `meiju_utils/profiles`. Imports `profile`, `errors`, `strict_yaml`.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from meiju_utils.config.profile import Profile
from meiju_utils.errors import ConfigError, nearest
from meiju_utils.strict_yaml import parse_yaml, read_yaml

PROFILES = Path(__file__).parents[1] / "profiles"
# Keys that earlier versions had, and where to say it now.
_MOVED = {
    "pseudo_labels": "what it said are options of a recipe's rule, as in targets: {teacher: "
    "baseline, rule: {quantile: {threshold: 0.9}}}; `recipes` names a file of recipes."
}


def built_in_profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(profile: str, overrides: dict[str, Any] | None = None) -> Profile:
    """The profile of a built-in name or a YAML file, with dotted-key overrides on top.

    Raises ConfigError naming the bad key, the value found, and the nearest valid name.
    """
    path = Path(profile).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = PROFILES / f"{profile}.yaml"
        if profile not in built_in_profiles():
            raise ConfigError(
                f"No profile {profile!r}: {nearest(profile, built_in_profiles())} "
                "A profile of your own is given as the path of a .yaml file."
            )
    elif not path.is_file():
        raise ConfigError(f"No profile file {path}. Give an existing .yaml file or a name.")
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, not {type(values).__name__}.")
    values.setdefault("name", path.stem)
    for key, value in (overrides or {}).items():
        _set_dotted(values, key, value)
    return validate_profile(values, source=str(path.name))


def validate_profile(values: dict[str, Any], source: str = "profile") -> Profile:
    """Check plain values against the profile's schema; ConfigError lists every fault."""
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  - {_describe(fault)}" for fault in error.errors())
        raise ConfigError(f"{source} does not fit:\n{faults}") from None


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """`["training.epochs=5"]` → `{"training.epochs": 5}`; values are read as YAML."""
    overrides = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {assignment!r}: expected KEY=VALUE, as training.epochs=5.")
        overrides[key.strip()] = parse_yaml(text, f"--set {assignment!r}")
    return overrides


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    if not isinstance(key, str):
        raise ConfigError(f"Override {key!r}: expected a dotted key, as 'training.epochs'.")
    *parents, last = key.split(".")
    level = values
    for parent in parents:
        child = level.setdefault(parent, {})
        if isinstance(child, str):  # an encoder given as its plain name
            child = level[parent] = {"name": child}
        if not isinstance(child, dict):
            raise ConfigError(f"Override {key!r}: {parent!r} holds no keys.")
        level = child
    level[last] = value


def _describe(fault: Any) -> str:
    where = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return _unknown(where, fault["input"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{'.'.join(where)} = {fault['input']!r}: {message[:1].lower()}{message[1:]}"


def _unknown(where: list[str], value: Any) -> str:
    """What is wrong with an unknown key, and which were meant, here or in another section."""
    if moved := _MOVED.get(".".join(where)):
        return f"{'.'.join(where)} is no key of a profile any more: {moved}"
    here = _fields_at(where[:-1])
    key = list(where)
    while isinstance(value, dict) and len(value) == 1:  # as an override's sections are
        [(part, value)] = value.items()
        key.append(str(part))
    everywhere = list(_dotted_keys(Profile))
    names = {dotted.rpartition(".")[2] for dotted in everywhere}
    close = difflib.get_close_matches(key[-1], names, n=1)
    if not close or close[0] in here:
        return f"unknown key {'.'.join(where)!r}: {nearest(where[-1], here)}"
    *others, last = [repr(k) for k in everywhere if k.rpartition(".")[2] == close[0]]
    meant = f"{', '.join(others)} or {last}" if others else last
    return f"unknown key {'.'.join(key)!r}: did you mean {meant}?"


def _dotted_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key an override can set, sections among them."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if below := _section_of(field.annotation):
            yield from _dotted_keys(below, f"{prefix}{name}.")


def _fields_at(path: list[str]) -> list[str]:
    """Names valid below a dotted path of the profile."""
    section: type[BaseModel] = Profile
    for part in path:
        field = section.model_fields.get(part)
        section = (field and _section_of(field.annotation)) or section
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section a field's type stands for, which may be wrapped or optional."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        candidate = getattr(candidate, "__origin__", candidate)
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
