"""Mapping a function over clips or trainings, with one of the engines.

One bad item never stops the others: its error is collected with its name. Imports `config`,
`engines`, `errors` only.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Generic, TypeVar

import pandas as pd
from tqdm import tqdm

from meiju_utils.config import Parallel
from meiju_utils.engines import ENGINES, WorkerDied
from meiju_utils.errors import MeijuError

FEW = 3  # items that fail in the same way may all be bad; of more, something else is
MEMORY = (
    "mostly memory runs out: give each worker more, by fewer parallel.workers or larger machines"
)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """An item whose function raised: its name, the error's class, its message."""

    name: str
    error: str
    reason: str


@dataclass(frozen=True)
class Mapped(Generic[Result]):
    """Results in the order of the items (None where it failed) and the failures."""

    results: list[Result | None]
    failures: list[Failure]

    def succeeded(self) -> list[Result]:
        return [result for result in self.results if result is not None]


def failures_table(failures: Sequence[Failure], stage: str) -> pd.DataFrame:
    """Failures as rows of the problems table: clip_id, stage, problem, reason."""
    rows = [(f.name, stage, f.error, f.reason) for f in failures]
    return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    names: Sequence[str],
    settings: Parallel,
    description: str,
    tolerant: bool = True,
    show: Callable[[Result], str] | None = None,
    needs: Mapping[int, Collection[int]] | None = None,
    then: Callable[[int, Result | None, Exception | None], bool] | None = None,
) -> Mapped[Result]:
    """Apply `function` to every item, with a progress bar that shows rate and time left.

    `show` tells what the bar says of the last result. `needs` has, by an item's place, the places
    of those that must have succeeded before it starts; where one of them fails it never does.
    `then` is called here with place, result and error of each item that has finished, before what
    needs it starts; True says that an error is dealt with.

    `function` and the items must be picklable unless the backend is serial; a worker of Dask or
    Ray unpickles them once, so that what the function keeps serves all its items. Where
    `tolerant`, an item's exception becomes a Failure, unless every item fails: then something is
    wrong with the run and not with a clip, and MeijuError is raised with the first reason.
    Otherwise the first exception is raised.

    An item whose process dies whenever it is tried is a failure like any other, as long as there
    are few of them (see `_machine_at_fault`). One worker of loky is this very process, which such
    an item would take with it: use two where the clips are not to be trusted.
    """
    serial = not items or (settings.backend == "loky" and settings.workers == 1)
    run = ENGINES["serial" if serial else settings.backend]
    results: list[Result | None] = [None] * len(items)
    failures: dict[int, Failure] = {}
    died: dict[str, WorkerDied] = {}
    order = TopologicalSorter({i: (needs or {}).get(i, ()) for i in range(len(items))})
    order.prepare()
    with closing(run(function, items, settings, order)) as outcomes:
        bar = tqdm(
            outcomes,
            total=len(items),
            desc=description,
            unit="it",
            mininterval=1,
            disable=not items,
        )
        for done, (index, result, error) in enumerate(bar, start=1):
            handled = then(index, result, error) if then else False
            if error is None:
                results[index] = result
                if show and result is not None:
                    bar.set_postfix_str(f"{names[index]}: {show(result)}")
            elif handled:
                failures[index] = Failure(names[index], type(error).__name__, str(error))
            elif isinstance(error, WorkerDied):
                died[names[index]] = error
                failures[index] = Failure(names[index], "WorkerDied", f"{error}; {MEMORY}")
                if not tolerant or _machine_at_fault(len(died), done):
                    break
            elif not tolerant:
                raise error
            else:
                failures[index] = Failure(names[index], type(error).__name__, str(error))
    if died and (not tolerant or _machine_at_fault(len(died), len(items))):
        raise MeijuError(
            f"{description}: the process died whenever it was at {_listed(list(died))}; {MEMORY}. "
            "What is finished is kept; start again to go on from there."
        ) from next(iter(died.values()))
    ordered = [failures[index] for index in sorted(failures)]
    if items and len(ordered) == len(items) and not then:
        first = ordered[0]
        raise MeijuError(
            f"{description}: all {len(items)} items failed; the first, {first.name}: "
            f"{first.error}: {first.reason}"
        )
    return Mapped(results, ordered)


def _machine_at_fault(died: int, done: int) -> bool:
    """So many items can hardly all be bad: more than a few, and more than a tenth."""
    return died > FEW and died > done / 10


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
