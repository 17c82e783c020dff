"""Reliability: confidence against how often it is right."""

import numpy as np
import pytest

from meiju_utils.scoring import calibration_error, reliability

CLASSES = {"task": ("a", "b")}


def table(sure: list[float], right: list[bool], bins: int = 10):  # type: ignore[no-untyped-def]
    first = np.array(sure)
    truth = np.where(right, "a", "b")
    return reliability({"task": np.stack([first, 1 - first], 1)}, {"task": truth}, CLASSES, bins)


def test_bins_hold_equally_many_clips_from_the_least_to_the_most_sure() -> None:
    found = table([0.9, 0.6, 0.7, 0.8], [True, False, True, True], bins=2)
    assert found["clips"].tolist() == [2, 2]
    np.testing.assert_allclose(found["confidence"], [0.65, 0.85])
    np.testing.assert_allclose(found["accuracy"], [0.5, 1.0])
    assert calibration_error(found)["task"] == pytest.approx((0.15 + 0.15) / 2)


def test_what_is_as_often_right_as_it_says_has_no_error() -> None:
    found = table([0.75] * 40, [True] * 30 + [False] * 10, bins=1)
    assert calibration_error(found) == {"task": pytest.approx(0)}
    too_sure = table([1.0] * 40, [True] * 30 + [False] * 10, bins=1)
    assert calibration_error(too_sure) == {"task": pytest.approx(0.25)}


def test_there_are_no_more_bins_than_clips() -> None:
    assert len(table([0.9, 0.8], [True, True])) == 2
    assert len(table([], [])) == 0
