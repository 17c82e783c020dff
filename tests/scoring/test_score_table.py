"""The tidy table of scores: values, intervals, kinds, and the wide one that is read."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.scoring import (
    FAILED,
    JOINT,
    MEAN,
    SCORE_COLUMNS,
    SINGLE,
    bootstrap_scores,
    concatenated,
    failed_table,
    interval,
    score,
    score_table,
    scored,
    training_table,
    wide,
)

COUNTS = {
    "meiju": {"emotion": 7, "intent": 8},
    "five-and-nine": {"valence": 5, "topic": 9},
    "emotion": {"emotion": 7},
}
every_setting = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)


def labels(
    counts: dict[str, int], size: int = 60, draw: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Indices of true classes and answers of which some 60 % are right."""
    truth_rng, rng = np.random.default_rng(0), np.random.default_rng([1, draw])
    truth = {task: truth_rng.integers(0, count, size) for task, count in counts.items()}
    answers = {
        task: np.where(rng.random(size) < 0.6, truth[task], (truth[task] + 1) % count)
        for task, count in counts.items()
    }
    return truth, answers


@every_setting
def test_a_score_table_has_each_score_with_its_interval(counts: dict[str, int]) -> None:
    truth, answers = labels(counts)
    table = score_table("mine", "valid", truth, answers, "weighted")
    assert table.columns.tolist() == SCORE_COLUMNS
    assert table["score"].tolist() == [*counts, JOINT]
    assert set(table["system"]) == {"mine"}
    assert set(table["split"]) == {"valid"}
    assert set(table["kind"]) == {MEAN}
    np.testing.assert_array_equal(table["value"], list(score(truth, answers).values()))
    draws = bootstrap_scores(truth, answers)
    np.testing.assert_array_equal(table["low"], np.quantile(draws, 0.025, axis=0))
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()


def test_intervals_shrink_with_more_clips() -> None:
    def width(size: int) -> float:
        truth, answers = labels(COUNTS["meiju"], size)
        row = score_table("a", "valid", truth, answers, "weighted").iloc[-1]
        return float(row["high"] - row["low"])

    # The width falls like 1/√n: sixteen times the clips give about a quarter of it.
    assert width(1600) < width(100) / 2.5


@every_setting
def test_a_training_table_has_one_training_and_each_seed(counts: dict[str, int]) -> None:
    truth, _ = labels(counts)
    by_seed = {seed: labels(counts, draw=seed)[1] for seed in (3, 5)}
    table = training_table("mine", "valid", truth, by_seed, "micro")
    assert table.columns.tolist() == SCORE_COLUMNS
    scores = [*counts, JOINT]
    assert table["kind"].tolist() == [
        k for k in (SINGLE, "seed 3", "seed 5") for _ in range(len(scores))
    ]
    assert table["score"].tolist() == scores * 3
    seeds = table[table["kind"] != SINGLE]
    assert seeds[["low", "high"]].isna().all(axis=None)
    expected = [value for a in by_seed.values() for value in score(truth, a, "micro").values()]
    np.testing.assert_array_equal(seeds["value"], expected)
    single = table[table["kind"] == SINGLE]
    means = np.reshape(expected, (2, -1)).mean(axis=0)
    np.testing.assert_allclose(single["value"], means)
    assert (single["low"] < single["value"]).all()
    assert (single["value"] < single["high"]).all()


def test_intervals_of_one_training_are_those_of_comparisons_and_wider_where_trainings_differ() -> (
    None
):
    truth, _ = labels(COUNTS["meiju"])
    alike = {seed: labels(COUNTS["meiju"], draw=seed)[1] for seed in range(3)}
    worse = {task: np.zeros_like(values) for task, values in truth.items()}
    widths = []
    for by_seed in (alike, {**alike, 2: worse}):
        table = training_table("mine", "valid", truth, by_seed, "weighted")
        single = table[table["kind"] == SINGLE]
        low, high = interval(scored(truth, by_seed, "weighted"))
        np.testing.assert_array_equal(single["low"], low)
        np.testing.assert_array_equal(single["high"], high)
        widths.append((high - low)[-1])
    assert widths[1] > 1.5 * widths[0]


def test_of_one_seed_one_training_is_as_sure_as_its_clips() -> None:
    truth, answers = labels(COUNTS["meiju"])
    table = training_table("mine", "valid", truth, {4: answers}, "weighted")
    single, (_, seed) = table[table["kind"] == SINGLE], table["kind"].unique()
    assert seed == "seed 4"
    spread = bootstrap_scores(truth, answers).std(axis=0, ddof=1)
    # 2.001: a t quantile at 59 degrees of freedom
    width = 2 * 2.001 * np.sqrt(60 / 59) * spread
    np.testing.assert_allclose(single["high"] - single["low"], width, rtol=1e-3)


def test_a_failed_system_has_rows_without_scores() -> None:
    table = failed_table("broken", "valid", ["emotion"])
    assert table.columns.tolist() == SCORE_COLUMNS
    assert table["score"].tolist() == ["emotion", JOINT]
    assert set(table["kind"]) == {FAILED}
    assert table[["value", "low", "high"]].isna().all(axis=None)


def test_no_tables_make_an_empty_one() -> None:
    assert concatenated([]).columns.tolist() == SCORE_COLUMNS
    assert len(concatenated([])) == 0


@every_setting
def test_the_wide_table_has_a_row_a_system_in_order(counts: dict[str, int]) -> None:
    truth, answers = labels(counts)
    scores = concatenated(
        [
            score_table("second", "valid", truth, answers, "weighted"),
            failed_table("broken", "valid", counts),
            score_table("first", "valid", truth, truth, "weighted"),
            training_table("first", "valid", truth, {0: truth}, "weighted"),
        ]
    )
    found = wide(scores, MEAN)
    figures = [f"{s}{bound}" for s in (*counts, JOINT) for bound in ("", "_low", "_high")]
    assert found.columns.tolist() == ["name", "split", "kind", "chose", *figures]
    assert found["name"].tolist() == ["second", "broken", "first"]
    assert found["kind"].tolist() == [MEAN, FAILED, MEAN]
    row = scores[(scores["system"] == "second") & (scores["score"] == JOINT)].iloc[0]
    joint = found.loc[0, [JOINT, "joint_low", "joint_high"]]
    assert joint.tolist() == row[["value", "low", "high"]].tolist()
    assert found.loc[1, figures].isna().all()
    assert found.loc[2, JOINT] == pytest.approx(1, abs=1e-6)  # official denominator
    assert wide(scores)["kind"].tolist() == [MEAN, FAILED, MEAN, SINGLE, "seed 0"]
    assert wide(scores, SINGLE)["name"].tolist() == ["broken", "first"]


def test_a_wide_table_keeps_splits_apart() -> None:
    truth, answers = labels(COUNTS["emotion"])
    parts = [score_table("a", s, truth, answers, "micro") for s in ("valid", "test")]
    found = wide(pd.concat(parts))
    assert found[["name", "split"]].to_numpy().tolist() == [["a", "valid"], ["a", "test"]]
    assert found["emotion"].notna().all()
