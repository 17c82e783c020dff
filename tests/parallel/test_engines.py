"""Every engine for real: two workers of each, some of which die; items that need others."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from meiju_utils.config import Parallel
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.parallel import clusters, map_items, processes
from meiju_utils.parallel.clusters import gpu_share

# workers cannot import this file by its name
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ITEMS = list(range(6))
NAMES = [f"clip {i}" for i in ITEMS]
needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")


def _wait_for(folder: Path, pattern: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(list(folder.glob(pattern))) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def _square(item: int, folder: Path, deadly: int = -1, attempts: int = 1) -> int:
    """The square; the first attempts at the deadly item end the process."""
    attempt = len(list(folder.glob(f"{item}-*")))
    (folder / f"{item}-{attempt}").touch()
    if item == deadly and attempt < attempts:
        _wait_for(folder, "*-0", 2)  # so that another item is under way or done
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def _reciprocal(value: int) -> float:
    return 1 / value


class Unpicklable(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)


class LockedIn(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.lock = threading.Lock()


def _raise(item: int) -> int:
    if item == 1:
        raise Unpicklable(3, "broken")  # cannot be loaded where it arrives
    if item == 2:
        raise LockedIn("holds a lock")  # cannot be sent
    if item == 3:
        raise MemoryError
    return item


class Loader:
    """A function that loads something large before its first item."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = 0

    def __call__(self, item: int) -> int:
        time.sleep(0.1)
        if not self.model:
            (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            self.model = 7
        return self.model * item


@needs_sigkill
def test_a_worker_that_dies_costs_only_its_item(cluster: Parallel, tmp_path: Path) -> None:
    work = partial(_square, folder=tmp_path, deadly=2)
    mapped = map_items(work, ITEMS, NAMES, cluster, "squares", tolerant=False, needs={5: [2]})
    assert mapped.results == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "2-1").exists()


@needs_sigkill
def test_processes_of_this_machine_start_again_where_one_has_died(tmp_path: Path) -> None:
    work = partial(_square, folder=tmp_path, deadly=2)
    mapped = map_items(work, ITEMS, NAMES, Parallel(workers=2), "squares", tolerant=False)
    assert mapped.results == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "2-1").exists()


@needs_sigkill
def test_an_item_that_always_kills_is_a_failure_and_the_others_are_done(
    cluster: Parallel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    mapped = map_items(work, ITEMS, NAMES, cluster, "squares", needs={5: [2]})
    failed = {failure.name: failure for failure in mapped.failures}
    assert failed["clip 2"].error == "WorkerDied"
    assert "memory" in failed["clip 2"].reason
    # Dask may give up another one that waited on the same worker.
    assert len(failed) <= 2
    assert all(r == i * i for i, r in zip(ITEMS, mapped.results, strict=True) if r is not None)
    assert mapped.results[5] is None
    assert not (tmp_path / "5-0").exists()
    assert mapped.results[:5].count(None) == len(failed)


@needs_sigkill
def test_processes_of_this_machine_give_up_only_the_item_that_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    items = list(range(20))
    mapped = map_items(work, items, [str(i) for i in items], Parallel(workers=2), "squares")
    assert mapped.results == [None if i == 2 else i * i for i in items]
    assert [(f.name, f.error) for f in mapped.failures] == [("2", "WorkerDied")]


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@needs_sigkill
def test_where_most_items_kill_the_machine_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    with pytest.raises(MeijuError, match=r"4 of 6 failed.*clip 0: WorkerDied.*memory"):
        map_items(_die, ITEMS, NAMES, Parallel(workers=2), "dying")


@needs_sigkill
def test_a_single_item_that_kills_leaves_this_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    mapped = map_items(_die, [0], ["clip"], Parallel(workers=2), "dying")
    assert [(f.name, f.error) for f in mapped.failures] == [("clip", "WorkerDied")]


@needs_sigkill
def test_where_trying_again_does_not_help_processes_of_this_machine_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    with pytest.raises(MeijuError, match="died whenever it was at"):
        map_items(work, ITEMS, NAMES, Parallel(workers=2), "squares", tolerant=False)


# 4 needs 2 and 3, which need 0 and 1; 5 fails, so that 6 and 7 never start; 8 needs none.
NEEDS = {2: [0], 3: [0, 1], 4: [2, 3], 6: [5, 8], 7: [6]}


def _linked(item: int, folder: Path) -> int:
    """The item; RuntimeError where one that it needs was not dealt with before it started."""
    (folder / f"{item} started").touch()
    late = [need for need in NEEDS.get(item, ()) if not (folder / f"{need} dealt with").exists()]
    if late:
        raise RuntimeError(f"{item} started before {late}")
    if item == 5:
        raise ZeroDivisionError
    return item


@pytest.fixture(params=["serial", "loky", "dask", "ray"])
def engine(request: pytest.FixtureRequest) -> Parallel:
    """Settings for each engine, with two workers."""
    if request.param == "dask":
        return Parallel(backend="dask", address=request.getfixturevalue("dask_address"))
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return Parallel(backend=request.param, workers=2)


def test_an_item_starts_when_those_it_needs_have_succeeded_and_were_dealt_with(
    engine: Parallel, tmp_path: Path
) -> None:
    seen = {}
    here = os.getpid()

    def then(index: int, result: int | None, error: Exception | None) -> None:
        assert os.getpid() == here
        time.sleep(0.05)  # what needs it must not start meanwhile
        (tmp_path / f"{index} dealt with").touch()
        seen[index] = (result, type(error).__name__)

    items = list(range(9))
    names = [f"clip {i}" for i in items]
    work = partial(_linked, folder=tmp_path)
    mapped = map_items(work, items, names, engine, "linked", needs=NEEDS, then=then)
    assert mapped.results == [0, 1, 2, 3, 4, None, None, None, 8]
    assert [(f.name, f.error) for f in mapped.failures] == [("clip 5", "ZeroDivisionError")]
    assert seen.pop(5) == (None, "ZeroDivisionError")
    assert seen == {i: (i, "NoneType") for i in (0, 1, 2, 3, 4, 8)}
    assert not any((tmp_path / f"{i} started").exists() for i in (6, 7))


def _slow(item: int, folder: Path) -> int:
    (folder / f"{item} started").touch()
    time.sleep(0.5 if item else 0)
    (folder / f"{item} done").touch()
    return item


@dataclass(frozen=True)
class Noted:
    """A function that notes each time it is unpickled."""

    folder: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        number = len(list(self.folder.iterdir()))
        (self.folder / f"{os.getpid()}-{number}").touch()

    def __call__(self, item: int) -> int:
        return -item


def test_a_process_of_this_machine_gets_the_function_once_for_all_its_items(tmp_path: Path) -> None:
    items = list(range(30))
    found = map_items(Noted(tmp_path), items, [*map(str, items)], Parallel(workers=2), "noting")
    assert found.results == [-item for item in items]
    readers = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert len(readers) == len(set(readers)) <= 2


@pytest.mark.timeout(60)
def test_processes_of_this_machine_stop_where_nobody_waits_for_them(tmp_path: Path) -> None:
    # Of what needs 0 there is more than is handed over at once.
    items = list(range(12))
    order = TopologicalSorter({i: [0] if i else [] for i in items} | {11: [1]})
    order.prepare()
    work = partial(_slow, folder=tmp_path)
    outcomes = processes.run_loky(work, items, Parallel(workers=2), order)
    assert next(outcomes) == (0, 0, None)
    assert next(outcomes)[2] is None
    outcomes.close()
    marks = sorted(path.name for path in tmp_path.iterdir())
    assert len(marks) < 12
    time.sleep(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == marks


@pytest.mark.timeout(60)
def test_an_error_of_one_group_stops_the_processes_of_all(tmp_path: Path) -> None:
    # 1 fails while some of those that need 0 are under way.
    needs = {i: [0] for i in range(2, 12)} | {12: [1]}
    items = [*range(13)]
    names = [str(i) for i in items]
    work = partial(_slow_or_broken, folder=tmp_path)
    with pytest.raises(ZeroDivisionError):
        map_items(work, items, names, Parallel(workers=2), "slow", tolerant=False, needs=needs)
    marks = sorted(path.name for path in tmp_path.iterdir())
    assert "12 started" not in marks
    time.sleep(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == marks


def _slow_or_broken(item: int, folder: Path) -> int:
    if item == 1:
        _wait_for(folder, "* started", 2)
        raise ZeroDivisionError
    return _slow(item, folder)


DEADLY, BESIDE = 2, 12  # of one group and of the other, below


def _deadly(item: int, folder: Path) -> int:
    """The item; the deadly one ends its process, while the other group's first is under way."""
    if item == BESIDE:
        (folder / f"beside-{time.monotonic_ns()}").touch()
        time.sleep(0.5)
        (folder / "beside-done").touch()
    if item == DEADLY:
        attempts = len(list(folder.glob("deadly-*")))
        (folder / f"deadly-{time.monotonic_ns()}").touch()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not (folder / "beside-done").exists():
            if len(list(folder.glob("beside-*"))) > attempts:
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return item


@needs_sigkill
@pytest.mark.timeout(120)
def test_an_item_that_always_kills_takes_none_of_another_group_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    # Both groups have more than is handed over at once; 22 needs the deadly one.
    needs = {i: [0] for i in range(2, 12)} | {i: [1] for i in range(12, 22)} | {22: [DEADLY]}
    items = list(range(23))
    names = [str(i) for i in items]
    work = partial(_deadly, folder=tmp_path)
    mapped = map_items(work, items, names, Parallel(workers=2), "deadly", needs=needs)
    assert [(f.name, f.error) for f in mapped.failures] == [(str(DEADLY), "WorkerDied")]
    assert mapped.results == [None if i in (DEADLY, 22) else i for i in items]


def test_one_bad_item_is_collected_and_the_others_keep_their_order(cluster: Parallel) -> None:
    mapped = map_items(_reciprocal, [1, 0, 4], ["a", "b", "c"], cluster, "halving")
    assert mapped.results == [1.0, None, 0.25]
    assert [(f.name, f.error) for f in mapped.failures] == [("b", "ZeroDivisionError")]
    with pytest.raises(ZeroDivisionError):
        map_items(_reciprocal, [1, 0], ["a", "b"], cluster, "halving", tolerant=False)


def test_an_error_comes_from_a_worker_with_its_traceback_or_by_name(engine: Parallel) -> None:
    errors: list[Exception | None] = [None] * 4
    mapped = map_items(
        _raise, [0, 1, 2, 3], list("abcd"), engine, "raising", then=partial(_keep, errors)
    )
    assert mapped.results == [0, None, None, None]
    assert [(f.name, f.error, f.reason.partition(";")[0]) for f in mapped.failures] == [
        ("b", "Unpicklable", "broken"),
        ("c", "LockedIn", "holds a lock"),
        ("d", "MemoryError", "MemoryError"),
    ]
    assert isinstance(errors[3], MemoryError)
    shown = "".join(traceback.format_exception(errors[3]))
    assert "in _raise" in shown


def _keep(errors: list[Any], index: int, result: Any, error: Exception | None) -> None:
    errors[index] = error


def test_what_a_function_loads_is_loaded_once_a_worker(cluster: Parallel, tmp_path: Path) -> None:
    mapped = map_items(Loader(tmp_path), ITEMS, NAMES, cluster, "loading")
    assert mapped.results == [0, 7, 14, 21, 28, 35]
    processes = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert len(processes) == len(set(processes)) <= 2


def test_without_an_address_dask_starts_workers_here_and_ends_them() -> None:
    settings = Parallel(backend="dask", workers=2)
    pids = map_items(_process, ITEMS, NAMES, settings, "asking").succeeded()
    assert os.getpid() not in pids
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _process(_: int) -> int:
    return os.getpid()


DRIVER = """
    import os, sys
    from meiju_utils.config import Parallel
    from meiju_utils.parallel import map_items

    settings = Parallel(backend="ray", address=sys.argv[1])
    pids = map_items(lambda item: os.getpid(), range(4), "abcd", settings, "asking").results
    assert os.getpid() not in pids
    print(len(pids))
"""


def test_another_process_uses_ray_by_its_address(local_ray: None) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), address]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert ran.stdout.split() == ["4"], ran.stderr


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_an_address_that_does_not_answer_is_named(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = Parallel(backend=backend, address=address)
    with pytest.raises(ConfigError, match=rf"{address}.*no {backend.capitalize()} cluster answers"):
        map_items(_reciprocal, [1], ["a"], settings, "halving")


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_engine_names_the_extra_to_install(
    backend: Any, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf'pip install -e "\.\[{backend}\]"'):
        map_items(_reciprocal, [1], ["a"], Parallel(backend=backend), "halving")


def test_a_dask_worker_of_several_threads_is_refused() -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
    ) as crowded:
        settings = Parallel(backend="dask", address=crowded.scheduler_address)
        with pytest.raises(ConfigError, match="--nthreads 1"):
            map_items(_reciprocal, [1, 2], ["a", "b"], settings, "halving", tolerant=False)


@pytest.mark.parametrize(
    ("resources", "share"),
    [
        ({"CPU": 8}, 0),
        ({"CPU": 8, "GPU": 2}, 0.25),
        ({"CPU": 3, "GPU": 1}, 0.3333),
        ({"GPU": 4}, 1),
    ],
)
def test_gpus_of_a_ray_cluster_are_shared_among_its_cpus(
    resources: dict[str, float], share: float
) -> None:
    assert gpu_share(resources) == share
