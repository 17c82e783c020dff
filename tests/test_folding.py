"""Folds: what is spread evenly, what stays together, what gives way."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from meiju_utils.errors import TrainingError
from meiju_utils.folding import deal, recording_of
from meiju_utils.run import Run


def names(clips: int) -> list[str]:
    return [f"c{i}" for i in range(clips)]


def test_label_pairs_are_spread_over_folds_as_evenly_as_their_counts_allow() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.choice(6, size=200, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
    first, second = np.array(list("aabbcc"))[pairs], np.array(list("xyxyxy"))[pairs]
    found = deal([first, second], names(200), 5)
    assert found.notes == []
    sizes = np.bincount(found.fold, minlength=5)
    assert sizes.max() - sizes.min() <= 6  # each of six pairs may be off by one
    for pair in range(6):
        own = np.bincount(found.fold[pairs == pair], minlength=5)
        assert own.max() - own.min() <= 1
    again, other = deal([first, second], names(200), 5), deal([first, second], names(200), 5, 1)
    np.testing.assert_array_equal(found.fold, again.fold)
    assert (found.fold != other.fold).any()


def test_copies_of_a_recording_share_a_fold() -> None:
    labels = ["a", "b"] * 30
    groups = [f"r{i // 3}" for i in range(60)]
    found = deal([labels], groups, 4)
    assert set(found.fold) == {0, 1, 2, 3}
    for fold in pd.Series(found.fold).groupby(groups).agg(set):
        assert len(fold) == 1


def test_rare_pairs_are_dealt_together_and_it_is_said() -> None:
    first = ["a"] * 20 + ["b"] * 20
    second = ["x"] * 17 + ["y", "z", "w"] + ["x"] * 17 + ["y", "z", "w"]
    found = deal([first, second], names(40), 5)
    (note,) = found.notes
    assert "6 label combinations (6 clips) have fewer clips than the 5 folds" in note
    for label in "ab":
        own = np.bincount(found.fold[np.array(first) == label], minlength=5)
        assert 3 <= own.min() <= own.max() <= 5


def test_more_folds_than_clips_of_any_label_are_dealt_by_chance() -> None:
    found = deal([list("abcdef"), list("xxyyzz")], names(6), 3)
    assert sorted(Counter(found.fold.tolist()).values()) == [2, 2, 2]
    assert found.notes == ["No label has as many clips as there are folds (3): dealt by chance."]


def test_a_group_larger_than_a_fold_makes_its_fold_larger() -> None:
    found = deal([["a"] * 12], ["same"] * 6 + names(6), 4)
    assert "6 clips are copies of one recording (same), more than a fold of 3" in found.notes[0]
    assert len(set(found.fold[:6])) == 1
    assert set(found.fold) == {0, 1, 2, 3}


def test_more_folds_than_recordings_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"5 clips in 2 groups .* cannot be dealt into 3 folds"):
        deal([["a"] * 5], ["r", "r", "r", "s", "s"], 3)


def test_copies_of_copies_are_one_recording_whatever_their_split(
    make_run: Callable[..., Run],
) -> None:
    run = make_run()
    assert recording_of(run)["clip0007"] == "clip0007"  # nobody has looked for copies
    pairs = [("clip0100", "clip0001"), ("clip0100", "clip0002"), ("clip0003", "gone")]
    table = pd.DataFrame(pairs, columns=["clip_a", "clip_b"])
    run.save_table("copies", table)
    found = recording_of(run)
    assert found["clip0001"] == found["clip0002"] == found["clip0100"]
    assert found["clip0003"] == "clip0003"
    assert len(set(found.values())) == len(found) - 2
