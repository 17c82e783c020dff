"""The engine of this machine: joblib's processes, which start again where one has died."""

import os
import queue
import shutil
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import cloudpickle
import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from meiju_utils.config import Parallel
from meiju_utils.errors import MeijuError
from meiju_utils.machine import check_processes
from meiju_utils.parallel.clusters import RETRIES
from meiju_utils.parallel.faults import WorkerDied
from meiju_utils.parallel.lifeline import end_with_parent
from meiju_utils.parallel.outcomes import Function, Order, Outcome, Outcomes, sent_back

DISPATCHED = 2  # items a process of this machine has or waits for
POSTED = "meiju-function-"


def run_loky(
    function: Function, items: Sequence[Any], settings: Parallel, order: Order
) -> Outcomes:
    """In processes of this machine. One that dies takes the others with it.

    Those that were under way are then tried one at a time, so that only the item that kills is
    given up; the rest goes on in new processes.
    """
    # loky replaces a worker that has grown by 300 MB, as one does that first loads a model
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    warnings.filterwarnings("ignore", ".* tasks have been successfully executed", UserWarning)
    check_processes()
    _remove_leftovers()
    with TemporaryDirectory(prefix=f"{POSTED}{os.getpid()}-") as folder:
        path = Path(folder, "function")
        path.write_bytes(cloudpickle.dumps(function))
        yield from _run_loky(_Posted(str(path)), items, settings, order)


def _remove_leftovers() -> None:
    """What processes that were killed have left of functions they posted."""
    for path in Path(gettempdir()).glob(f"{POSTED}*"):
        number = path.name.removeprefix(POSTED).partition("-")[0]
        with suppress(OSError, ValueError):
            if not _is_alive(int(number)):
                shutil.rmtree(path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


@dataclass(frozen=True)
class _Posted:
    """A function that lies in a file: a process reads it once, however many items it is given.

    joblib would send it with each of them, and one that knows all clips grows with their number.
    """

    path: str

    def __call__(self, item: Any) -> Any:
        return _read(self.path)(item)


@lru_cache(maxsize=1)
def _read(path: str) -> Function:
    function: Function = cloudpickle.loads(Path(path).read_bytes())
    return function


def _run_loky(
    function: Function, items: Sequence[Any], settings: Parallel, order: Order
) -> Outcomes:
    turns = _Turns()
    ready = order.get_ready()
    if len(ready) == len(items):
        some = {index: items[index] for index in ready}
        yield from _loky(function, some, settings.processes, turns)
        return
    # What becomes ready together goes to the common pool of processes by a thread of its own.
    finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def run_some(some: dict[int, Any]) -> None:
        try:
            for outcome in _loky(function, some, settings.processes, turns):
                finished.put(outcome)
        except BaseException as error:  # it is the main thread's to raise
            finished.put(error)

    running = 0
    try:
        while running or ready:
            if ready:
                some = {index: items[index] for index in ready}
                threading.Thread(target=run_some, args=(some,), daemon=True).start()
                running += len(ready)
            found = finished.get()
            if isinstance(found, BaseException):
                raise found
            running -= 1
            yield found
            if found[2] is None:
                order.done(found[0])
            ready = order.get_ready()
    finally:
        if running:  # stopped early: what is still under way must not go on behind
            with turns.start:
                turns.stopped = True
            # `reuse`: with other settings than joblib's it would first wait for what is under way
            get_reusable_executor(reuse=True).shutdown(kill_workers=True)


@dataclass
class _Turns:
    """What keeps threads that use one pool of processes out of each other's way.

    `start`: items are handed over by one thread at a time, as the locks of joblib's threads could
    wait for each other where a process dies meanwhile. `alone`: an item is tried alone by one
    thread at a time, so that one that kills does not take another with it each time.
    """

    start: Any = field(default_factory=threading.Lock)
    alone: Any = field(default_factory=threading.Lock)
    stopped: bool = False


def _loky(function: Function, items: Mapping[int, Any], workers: int, turns: _Turns) -> Outcomes:
    left = dict(items)
    while left:
        try:
            for outcome in _pool(function, left, workers, turns):
                del left[outcome[0]]
                yield outcome
        except TerminatedWorkerError:
            # Dispatched in order, so what was under way comes first in what is left.
            for index in list(left)[: DISPATCHED * workers]:
                with turns.alone:
                    outcome = _alone(function, index, left.pop(index), workers, turns)
                yield outcome


def _pool(function: Function, items: Mapping[int, Any], workers: int, turns: _Turns) -> Outcomes:
    with joblib.parallel_config(
        "loky",
        n_jobs=workers,
        inner_max_num_threads=1,
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    ):
        pool = joblib.Parallel(
            return_as="generator_unordered",
            pre_dispatch=DISPATCHED * workers,
            batch_size=1,  # a batch would be lost as a whole
        )
    with turns.start:
        if turns.stopped:
            raise MeijuError("The processes of this machine were stopped.")
        outcomes = pool([joblib.delayed(sent_back)(function, *pair) for pair in items.items()])
    yield from outcomes


def _alone(function: Function, index: int, item: Any, workers: int, turns: _Turns) -> Outcome:
    """One item with no other of its group; WorkerDied where its process dies each time."""
    for _ in range(RETRIES):
        try:
            # as many workers as ever: to resize a pool that others use, loky waits without end
            (outcome,) = _pool(function, {index: item}, workers, turns)
        except TerminatedWorkerError:
            continue
        return outcome
    return index, None, WorkerDied(f"its process died in each of {1 + RETRIES} attempts")
