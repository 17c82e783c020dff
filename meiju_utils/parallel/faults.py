"""When do faults of single clips or trainings stop a run? One rule for every stage.

A fault that is known to be the item's own (a broken video) never stops a run. Any other (an
exception nobody foresaw, a killed process, a device out of memory) is taken for the item's as long
as it is rare: it stops the run, with the first reason, where it strikes more than a few items *and*
more than a tenth of all there are. Imports `errors` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from meiju_utils.errors import MediaError, MeijuError

FEW = 3  # items that fail in the same way may all be bad; of more, something else is
SHARE = 0.1  # of all items
OWN = (MediaError,)  # faults that are the item's own, however many have them
ADVICE = {
    "WorkerDied": "mostly memory runs out: give each worker more, by fewer parallel.workers or "
    "larger machines",
    "OutOfMemoryError": "the device's memory does not suffice: choose smaller batches, fewer "
    "processes a device, or another device",
}


class SystemicError(MeijuError):
    """A fault that strikes too many items to be theirs: of the machine, the settings, the code."""


@dataclass(frozen=True)
class Failure:
    """An item whose function raised: its name, the error's class, its message.

    `own`: the fault is known to be the item's.
    """

    name: str
    error: str
    reason: str
    own: bool = False


def failure_of(name: str, error: Exception) -> Failure:
    """What became of an item that raised."""
    reason = str(error)
    if advice := ADVICE.get(type(error).__name__):
        reason = f"{reason}; {advice}"
    return Failure(name, type(error).__name__, reason, isinstance(error, OWN))


def is_systemic(strange: int, of: int) -> bool:
    """Whether so many faults that are not known to be the items' own stop work on `of` items."""
    return strange > FEW and strange > SHARE * of


def stop_if_systemic(failures: Sequence[Failure], of: int, stage: str) -> None:
    """Raise SystemicError where faults strike too many of `of` items: all the run has, not only
    those that were still to be done."""
    strange = [failure for failure in failures if not failure.own]
    if is_systemic(len(strange), of):
        first = strange[0]
        raise SystemicError(
            f"{stage}: {len(strange)} of {of} failed in a way that is hardly their own; the first, "
            f"{first.name}: {first.error}: {first.reason}. What is finished is kept: mend the "
            "cause and start again to go on from there."
        )


def failures_table(failures: Sequence[Failure], stage: str) -> pd.DataFrame:
    """Failures as rows of the problems table: clip_id, stage, problem, reason."""
    rows = [(f.name, stage, f.error, f.reason) for f in failures]
    return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")
