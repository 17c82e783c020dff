"""How right pseudo labels are, counted on clips whose labels are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from meiju_utils.challenge import CLASSES
from meiju_utils.pool import audit_selection, audit_thresholds, with_truth
from meiju_utils.predictions import Classes
from tests.pool.choices import choice, truth_of
from tests.vocabularies import EMOTION, Row, answers, every_setting


def test_the_audit_counts_coverage_and_precision_by_threshold() -> None:
    rows: list[Row] = [
        ("sad", "neutral", 0.99, 0.95),
        ("sad", "wishing", 0.95, 0.97),
        ("fear", "wishing", 0.60, 0.99),
        ("fear", "neutral", 0.40, 0.40),
    ]
    held_out = answers(rows, split="train")  # whose labels are known, of whichever split
    truth = truth_of(
        held_out,
        emotion=["sad", "happy", "fear", "fear"],
        intent=["neutral", "wishing", "wishing", "wishing"],
    ).sample(frac=1, random_state=0)
    selection = choice(answers(rows), threshold=0.9)  # a pool of the same classes
    audit = audit_thresholds(held_out, truth, selection, thresholds=(0.5,))
    found = audit.set_index(["threshold", "task", "label"])
    assert sorted(audit["threshold"].unique()) == [0.5, 0.9]
    both = found.loc[(0.5, "both", "all")]
    assert (both["clips"], both["passed"], both["right"]) == (4, 3, 2)
    assert both["coverage"] == both["pool_coverage"] == pytest.approx(0.75)
    assert both["precision"] == both["raw_precision"] == pytest.approx(2 / 3)
    assert both["effective"] == pytest.approx(3)
    assert both["confidence"] == pytest.approx((0.95 + 0.95 + 0.6) / 3)
    assert both["precision_low"] < 2 / 3 < both["precision_high"]
    emotion = found.loc[(0.5, "emotion", "all")]
    assert emotion["confidence"] == pytest.approx((0.99 + 0.95 + 0.6) / 3)  # its own
    assert found.loc[(0.9, "emotion", "sad"), "precision"] == pytest.approx(0.5)
    assert found.loc[(0.9, "intent", "all"), "precision"] == pytest.approx(1)
    assert np.isnan(found.loc[(0.9, "emotion", "fear"), "precision"])
    # Each task for itself: the third clip's intent alone passes 0.9.
    alone = audit_thresholds(held_out, truth, choice(answers(rows), "paper", tasks="per-task"))
    assert (
        alone.set_index(["threshold", "task", "label"]).loc[(0.9, "intent", "all"), "passed"] == 3
    )


def test_held_out_clips_weigh_as_much_as_their_classes_in_the_pool() -> None:
    # Of sad all are right, of fear none; the pool has sad and fear the other way round.
    held_out = answers([("sad", 0.9)] * 30 + [("fear", 0.9)] * 10, EMOTION)
    truth = truth_of(held_out, emotion=["sad"] * 40)
    pool = answers([("sad", 0.9)] * 10 + [("fear", 0.9)] * 30 + [("sad", 0.4)] * 40, EMOTION)
    selection = choice(pool, "paper", threshold=0.8, cap=None)
    for audit in (
        audit_thresholds(held_out, truth, selection, thresholds=()),
        audit_selection(held_out, truth, selection),
    ):
        row = audit.set_index(["task", "label"]).loc[("emotion", "all")]
        assert row["precision"] == pytest.approx(0.25)
        assert row["raw_precision"] == 0.75
        # weights 1/3 and 3: 40² / (30/9 + 10·9)
        assert row["effective"] == pytest.approx(1600 / (30 / 9 + 90))
        assert row["precision_high"] - row["precision_low"] > 0.35
        assert row["pool_coverage"] == 0.5
        of_class = audit.set_index(["task", "label"]).loc[("emotion", "sad")]
        assert of_class["precision"] == of_class["raw_precision"] == 1


@given(st.integers(1, 40), st.data())
@settings(max_examples=15)
def test_bounds_of_a_precision_are_wilsons(passed: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, passed))
    held_out = answers([("sad", 0.9)] * passed, EMOTION)
    truth = truth_of(held_out, emotion=["sad"] * right + ["fear"] * (passed - right))
    row = audit_thresholds(held_out, truth, choice(held_out, threshold=0.5), thresholds=()).iloc[0]
    assert (row["passed"], row["right"]) == (passed, right)
    # Wilson's bounds are where the score test of a share just rejects: (p̂ - p)² = z² p(1 - p)/n.
    z = norm.ppf(0.975)
    for bound in (row["precision_low"], row["precision_high"]):
        assert (right / passed - bound) ** 2 == pytest.approx(
            z**2 * bound * (1 - bound) / passed, rel=1e-3, abs=1e-9
        )
    assert row["precision_low"] >= -1e-12
    assert row["precision_low"] - 1e-12 <= right / passed <= row["precision_high"] + 1e-12


@every_setting
@pytest.mark.parametrize("tasks", ["both", "per-task"])
def test_the_audit_has_a_row_a_task_and_class(classes: Classes, tasks: Any) -> None:
    pair = [names[-1] for names in classes.values()]
    held_out = answers([(*pair, *[0.8] * len(classes)), (*pair, *[0.4] * len(classes))], classes)
    truth = truth_of(held_out, **dict(zip(classes, pair, strict=True)))
    expected = [("both", "all")]
    for task, names in classes.items():
        expected += [(task, "all"), *((task, name) for name in names)]
    selection = choice(held_out, threshold=0.7, tasks=tasks, least=1)
    audit = audit_thresholds(held_out, truth, selection, thresholds=())
    assert list(zip(audit["task"], audit["label"], strict=True)) == expected
    rows = audit.set_index(["task", "label"])
    for key in [("both", "all"), *((task, "all") for task in classes)]:
        assert rows.loc[key, ["clips", "passed", "right"]].tolist() == [2, 1, 1]
    first = next(iter(classes))
    assert rows.loc[(first, classes[first][-1]), "coverage"] == 0.5
    assert np.isnan(rows.loc[(first, classes[first][0]), "coverage"])
    in_force = audit_selection(held_out, truth, selection)
    assert list(zip(in_force["task"], in_force["label"], strict=True)) == expected
    assert in_force["passed"].iloc[0] == selection.table["candidate"].sum() == 1


def test_what_is_trained_on_is_audited_at_the_thresholds_in_force() -> None:
    pool = answers([*[("sad", "neutral", 0.999, 0.999)] * 8, ("fear", "neutral", 0.45, 0.45)])
    held_out = answers(
        [
            ("sad", "neutral", 0.999, 0.999),
            ("sad", "neutral", 0.98, 0.98),  # does not reach its threshold
            ("fear", "neutral", 0.5, 0.9),
            ("fear", "neutral", 0.6, 0.9),
        ]
    )
    truth = truth_of(held_out, emotion=["sad", "sad", "fear", "happy"], intent="neutral")
    found = audit_selection(held_out, truth, choice(pool)).set_index(["task", "label"])
    assert found.loc[("emotion", "fear"), ["passed", "right"]].tolist() == [2, 1]
    assert found.loc[("emotion", "sad"), ["clips", "passed", "right"]].tolist() == [2, 1, 1]
    both = found.loc[("both", "all")]
    assert both["raw_precision"] == pytest.approx(2 / 3)
    assert both["precision"] == pytest.approx((8 * 1 + 1 * 0.5) / 9)
    # Where everything is trained on, everything is audited.
    everything = audit_selection(held_out, truth, choice(pool, "everything")).iloc[0]
    assert everything[["clips", "passed", "right"]].tolist() == [4, 4, 3]


def test_the_truth_of_the_pool_stands_beside_and_changes_nothing() -> None:
    pool = answers([("sad", "neutral", 0.9, 0.9)] * 3 + [("fear", "neutral", 0.5, 0.9)])
    selection = choice(pool, "paper", threshold=0.8, cap=None)
    known = truth_of(pool, emotion=["sad", "sad", "happy", "fear"], intent="neutral")
    audit = audit_thresholds(pool, known, selection, thresholds=(0.0,))
    in_force = audit_selection(pool, known, selection)
    for table in (audit, in_force):
        assert with_truth(table, selection, None) is table
        elsewhere = known.assign(clip_id=known["clip_id"] + "x")
        assert with_truth(table, selection, elsewhere) is table
        beside = with_truth(table, selection, known)
        pd.testing.assert_frame_equal(beside.drop(columns="in_truth"), table)
    rows = with_truth(audit, selection, known).set_index(["threshold", "task", "label"])["in_truth"]
    assert rows[(0.0, "both", "all")] == 0.75
    assert rows[(0.8, "emotion", "all")] == rows[(0.8, "emotion", "sad")] == pytest.approx(2 / 3)
    assert np.isnan(rows[(0.8, "emotion", "fear")])
    chosen = with_truth(in_force, selection, known).set_index(["task", "label"])["in_truth"]
    assert chosen[("both", "all")] == pytest.approx(2 / 3)
    assert chosen[("intent", "all")] == 1


@pytest.mark.filterwarnings("error")
def test_without_a_pool_there_is_nothing_to_audit() -> None:
    held_out = answers([("sad", "neutral", 0.9, 0.9)])
    truth = truth_of(held_out, emotion="sad", intent="neutral")
    selection = choice(answers([]))
    for audit in (audit_thresholds, audit_selection):
        found = audit(held_out, truth, selection)
        assert found.empty
        assert "precision" in with_truth(found, selection, truth)


@pytest.mark.filterwarnings("error")
def test_where_no_clip_of_the_pool_passes_its_precision_is_not_known() -> None:
    held_out = answers([("sad", "neutral", 0.9, 0.9)])
    truth = truth_of(held_out, emotion="sad", intent="neutral")
    selection = choice(answers([("sad", "neutral", 0.3, 0.3)]), "paper", threshold=0.8)
    row = audit_thresholds(held_out, truth, selection, thresholds=()).iloc[0]
    assert np.isnan(row["precision"])
    assert np.isnan(row["confidence"])
    assert (row["raw_precision"], row["effective"], row["pool_coverage"]) == (1, 0, 0)
    assert set(CLASSES) <= set(selection.thresholds["task"])
