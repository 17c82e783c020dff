import os
from typing import Any

import pytest

from meiju_utils.config import Parallel
from meiju_utils.parallel import failures_table, map_items


def _reciprocal(value: int) -> float:
    return 1 / value


def _threads(_: int) -> str:
    return os.environ.get("OMP_NUM_THREADS", "")


@pytest.mark.parametrize("backend", ["serial", "loky"])
def test_one_bad_item_is_collected_and_the_others_keep_their_order(backend: str) -> None:
    settings = Parallel(backend=backend, workers=2)
    mapped = map_items(_reciprocal, [1, 0, 4], ["a", "b", "c"], settings, "halving")
    assert mapped.results == [1.0, None, 0.25]
    assert mapped.succeeded() == [1.0, 0.25]
    table = failures_table(mapped.failures, "media")
    assert table.to_dict("records") == [
        {
            "clip_id": "b",
            "stage": "media",
            "problem": "ZeroDivisionError",
            "reason": "division by zero",
        }
    ]


def test_the_bar_tells_of_the_last_result(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Parallel(backend="serial")
    map_items(_reciprocal, [4], ["b"], settings, "halving", show=lambda value: f"joint {value}")
    assert "b: joint 0.25" in capsys.readouterr().err


def test_an_intolerant_map_raises_the_error_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        map_items(_reciprocal, [1, 0], ["a", "b"], Parallel(backend="serial"), "x", tolerant=False)


def test_workers_run_one_thread_each() -> None:
    mapped = map_items(_threads, [1, 2], ["a", "b"], Parallel(workers=2), "asking")
    assert mapped.results == ["1", "1"]


def test_nothing_to_do_is_no_error() -> None:
    assert map_items(_reciprocal, [], [], Parallel(), "nothing").results == []


def test_what_is_told_of_each_item_does_not_change_what_becomes_of_errors() -> None:
    calls: list[Any] = []

    def then(*outcome: Any) -> None:
        calls.append(outcome)

    settings = Parallel(backend="serial")
    with pytest.raises(ZeroDivisionError):
        map_items(_reciprocal, [2, 0, 4], list("abc"), settings, "x", tolerant=False, then=then)
    assert [(index, result) for index, result, _ in calls] == [(0, 0.5), (1, None)]
    needs = {2: [0]}
    mapped = map_items(_reciprocal, [0, 4, 2], list("abc"), settings, "x", needs=needs, then=then)
    assert mapped.results == [None, 0.25, None]  # the last one waits for the first for good
    assert [(f.name, f.error) for f in mapped.failures] == [("a", "ZeroDivisionError")]


@pytest.mark.parametrize("backend", ["serial", "loky"])
def test_an_error_while_dealing_with_an_item_ends_the_map(backend: Any) -> None:
    def then(index: int, result: float | None, error: Exception | None) -> None:
        raise LookupError(index)

    settings = Parallel(backend=backend, workers=2)
    with pytest.raises(LookupError, match="0"):
        map_items(_reciprocal, [1, 2], ["a", "b"], settings, "x", needs={1: [0]}, then=then)


def test_items_are_done_in_the_order_of_their_needs() -> None:
    done: list[int] = []

    def then(index: int, result: float | None, error: Exception | None) -> None:
        done.append(index)

    needs = {0: [2], 2: [1], 3: []}
    settings = Parallel(backend="serial")
    mapped = map_items(
        _reciprocal, [1, 2, 4, 5], list("abcd"), settings, "x", needs=needs, then=then
    )
    assert mapped.results == [1.0, 0.5, 0.25, 0.2]
    assert sorted(done) == [0, 1, 2, 3]
    assert done.index(1) < done.index(2) < done.index(0)
