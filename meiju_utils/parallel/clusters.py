"""Connections to Dask and Ray, on this machine or at an address.

Imports `config` and `errors`; Dask and Ray only where they are asked for.
"""

import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from meiju_utils.config import Parallel
from meiju_utils.errors import ConfigError

RETRIES = 3  # of an item whose process died; the default of Dask and of Ray
CONNECT_S = 10  # to reach a cluster's address


def gpu_share(resources: Mapping[str, float]) -> float:
    """The part of a GPU that falls to each CPU of a Ray cluster, 0 to 1, in steps of Ray's 1e-4.

    Asked for with every task, so that Ray gives each GPU to as many as there are CPUs for it.
    """
    share = resources.get("GPU", 0) / max(resources.get("CPU", 1), 1)
    return int(min(share, 1) * 1e4) / 1e4


@contextmanager
def dask_client(settings: Parallel) -> Generator[Any, None, None]:
    """A client of the cluster at the address; else of one on this machine, ended afterwards.

    Raises ConfigError where Dask is missing or nothing answers.
    """
    distributed = import_engine("distributed")
    if settings.address:
        try:
            client = distributed.Client(settings.address, timeout=CONNECT_S, set_as_default=False)
        except Exception as error:  # from OSError to what a server of another kind provokes
            raise _unreachable(settings, error) from error
        with client:
            yield client
    else:
        with (
            distributed.LocalCluster(
                n_workers=settings.processes,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client


@contextmanager
def ray_connection(settings: Parallel) -> Generator[None, None, None]:
    """Ray at the address; else on this machine, ended afterwards.

    A process that is connected already stays so. Raises ConfigError as `dask_client` does.
    """
    ray = import_engine("ray")
    local = {
        "num_cpus": settings.processes,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_system_config": {"task_oom_retries": RETRIES},  # without end by default
    }
    connected = ray.is_initialized()
    if settings.address:
        try:
            _reach(settings.address)
            if not connected:
                ray.init(address=settings.address, logging_level="ERROR")
        except (OSError, ValueError) as error:
            raise _unreachable(settings, error) from error
    elif not connected:
        try:
            ray.init(**local, logging_level="ERROR")
        except Exception:  # it gives its helpers 15 s to start, too little on a busy machine
            ray.shutdown()
            ray.init(**local, logging_level="ERROR")
    try:
        yield
    finally:
        if not connected:
            ray.shutdown()


def _reach(address: str) -> None:
    """OSError where nothing answers at host:port; Ray would try for minutes, then exit."""
    if ":" in address:
        host, _, port = address.rpartition("/")[2].rpartition(":")
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


def import_engine(module: str) -> Any:
    """The library of an engine; ConfigError says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        extra = "ray" if module == "ray" else "dask"
        raise ConfigError(
            f"parallel.backend = {extra!r} needs this package's extra {extra!r} ({error}). In the "
            f'folder of pyproject.toml run: pip install -e ".[{extra}]"'
        ) from error


def _unreachable(settings: Parallel, error: Exception) -> ConfigError:
    return ConfigError(
        f"parallel.address = {settings.address!r}: no {settings.backend.capitalize()} cluster "
        f"answers there ({error}). Start one, or leave the address empty for this machine."
    )
