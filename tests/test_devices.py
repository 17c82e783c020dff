import subprocess
import sys
import weakref
from contextlib import suppress
from typing import Any

import pytest
import torch

from meiju_utils.devices import (
    Halving,
    check_device,
    mixed_precision,
    single_thread,
    torch_device,
    torch_dtype,
)
from meiju_utils.errors import ConfigError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine that has the named accelerators."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in request.param)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in request.param)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * ("cuda" in request.param))


@pytest.mark.parametrize(
    ("machine", "best"),
    [("cuda mps", "cuda"), ("mps", "mps"), ("", "cpu")],
    indirect=["machine"],
)
@pytest.mark.usefixtures("machine")
def test_auto_is_the_best_device_of_the_machine(best: str) -> None:
    assert torch_device("auto") == torch.device(best)


@pytest.mark.parametrize("machine", ["cuda"], indirect=True)
@pytest.mark.usefixtures("machine")
def test_one_of_several_devices_is_named_by_its_number() -> None:
    assert torch_device("cuda:1") == torch.device("cuda", 1)
    check_device("cuda:1")
    for number in ("2", "x", "-1", ""):
        with pytest.raises(ConfigError, match=r"has cuda, cpu \(cuda:0 to cuda:1\)"):
            torch_device(f"cuda:{number}")
    with pytest.raises(ConfigError, match=r"No device 'cuda:2' \(training\.device\)"):
        check_device("cuda:2", "training.device")


@pytest.mark.parametrize("machine", [""], indirect=True)
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cpu:0", "mps", "tpu", ""])
def test_a_device_the_machine_has_not_is_refused_with_those_it_has(name: str) -> None:
    settings = "preprocessing.device, embeddings.device, training.device"
    with pytest.raises(ConfigError, match=rf"No device '{name}' \({settings}\).*cpu; or say auto"):
        torch_device(name)
    with pytest.raises(ConfigError, match=rf"(?i)no device '{name}'"):
        check_device(name, "training.device")


class Model(Halving):
    """Doubles numbers; one pass takes at most so many, as a device with little memory."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error, self.sizes = room, error, list[int]()

    def __call__(self, batch: torch.Tensor) -> list[float]:
        return [float(value) for value in self.in_halves(self.run, batch)]

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return 2 * batch


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_that_does_not_fit_goes_in_halves(error: Exception) -> None:
    model = Model(room=2, error=error)
    assert model(torch.arange(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert model.sizes == [7, 4, 2, 2, 3, 2, 1]
    assert model.halved == 3
    assert model(torch.arange(2)) == [0, 2]
    assert (model.halved, Model(1, error).halved) == (3, 0)


def test_what_does_not_fit_alone_or_fails_otherwise_is_raised() -> None:
    model = Model(room=0, error=OUT_OF_MEMORY[0])
    with pytest.raises(torch.OutOfMemoryError):
        model(torch.arange(4))
    assert model.sizes == [4, 2, 1]
    model = Model(room=1, error=RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="assert"):
        model(torch.arange(4))
    assert (model.sizes, model.halved) == ([4], 0)


def test_what_a_batch_held_is_let_go_before_its_halves_are_tried() -> None:
    held: list[Any] = []

    def run(batch: list[int]) -> list[int]:
        assert not any(one() is not None for one in held)
        on_device = torch.zeros(3)
        held.append(weakref.ref(on_device))
        if len(batch) > 1:
            raise MemoryError
        return batch

    assert Halving().in_halves(run, [1, 2, 3]) == [1, 2, 3]


def test_threads_are_one_within_and_as_before_after() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with suppress(ZeroDivisionError), single_thread():
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_less_than_float32_is_of_cuda_alone(precision: str) -> None:
    assert torch_dtype(torch.device("cuda"), precision) == getattr(torch, precision)
    for other in ("cpu", "mps"):
        assert torch_dtype(torch.device(other), precision) == torch.float32


def test_mixed_precision_is_of_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: asked.append((device, dtype)))
    mixed_precision(torch.device("cpu"), "bfloat16")
    mixed_precision(torch.device("cuda"), "float32")
    assert asked == []
    mixed_precision(torch.device("cuda"), "bfloat16")
    mixed_precision(torch.device("cuda"), "float16")
    assert asked == [("cuda", torch.bfloat16), ("cuda", torch.float16)]


def test_torch_is_imported_where_it_is_used() -> None:
    code = "import sys; from meiju_utils.devices import check_device; "
    code += "[check_device(name) for name in ('auto', 'cpu')]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
