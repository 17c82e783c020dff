"""F1, joint score and their resamples against scikit-learn and the official formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from meiju_utils.challenge import CLASSES, EMOTIONS, Average
from meiju_utils.scoring import JOINT, bootstrap_scores, joint_score, score, task_f1

FIVE_AND_NINE = {
    "valence": tuple(f"step {i}" for i in range(5)),
    "topic": tuple(f"topic {i}" for i in range(9)),
}
Rows = list[tuple[str, str, str, str]]


def _rows(classes: dict[str, tuple[str, ...]]) -> st.SearchStrategy[Rows]:
    first, second = (st.sampled_from(labels) for labels in classes.values())
    return st.lists(st.tuples(first, first, second, second), min_size=1, max_size=40)


both_settings = pytest.mark.parametrize(
    ("tasks", "rows"),
    [(tuple(c), _rows(c)) for c in (CLASSES, FIVE_AND_NINE)],
    ids=["meiju", "five-and-nine"],
)


@given(st.floats(0, 1), st.floats(0, 1))
def test_joint_score_lies_between_zero_and_the_larger_f1(first: float, second: float) -> None:
    value = joint_score(first, second)
    assert 0 <= value <= max(first, second)
    assert value == pytest.approx(joint_score(second, first))


def test_joint_score_is_the_official_formula() -> None:
    # First row of the paper's Table I; the last digit of the print is rounded.
    assert joint_score(0.5265, 0.5051) == pytest.approx(0.5156, abs=1e-4)
    assert joint_score(0.0, 0.0) == 0.0


def test_a_constant_answer_scores_as_hand_computed() -> None:
    truth = {"emotion": ["happy"] * 3 + ["sad"]}
    # Weighted: happy F1 = 2·3/(3+4) = 6/7 with weight 3/4, sad 0. Micro: 3 of 4 right.
    constant = {"emotion": ["happy"] * 4}
    assert score(truth, constant, "weighted")["emotion"] == pytest.approx(6 / 7 * 3 / 4)
    assert score(truth, constant, "micro")["emotion"] == pytest.approx(3 / 4)


@both_settings
@pytest.mark.parametrize("average", ["weighted", "micro"])
@given(data=st.data())
@settings(max_examples=30)
def test_scores_equal_scikit_learns(
    tasks: tuple[str, str], rows: st.SearchStrategy[Rows], average: Average, data: st.DataObject
) -> None:
    columns = [np.array(column) for column in zip(*data.draw(rows), strict=True)]
    truth = dict(zip(tasks, columns[::2], strict=True))
    answers = dict(zip(tasks, columns[1::2], strict=True))
    found = score(truth, answers, average)
    assert list(found) == [*tasks, JOINT]
    for task in tasks:
        expected = f1_score(truth[task], answers[task], average=average, zero_division=0)
        assert found[task] == pytest.approx(expected)
    assert found[JOINT] == joint_score(found[tasks[0]], found[tasks[1]])


@pytest.mark.parametrize("average", ["weighted", "micro"])
def test_indices_score_as_their_labels(average: Average) -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 7, (2, 50))
    names = np.array(EMOTIONS)
    found = task_f1(truth, answers, average)
    assert found == pytest.approx(task_f1(names[truth], names[answers], average))


def test_the_joint_score_of_one_task_is_its_f1() -> None:
    truth, answers = {"emotion": ["sad", "fear", "sad"]}, {"emotion": ["sad", "sad", "sad"]}
    found = score(truth, answers)
    assert found == {"emotion": found["emotion"], JOINT: found["emotion"]}
    draws = bootstrap_scores(truth, answers, resamples=20)
    assert draws.shape == (20, 2)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])


def test_unlike_numbers_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        task_f1(["sad", "happy"], ["sad"], "micro")


@both_settings
@pytest.mark.parametrize("average", ["weighted", "micro"])
@given(data=st.data())
@settings(max_examples=30)
def test_resampled_scores_equal_scikit_learns_on_the_drawn_clips(
    tasks: tuple[str, str], rows: st.SearchStrategy[Rows], average: Average, data: st.DataObject
) -> None:
    columns = [np.array(column) for column in zip(*data.draw(rows), strict=True)]
    size = len(columns[0])
    truth = dict(zip(tasks, columns[::2], strict=True))
    answers = dict(zip(tasks, columns[1::2], strict=True))
    draws = bootstrap_scores(truth, answers, average, resamples=3, seed=1)
    counts = np.random.default_rng(1).multinomial(size, np.full(size, 1 / size), 3)
    for count, drawn in zip(counts, draws, strict=True):
        picked = np.repeat(np.arange(size), count)
        f1 = [
            f1_score(truth[t][picked], answers[t][picked], average=average, zero_division=0)
            for t in tasks
        ]
        np.testing.assert_allclose(drawn, [*f1, joint_score(*f1)])
