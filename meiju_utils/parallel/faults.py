"""When do faults of single clips or trainings stop a run? One rule for every stage.

A fault that is known to be the item's own (a broken video, a training that diverged) never stops a
run. Any other (an exception nobody foresaw, a killed process, a device out of memory) is taken for
the item's as long as it is rare: it stops the run, with the first reason, where it strikes more
than a few items *and* more than a tenth of all there are. A fault of the run itself (a setting, a
model that does not load, a full disk) stops it at once. Imports `devices`, `errors`,
`machine`.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from meiju_utils.devices import is_out_of_memory
from meiju_utils.errors import (
    ConfigError,
    CorpusError,
    FeatureError,
    MachineError,
    MediaError,
    MeijuError,
    MissingStageError,
    TrainingError,
)
from meiju_utils.machine import fault_of

FEW = 3  # items that fail in the same way may all be bad; of more, something else is
SHARE = 0.1  # of all items

_KILLED = (
    "mostly memory runs out: give each worker more, by fewer parallel.workers or larger machines"
)
_NO_MEMORY = (
    "memory does not suffice: choose smaller batches (of trainings: training.batch_size), fewer "
    "processes a device (parallel.models_per_gpu), or another device"
)


class WorkerDied(MeijuError):
    """The processes an item was given to died, each time it was tried."""


class SystemicError(MeijuError):
    """A fault that strikes too many items to be theirs: of the machine, the settings, the code.

    Its cause is the first of them, where that is at hand.
    """

    def _render_traceback_(self) -> list[str]:
        """The cause's too where nobody foresaw it: its traceback says what is to be mended."""
        cause = self.__cause__
        if cause is None or isinstance(cause, MeijuError):
            return super()._render_traceback_()
        lines = "".join(traceback.format_exception(cause)).splitlines()
        return [*lines, "", *super()._render_traceback_()]


OWN = (MediaError, TrainingError)
OF_THE_RUN = (
    ConfigError,
    CorpusError,
    FeatureError,
    MachineError,
    MissingStageError,
    SystemicError,
)


@dataclass(frozen=True)
class Failure:
    """An item whose function raised: its name, the error's class, its message.

    `own`: the fault is known to be the item's.
    """

    name: str
    error: str
    reason: str
    own: bool = False


def is_of_the_run(error: BaseException) -> bool:
    """Whether an error is neither an item's nor to be counted: the next items would meet it too.

    ConfigError and CorpusError (what was asked for, or what there is to work on, is wrong),
    FeatureError (a model does not load, an encoder's settings or features do not fit),
    MissingStageError, a SystemicError from within, and what the machine lacks (MachineError).
    Of MeijuErrors, MediaError and TrainingError are the item's own; what remains (DamagedError of
    one clip's file, WorkerDied) counts as any other exception does.
    """
    return isinstance(error, OF_THE_RUN) or fault_of(error) is not None


def failure_of(name: str, error: Exception) -> Failure:
    """What became of an item that raised; raises the error itself where it is the run's.

    For stages that meet errors outside `map_items`, as in a shard of clips: they collect Failures
    and ask `stop_if_systemic` when a shard is back.
    """
    if is_of_the_run(error):
        raise error
    return described(name, error)


def described(name: str, error: Exception) -> Failure:
    """An item's error in words, with what helps where one knows."""
    reason = str(error)
    if isinstance(error, WorkerDied):
        reason = f"{reason}; {_KILLED}"
    elif is_out_of_memory(error):
        reason = f"{reason or type(error).__name__}; {_NO_MEMORY}"
    return Failure(name, type(error).__name__, reason, isinstance(error, OWN))


def is_systemic(strange: int, of: int) -> bool:
    """Whether so many faults that are not known to be the items' own stop work on `of` items."""
    return strange > FEW and strange > SHARE * of


def stop_if_systemic(
    failures: Sequence[Failure], of: int, stage: str, first: Exception | None = None
) -> None:
    """Raise SystemicError where faults strike too many of `of` items.

    `failures` are all that this call of the stage has met so far. `of` counts all the run has (the
    corpus, the plan of trainings), not only those that were still to be done: else one bad clip,
    the only one that a second run tries again, would be all there are. `first` is the exception of
    the first that is not its item's own.
    """
    strange = [failure for failure in failures if not failure.own]
    if is_systemic(len(strange), of):
        one = strange[0]
        raise SystemicError(
            f"{stage}: {len(strange)} of {of} failed in a way that is hardly their own; the first, "
            f"{one.name}: {one.error}: {one.reason}. What is finished is kept: mend the "
            "cause and start again to go on from there."
        ) from first


def failures_table(failures: Sequence[Failure], stage: str) -> pd.DataFrame:
    """Failures as rows of the problems table: clip_id, stage, problem, reason."""
    rows = [(f.name, stage, f.error, f.reason) for f in failures]
    return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")
