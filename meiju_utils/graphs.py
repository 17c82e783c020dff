"""What needs what, in order. Imports `errors`."""

from collections.abc import Callable, Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from meiju_utils.errors import ConfigError


def in_order(needs: Mapping[str, Collection[str]], what: str) -> list[str]:
    """All names, each after those it needs. ConfigError names a circle."""
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise ConfigError(f"{what} in a circle: {' → '.join(error.args[1][::-1])}.") from None


def with_needs(names: Iterable[str], needs: Callable[[str], Collection[str]]) -> list[str]:
    """The names and all that `needs` says they are made from, each after those it needs."""
    found: dict[str, Collection[str]] = {}
    waiting = list(names)[::-1]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = needs(name)
            waiting += found[name]
    return in_order(found, "They need each other")
