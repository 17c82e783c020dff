"""Dask and Ray for real: two workers of each, some of which die."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from meiju_utils import engines
from meiju_utils.config import Parallel
from meiju_utils.engines import gpu_share
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.parallel import map_items

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


def _raise_unpicklable(item: int) -> int:
    if item:
        raise Unpicklable(3, "broken")
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
    mapped = map_items(work, ITEMS, NAMES, cluster, "squares", tolerant=False)
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
    monkeypatch.setattr(engines, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    mapped = map_items(work, ITEMS, NAMES, cluster, "squares")
    failed = {failure.name: failure for failure in mapped.failures}
    assert failed["clip 2"].error == "WorkerDied"
    assert "memory" in failed["clip 2"].reason
    # Dask may give up another one that waited on the same worker.
    assert len(failed) <= 2
    assert all(r == i * i for i, r in zip(ITEMS, mapped.results, strict=True) if r is not None)
    assert mapped.results.count(None) == len(failed)


@needs_sigkill
def test_processes_of_this_machine_give_up_only_the_item_that_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    items = list(range(20))
    mapped = map_items(work, items, [str(i) for i in items], Parallel(workers=2), "squares")
    assert mapped.results == [None if i == 2 else i * i for i in items]
    assert [(f.name, f.error) for f in mapped.failures] == [("2", "WorkerDied")]


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@needs_sigkill
def test_where_most_items_kill_the_machine_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "RETRIES", 1)
    with pytest.raises(MeijuError, match=r"died whenever it was at .*memory"):
        map_items(_die, ITEMS, NAMES, Parallel(workers=2), "dying")


@needs_sigkill
def test_a_single_item_that_kills_leaves_this_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "RETRIES", 1)
    with pytest.raises(MeijuError, match=r"all 1 items failed.*WorkerDied"):
        map_items(_die, [0], ["clip"], Parallel(workers=2), "dying")


@needs_sigkill
def test_where_trying_again_does_not_help_processes_of_this_machine_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "RETRIES", 1)
    work = partial(_square, folder=tmp_path, deadly=2, attempts=99)
    with pytest.raises(MeijuError, match="died whenever it was at"):
        map_items(work, ITEMS, NAMES, Parallel(workers=2), "squares", tolerant=False)


def test_one_bad_item_is_collected_and_the_others_keep_their_order(cluster: Parallel) -> None:
    mapped = map_items(_reciprocal, [1, 0, 4], ["a", "b", "c"], cluster, "halving")
    assert mapped.results == [1.0, None, 0.25]
    assert [(f.name, f.error) for f in mapped.failures] == [("b", "ZeroDivisionError")]
    with pytest.raises(ZeroDivisionError):
        map_items(_reciprocal, [1, 0], ["a", "b"], cluster, "halving", tolerant=False)


def test_an_error_that_cannot_be_pickled_is_still_a_failure(cluster: Parallel) -> None:
    mapped = map_items(_raise_unpicklable, [0, 1], ["a", "b"], cluster, "raising")
    assert mapped.results == [0, None]
    assert [failure.name for failure in mapped.failures] == ["b"]


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
    monkeypatch.setattr(engines, "CONNECT_S", 0.5)
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
