"""Names in order of what they need."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meiju_utils.errors import ConfigError
from meiju_utils.graphs import in_order, with_needs

NEEDS = {"ensemble": ["student", "baseline"], "student": ["baseline"], "baseline": [], "other": []}


def test_each_name_comes_after_those_it_needs() -> None:
    order = in_order(NEEDS, "Recipes")
    assert sorted(order) == sorted(NEEDS)
    assert order.index("baseline") < order.index("student") < order.index("ensemble")


@given(st.lists(st.sets(st.integers(0, 14), max_size=4), max_size=15))
def test_any_graph_without_a_circle_is_ordered(wanted: list[set[int]]) -> None:
    needs = {str(i): [str(j) for j in some if j < i] for i, some in enumerate(wanted)}
    order = in_order(needs, "Items")
    assert sorted(order) == sorted(needs)
    assert all(order.index(n) < order.index(name) for name in needs for n in needs[name])


def test_a_circle_is_named_in_the_direction_of_need() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}
    with pytest.raises(ConfigError, match="Recipes need each other in a circle: ") as caught:
        in_order(needs, "Recipes need each other")
    circle = str(caught.value).removesuffix(".").partition(": ")[2].split(" → ")
    assert circle[0] == circle[-1]
    assert sorted(circle[1:]) == ["a", "b", "c"]
    assert all(needed in needs[name] for name, needed in pairwise(circle))


def test_what_needs_itself_is_a_circle() -> None:
    with pytest.raises(ConfigError, match="a → a"):
        in_order({"a": ["a"]}, "They need each other")


def test_names_are_joined_by_all_they_are_made_from() -> None:
    assert with_needs(["student"], NEEDS.__getitem__) == ["baseline", "student"]
    found = with_needs(["ensemble", "student", "other"], NEEDS.__getitem__)
    assert sorted(found) == sorted(NEEDS)
    assert found.index("baseline") < found.index("student") < found.index("ensemble")
    assert with_needs([], NEEDS.__getitem__) == []
