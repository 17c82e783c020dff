"""Models have as many processes as there are cores, or as GPUs are said to have room for."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from joblib.externals import loky

from meiju_utils import devices
from meiju_utils.config import EncoderConfig, Parallel
from meiju_utils.embeddings import extract, write_tiny_checkpoints
from meiju_utils.embeddings.encoders import make_encoder
from meiju_utils.embeddings.planning import context_of
from meiju_utils.parallel import model_places, places
from meiju_utils.preprocessing import making
from meiju_utils.recipes import training
from meiju_utils.run import Run

MANY = Parallel(workers=16, models_per_gpu=3)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as torch is asked for its devices."""

    def device(name: str, _: str) -> torch.device:
        return torch.device("cuda" if name == "auto" else name)

    monkeypatch.setattr(places, "torch_device", device)
    monkeypatch.setattr(places, "gpu_count", lambda: 2)


@pytest.mark.parametrize(
    ("device", "workers"), [("auto", 6), ("cuda", 6), ("cuda:1", 3), ("cpu", 16), ("mps", 3)]
)
def test_a_gpu_has_so_many_models_and_no_more(device: str, workers: int, two_gpus: None) -> None:
    assert model_places(MANY, device, "training.device").workers == workers
    few = MANY.model_copy(update={"workers": 2})
    assert model_places(few, device, "training.device").workers == 2


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_clusters_place_their_workers_themselves(backend: str, two_gpus: None) -> None:
    settings = MANY.model_copy(update={"backend": backend, "address": "host:1"})
    assert model_places(settings, "cuda", "training.device") == settings


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_of_this_machine_alone_is_held_to_it(backend: str, two_gpus: None) -> None:
    settings = MANY.model_copy(update={"backend": backend})
    assert model_places(settings, "cuda", "training.device").workers == 6
    alone = MANY.model_copy(update={"backend": "serial"})
    assert model_places(alone, "cuda", "training.device") == alone


def test_without_a_gpu_models_are_spread_over_the_cores() -> None:
    assert model_places(MANY, "cpu", "embeddings.device").workers == 16


def test_every_stage_heeds_it(
    make_run: Callable[..., Run], two_gpus: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoints = write_tiny_checkpoints(tmp_path, ["你好"])
    talknet = {"speaker": "talknet:a", "device": "auto"}
    run = make_run(
        parallel={"workers": 16, "models_per_gpu": 1},
        training={"device": "auto"},
        preprocessing=talknet,
    )
    seen = {}
    for modality, name in (
        ("visual", "hog"),
        ("text", f"hf:{checkpoints['tiny-bert']}"),
    ):
        encoder = make_encoder(modality, EncoderConfig(name=name), context_of(run, list))
        seen[name] = extract.encoder_places(run, encoder).workers
    assert list(seen.values()) == [16, 2]
    assert making.places(run).workers == 2
    assert making.places(make_run(parallel={"workers": 16})).workers == 16  # no model
    asked: list[Parallel] = []

    def mapped(work: Any, items: Any, names: Any, settings: Parallel, *_: Any, **__: Any) -> None:
        asked.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "map_items", mapped)
    with pytest.raises(KeyboardInterrupt):
        training.train_recipe(run, "baseline")
    assert [settings.workers for settings in asked] == [2]


@pytest.mark.parametrize(
    ("name", "count", "own"),
    [
        ("MainProcess", 4, None),
        ("LokyProcess-6", 4, 2),
        ("LokyProcess-6", 1, None),
        ("Dask Worker process (from Nanny)", 4, 3),  # by what the system numbers it
    ],
)
def test_processes_take_the_gpus_in_turn(
    name: str, count: int, own: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(name=name))
    monkeypatch.setattr(devices.os, "getpid", lambda: 4711)
    assert devices._own_gpu(count) == own


@pytest.mark.parametrize(
    ("slurm", "workers"),
    [
        ({}, 6),
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "3"}, 3),
        ({"SLURM_CPUS_PER_TASK": "64"}, 6),  # more than this process may use
        ({"SLURM_CPUS_ON_NODE": "2(x3)"}, 6),  # no number
    ],
)
def test_auto_is_what_this_process_may_use(
    slurm: dict[str, str], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(loky, "cpu_count", lambda: 6)
    assert Parallel().processes == workers
    assert Parallel().workers == "auto"  # as it is kept: another machine has other cores
    assert Parallel(workers=9).processes == 9
    assert Parallel(backend="serial").processes == 1
