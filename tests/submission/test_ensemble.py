"""Probabilities are combined clip by clip, whatever the order of rows, or not at all."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import EMOTIONS, INTENTS, TASKS
from meiju_utils.errors import SubmissionError
from meiju_utils.submission.ensemble import (
    PROBABILITY_COLUMNS,
    agreement,
    decode,
    mean_over_members,
    mix_tasks,
    weighted_mean,
)

COLUMNS = [column for task in TASKS for column in PROBABILITY_COLUMNS[task]]


def table(seeds: int = 3, clips: int = 6, draw: int = 0) -> pd.DataFrame:
    """Random probabilities of some seeds on some clips, half valid and half test."""
    rng = np.random.default_rng(draw)
    count = seeds * clips
    values = np.concatenate(
        [rng.dirichlet(np.ones(len(PROBABILITY_COLUMNS[task])), count) for task in TASKS], axis=1
    )
    made = pd.DataFrame(values.astype(np.float32), columns=COLUMNS)
    clip = np.tile(np.arange(clips), seeds)
    made.insert(0, "clip_id", [f"clip{i}" for i in clip])
    made.insert(1, "split", np.where(clip < clips // 2, "valid", "test"))
    made.insert(2, "seed", np.repeat(np.arange(seeds), clips))
    made.insert(3, "fold", 0)
    return made


def test_the_mean_over_seeds_is_the_plain_mean_of_each_clip() -> None:
    given_table = table()
    mean = mean_over_members(given_table)
    assert mean["clip_id"].tolist() == [f"clip{i}" for i in range(6)]
    for i in range(6):
        rows = given_table[given_table["clip_id"] == f"clip{i}"]
        expected = rows[COLUMNS].to_numpy(dtype=np.float64).mean(axis=0)
        np.testing.assert_allclose(mean.loc[i, COLUMNS].to_numpy(dtype=float), expected, rtol=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 2**16))
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    given_table = table()
    shuffled = given_table.sample(frac=1, random_state=seed)
    ordered = mean_over_members(given_table).set_index("clip_id")
    pd.testing.assert_frame_equal(
        mean_over_members(shuffled).set_index("clip_id").loc[ordered.index],
        ordered,
        check_exact=True,
    )


def test_held_out_folds_and_test_clips_may_have_different_numbers_of_predictions() -> None:
    folds = table(seeds=2)
    test = folds["split"] == "test"
    second = folds[test].assign(fold=1)
    mean = mean_over_members(pd.concat([folds, second]))
    assert len(mean) == 6


def test_weights_are_relative_and_zero_leaves_a_member_out() -> None:
    tables = {"a": table(draw=1), "b": table(draw=2)}
    twice = weighted_mean(tables, {"a": 2, "b": 6})
    np.testing.assert_allclose(
        twice[COLUMNS].to_numpy(),
        0.25 * mean_over_members(tables["a"])[COLUMNS].to_numpy()
        + 0.75 * mean_over_members(tables["b"])[COLUMNS].to_numpy(),
    )
    only = weighted_mean(tables, {"a": 0, "b": 0.1})
    pd.testing.assert_frame_equal(only, mean_over_members(tables["b"]))


def test_rows_of_members_are_matched_by_clip_and_not_by_place() -> None:
    straight = weighted_mean({"a": table(draw=1), "b": table(draw=2)})
    turned = weighted_mean({"a": table(draw=1), "b": table(draw=2).iloc[::-1]})
    pd.testing.assert_frame_equal(straight, turned)


def test_the_papers_ensemble_takes_each_task_from_one_experiment() -> None:
    emotion, intent = table(draw=1), table(draw=2)
    mixed = decode(mix_tasks(emotion, intent))
    assert mixed["emotion"].tolist() == decode(emotion)["emotion"].tolist()
    assert mixed["intent"].tolist() == decode(intent)["intent"].tolist()
    assert mixed["intent"].tolist() != decode(emotion)["intent"].tolist()


def test_decoding_takes_the_most_probable_label_and_states_ties() -> None:
    two = table(seeds=1, clips=2).drop(columns=["seed", "fold"])
    two[COLUMNS] = 0.0
    two.loc[0, ["emotion_fear", "intent_wishing"]] = 1.0
    two.loc[1, ["emotion_sad", "emotion_anger", "intent_agreeing", "intent_neutral"]] = 0.5
    decoded = decode(two)
    assert decoded["emotion"].tolist() == ["fear", "sad"]
    assert decoded["intent"].tolist() == ["wishing", "agreeing"]
    assert decoded["emotion_tied"].tolist() == [False, True]
    assert decoded["intent_confidence"].tolist() == [1.0, 0.5]


def test_a_tie_at_float_precision_goes_to_the_first_label_whichever_way_it_was_rounded() -> None:
    one = table(seeds=1, clips=2).drop(columns=["seed", "fold"])
    one[COLUMNS] = 0.0
    one["intent_neutral"] = 1.0
    one["emotion_sad"] = [0.5, 0.5 - 3e-8]
    one["emotion_fear"] = [0.5, 0.5 + 3e-8]
    assert decode(one)["emotion"].tolist() == ["sad", "sad"]


def test_labels_are_the_official_ones() -> None:
    decoded = decode(table(clips=40))
    assert set(decoded["emotion"]) <= set(EMOTIONS)
    assert set(decoded["intent"]) <= set(INTENTS)


def test_agreement_counts_equal_labels_and_correlation_compares_probabilities() -> None:
    one, other = table(draw=1, clips=30), table(draw=2, clips=30)
    pairs = agreement({"one": one, "same": one, "other": other}).set_index(
        ["task", "first", "second"]
    )
    assert len(pairs) == 6
    assert pairs.loc[("emotion", "one", "same"), "agreement"] == 1
    assert pairs.loc[("intent", "one", "same"), "correlation"] == pytest.approx(1)
    equal = np.mean(decode(one)["emotion"].to_numpy() == decode(other)["emotion"].to_numpy())
    assert pairs.loc[("emotion", "one", "other"), "agreement"] == pytest.approx(equal)
    a, b = (mean_over_members(t)[PROBABILITY_COLUMNS["emotion"]].to_numpy() for t in (one, other))
    expected = np.corrcoef((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel())[0, 1]
    assert pairs.loc[("emotion", "one", "other"), "correlation"] == pytest.approx(expected)


def without_columns(bad: pd.DataFrame) -> pd.DataFrame:
    return bad.drop(columns=["intent_wishing", "split"])


def with_nan(bad: pd.DataFrame) -> pd.DataFrame:
    bad.loc[2, "emotion_sad"] = np.nan
    return bad


def not_normalised(bad: pd.DataFrame) -> pd.DataFrame:
    bad.loc[2, "intent_wishing"] += 0.5
    return bad


def doubled(bad: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([bad, bad.iloc[[2]]])


def missing_seed(bad: pd.DataFrame) -> pd.DataFrame:
    return bad.drop(index=2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_columns, "lacks split, intent_wishing"),
        (with_nan, "emotion probabilities of 1 rows, the first of clip2"),
        (not_normalised, "intent probabilities of 1 rows, the first of clip2"),
        (doubled, "predicts clip2 twice"),
        (missing_seed, "clip2 .valid. has 2, others 3"),
        (lambda bad: bad.iloc[:0], "no rows"),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SubmissionError, match=f"exp.*{words}"):
        weighted_mean({"exp": spoil(table())})


def test_members_on_different_clips_are_refused_and_the_difference_named() -> None:
    renamed = table(draw=2).replace({"clip_id": {"clip5": "clip9"}})
    with pytest.raises(SubmissionError, match=r"1 only in small \(clip9 \(test\)\)") as caught:
        weighted_mean({"big": table(), "small": renamed})
    assert "1 only in big (clip5 (test))" in str(caught.value)
    with pytest.raises(SubmissionError, match="same clips"):
        mix_tasks(table(), table(clips=5))


@pytest.mark.parametrize(
    "weights", [{"a": 1.0}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": -1}, {"a": 0, "b": 0}]
)
def test_weights_that_fit_no_mean_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(SubmissionError, match="Weights"):
        weighted_mean({"a": table(), "b": table()}, weights)


def test_an_ensemble_of_nothing_is_refused() -> None:
    with pytest.raises(SubmissionError, match="at least one"):
        weighted_mean({})
