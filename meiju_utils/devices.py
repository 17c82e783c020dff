"""Where and how torch computes: the one choice of device, threads and precision.

Also what is done where a device's memory does not suffice. Imports `errors` only; torch where a
function needs it.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from meiju_utils.errors import ConfigError

if TYPE_CHECKING:
    import torch

SETTINGS = "preprocessing.device, embeddings.device, training.device"
KINDS = ("auto", "cpu", "cuda", "mps")

# What the libraries say of memory that does not suffice, where they have no class for it.
_NO_MEMORY = (
    "out of memory",  # CUDA, MPS, XPU
    "can't allocate memory",  # torch's allocator of the CPU
    "not enough memory",
    "STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN
)


def check_device(name: str, setting: str = SETTINGS) -> None:
    """ConfigError for a device that no machine has, or that this one has not.

    `setting` is whose value it is. Without importing torch for "auto", "cpu" and names of no
    device.
    """
    kind, colon, number = name.partition(":")
    if kind not in KINDS or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(
            f"{setting}: no device {name!r}. Expected auto, cpu, cuda, cuda:<number> or mps."
        )
    if kind not in ("auto", "cpu"):
        torch_device(name, setting)


def torch_device(name: str, setting: str = SETTINGS) -> "torch.device":
    """The device of a profile's name; "auto" is CUDA, then MPS, then CPU.

    Of several GPUs "cuda" is the current one, in a worker process one of its own.

    Raises ConfigError for one that this machine has not.
    """
    import torch

    there = [
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if name in ("auto", "cuda") and there[0] == "cuda":
        own = _own_gpu(torch.cuda.device_count())
        if own is not None:
            torch.cuda.set_device(own)
        return torch.device("cuda")
    if name == "auto":
        return torch.device(there[0])
    kind, colon, number = name.partition(":")
    numbers = range(torch.cuda.device_count()) if kind == "cuda" else ()
    if kind not in there or (colon and number not in map(str, numbers)):
        several = f" (cuda:0 to cuda:{len(numbers) - 1})" if len(numbers) > 1 else ""
        raise ConfigError(
            f"No device {name!r} ({setting}): this machine has {', '.join(there)}{several}; "
            "or say auto."
        )
    return torch.device(name)


def _own_gpu(count: int) -> int | None:
    """Of several GPUs the one of this process, where it is one of many: by its number, which goes
    on where a process is replaced, or what the system numbers it."""
    name = multiprocessing.current_process().name
    if count < 2 or name == "MainProcess":
        return None
    number = name.rpartition("-")[2]
    return (int(number) if number.isdecimal() else os.getpid()) % count


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


@contextmanager
def quiet(logging: Any) -> Iterator[None]:
    """Without transformers' warnings and progress bars: what matters is checked by us."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, of a device or of this machine: fewer at once may do."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


class Halving:
    """Batches that halve themselves where memory does not suffice.

    A base of what runs a model on batches. `halved` counts the batches that did not fit, from the
    start on: where it grew, results are equal within 1e-5 to those of a device with more memory
    and not bit by bit, since sums over other shapes are taken in another order.
    """

    halved: int = 0

    def in_halves(self, run: Callable[[Any], Iterable[Any]], batch: Any) -> list[Any]:
        """`run(batch)`, a result an item; where memory does not suffice, of its two halves.

        `batch` is a list or a tensor, and so on down to single items. One that does not fit alone
        raises what `run` raised: the item is too large for the device, or nothing fits there.
        """
        try:
            return list(run(batch))
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        # Here, where the error is gone, and with it the frames that hold the batch's tensors.
        self.halved += 1
        free_memory()
        middle = (len(batch) + 1) // 2
        return [
            *self.in_halves(run, batch[:middle]),
            *self.in_halves(run, batch[middle:]),
        ]


def free_memory() -> None:
    """Give back what torch's allocator keeps of an accelerator's memory without using it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
