"""Components: the forms a recipe may write them in, and what its mistakes are answered with."""

from typing import Annotated, Any

import pytest
from pydantic import Field, PositiveInt

from meiju_utils.components import Component, build, make_component
from meiju_utils.errors import ConfigError
from meiju_utils.strict_yaml import parse_yaml


class Filter:
    def __init__(
        self,
        width: int,
        *,
        heights: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (2, 3),
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        bias: bool = True,
    ) -> None:
        self.width, self.heights, self.dropout, self.bias = width, heights, dropout, bias


class Mean:
    def __init__(self, *, from_: list[str], weight: float = 1.0) -> None:
        self.source, self.weight = from_, weight


class Plain:
    def __init__(self, width: int) -> None:
        self.width = width


REGISTRY: dict[str, type] = {"filter": Filter, "mean": Mean, "plain": Plain}
DEFAULTS = {"heights": [2, 3], "dropout": 0.5, "bias": True}
BASE = Component(name="filter", options={"heights": [1], "dropout": 0.1, "bias": False})


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("filter", DEFAULTS),
        ("{filter: }", DEFAULTS),
        ("{filter: {}}", DEFAULTS),
        ("{filter: {dropout: 0}}", {**DEFAULTS, "dropout": 0.0}),
        ("{filter: {heights: [1], bias: no}}", {"heights": [1], "dropout": 0.5, "bias": False}),
        ("{filter: [4, 5]}", {**DEFAULTS, "heights": [4, 5]}),
    ],
)
def test_a_component_is_its_name_or_its_name_with_options(
    text: str, options: dict[str, Any]
) -> None:
    component = make_component(parse_yaml(text, "recipe"), REGISTRY, "network.text")
    assert component == Component(name="filter", options=options)
    # A name, or a name with options, says all: nothing is left of what stood there.
    assert make_component(parse_yaml(text, "recipe"), REGISTRY, "network.text", BASE) == component


@pytest.mark.parametrize(
    ("value", "changed"),
    [
        ({"dropout": 0.3}, {"dropout": 0.3}),
        ({"heights": [7], "bias": True}, {"heights": [7], "bias": True}),
        ({}, {}),
    ],
)
def test_options_alone_change_those_of_the_component_that_is_there(
    value: dict[str, Any], changed: dict[str, Any]
) -> None:
    found = make_component(value, REGISTRY, "network.text", BASE)
    assert found == Component(name="filter", options={**BASE.options, **changed})


def test_an_option_named_as_a_word_of_python_stands_without_its_underscore() -> None:
    component = make_component({"mean": ["a", "b"]}, REGISTRY, "ensemble")
    assert component.options == {"from": ["a", "b"], "weight": 1.0}
    assert build(component, REGISTRY).source == ["a", "b"]
    other = make_component({"from": ["c"]}, REGISTRY, "ensemble", component)
    assert other.options == {"from": ["c"], "weight": 1.0}


def test_an_object_is_made_of_arguments_and_options_of_the_right_types() -> None:
    component = make_component({"filter": {"heights": [1, 2], "dropout": 0}}, REGISTRY, "text")
    made = build(Component.model_validate_json(component.model_dump_json()), REGISTRY, 6)
    assert (made.width, made.heights, made.dropout, made.bias) == (6, (1, 2), 0.0, True)
    assert build(make_component("plain", REGISTRY, "text"), REGISTRY, 6).width == 6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("filtre", r"text: no 'filtre'\. Did you mean 'filter'\? Valid: filter, mean, plain\."),
        ({"filtre": {"heights": [1]}}, r"text: no 'filtre'\. Did you mean 'filter'\?"),
        ({"filter": {}, "plain": {}}, r"text: no .*Valid: filter, mean, plain\."),
        ({"heights": [1]}, r"text: no 'heights'"),
        ({}, r"text: no '\{\}'\. Valid: filter"),
        (3, r"text = 3: expected a name, or a name with options\."),
        (None, r"text = None: expected a name"),
        (["filter"], r"text = \['filter'\]: expected a name"),
        ({"filter": {"hieghts": [1]}}, r"filter: no option 'hieghts'\. Did you mean 'heights'\?"),
        ({"filter": {"heights": [0]}}, r"filter: heights\.0 = 0: input should be greater than 0"),
        ({"filter": {"heights": []}}, r"filter: heights = \[\]: tuple should have at least 1"),
        ({"filter": {"heights": [True]}}, r"heights = \[True\]: true or false has no meaning"),
        ({"filter": {"dropout": True}}, r"dropout = True: true or false has no meaning"),
        ({"filter": {"dropout": 1}}, r"filter: dropout = 1: input should be less than 1\."),
        ({"filter": {"dropout": float("nan")}}, r"dropout = nan: input should be a finite number"),
        ({"filter": {"bias": "perhaps"}}, r"bias = 'perhaps': input should be a valid boolean"),
        ({"filter": {"dropout": 2, "x": 1}}, r"dropout = 2: .* less than 1\. Also no option 'x'\."),
        ("mean", r"mean: from = \{\}: field required\."),
        ({"plain": 3}, r"text: plain has no options, got 3\."),
        ({"plain": {"width": 3}}, r"plain: no option 'width'\. It has no options\."),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_what_is_valid(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_component(value, REGISTRY, "text")
    assert str(caught.value).startswith("text")


def test_with_a_component_there_its_options_are_among_the_valid_names() -> None:
    with pytest.raises(ConfigError, match=r"no 'hieghts'\. Did you mean 'heights'\? Valid: bias, "):
        make_component({"hieghts": [1]}, REGISTRY, "text", BASE)
    with pytest.raises(ConfigError, match=r"no 'x'\."):
        make_component({"heights": [1], "x": 2}, REGISTRY, "text", BASE)
