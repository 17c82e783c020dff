"""Mapping a function over clips or trainings, in this process or over joblib's workers.

One bad item never stops the others: its error is collected with its name. Imports `config`,
`errors` only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import joblib
import pandas as pd
from tqdm import tqdm

from meiju_utils.config import Parallel
from meiju_utils.errors import MeijuError

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
) -> Mapped[Result]:
    """Apply `function` to every item, with a progress bar that shows rate and time left.

    `function` and the items must be picklable unless the backend is serial. Where `tolerant`, an
    item's exception becomes a Failure, unless every item fails: then something is wrong with the
    run and not with a clip, and MeijuError is raised with the first reason. Otherwise the first
    exception is raised.
    """
    guarded = [joblib.delayed(_guard)(function, i, item) for i, item in enumerate(items)]
    serial = settings.backend == "serial" or settings.workers == 1 or len(items) < 2
    results: list[Result | None] = [None] * len(items)
    failures: dict[int, Failure] = {}
    options: dict[str, Any] = (
        {"backend": "sequential"}
        if serial
        else {
            "backend": settings.backend,
            "n_jobs": settings.workers,
            "inner_max_num_threads": 1,
        }
    )
    with joblib.parallel_config(**options):
        outcomes = joblib.Parallel(return_as="generator_unordered")(guarded)
        for index, result, error in tqdm(
            outcomes,
            total=len(items),
            desc=description,
            unit="it",
            mininterval=1,
            disable=not items,
        ):
            if error is None:
                results[index] = result
            elif not tolerant:
                raise error
            else:
                failures[index] = Failure(names[index], type(error).__name__, str(error))
    ordered = [failures[index] for index in sorted(failures)]
    if items and len(ordered) == len(items):
        first = ordered[0]
        raise MeijuError(
            f"{description}: all {len(items)} items failed; the first, {first.name}: "
            f"{first.error}: {first.reason}"
        )
    return Mapped(results, ordered)


def _guard(
    function: Callable[[Item], Result], index: int, item: Item
) -> tuple[int, Result | None, Exception | None]:
    try:
        return index, function(item), None
    except Exception as error:  # any fault of one clip, so that the others go on
        return index, None, error
