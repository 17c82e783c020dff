import os

import pytest

from meiju_utils.config import Parallel
from meiju_utils.errors import MeijuError
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


def test_when_every_item_fails_the_run_stops_with_the_first_reason() -> None:
    with pytest.raises(MeijuError, match=r"all 2 items failed.*ZeroDivisionError"):
        map_items(_reciprocal, [0, 0], ["a", "b"], Parallel(backend="serial"), "halving")


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
