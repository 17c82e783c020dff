"""One policy: what is an item's fault, what is the run's, and when there are too many."""

import errno
import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meiju_utils.config import Parallel
from meiju_utils.errors import (
    ConfigError,
    CorpusError,
    DamagedError,
    FeatureError,
    MediaError,
    MissingStageError,
    TrainingError,
)
from meiju_utils.parallel import (
    Failure,
    SystemicError,
    WorkerDied,
    failure_of,
    map_items,
    stop_if_systemic,
)
from meiju_utils.parallel.faults import is_of_the_run, is_systemic

SERIAL = Parallel(backend="serial")


def _raise(error: Exception | None) -> int:
    if error is not None:
        raise error
    return 1


def _map(errors: list[Exception | None], of: int = 0) -> list[Failure]:
    names = [f"clip {number}" for number in range(len(errors))]
    return map_items(_raise, errors, names, SERIAL, "Scoring", of=of).failures


@given(strange=st.integers(0, 5000), of=st.integers(0, 50_000))
def test_more_than_three_and_more_than_a_tenth_are_too_many(strange: int, of: int) -> None:
    assert is_systemic(strange, of) == (strange >= 4 and 10 * strange > of)


@given(
    own=st.lists(st.booleans(), max_size=60),
    more=st.integers(0, 600),
    extra=st.integers(0, 5),
)
def test_faults_of_ones_own_never_count(own: list[bool], more: int, extra: int) -> None:
    failures = [Failure(f"clip {i}", "OddError", "odd", one) for i, one in enumerate(own)]
    of, strange = len(own) + more, own.count(False)
    # faults of their own that join change nothing
    failures = [*(Failure(f"other {i}", "MediaError", "", True) for i in range(extra)), *failures]
    if not is_systemic(strange, of):
        stop_if_systemic(failures, of, "Scoring")
        return
    first = f"{strange} of {of} failed.*; the first, clip {own.index(False)}: OddError: odd"
    with pytest.raises(SystemicError, match=first):
        stop_if_systemic(failures, of, "Scoring")


def test_a_map_stops_at_the_first_fault_that_is_one_too_many() -> None:
    odd: list[Exception | None] = [KeyError("odd")] * 4
    with pytest.raises(SystemicError, match=r"Scoring: 4 of 4 failed.*first, clip 0: KeyError"):
        _map(odd)
    with pytest.raises(SystemicError, match="4 of 39"):
        _map([*odd, KeyboardInterrupt()], of=39)  # never reached
    assert len(_map(odd[:3])) == 3
    assert len(_map(odd, of=40)) == 4


def test_any_number_of_broken_videos_and_of_diverged_trainings_stops_nothing() -> None:
    assert len(_map([MediaError("cut short")] * 20 + [TrainingError("diverged")] * 20)) == 40


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no such detector"),
        CorpusError("lists contradict"),
        FeatureError("the model does not load"),
        MissingStageError("run 01"),
        SystemicError("too many"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_what_the_next_items_would_meet_too_stops_at_once(error: Exception) -> None:
    assert is_of_the_run(error)
    with pytest.raises(type(error)) as raised:
        _map([None, error, KeyboardInterrupt()], of=1000)
    assert raised.value is error
    with pytest.raises(type(error)):
        failure_of("clip", error)


@pytest.mark.parametrize(
    ("error", "own", "advice"),
    [
        (MediaError("cut short"), True, ""),
        (TrainingError("diverged"), True, ""),
        (DamagedError("a shard is damaged"), False, ""),
        (OSError(errno.EIO, "Input/output error"), False, ""),
        (WorkerDied("its process died"), False, "fewer parallel.workers"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), False, "training.batch_size"),
        (RuntimeError("MPS backend out of memory"), False, "another device"),
        (MemoryError(), False, "memory does not suffice"),
        (ZeroDivisionError("division by zero"), False, ""),
    ],
)
def test_what_may_be_an_items_fault_is_told_with_what_helps(
    error: Exception, own: bool, advice: str
) -> None:
    failure = failure_of("clip", error)
    assert (failure.name, failure.error, failure.own) == ("clip", type(error).__name__, own)
    assert str(error) in failure.reason
    assert advice in failure.reason
    assert advice or failure.reason == str(error)


def test_ctrl_c_is_nobodys_fault() -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_items(interrupted, [1, 2], ["a", "b"], SERIAL, "x")


def test_where_nobody_foresaw_the_fault_its_traceback_is_shown() -> None:
    def odd(item: int) -> int:
        return 1 // (item % 25 == 0)

    with pytest.raises(SystemicError, match=r"of 25 failed.*ZeroDivisionError") as raised:
        map_items(odd, range(25), [str(i) for i in range(25)], SERIAL, "Scoring")
    shown = "\n".join(raised.value._render_traceback_())
    assert "1 // (item % 25 == 0)" in shown
    assert shown.endswith(str(raised.value))
    with pytest.raises(SystemicError) as raised:
        _map([WorkerDied("its process died")] * 4)
    assert raised.value._render_traceback_() == [f"SystemicError: {raised.value}"]


def test_a_device_too_small_for_nearly_all_clips_is_no_fault_of_the_clips() -> None:
    errors: list[Exception | None] = [RuntimeError("CUDA out of memory. Tried to allocate")] * 24
    with pytest.raises(SystemicError, match=r"4 of 25.*CUDA out of memory.*another device"):
        _map([None, *errors])


def test_the_same_deadly_clips_are_few_problems_in_every_run() -> None:
    deadly: list[Exception | None] = [WorkerDied("its process died")] * 4
    pending = [*deadly, *[None] * 36]
    for _ in range(3):
        assert [failure.error for failure in _map(pending, of=40)] == ["WorkerDied"] * 4
        pending = deadly  # they left nothing behind, so that the next run tries them again


def test_what_a_failed_item_held_is_let_go_before_the_next() -> None:
    held: list[weakref.ref[Any]] = []

    def work(item: int) -> int:
        gc.collect()
        assert not any(one() is not None for one in held)
        big = np.zeros(10 + item)
        held.append(weakref.ref(big))
        try:
            raise KeyError(item)
        except KeyError as error:
            raise RuntimeError(f"out of memory at {len(big)}") from error

    mapped = map_items(work, [1, 2, 3], list("abc"), SERIAL, "Scoring")
    assert [failure.error for failure in mapped.failures] == ["RuntimeError"] * 3
