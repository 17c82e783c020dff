"""Work on many items: mapping, the engines behind it, and when single faults stop a run."""

from meiju_utils.parallel.faults import (
    Failure,
    SystemicError,
    WorkerDied,
    failure_of,
    failures_table,
    stop_if_systemic,
)
from meiju_utils.parallel.mapping import Mapped, map_items
from meiju_utils.parallel.places import model_places

__all__ = [
    "Failure",
    "Mapped",
    "SystemicError",
    "WorkerDied",
    "failure_of",
    "failures_table",
    "map_items",
    "model_places",
    "stop_if_systemic",
]
