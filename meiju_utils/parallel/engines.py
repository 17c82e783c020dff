"""Engines that apply a function to items: this process, joblib's processes, Dask, Ray.

Each yields `(index, result, error)` as the items finish, in any order. An item starts when those
it needs have finished without an error, by an `Order`. Where a process dies under an item, the
engine tries again; when it has given up, the error is WorkerDied. Dask and Ray are used by their
own interfaces, by which the death of a worker is told from the error of an item. What the function
holds is sent once, whatever the engine, and not with each item. From another process an error comes
with its traceback as a note, and as one of its class's name and message where it cannot be pickled.
What is no Exception (Ctrl-C) is no item's error and ends the work. Dask and Ray are imported only
where they are asked for.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cloudpickle

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
from meiju_utils.parallel.outcomes import Function, Order, Outcome, Outcomes, outcome_of, sent_back
from meiju_utils.parallel.processes import run_loky

POLL_S = 1  # between looks at what Ray has finished


def run_serial(
    function: Function, items: Sequence[Any], settings: Parallel, order: Order
) -> Outcomes:
    """One after another, here."""
    while ready := order.get_ready():
        for index in ready:
            outcome = outcome_of(function, index, items[index])
            yield outcome
            if outcome[2] is None:
                order.done(index)


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
    _, result, error = sent_back(function, index, items[index])
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
