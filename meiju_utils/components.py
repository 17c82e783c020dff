"""Components: parts that a recipe names, from registries, with options checked before use.

A registry is a dict of name → class. The options of a component are the keyword-only arguments of
its class, with their annotations as rules (pydantic's). In YAML a component is its name, its name
with options, or options alone where the component is known already:

    text: textcnn
    text: {textcnn: {heights: [1], dropout: 0.3}}
    text: {textcnn: [1]}        # a plain value is the first option
    fusion: {heads: 1}          # of the fusion that the recipe has already

Imports `errors` only.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from meiju_utils.errors import ConfigError, nearest

Registry = Mapping[str, Any]
Rate = Annotated[float, Field(ge=0, lt=1)]  # of dropout


class Component(BaseModel):
    """A component's name in its registry, and all its options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    options: dict[str, Any] = {}


def make_component(
    value: Any, registry: Registry, where: str, base: Component | None = None
) -> Component:
    """The component that `value` means, its options complete and of the right types.

    `base` is what stood there before: options alone change it. `where` is named in errors.
    Raises ConfigError for an unknown name or option, or an option of the wrong kind.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} = {value!r}: expected a name, or a name with options.")
    name = next(iter(value), "") if len(value) == 1 else ""
    if name in registry:
        options = value[name]
        kept: dict[str, Any] = {}
    elif base is not None and value.keys() <= set(_option_names(registry[base.name])):
        name, options, kept = base.name, dict(value), base.options
    else:
        known = [*registry, *(_option_names(registry[base.name]) if base else [])]
        unknown = next((str(key) for key in value if key not in known), str(value))
        raise ConfigError(f"{where}: no {unknown!r}. {_capital(nearest(unknown, known))}")
    model = _options_model(registry[name])
    if not isinstance(options, Mapping):
        if options is None:
            options = {}
        elif model.model_fields:
            options = {_option_names(registry[name])[0]: options}
        else:
            raise ConfigError(f"{where}: {name} has no options, got {options!r}.")
    try:
        checked = model.model_validate({**kept, **options})
    except ValidationError as error:
        faults = " Also ".join(
            _fault(fault, _option_names(registry[name])) for fault in error.errors()
        )
        raise ConfigError(f"{where}: {name}: {faults}") from None
    return Component(name=name, options=checked.model_dump(mode="json", by_alias=True))


def build(component: Component, registry: Registry, *arguments: Any) -> Any:
    """The component's object, made of `arguments` and its options."""
    made_of = registry[component.name]
    options = _options_model(made_of).model_validate(component.options)
    return made_of(
        *arguments, **{name: getattr(options, name) for name in type(options).model_fields}
    )


class _Options(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        populate_by_name=True,
        alias_generator=lambda name: name.rstrip("_"),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _truth_only_where_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Python's True would pass as 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        given = value if isinstance(value, list | tuple) else [value]
        if not {bool, Any} & {kind, *get_args(kind)} and any(isinstance(g, bool) for g in given):
            raise ValueError("true or false has no meaning here")
        return value


@lru_cache
def _options_model(made_of: Any) -> type[BaseModel]:
    """The keyword-only arguments of a class as a pydantic model; `from_` is `from` in YAML."""
    hints = get_type_hints(made_of.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            hints.get(name, Any),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in inspect.signature(made_of).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(made_of.__name__, __base__=_Options, **fields)


def _option_names(made_of: Any) -> list[str]:
    return [name.rstrip("_") for name in _options_model(made_of).model_fields]


def _fault(fault: Any, options: list[str]) -> str:
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        hint = _capital(nearest(where, options)) if options else "It has no options."
        return f"no option {where!r}. {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where} = {fault['input']!r}: {message[:1].lower()}{message[1:]}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
