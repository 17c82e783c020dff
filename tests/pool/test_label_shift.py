"""The classes' shares in the pool, where clips of a class look alike, and where they do not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.pool.label_shift import estimate_shift, shifted
from meiju_utils.predictions import Answers, class_columns

CLASSES = {"mood": ("a", "b", "c")}
MEANS = np.array([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])


def answers(
    shares: list[float], clips: int, draw: int, prior: Any, off: float = 0.0
) -> tuple[Answers, pd.DataFrame]:
    """Exact posteriors under `prior` of clips of three Gaussian classes; those of class a are
    moved by `off` to where nobody knows what they are."""
    rng = np.random.default_rng(draw)
    index = rng.choice(3, clips, p=shares)
    x = rng.normal(size=(clips, 3)) + MEANS[index]
    x[index == 0] += off * np.array([-1.0, 0.1, 0.1])
    odds = np.exp(2.0 * x - 2.0) * np.asarray(prior)
    p = odds / odds.sum(axis=1, keepdims=True)
    ids = [f"{draw}-{i}" for i in range(clips)]
    labels = pd.DataFrame({"clip_id": ids, "mood": np.array(CLASSES["mood"])[index]})
    table = labels.assign(split="x").astype("str")[["clip_id", "split", "mood"]]
    probabilities = pd.DataFrame(p, columns=class_columns(CLASSES, "mood"))
    return Answers(pd.concat([table, probabilities], axis=1)), labels


PRIOR = [0.5, 0.3, 0.2]
OTHER = [0.15, 0.25, 0.6]


def test_shares_of_the_pool_are_found_with_their_interval() -> None:
    held_out, labels = answers(PRIOR, 600, 1, PRIOR)
    pool, _ = answers(OTHER, 1500, 2, PRIOR)
    found = estimate_shift(pool, held_out, labels)["mood"]
    np.testing.assert_allclose(found.shares["pool"], OTHER, atol=0.05)
    assert (found.shares["low"] < found.shares["pool"]).all()
    assert (found.shares["pool"] < found.shares["high"]).all()
    assert found.holds
    assert "may be used" in found.told()
    better = shifted(pool.probabilities("mood"), found.shares)
    index = pool.table["mood"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
    rows = np.arange(len(index))
    assert (
        np.log(better[rows, index]).mean() > np.log(pool.probabilities("mood")[rows, index]).mean()
    )


def test_clips_of_a_class_that_look_otherwise_refute_it() -> None:
    held_out, labels = answers(PRIOR, 600, 1, PRIOR)
    pool, _ = answers(PRIOR, 1500, 2, PRIOR, off=1.5)
    found = estimate_shift(pool, held_out, labels)["mood"]
    assert not found.holds
    assert "not used" in found.told()


def test_it_is_seldom_refuted_where_it_holds() -> None:
    refuted = 0
    for draw in range(20):
        held_out, labels = answers(PRIOR, 300, 100 + draw, PRIOR)
        pool, _ = answers(OTHER, 500, 200 + draw, PRIOR)
        refuted += not estimate_shift(pool, held_out, labels)["mood"].holds
    assert refuted <= 4  # one is expected; of 20 at 5 % more than four come once in 400 times


def test_a_large_pool_is_sampled_and_a_small_one_or_none_is_no_fault() -> None:
    held_out, labels = answers(PRIOR, 200, 1, PRIOR)
    large, _ = answers(OTHER, 20_000, 2, PRIOR)
    np.testing.assert_allclose(
        estimate_shift(large, held_out, labels)["mood"].shares["pool"], OTHER, atol=0.06
    )
    few, _ = answers(OTHER, 5, 3, PRIOR)
    assert np.isfinite(estimate_shift(few, held_out, labels)["mood"].shares["pool"]).all()
    none = estimate_shift(few.of_split("nowhere"), held_out, labels)["mood"]
    assert none.p == 0
    assert not none.holds
    assert none.shares["pool"].isna().all()


def test_a_class_that_train_lacks_gets_no_share() -> None:
    held_out, labels = answers([0.6, 0.4, 0.0], 300, 1, [0.6, 0.4, 0.0])
    pool, _ = answers([0.3, 0.7, 0.0], 300, 2, [0.6, 0.4, 0.0])
    found = estimate_shift(pool, held_out, labels)["mood"]
    assert found.shares["pool"].iloc[2] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(shifted(pool.probabilities("mood"), found.shares)).all()


def test_without_knowledge_the_pool_is_taken_for_train() -> None:
    held_out, labels = answers(PRIOR, 60, 1, PRIOR)
    columns = class_columns(CLASSES, "mood")
    alike = Answers(held_out.table.assign(**dict(zip(columns, [0.5, 0.3, 0.2], strict=True))))
    found = estimate_shift(alike, alike, labels)["mood"]
    np.testing.assert_allclose(found.shares["pool"], PRIOR, atol=1e-6)
