"""Answers that look absurd beside the training labels are told, those that do not are not."""

import numpy as np
import pytest

from meiju_utils.submission.plausibility import as_before, implausible

TRAIN = {
    "emotion": ["happy"] * 60 + ["sad"] * 30 + ["fear"] * 10,
    "intent": ["agreeing"] * 60 + ["consoling"] * 30 + ["wishing"] * 10,
}


def drawn(size: int, shares: list[float], seed: int = 0) -> dict[str, list[str]]:
    """Pairs as train has them, so often."""
    rows = np.random.default_rng(seed).choice([0, 60, 90], size=size, p=shares)
    return {task: [labels[row] for row in rows] for task, labels in TRAIN.items()}


def kinds(answers: dict[str, list[str]]) -> list[str]:
    return [fault.kind for fault in implausible(answers, TRAIN)]


@pytest.mark.parametrize("seed", range(20))
def test_answers_like_train_are_not_told(seed: int) -> None:
    assert kinds(drawn(300, [0.6, 0.3, 0.1], seed)) == []


def test_a_shifted_histogram_is_told_with_figures() -> None:
    found = implausible(drawn(300, [0.1, 0.2, 0.7]), TRAIN)
    assert [fault.kind for fault in found] == ["histogram"] * 3
    assert "unlike train's" in found[0].message
    assert "'fear', 7" in found[0].message
    assert "10% in train" in found[0].message
    # So few clips could be so by chance.
    assert kinds(drawn(6, [0.4, 0.3, 0.3])) == []


def test_a_class_that_is_never_answered_is_told() -> None:
    found = implausible(drawn(300, [0.67, 0.33, 0.0]), TRAIN)
    assert [fault.message for fault in found] == [
        "emotion is never answered fear (10% of train)",
        "intent is never answered wishing (10% of train)",
    ]
    assert kinds(drawn(5, [0.67, 0.33, 0.0])) == []  # of so few none is expected


def test_pairs_that_train_never_has_are_told() -> None:
    answers = drawn(300, [0.6, 0.3, 0.1])
    answers["intent"] = answers["intent"][1:] + answers["intent"][:1]  # one clip off
    found = implausible(answers, TRAIN)
    assert found[0].kind == "pairs"
    assert "label pairs that train never has: " in found[0].message
    assert " and " in found[0].message


def test_without_train_or_with_one_task_what_can_be_told_is() -> None:
    assert implausible(drawn(300, [0, 0, 1])) == []
    assert implausible({"emotion": []}, {"emotion": ["a"]}) == []
    one = {"emotion": drawn(300, [0.1, 0.2, 0.7])["emotion"]}
    assert [f.kind for f in implausible(one, {"emotion": TRAIN["emotion"]})] == ["histogram"]


def test_the_content_of_an_earlier_submission_is_told() -> None:
    assert as_before("ab", {"cd": "x"}) == []
    assert "is that of a.csv of run r" in as_before("ab", {"ab": "a.csv of run r"})[0].message
