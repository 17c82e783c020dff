"""What an encoder is, what it reads, and how its inputs are put into batches.

Encoders know nothing of stores, runs or workers; `extract` drives them. Imports `config`, `errors`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from meiju_utils.config import EncoderConfig
from meiju_utils.errors import ConfigError

SILENT_PEAK = 1e-4  # -80 dB of full scale; 16-bit audio has steps of 3e-5

Array = NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")


class ClipSource(Protocol):
    """Preprocessed clips; a clip without audio, faces or text gives an empty array or "".

    `key` changes with the settings that shape audio and faces, a clip's `stamp` with its video.
    """

    @property
    def key(self) -> str: ...
    @property
    def clip_ids(self) -> Sequence[str]: ...
    def stamp(self, clip_id: str) -> str: ...
    def audio(self, clip_id: str) -> Array:
        """Mono samples in [-1, 1], `[samples]`."""

    def faces(self, clip_id: str) -> NDArray[np.uint8]:
        """RGB crops of the speaker's face, `[n, S, S, 3]`."""

    def text(self, clip_id: str) -> str: ...


@dataclass(frozen=True)
class Absent:
    """Why a clip has no embedding; `failed` where its own files or values are at fault."""

    reason: str
    failed: bool = False


Encoded = Array | Absent
Encode = Callable[[Sequence[Any]], list[Encoded]]


@dataclass(frozen=True)
class EncoderContext:
    """What encoders need of the run: folder, rate of the audio in Hz, batches, texts to fit on."""

    run_dir: Path
    sample_rate: int = 16000
    batch_images: int = 32
    batch_seconds: float = 60
    batch_tokens: int = 512
    device: str = "auto"
    fit_texts: Callable[[], list[str]] = list


class Encoder(Protocol):
    """One encoder with its settings; cheap to make and picklable, the model comes with `load`.

    `load` returns the function that maps inputs to embeddings `[T, D]` (T frames or tokens), each
    independent of the others in the call: bit for bit where the encoder takes them one by one
    (`alone`), else but for last bits, for whose sake batches are among its settings. (A function
    that halves a batch for want of memory counts it in an attribute `halved`.) `settings` and
    `inputs_key` change with everything that shapes all embeddings but for code, which is that of
    the encoder's class and its bases, and `libraries`, of which the version counts. An encoder that
    is `spread` runs in many processes, any other in this one. Of one that is fitted on texts the
    function has `state`, arrays by name, of which the encoder's `restore` makes the function again.
    """

    alone: ClassVar[bool]
    libraries: ClassVar[tuple[str, ...]]

    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def spread(self) -> bool: ...
    def inputs_key(self, source: ClipSource) -> str: ...
    def read(self, source: ClipSource, clip_id: str) -> Any: ...
    def load(self) -> Encode: ...


def refuse(config: EncoderConfig, *options: str) -> None:
    """ConfigError where an option that means nothing to this encoder is set."""
    for option in options:
        value = getattr(config, option)
        if value != EncoderConfig.model_fields[option].get_default():
            raise ConfigError(
                f"Encoder {config.name!r} has no {option}: {value!r} would change nothing. "
                f"Leave {option} out."
            )


def unusable(samples: Array, sample_rate: int, shortest_s: float) -> Absent | None:
    """Why audio cannot be encoded, or None where it can."""
    if not len(samples):
        return Absent("no audio")
    if len(samples) < shortest_s * sample_rate:
        return Absent(f"audio shorter than {shortest_s:g} s")
    if not np.isfinite(samples).all():
        return Absent("audio holds values that are not finite", failed=True)
    if np.abs(samples).max() < SILENT_PEAK:
        return Absent("silent audio")
    return None


def one_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(function, items)`, in a thread that is at work on the next item already.

    So that reading and preparing goes on while the model computes.
    """
    with ThreadPoolExecutor(1) as thread:
        pending: Future[Result] | None = None
        for item in items:
            following = thread.submit(function, item)
            if pending:
                yield pending.result()
            pending = following
        if pending:
            yield pending.result()


def length_batches(
    lengths: Sequence[int], budget: float, padded: bool = True
) -> Iterator[list[int]]:
    """Positions of inputs of like length, longest first, that padded add up to at most `budget`.

    An input beyond the budget goes alone. Longest first, so that a batch too large for memory
    fails at once. Where inputs may not be `padded`, only those of the same length go together.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        unlike = batch and not padded and lengths[batch[0]] != lengths[position]
        if batch and ((len(batch) + 1) * lengths[batch[0]] > budget or unlike):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
