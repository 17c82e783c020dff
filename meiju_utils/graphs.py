"""What needs what, in order. Imports `errors`."""

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from meiju_utils.errors import ConfigError


def in_order(needs: Mapping[str, Collection[str]], what: str) -> list[str]:
    """All names, each after those it needs. ConfigError names a circle."""
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise ConfigError(f"{what} in a circle: {' → '.join(error.args[1][::-1])}.") from None


def with_needs(names: Iterable[str], needs: Mapping[str, Collection[str]]) -> list[str]:
    """The names and all they are made from, each after those it needs."""
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += needs[name]
    return in_order({name: needs[name] for name in needs if name in wanted}, "They need each other")
