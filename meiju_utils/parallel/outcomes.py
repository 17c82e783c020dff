"""What becomes of one item, here or in another process, whose errors must survive the way back.

Imports `errors`.
"""

import traceback
from collections.abc import Callable, Generator
from graphlib import TopologicalSorter
from typing import Any

import cloudpickle

from meiju_utils.errors import MeijuError

Function = Callable[[Any], Any]
Outcome = tuple[int, Any, Exception | None]
Outcomes = Generator[Outcome, None, None]
Order = TopologicalSorter[int]  # over the items' indices, prepared


def outcome_of(function: Function, index: int, item: Any) -> Outcome:
    try:
        return index, function(item), None
    except Exception as error:  # any fault of one item, so that the others go on
        return index, None, error


def sent_back(function: Function, index: int, item: Any) -> Outcome:
    """`outcome_of` in another process, with an error that survives the way here."""
    _, result, error = outcome_of(function, index, item)
    return index, result, error and _portable(error)


def _portable(error: Exception) -> Exception:
    """The error without what its frames hold, traceback noted; else its name and message."""
    if not isinstance(error, MeijuError):  # those say enough
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        copy: Exception = cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # of a class that cannot be pickled both ways
        copy = type(type(error).__name__, (RuntimeError,), {})(str(error))
    return copy
