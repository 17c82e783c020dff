"""Predictions are combined clip by clip and seed by seed, whatever the order of rows, or not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES
from meiju_utils.decisions import ENSEMBLES, Argmax, Mean, agreement
from meiju_utils.decisions.mean import combine
from meiju_utils.errors import ConfigError, PredictionError
from meiju_utils.predictions import (
    ALL_FOLDS,
    CLIP,
    FITTED,
    HELD_OUT,
    NO_SEED,
    Classes,
    Predictions,
    class_columns,
    likeliest,
)
from tests.vocabularies import EMOTION, FIVE_AND_NINE, every_setting


def member(
    draw: int = 0,
    seeds: tuple[int, ...] = (0, 1),
    clips: int = 6,
    classes: Classes = CLASSES,
    **options: Any,
) -> Predictions:
    """Random predictions of some seeds, the first half of the clips valid, the others test."""
    parts = []
    rows = np.arange(clips)
    for seed in seeds:
        rng = np.random.default_rng([draw, seed + 1])
        parts.append(
            Predictions.of_arrays(
                [f"clip{i}" for i in rows],
                np.where(rows < clips // 2, "valid", "test").tolist(),
                {t: rng.dirichlet(np.ones(len(names)), clips) for t, names in classes.items()},
                classes,
                **{"fitted": np.zeros(clips, bool), "seed": seed, "fold": 0, **options},
            )
        )
    return Predictions.concatenated(parts)


@every_setting
def test_each_task_has_its_own_members_seed_by_seed(classes: Classes) -> None:
    first, second = member(1, classes=classes), member(2, classes=classes)
    *_, last = classes
    members = {task: [(first, 1.0)] for task in classes}
    members[last] = [(first, 1.0), (second, 1.0)]
    found = combine(members)
    assert found.classes == dict(classes)
    assert found.table["seed"].tolist() == first.table["seed"].tolist()
    for task in classes:
        expected = first.probabilities(task)
        if task == last:
            expected = (expected + second.probabilities(task)) / 2
        np.testing.assert_allclose(found.probabilities(task), expected, rtol=1e-12)


def test_the_papers_ensemble_takes_each_task_from_one_recipe() -> None:
    emotion, intent = member(1), member(2)
    mean = ENSEMBLES["mean"](from_={"emotion": ["a"], "intent": ["b"]})
    mixed = Argmax()(mean({"a": emotion, "b": intent}).mean()).table
    assert mixed["emotion"].tolist() == Argmax()(emotion.mean()).table["emotion"].tolist()
    assert mixed["intent"].tolist() == Argmax()(intent.mean()).table["intent"].tolist()
    assert mixed["intent"].tolist() != Argmax()(emotion.mean()).table["intent"].tolist()


@every_setting
def test_weights_are_relative_and_zero_leaves_a_member_out(classes: Classes) -> None:
    tables = {"a": member(1, classes=classes), "b": member(2, classes=classes)}
    weighted = Mean(from_=["a", "b"], weights={"a": 2, "b": 6})(tables)
    implied = Mean(from_=["a", "b"], weights={"a": 1 / 3})(tables)
    only = Mean(from_=["a", "b"], weights={"a": 0})(tables)
    for task in classes:
        a, b = (table.probabilities(task) for table in tables.values())
        np.testing.assert_allclose(weighted.probabilities(task), 0.25 * a + 0.75 * b)
        np.testing.assert_allclose(implied.probabilities(task), 0.25 * a + 0.75 * b)
        np.testing.assert_array_equal(only.probabilities(task), b)


@given(st.integers(0, 2**16))
@settings(max_examples=4)
def test_rows_of_members_are_matched_by_clip_and_not_by_place(seed: int) -> None:
    first, second = member(1), member(2)
    turned = Predictions(second.table.sample(frac=1, random_state=seed))
    straight = combine({task: [(first, 1.0), (second, 1.0)] for task in CLASSES})
    pd.testing.assert_frame_equal(
        combine({task: [(first, 1.0), (turned, 1.0)] for task in CLASSES}).table,
        straight.table,
        check_exact=True,
    )
    back = combine({task: [(turned, 1.0), (first, 1.0)] for task in CLASSES})
    order = [*CLIP, "seed", "fold"]
    pd.testing.assert_frame_equal(
        back.table.sort_values(order, ignore_index=True),
        straight.table.sort_values(order, ignore_index=True),
    )


def test_an_ensemble_has_the_seeds_that_all_members_have() -> None:
    first, second = member(1, (0, 1, 2)), member(2, (4, 2, 1))
    found = combine({"emotion": [(first, 1.0)], "intent": [(second, 1.0)]})
    assert found.table["seed"].unique().tolist() == [1, 2]
    of_two = second.table[second.table["seed"] == 2]
    expected = Predictions(of_two).probabilities("intent")
    np.testing.assert_array_equal(
        Predictions(found.table.tail(6)).probabilities("intent"), expected
    )
    with pytest.raises(PredictionError, match="share no seed"):
        combine({"emotion": [(member(seeds=(0,)), 1.0)], "intent": [(member(seeds=(1,)), 1.0)]})


def test_a_member_without_chance_joins_every_seed() -> None:
    network, linear = member(1, (3, 5)), member(2, (NO_SEED,))
    for members in ([network, linear], [linear, network]):
        found = combine({task: [(m, 1.0) for m in members] for task in CLASSES})
        assert found.table["seed"].unique().tolist() == [3, 5]
        expected = (
            network.probabilities("intent") + np.tile(linear.probabilities("intent"), (2, 1))
        ) / 2
        np.testing.assert_allclose(found.probabilities("intent"), expected)


def test_members_without_chance_make_an_ensemble_without_chance() -> None:
    found = combine({task: [(member(d, (NO_SEED,)), 1.0) for d in (1, 2)] for task in CLASSES})
    assert set(found.table["seed"]) == {NO_SEED}
    assert len(found) == 6


def test_a_member_counts_once_however_many_folds_it_has() -> None:
    parts = [member(draw, (0,), fold=fold) for fold, draw in enumerate((1, 10, 20))]
    folds, whole = Predictions.concatenated(parts), member(2, (0,))
    found = combine({task: [(folds, 1.0), (whole, 1.0)] for task in CLASSES})
    assert set(found.table["fold"]) == {ALL_FOLDS}
    mean = sum(part.probabilities("emotion") for part in parts) / 3
    expected = (mean + whole.probabilities("emotion")) / 2
    np.testing.assert_allclose(found.probabilities("emotion"), expected)


def test_a_clip_is_fitted_where_any_member_was_and_chose_what_any_chose() -> None:
    network = member(
        1,
        fitted=np.array([True, False, False, False, False, False]),
        chose=np.array(["", "", "epoch", "", "", ""]),
    )
    model = member(2, (NO_SEED,), fitted=np.array([True, True, False, False, False, False]))
    for members in ([(network, 1.0), (model, 1.0)], [(model, 1.0), (network, 1.0)]):
        table = combine(dict.fromkeys(CLASSES, members)).table
        assert table["role"].tolist() == ([FITTED] * 2 + [HELD_OUT] * 4) * 2
        assert table["chose"].tolist() == ["", "", "epoch", "", "", ""] * 2
    unlike = combine({"emotion": [(network, 1.0)], "intent": [(model, 1.0)]}).table
    assert unlike["role"].tolist() == ([FITTED] * 2 + [HELD_OUT] * 4) * 2


@pytest.mark.parametrize(
    "other",
    [
        member(2, clips=4),
        Predictions(member(2).table.replace({"clip_id": {"clip5": "clip9"}})),
        Predictions(member(2).table.replace({"split": {"test": "unlabeled"}})),
    ],
    ids=["fewer", "renamed", "of another split"],
)
def test_members_that_predict_different_clips_are_refused(other: Predictions) -> None:
    for members in ([member(1), other], [other, member(1)]):
        with pytest.raises(PredictionError, match="different clips"):
            combine({task: [(m, 1.0) for m in members] for task in CLASSES})


def test_members_that_predict_different_classes_are_refused() -> None:
    members = [(member(1), 1.0), (member(2, classes=EMOTION), 1.0)]
    with pytest.raises(PredictionError, match="different tasks or classes"):
        combine({"emotion": members})


def test_members_are_named_once_or_for_each_task() -> None:
    assert Mean(from_=["a", "b"]).members(["emotion"]) == {"emotion": ["a", "b"]}
    unlike = Mean(from_={"emotion": ["a"], "intent": ["b", "c"]})
    assert unlike.members(CLASSES) == {"emotion": ["a"], "intent": ["b", "c"]}
    # A recipe that names members for both tasks also serves a setting of one.
    assert unlike.members(["emotion"]) == {"emotion": ["a"]}
    own = Mean(from_={"valence": ["a"], "topic": ["b"]})
    assert own.members(FIVE_AND_NINE) == {"valence": ["a"], "topic": ["b"]}


@pytest.mark.parametrize(
    ("make", "tasks", "words"),
    [
        (lambda: Mean(from_={"emotion": ["a"]}), CLASSES, "expected a list, or one for each of"),
        (
            lambda: Mean(from_={"mood": ["a"], "emotion": ["a"]}),
            EMOTION,
            "members of mood, emotion",
        ),
        (lambda: Mean(from_={"intent": ["a"]}), CLASSES, "one for each of emotion"),
        (lambda: Mean(from_=["a"], weights={"b": 1}), CLASSES, "weighs 'b'.* not among"),
        (
            lambda: Mean(from_=["a", "b"], weights={"a": 0, "b": 0}),
            EMOTION,
            "All .* emotion weigh 0",
        ),
        (
            lambda: Mean(from_={"emotion": ["a"], "intent": ["b"]}, weights={"b": 0}),
            EMOTION,
            "All members of intent weigh 0",
        ),
    ],
)
def test_members_that_fit_no_task_or_no_mean_are_refused(
    make: Callable[[], Mean], tasks: Classes, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make().members(tasks)


@every_setting
def test_agreement_counts_equal_labels_and_correlation_compares_probabilities(
    classes: Classes,
) -> None:
    one, other = member(1, clips=30, classes=classes), member(2, clips=30, classes=classes)
    shuffled = Predictions(one.table.sample(frac=1, random_state=0))
    table = agreement({"one": one, "same": shuffled, "other": other})
    assert table["task"].tolist() == sorted(list(classes) * 3)
    pairs = table.set_index(["task", "first", "second"])
    for task in classes:
        assert pairs.loc[(task, "one", "same"), "agreement"] == 1
        assert pairs.loc[(task, "one", "same"), "correlation"] == pytest.approx(1)
        a, b = (predictions.mean().probabilities(task) for predictions in (one, other))
        equal = np.mean(likeliest(a) == likeliest(b))
        assert pairs.loc[(task, "one", "other"), "agreement"] == pytest.approx(equal)
        expected = np.corrcoef((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel())[0, 1]
        assert pairs.loc[(task, "one", "other"), "correlation"] == pytest.approx(expected)


def test_a_member_that_answers_every_clip_alike_correlates_with_none() -> None:
    constant = member(1, classes=EMOTION).table
    constant[class_columns(EMOTION, "emotion")] = np.eye(7)[0]
    table = agreement({"constant": Predictions(constant), "other": member(2, classes=EMOTION)})
    assert table["correlation"].isna().all()


def test_agreement_is_of_the_same_clips_only() -> None:
    many, few = member(1), member(2, clips=4)
    for pair in ({"a": many, "b": few}, {"a": few, "b": many}):
        with pytest.raises(PredictionError, match="a and b predict different clips"):
            agreement(pair)
    assert len(agreement({"a": many})) == 0


def test_where_the_tasks_are_others_each_takes_all_members() -> None:
    mean = Mean(from_={"emotion": ["a"], "intent": ["a", "b"]})
    assert mean.members(["mood", "act"]) == {"mood": ["a", "b"], "act": ["a", "b"]}


@pytest.mark.filterwarnings("error::pandas.errors.PerformanceWarning")
def test_very_many_classes_are_combined_as_few_are() -> None:
    classes = {"topic": tuple(f"t{i}" for i in range(200)), "mood": ("calm", "tense")}
    members = [member(draw, classes=classes) for draw in range(2)]
    found = combine({task: [(one, 1.0) for one in members] for task in classes})
    mean = (members[0].probabilities("topic") + members[1].probabilities("topic")) / 2
    assert found.probabilities("topic") == pytest.approx(mean)
