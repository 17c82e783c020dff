"""The sentences about a choice, for each way it can turn out."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.pool import audit_selection, audit_thresholds, remark, tell, with_truth
from meiju_utils.predictions import Answers
from tests.pool.choices import choice, truth_of
from tests.vocabularies import EMOTION, answers


def told(
    pool: Answers,
    held_out: Answers,
    right: list[bool],
    truth: pd.DataFrame | None = None,
    **options: Any,
) -> str:
    """What is told of a choice; `right` says which held-out emotions are (others are happy)."""
    labels = np.where(right, held_out.table["emotion"], "happy")
    known = truth_of(held_out, emotion=labels)
    if "intent" in held_out.table:
        known["intent"] = held_out.table["intent"]
    selection = choice(pool, **options)
    audit = audit_thresholds(held_out, known, selection)
    in_force = with_truth(audit_selection(held_out, known, selection), selection, truth)
    return "\n".join(tell(selection, audit, in_force))


UNSURE = answers([("sad", "neutral", 0.5 + i / 100, 0.9) for i in range(40)])
SURE = answers([("sad", "neutral", 0.99, 0.995)] * 40)
HALF = [True, False] * 20


def test_none_passes_the_strict_rule() -> None:
    text = told(UNSURE, UNSURE, HALF, rule="paper")
    assert (
        "None of 40 clips reaches 0.99: the surest has 0.89, the mean is 0.70, as the less" in text
    )
    assert "choice of a class: never predicted in 13, threshold in 2 of 15." in text
    assert "No clip is chosen: a student goes on with the true labels alone." in text
    assert "fall" not in text
    strict = choice(UNSURE, rule="paper")
    assert remark(strict).endswith("labels counts. It is trained on the true labels alone.")


def test_none_passes_and_the_thresholds_fall() -> None:
    text = told(UNSURE, UNSURE, HALF)
    assert "Too few do in 2 of 15 classes: there the threshold falls" in text
    assert "confidences, 0.82." in text
    assert "8 of 40 clips are chosen." in text
    assert "Of the 8 held-out clips that pass the same thresholds 0.50 are right" in text
    assert "weighed by the classes of the chosen ones 0.50 [0.22, 0.78]." in text
    assert remark(choice(UNSURE)).startswith("15 of 15 classes have few or no")


def test_some_or_all_pass() -> None:
    some = told(UNSURE, UNSURE, HALF, rule="paper", threshold=0.8, cap=None)
    assert "10 of 40 clips reach 0.8; the mean is 0.70, as the less sure of a clip" in some
    assert "10 of 40 clips are chosen." in some
    every = told(SURE, SURE, [True] * 40, rule="paper", cap=None)
    assert "All clips of the pool (40) reach 0.99." in every
    assert "never predicted in 13, pool in 2 of 15." in every
    assert "All clips of the pool (40) are taken, however sure." in told(
        UNSURE, UNSURE, HALF, rule="everything"
    )


@pytest.mark.parametrize(
    ("confidence", "right", "verdict"),
    [
        (0.5, HALF, "it is about as right as sure, but undecided among 7 classes."),
        (0.3, HALF, "it is right more often, but undecided among 7 classes."),
        (0.62, HALF, "it is about as right as sure."),
        (0.9, HALF, "it is over-confident, so that a threshold promises more than it keeps."),
        (0.995, [True] * 40, "it is about as right as sure."),
    ],
)
def test_the_teacher_is_as_right_as_it_is_sure_or_not(
    confidence: float, right: list[bool], verdict: str
) -> None:
    clips = answers([("sad", confidence)] * 40, EMOTION)
    text = told(clips, clips, right, rule="paper")
    assert f"mean confidence in emotion is {confidence:.2f} where {np.mean(right):.2f} [" in text
    assert text.count("are right: ") == 1
    assert verdict in text


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (0.0, "fewer than the audit says: clips predicted alike are right less often there."),
        (0.5, "within that interval."),
        (1.0, "more than the audit says."),
    ],
)
def test_where_the_truth_is_known_the_audit_is_judged(share: float, verdict: str) -> None:
    labels = ["sad" if i < 40 * share else "fear" for i in range(40)]
    truth = truth_of(SURE, emotion=labels, intent="neutral")
    text = told(SURE, SURE, HALF, truth, rule="paper", cap=None)
    assert text.endswith(f"In truth {share:.2f} of the chosen clips are right, {verdict}")


def test_without_a_pool_or_held_out_clips_alike_that_is_said() -> None:
    none = answers([])
    assert told(none, UNSURE, HALF) == "There are no unlabelled clips, so none are labelled."
    assert remark(choice(none)) == "There are no unlabelled clips, so none are labelled."
    others = answers([("fear", "neutral", 0.99, 0.99)] * 9)
    truth = truth_of(others, emotion="fear", intent="neutral")
    text = told(others, UNSURE, HALF, truth, rule="paper", cap=None)
    assert "No held-out clip stands for them" in text
    assert text.endswith("In truth 1.00 of the chosen clips are right.")
    assert "confidence in emotion" not in text
    assert "confidence in intent" in text


def test_a_full_choice_needs_no_remark() -> None:
    pool = answers([("sad", 0.99), ("happy", 0.99)], {"emotion": ("happy", "sad")})
    assert remark(choice(pool, "everything")) == ""
