"""Engines that apply a function to items: this process, joblib's processes, Dask, Ray.

Each yields `(index, result, error)` as the items finish, in any order. An item starts when those
it needs have finished without an error, by an `Order`. Where a process dies under an item, the
engine tries again; when it has given up, the error is WorkerDied. Dask and Ray are
used by their own interfaces, by which what the function holds is sent once and the death of a
worker is told from the error of an item. From another process an error comes with its traceback as
a note, and as one of its class's name and message where it cannot be pickled. What is no Exception
(Ctrl-C) is no item's error and ends the work. Imports `config`, `errors` and `faults`; Dask and Ray
only where they are asked for.
"""

import queue
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import Any

import cloudpickle
import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from meiju_utils.config import Parallel
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.parallel.clusters import (
    RETRIES,
    dask_client,
    gpu_share,
    import_engine,
    ray_connection,
)
from meiju_utils.parallel.faults import WorkerDied

Function = Callable[[Any], Any]
Outcome = tuple[int, Any, Exception | None]
Outcomes = Generator[Outcome, None, None]
Order = TopologicalSorter[int]  # over the items' indices, prepared

DISPATCHED = 2  # items a process of this machine has or waits for
POLL_S = 1  # between looks at what Ray has finished


def run_serial(
    function: Function, items: Sequence[Any], settings: Parallel, order: Order
) -> Outcomes:
    """One after another, here."""
    while ready := order.get_ready():
        for index in ready:
            outcome = _outcome(function, index, items[index])
            yield outcome
            if outcome[2] is None:
                order.done(index)


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
    turns = _Turns()
    ready = order.get_ready()
    if len(ready) == len(items):
        some = {index: items[index] for index in ready}
        yield from _loky(function, some, settings.workers, turns)
        return
    # What becomes ready together goes to the common pool of processes by a thread of its own.
    finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def run_some(some: dict[int, Any]) -> None:
        try:
            for outcome in _loky(function, some, settings.workers, turns):
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
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        pool = joblib.Parallel(
            return_as="generator_unordered",
            pre_dispatch=DISPATCHED * workers,
            batch_size=1,  # a batch would be lost as a whole
        )
    with turns.start:
        if turns.stopped:
            raise MeijuError("The processes of this machine were stopped.")
        outcomes = pool([joblib.delayed(_sent_back)(function, *pair) for pair in items.items()])
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


def run_dask(
    function: Function, items: Sequence[Any], settings: Parallel, order: Order
) -> Outcomes:
    """On the workers of a Dask cluster, each of which must run one task at a time.

    Dask holds a worker's death against all it had been given, so that an item may be given up
    because of another that waited on the same worker.
    """
    dask, distributed = import_engine("dask"), import_engine("distributed")
    options = {
        "distributed.admin.large-graph-warning-threshold": "1TB",  # the work is sent once
        "distributed.scheduler.worker-saturation": 1.0,  # as few as can be wait on a worker
    }
    with dask.config.set(options), dask_client(settings) as client:
        # a task's result, not scattered data: computed again where its only worker dies
        work = client.submit(bytes, _pack(function, items), pure=False)
        indices: dict[str, int] = {}

        def submitted() -> list[Any]:
            ready = order.get_ready()
            tasks = client.map(_run_alone, ready, work=work, pure=False)
            indices.update(zip((task.key for task in tasks), ready, strict=True))
            return list(tasks)

        # holds no task itself, so that a result is let go once it is here
        finished = distributed.as_completed(
            submitted(), loop=client.loop, with_results=True, raise_errors=False
        )
        for task, result in finished:
            index = indices[task.key]
            outcome: Outcome
            if task.status == "finished":
                outcome = index, *_opened(result)
            elif task.status == "error":
                _, error, _ = result
                killed = isinstance(error, distributed.KilledWorker)
                outcome = index, None, WorkerDied(str(error)) if killed else error
            else:
                raise MeijuError(
                    "The connection to the Dask cluster was lost. What is finished is kept; start "
                    "again to go on from there."
                )
            yield outcome
            if outcome[2] is None:
                order.done(index)
                finished.update(submitted())


def run_ray(function: Function, items: Sequence[Any], settings: Parallel, order: Order) -> Outcomes:
    """On a Ray cluster: one CPU a task, and its share of the GPUs where the cluster has any."""
    ray = import_engine("ray")
    died = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
    )
    with ray_connection(settings):
        gpus = gpu_share(ray.cluster_resources())
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_run)
        work = ray.put(_pack(function, items))
        running = {task.remote(index, work): index for index in order.get_ready()}
        try:
            while running:
                done, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL_S)
                for reference in done:
                    index = running.pop(reference)
                    outcome: Outcome
                    try:
                        outcome = index, *_opened(ray.get(reference))
                    except died as error:
                        outcome = index, None, WorkerDied(str(error))
                    except ray.exceptions.RayError as error:
                        outcome = index, None, error
                    yield outcome
                    if outcome[2] is None:
                        order.done(index)
                    running |= {task.remote(i, work): i for i in order.get_ready()}
        finally:
            for reference in running:
                ray.cancel(reference)


ENGINES = {"serial": run_serial, "loky": run_loky, "dask": run_dask, "ray": run_ray}


def _outcome(function: Function, index: int, item: Any) -> Outcome:
    try:
        return index, function(item), None
    except Exception as error:  # any fault of one item, so that the others go on
        return index, None, error


def _sent_back(function: Function, index: int, item: Any) -> Outcome:
    """`_outcome` in another process, with an error that survives the way here."""
    _, result, error = _outcome(function, index, item)
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


def _pack(function: Function, items: Sequence[Any]) -> bytes:
    """Everything a worker needs, in one piece: what items have in common travels once."""
    packed: bytes = cloudpickle.dumps((function, list(items)))
    return packed


@lru_cache(maxsize=1)
def _unpack(work: bytes) -> tuple[Function, list[Any]]:
    """Once a worker, so that what the function has loaded (a model) serves all its items."""
    function, items = cloudpickle.loads(work)
    return function, items


def _run(index: int, work: bytes) -> bytes:
    """One item in a worker; result and error, packed."""
    function, items = _unpack(work)
    _, result, error = _sent_back(function, index, items[index])
    packed: bytes = cloudpickle.dumps((result, error))
    return packed


def _opened(packed: bytes) -> tuple[Any, Exception | None]:
    """Result and error of an item, from what `_run` returned."""
    try:
        result, error = cloudpickle.loads(packed)
    except Exception as fault:  # a result of a class that is not here
        return None, fault
    return result, error


def _run_alone(index: int, work: bytes) -> bytes:
    """`_run` in a Dask worker; ConfigError where others could run in the same process."""
    from distributed import get_worker

    threads = get_worker().state.nthreads
    if threads > 1:
        raise ConfigError(
            f"The Dask worker runs {threads} tasks at a time in one process; models and seeds "
            "need it for themselves. Start the workers with --nthreads 1."
        )
    return _run(index, work)
