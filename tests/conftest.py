"""What all tests share: no network, one thread, a fixed seed, one tiny synthetic corpus."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from filelock import FileLock

from meiju_utils.config import Parallel

pytest_plugins = ["tests.toys", "tests.clips"]  # datasets, runs and clips made up for the tests

Record = Callable[..., None]

# The same examples every time; a busy machine is no failure.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


# The longest come first, so that none is left over for one of the two processes at the end.
LONGEST = ("test_notebooks.py", "test_clusters.py", "test_profiles.py", "test_engines.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = dict(zip(LONGEST, range(-len(LONGEST), 0), strict=True))
    items.sort(key=lambda item: order.get(item.path.name, 0))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries under test may draw from the global generator


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `tiny` synthetic corpus (30/10/10/20 clips), made once; treat it as read-only."""
    from meiju_utils.corpus.demo import build_demo_corpus

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "corpus" / "tiny"
    with FileLock(shared / "corpus.lock"):  # the second process finds it made
        build_demo_corpus(folder, size="tiny", seed=0, parallel=Parallel(workers=2))
    return folder


@pytest.fixture(scope="session")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a Dask cluster: two workers, one thread each; two attempts at an item, not four."""
    import dask
    from distributed import LocalCluster

    settings = {
        "temporary-directory": str(tmp_path_factory.mktemp("dask")),
        "distributed.scheduler.allowed-failures": 1,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0"
        ) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local Ray of two workers, kept over the session as it takes seconds to start."""
    from meiju_utils.parallel.clusters import ray_connection

    folder = str(tmp_path_factory.mktemp("ray"))
    with pytest.MonkeyPatch.context() as patch:
        if len(folder) < 40:  # its sockets lie there, whose paths may have 107 characters
            patch.setenv("RAY_TMPDIR", folder)
        with ray_connection(Parallel(backend="ray", workers=2)):
            yield


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Parallel:
    """Settings for two workers of each engine that can use a cluster."""
    if request.param == "dask":
        return Parallel(backend="dask", address=request.getfixturevalue("dask_address"))
    request.getfixturevalue("local_ray")
    return Parallel(backend="ray", workers=2)


@pytest.fixture
def record() -> Record:
    """Notes for docs/faults.md what a fault did, in the full campaign: area, fault, what happens,
    what is lost, how often it was tried."""

    def note(area: str, fault: str, happens: str, lost: str, times: int) -> None:
        if target := os.environ.get("MEIJU_FAULTS_RECORD"):
            row = {"area": area, "fault": fault, "happens": happens, "lost": lost, "times": times}
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return note
