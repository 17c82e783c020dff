"""How right pseudo labels are, counted on clips whose labels are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from meiju_utils.config import PseudoLabels
from meiju_utils.pool import RULES, audit_candidates, audit_pseudo_labels
from meiju_utils.predictions import Answers, Classes
from tests.vocabularies import EMOTION, answers, every_setting


def truth_of(given_answers: Answers, **labels: Any) -> pd.DataFrame:
    return given_answers.table[["clip_id"]].assign(**labels)


def test_the_audit_counts_coverage_and_precision_by_threshold() -> None:
    held_out = answers(
        [
            ("sad", "neutral", 0.99, 0.95),
            ("sad", "wishing", 0.95, 0.97),
            ("fear", "wishing", 0.60, 0.99),
            ("fear", "neutral", 0.40, 0.40),
        ]
    )
    truth = truth_of(
        held_out,
        emotion=["sad", "happy", "fear", "fear"],
        intent=["neutral", "wishing", "wishing", "wishing"],
    ).sample(frac=1, random_state=0)
    audit = audit_pseudo_labels(held_out, truth, PseudoLabels(threshold=0.9), thresholds=(0.5,))
    rows = audit.set_index(["threshold", "task", "label"])
    assert sorted(audit["threshold"].unique()) == [0.5, 0.9]
    both = rows.loc[(0.5, "both", "all")]
    assert (both["clips"], both["passed"], both["right"]) == (4, 3, 2)
    assert both["coverage"] == pytest.approx(0.75)
    assert both["precision"] == pytest.approx(2 / 3)
    assert both["precision_low"] < 2 / 3 < both["precision_high"]
    assert rows.loc[(0.9, "emotion", "sad"), "precision"] == pytest.approx(0.5)
    assert rows.loc[(0.9, "intent", "all"), "precision"] == pytest.approx(1)
    assert np.isnan(rows.loc[(0.9, "emotion", "fear"), "precision"])
    # Each task for itself: the third clip's intent alone passes 0.9.
    alone = audit_pseudo_labels(held_out, truth, PseudoLabels(threshold=0.9, tasks="per-task"))
    found = alone.set_index(["threshold", "task", "label"]).loc[(0.9, "intent", "all")]
    assert found["passed"] == 3


@given(st.integers(1, 40), st.data())
@settings(max_examples=15)
def test_bounds_of_a_precision_are_wilsons(passed: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, passed))
    held_out = answers([("sad", 0.9)] * passed, EMOTION)
    truth = truth_of(held_out, emotion=["sad"] * right + ["fear"] * (passed - right))
    row = audit_pseudo_labels(held_out, truth, PseudoLabels(threshold=0.5), thresholds=()).iloc[0]
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
    options = PseudoLabels(threshold=0.7, tasks=tasks)
    expected = [("both", "all")]
    for task, names in classes.items():
        expected += [(task, "all"), *((task, name) for name in names)]
    audit = audit_pseudo_labels(held_out, truth, options, thresholds=())
    assert list(zip(audit["task"], audit["label"], strict=True)) == expected
    rows = audit.set_index(["task", "label"])
    for key in [("both", "all"), *((task, "all") for task in classes)]:
        assert rows.loc[key, ["clips", "passed", "right"]].tolist() == [2, 1, 1]
    first = next(iter(classes))
    assert rows.loc[(first, classes[first][-1]), "coverage"] == 0.5
    assert np.isnan(rows.loc[(first, classes[first][0]), "coverage"])
    rule = RULES["quantile"](options, least=1)
    selection = rule(held_out)
    in_force = audit_candidates(held_out, truth, selection.thresholds, rule.settings)
    assert list(zip(in_force["task"], in_force["label"], strict=True)) == expected
    assert in_force["passed"].iloc[0] == selection.table["candidate"].sum() == 1


def test_what_is_trained_on_is_audited_at_the_thresholds_in_force() -> None:
    options = PseudoLabels(least=8)
    pool = answers([*[("sad", "neutral", 0.999, 0.999)] * 8, ("fear", "neutral", 0.45, 0.45)])
    classes = RULES["quantile"](options)(pool).thresholds
    held_out = answers(
        [
            ("sad", "neutral", 0.999, 0.999),
            ("sad", "neutral", 0.98, 0.98),  # does not reach its threshold
            ("fear", "neutral", 0.5, 0.9),
            ("fear", "neutral", 0.6, 0.9),
        ]
    )
    truth = truth_of(held_out, emotion=["sad", "sad", "fear", "happy"], intent="neutral")
    found = audit_candidates(held_out, truth, classes, options).set_index(["task", "label"])
    assert found.loc[("emotion", "fear"), ["passed", "right"]].tolist() == [2, 1]
    assert found.loc[("emotion", "sad"), ["clips", "passed", "right"]].tolist() == [2, 1, 1]
    assert found.loc[("both", "all"), "precision"] == pytest.approx(2 / 3)


def test_where_everything_is_trained_on_everything_is_audited() -> None:
    held_out = answers([("sad", "neutral", 0.3, 0.3), ("fear", "wishing", 0.9, 0.9)])
    truth = truth_of(held_out, emotion=["sad", "sad"], intent=["neutral", "wishing"])
    rule = RULES["everything"](PseudoLabels())
    classes = rule(held_out).thresholds
    found = audit_candidates(held_out, truth, classes, rule.settings).set_index(["task", "label"])
    assert found.loc[("both", "all"), ["clips", "passed", "right"]].tolist() == [2, 2, 1]
