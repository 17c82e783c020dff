"""The last round of students that was worth it."""

import numpy as np
import pytest

from meiju_utils.decisions import ENSEMBLES
from tests.decisions.toys import known, member, truth


def taken(skills: list[float], gain: float = 0.0) -> str:
    clips = truth(train=200)
    rounds = {f"round {i}": member(clips, skill, 0) for i, skill in enumerate(skills)}
    last = ENSEMBLES["last-gain"](from_=list(rounds), gain=gain)
    fitted = last.fit(rounds, known(clips))
    first = rounds["round 0"]
    found = last.apply(rounds, fitted, known(clips).fold_of(first.table))
    expected = rounds[fitted["taken"]].probabilities("intent")
    np.testing.assert_array_equal(found.probabilities("intent"), expected)
    assert list(fitted["likelihood"]) == list(rounds)
    name: str = fitted["taken"]
    return name


@pytest.mark.parametrize(
    ("skills", "gain", "expected"),
    [
        ([1.0, 2.0, 3.0], 0.0, "round 2"),
        ([1.0, 2.0, 1.5], 0.0, "round 1"),
        ([2.0, 1.0, 3.0], 0.0, "round 0"),  # where one does not gain, no later one is looked at
        ([1.0, 1.0], 0.0, "round 0"),
        ([1.0, 2.0], 5.0, "round 0"),
        ([1.0], 0.0, "round 0"),
    ],
)
def test_rounds_go_on_while_held_out_clips_become_likelier(
    skills: list[float], gain: float, expected: str
) -> None:
    assert taken(skills, gain) == expected
