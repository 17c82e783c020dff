"""Where and how torch computes: the one choice of device, threads and precision.

Imports `errors` only; torch where a function needs it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from meiju_utils.errors import ConfigError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> "torch.device":
    """The device of a profile's name; "auto" is CUDA, then MPS, then CPU.

    Raises ConfigError for one that this machine has not.
    """
    import torch

    there = [
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if name == "auto":
        return torch.device(there[0])
    if name.partition(":")[0] not in there:
        raise ConfigError(
            f"No device {name!r} (embeddings.device, training.device): this machine has "
            f"{', '.join(there)}; or say auto."
        )
    return torch.device(name)


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for torch: results then do not depend on the machine's number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_dtype(device: "torch.device", precision: str) -> "torch.dtype":
    """`precision` ("float32", "bfloat16", "float16") on CUDA; elsewhere float32 whatever it is."""
    import torch

    dtype: torch.dtype = getattr(torch, precision)
    return dtype if device.type == "cuda" else torch.float32


def mixed_precision(device: "torch.device", precision: str) -> AbstractContextManager[Any]:
    """Autocast to the type that `torch_dtype` gives; nothing where that is float32."""
    import torch

    dtype = torch_dtype(device, precision)
    return nullcontext() if dtype == torch.float32 else torch.autocast("cuda", dtype=dtype)
