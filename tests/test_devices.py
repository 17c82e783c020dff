import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from meiju_utils.devices import mixed_precision, single_thread, torch_device, torch_dtype
from meiju_utils.errors import ConfigError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine that has the named accelerators."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in request.param)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in request.param)


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


@pytest.mark.parametrize("machine", [""], indirect=True)
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "tpu", ""])
def test_a_device_the_machine_has_not_is_refused_with_those_it_has(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"No device '{name}'.*has cpu; or say auto"):
        torch_device(name)


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
    code = "import sys, meiju_utils.devices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
