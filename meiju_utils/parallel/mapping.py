"""Mapping a function over clips or trainings, with one of the engines.

One bad item never stops the others: its error is collected with its name, and `faults` tells when
there are too many. Imports `config`, `engines`, `faults`, `progress`.
"""

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Generic, TypeVar

from meiju_utils.config import Parallel
from meiju_utils.parallel.engines import ENGINES
from meiju_utils.parallel.faults import (
    Failure,
    WorkerDied,
    described,
    failure_of,
    stop_if_systemic,
)
from meiju_utils.parallel.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Mapped(Generic[Result]):
    """Results in the order of the items (None where it failed) and the failures."""

    results: list[Result | None]
    failures: list[Failure]

    def succeeded(self) -> list[Result]:
        return [result for result in self.results if result is not None]


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    names: Sequence[str],
    settings: Parallel,
    description: str,
    tolerant: bool = True,
    show: Callable[[Result], str] | None = None,
    needs: Mapping[int, Collection[int]] | None = None,
    then: Callable[[int, Result | None, Exception | None], bool | None] | None = None,
    of: int = 0,
    keep: bool = True,
    sizes: Sequence[int] = (),
    unit: str = "clips",
) -> Mapped[Result]:
    """Apply `function` to every item, with a progress bar that shows rate and time left.

    `show` tells what the bar says of the last result. `needs` has, by an item's place, the places
    of those that must have succeeded before it starts; where one of them fails it never does.
    `then` is called here with place, result and error of each item that has finished, before what
    needs it starts; what it raises ends the map, True says that an error is dealt with. Where
    results are large and `then` takes them, do not `keep` them. The bar counts `unit`s, of which an
    item has one, or as many as `sizes` say.

    `function` and the items must be picklable unless the backend is serial; a worker of Dask or
    Ray unpickles them once, so that what the function keeps serves all its items. Where
    `tolerant`, an item's exception becomes a Failure, a process that dies whenever it is at an item
    among them; SystemicError is raised as soon as there are too many, measured by the `of` items
    that the run has in all, and what is the run's own error is raised at once (see `faults`).
    Otherwise the first exception is raised.

    One worker of loky is this very process, which a deadly item would take with it: use two where
    the clips are not to be trusted.
    """
    serial = settings.backend == "loky" and settings.processes == 1
    run = ENGINES["serial" if serial else settings.backend]
    results: list[Result | None] = [None] * len(items)
    failures: dict[int, Failure] = {}
    first: Exception | None = None  # of those that are not their item's own
    order = TopologicalSorter({i: (needs or {}).get(i, ()) for i in range(len(items))})
    order.prepare()
    if not items:
        return Mapped([], [])
    bar = Progress(sum(sizes) or len(items), description, unit)
    with bar, closing(run(function, items, settings, order)) as outcomes:
        for index, result, error in outcomes:
            dealt_with = then(index, result, error) if then else False
            said = ""
            if show and error is None and result is not None:
                said = f"{names[index]}: {show(result)}"
            bar.update(sizes[index] if sizes else 1, said)
            if error is None:
                if keep:
                    results[index] = result
                continue
            if dealt_with:
                _forget(error)
                continue
            if not tolerant:
                raise _named(error, names[index], description)
            failures[index] = failure_of(names[index], error)
            _forget(error)
            first = first or (None if failures[index].own else error)
            found = list(failures.values())
            stop_if_systemic(found, max(of, len(items)), description, first)
    return Mapped(results, [failures[index] for index in sorted(failures)])


def _forget(error: BaseException) -> None:
    """Let go what an error's frames hold, as a device's memory; its traceback stays."""
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def _named(error: Exception, name: str, description: str) -> Exception:
    """The error to raise: of a process that died it must be said at which item."""
    if not isinstance(error, WorkerDied):
        return error
    return WorkerDied(
        f"{description}: the process died whenever it was at {name}: "
        f"{described(name, error).reason}. "
        "What is finished is kept; start again to go on from there."
    )
