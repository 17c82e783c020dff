import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.metrics import (
    Average,
    bootstrap_scores,
    joint_score,
    score,
    score_intervals,
    task_f1,
)

labels = st.lists(
    st.tuples(*[st.sampled_from(v) for v in (EMOTIONS, EMOTIONS, INTENTS, INTENTS)]),
    min_size=1,
    max_size=40,
)


@given(st.floats(0, 1), st.floats(0, 1))
def test_joint_score_lies_between_zero_and_the_larger_f1(emotion: float, intent: float) -> None:
    value = joint_score(emotion, intent)
    assert 0 <= value <= max(emotion, intent)
    assert value == pytest.approx(joint_score(intent, emotion))


def test_joint_score_is_the_official_formula() -> None:
    # First row of the paper's Table I; the last digit of the print is rounded.
    assert joint_score(0.5265, 0.5051) == pytest.approx(0.5156, abs=1e-4)
    assert joint_score(0.0, 0.0) == 0.0


def test_a_constant_answer_scores_as_hand_computed() -> None:
    truth = ["happy"] * 3 + ["sad"]
    # Weighted: happy F1 = 2·3/(3+4) = 6/7 with weight 3/4, sad 0. Micro: 3 of 4 right.
    constant = ["happy"] * 4
    weighted = score(truth, constant, truth, constant, "weighted")
    assert weighted.emotion == pytest.approx(6 / 7 * 3 / 4)
    assert score(truth, constant, truth, constant, "micro").emotion == pytest.approx(3 / 4)


@pytest.mark.parametrize("average", ["weighted", "micro"])
@given(rows=labels)
def test_scores_equal_scikit_learns(
    average: Average, rows: list[tuple[str, str, str, str]]
) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    found = score(*columns, average=average)
    for value, truth, predicted in ((found.emotion, *columns[:2]), (found.intent, *columns[2:])):
        expected = f1_score(truth, predicted, average=average, zero_division=0)
        assert value == pytest.approx(expected)
    indices = [np.array([EMOTIONS.index(label) for label in column]) for column in columns[:2]]
    assert task_f1(*indices, average) == pytest.approx(found.emotion)


def test_unlike_numbers_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        task_f1(["sad", "happy"], ["sad"], "micro")


@pytest.mark.parametrize("average", ["weighted", "micro"])
@given(rows=labels)
def test_resampled_scores_equal_scikit_learns_on_the_drawn_clips(
    average: Average, rows: list[tuple[str, str, str, str]]
) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    draws = bootstrap_scores(*columns, average=average, resamples=3, seed=1)
    size = len(rows)
    counts = np.random.default_rng(1).multinomial(size, np.full(size, 1 / size), 3)
    for count, drawn in zip(counts, draws, strict=True):
        picked = np.repeat(np.arange(size), count)
        truth, predicted = columns[0][picked], columns[1][picked]
        expected = f1_score(truth, predicted, average=average, zero_division=0)
        assert drawn[0] == pytest.approx(expected)


def test_intervals_hold_the_score_and_shrink_with_more_clips() -> None:
    rng = np.random.default_rng(0)

    def width(size: int) -> float:
        emotion, intent = rng.integers(0, 7, size), rng.integers(0, 8, size)
        right = rng.random(size) < 0.6
        guess = np.where(right, emotion, (emotion + 1) % 7)
        intervals = score_intervals(emotion, guess, intent, np.where(right, intent, 0))
        assert intervals.joint.low <= intervals.joint.value <= intervals.joint.high
        return intervals.joint.high - intervals.joint.low

    # The width falls like 1/√n: sixteen times the clips give about a quarter of it.
    assert width(1600) < width(100) / 2.5
