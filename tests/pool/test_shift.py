"""Weights that give held-out clips the classes of the pool, against what is known of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.pool.shift import effective_number, shift_weights


def one(*labels: str) -> pd.DataFrame:
    return pd.DataFrame({"emotion": pd.Series(labels, dtype="str")})


def test_of_one_task_a_clip_weighs_its_class_share_in_the_pool_over_that_held_out() -> None:
    weights = shift_weights(one("sad", "sad", "sad", "fear"), one("sad", "fear", "fear", "fear"))
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3, 3])
    assert effective_number(weights) == pytest.approx(16 / (3 / 9 + 9))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
@settings(max_examples=20)
def test_of_two_tasks_both_shares_are_those_of_the_pool(pairs: list[tuple[int, int]]) -> None:
    # Every pair is there once or more, so that weights with any shares exist.
    grid = [(a, b) for a in range(3) for b in range(3)]
    columns = ["emotion", "intent"]
    held_out = pd.DataFrame([*grid, *grid[:4]], columns=columns).astype("str")
    pool = pd.DataFrame(pairs, columns=columns).astype("str")
    weights = shift_weights(held_out, pool)
    assert weights.mean() == pytest.approx(1)
    assert 0 < effective_number(weights) <= len(held_out) + 1e-9
    for task in columns:
        shares = pd.Series(weights).groupby(held_out[task]).sum() / weights.sum()
        expected = pool[task].value_counts(normalize=True).reindex(shares.index, fill_value=0)
        np.testing.assert_allclose(shares, expected, atol=1e-4)


def test_classes_of_one_side_alone_count_nothing() -> None:
    weights = shift_weights(one("sad", "fear", "anger"), one("sad", "fear", "happy", "happy"))
    np.testing.assert_allclose(weights, [1.5, 1.5, 0])


@pytest.mark.parametrize(
    ("held_out", "pool"),
    [(one("sad"), one()), (one(), one("sad")), (one("sad"), one("fear")), (one(), one())],
)
@pytest.mark.filterwarnings("error")
def test_nothing_in_common_gives_no_weight(held_out: pd.DataFrame, pool: pd.DataFrame) -> None:
    weights = shift_weights(held_out, pool)
    assert weights.tolist() == [0] * len(held_out)
    assert effective_number(weights) == 0
