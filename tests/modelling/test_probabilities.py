"""Tables of probabilities: means over seeds, combinations by task, answers."""

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.probabilities import (
    PROBABILITY_COLUMNS,
    answers,
    combine,
    mean_over_members,
    probability_table,
)


def table(seeds: tuple[int, ...] = (0, 1), clips: int = 4, start: int = 0) -> pd.DataFrame:
    parts = []
    for seed in seeds:
        rng = np.random.default_rng(start + seed)
        values = {t: rng.dirichlet(np.ones(len(CLASSES[t])), clips) for t in TASKS}
        ids = np.array([f"c{i}" for i in range(clips)])
        parts.append(probability_table(ids, np.array(["test"] * clips), values, seed))
    return pd.concat(parts, ignore_index=True)


def test_the_mean_over_seeds_has_a_row_a_clip_in_order() -> None:
    both = table()
    mean = mean_over_members(both)
    assert mean["clip_id"].tolist() == ["c0", "c1", "c2", "c3"]
    expected = (both["emotion_sad"][:4].to_numpy() + both["emotion_sad"][4:].to_numpy()) / 2
    np.testing.assert_allclose(mean["emotion_sad"], expected, atol=1e-7)
    shuffled = mean_over_members(both.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(
        shuffled.sort_values("clip_id", ignore_index=True), mean, check_exact=True
    )


def test_a_combination_takes_each_task_from_its_own_tables_seed_by_seed() -> None:
    first, second = table(), table(start=10)
    found = combine({"emotion": [first], "intent": [first, second]})
    emotion, intent = PROBABILITY_COLUMNS["emotion"], PROBABILITY_COLUMNS["intent"]
    np.testing.assert_allclose(found[emotion], first[emotion])
    np.testing.assert_allclose(found[intent], (first[intent] + second[intent]) / 2)
    assert found["seed"].tolist() == first["seed"].tolist()


def test_a_combination_has_the_seeds_that_all_have() -> None:
    found = combine({"emotion": [table((0, 1, 2))], "intent": [table((2, 1))]})
    assert sorted(found["seed"].unique()) == [1, 2]
    with pytest.raises(TrainingError, match="share no seed"):
        combine({"emotion": [table((0,))], "intent": [table((1,))]})


def test_tables_of_different_clips_do_not_combine() -> None:
    with pytest.raises(TrainingError, match="different clips"):
        combine({"emotion": [table(clips=4)], "intent": [table(clips=3)]})


def test_answers_are_the_most_probable_labels_and_how_probable_they_are() -> None:
    one = table((0,), clips=2)
    decided = answers(one)
    best = one[PROBABILITY_COLUMNS["intent"]].to_numpy().argmax(axis=1)
    assert decided["intent"].tolist() == [CLASSES["intent"][i] for i in best]
    np.testing.assert_allclose(
        decided["emotion_confidence"], one[PROBABILITY_COLUMNS["emotion"]].max(axis=1)
    )
