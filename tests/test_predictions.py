"""The checked tables: what is refused, tasks and classes as they tell them, means, weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES
from meiju_utils.errors import PredictionError
from meiju_utils.files import write_table
from meiju_utils.predictions import (
    ALL_FOLDS,
    FITTED,
    HELD_OUT,
    NO_SEED,
    Answers,
    Classes,
    Predictions,
    Targets,
    class_columns,
    labelled,
    likeliest,
)

VALENCE = ("low", "rather low", "middle", "rather high", "high")
TOPICS = tuple(f"topic {i}" for i in range(9))
FIVE_AND_NINE: Classes = {"valence": VALENCE, "topic": TOPICS}
EMOTION: Classes = {"emotion": CLASSES["emotion"]}
every_setting = pytest.mark.parametrize(
    "classes", [CLASSES, FIVE_AND_NINE, EMOTION], ids=["meiju", "five-and-nine", "emotion"]
)

Change = Callable[[pd.DataFrame], pd.DataFrame]


def one_training(
    seed: int = 0,
    fold: int = 0,
    clips: int = 6,
    draw: int = 0,
    classes: Classes = CLASSES,
    **options: Any,
) -> Predictions:
    """Random predictions in float32, the first half of the clips valid, the others test."""
    rng = np.random.default_rng([draw, seed + 1, fold + 1])
    rows = np.arange(clips)
    return Predictions.of_arrays(
        [f"clip{i}" for i in rows],
        np.where(rows < clips // 2, "valid", "test").tolist(),
        {t: rng.dirichlet(np.ones(len(c)), clips).astype(np.float32) for t, c in classes.items()},
        classes,
        **{"fitted": np.zeros(clips, dtype=bool), "seed": seed, "fold": fold, **options},
    )


def trainings(seeds: int = 3, **options: Any) -> Predictions:
    return Predictions.concatenated([one_training(seed, **options) for seed in range(seeds)])


def columns_of(classes: Classes) -> list[str]:
    return [column for task in classes for column in class_columns(classes, task)]


def soft_targets() -> Targets:
    table = pd.DataFrame({"clip_id": ["a", "b"], "emotion_weight": [1.0, 0.5]})
    values = np.random.default_rng(0).dirichlet(np.ones(7), 2)
    table[class_columns(EMOTION, "emotion")] = values
    return Targets(table)


@every_setting
def test_the_columns_tell_tasks_and_classes_in_order(classes: Classes) -> None:
    predictions = one_training(classes=classes)
    assert predictions.classes == dict(classes)
    assert predictions.tasks == list(classes)
    assert len(predictions) == 6
    for task, labels in classes.items():
        values = predictions.probabilities(task)
        assert values.shape == (6, len(labels))
        assert values.dtype == np.float64
        first = predictions.table[f"{task}:{labels[0]}"].to_numpy(dtype=np.float64)
        np.testing.assert_array_equal(values[:, 0], first)


@every_setting
def test_tables_come_back_from_disk_as_they_were(classes: Classes, tmp_path: Path) -> None:
    predictions = trainings(classes=classes)
    mean = predictions.mean()
    answers = Answers.of_predictions(mean, {t: likeliest(mean.probabilities(t)) for t in classes})
    targets = Targets.of_labels(answers.table, classes)
    for table in (predictions, mean, answers, targets):
        table.save(tmp_path / "some" / "table.parquet")
        again = type(table).load(tmp_path / "some" / "table.parquet")
        pd.testing.assert_frame_equal(again.table, table.table, check_exact=True)
        assert again.classes == dict(classes)


def test_what_is_read_from_disk_is_checked(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", one_training().table.drop(columns="fold"))
    with pytest.raises(PredictionError, match="lack the columns fold"):
        Predictions.load(tmp_path / "table.parquet")


def _set(column: str, value: Any, row: int = 2) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns=["split", "chose"]), "predictions lack the columns split, chose"),
        (lambda t: t[["clip_id", "split"]], "no probabilities: no column <task>:<label>"),
        (lambda t: t.assign(seed=0.5), "'seed': dtype.'int64'.; found float64"),
        (lambda t: t.assign(fold="first"), "'fold': dtype"),
        (lambda t: t.assign(clip_id=range(len(t))), "'clip_id': dtype"),
        (_set("clip_id", None), "'clip_id': not_nullable"),
        (
            _set("emotion:sad", np.nan),
            "emotion probabilities of 1 rows are not numbers from 0 to 1.*: nan",
        ),
        (
            _set("emotion:sad", np.inf),
            "emotion probabilities of 1 rows are not numbers from 0 to 1.*: inf",
        ),
        (_set("emotion:sad", -0.25), "emotion probabilities of 1 rows are not numbers.*: -0.250"),
        (_set("intent:wishing", 1.5), "intent probabilities of 1 rows are not numbers.*: 1.500"),
        (
            lambda t: t.assign(**{"intent:wishing": "likely"}),
            "intent probabilities of the predictions are no numbers",
        ),
        (
            lambda t: t.assign(**{"intent:wishing": t["intent:wishing"] / 2}).tail(4),
            "intent probabilities of 4 rows do not sum to one, the first of clip2: 0.9",
        ),
        (lambda t: t.drop(columns="intent:wishing"), "intent probabilities of 6 rows"),
        (lambda t: pd.concat([t, t.iloc[[2, 4]]]), "2 clips are predicted twice .* first is clip2"),
        (_set("role", "trained"), "Role 'trained': expected 'fitted', 'held-out' or 'absent'"),
    ],
)
def test_predictions_that_are_none_are_refused_by_name(change: Change, words: str) -> None:
    with pytest.raises(PredictionError, match=words):
        Predictions(change(one_training(draw=3).table.copy()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="emotion_weight"), "targets lack the columns emotion_weight"),
        (_set("emotion_weight", -1.0, 1), "emotion_weight must be numbers of at least 0"),
        (_set("emotion_weight", np.inf, 1), "emotion_weight must be numbers of at least 0"),
        (_set("emotion_weight", np.nan, 1), "'emotion_weight': not_nullable"),
        (lambda t: t.assign(emotion_weight=1), "'emotion_weight': dtype"),
        (_set("clip_id", "a", 1), "a has two rows of targets"),
        (
            _set("emotion:sad", 2.0, 1),
            "emotion probabilities of 1 rows are not numbers.*first of b: 2.000",
        ),
    ],
)
def test_targets_that_are_none_are_refused_by_name(change: Change, words: str) -> None:
    with pytest.raises(PredictionError, match=words):
        Targets(change(soft_targets().table.copy()))


def test_answers_have_a_label_of_every_task() -> None:
    mean = one_training(classes=EMOTION)
    answers = Answers.of_predictions(mean, {"emotion": likeliest(mean.probabilities("emotion"))})
    with pytest.raises(PredictionError, match="answers lack the columns emotion"):
        Answers(answers.table.drop(columns="emotion"))
    with pytest.raises(PredictionError, match=r"'bored' is no class of emotion \(clip0\)"):
        Answers(answers.table.assign(emotion="bored"))
    with pytest.raises(PredictionError, match="clip0 is answered twice"):
        Answers(pd.concat([answers.table, answers.table], ignore_index=True))


@given(st.integers(0, 6), st.floats(-1.5, 1.5))
@settings(max_examples=40)
@example(0, 0.9e-3)
@example(6, -0.9e-3)
@example(3, 1.1e-3)
@example(3, -1.1e-3)
def test_only_what_sums_to_one_is_taken(place: int, off: float) -> None:
    values = np.full(7, 1 / 7)
    values[place] += off
    table = one_training(clips=2, classes=EMOTION).table
    columns = class_columns(EMOTION, "emotion")
    table = table.astype(dict.fromkeys(columns, "float64"))
    table.loc[1, columns] = values
    if abs(off) < 1e-3:
        Predictions(table)
    else:
        with pytest.raises(PredictionError):
            Predictions(table)


@given(st.lists(st.lists(st.floats(1e-3, 1), min_size=7, max_size=7), min_size=1, max_size=9))
@settings(max_examples=40)
def test_any_distribution_in_single_precision_is_taken(rows: list[list[float]]) -> None:
    values = np.array(rows)
    values = (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
    ids = [f"c{i}" for i in range(len(rows))]
    nothing = np.zeros(len(rows), dtype=bool)
    made = Predictions.of_arrays(ids, ["test"] * len(rows), {"emotion": values}, EMOTION, nothing)
    np.testing.assert_array_equal(made.probabilities("emotion"), values.astype(np.float64))
    assert (made.table["seed"] == NO_SEED).all()
    assert (made.table["fold"] == ALL_FOLDS).all()


def test_roles_and_choices_are_stated_row_by_row() -> None:
    fitted = np.array([True, False])
    chose = np.array(["", "epoch"])
    table = one_training(clips=2, fitted=fitted, chose=chose).table
    assert table["role"].tolist() == [FITTED, HELD_OUT]
    assert table["chose"].tolist() == ["", "epoch"]
    assert one_training(clips=2, chose="weights").table["chose"].tolist() == ["weights"] * 2


@every_setting
def test_the_mean_over_seeds_is_the_plain_mean_of_each_clip(classes: Classes) -> None:
    predictions = trainings(classes=classes)
    mean = predictions.mean()
    assert mean.table["clip_id"].tolist() == [f"clip{i}" for i in range(6)]
    assert mean.classes == dict(classes)
    assert set(mean.table["seed"]) == {NO_SEED}
    assert set(mean.table["fold"]) == {ALL_FOLDS}
    columns = columns_of(classes)
    for i in range(6):
        rows = predictions.table[predictions.table["clip_id"] == f"clip{i}"]
        expected = rows[columns].to_numpy(dtype=np.float64).mean(axis=0)
        found = mean.table.loc[i, columns].to_numpy(dtype=float)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(st.integers(0, 2**16))
@settings(max_examples=8)
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    predictions = trainings()
    shuffled = Predictions(predictions.table.sample(frac=1, random_state=seed))
    ordered = predictions.mean().table.set_index("clip_id")
    pd.testing.assert_frame_equal(
        shuffled.mean().table.set_index("clip_id").loc[ordered.index], ordered, check_exact=True
    )


def test_a_mean_of_means_is_itself() -> None:
    mean = trainings().mean()
    pd.testing.assert_frame_equal(mean.mean().table, mean.table, check_exact=True)


def test_the_mean_of_no_clips_has_none() -> None:
    nothing = one_training().of_split("unlabeled")
    assert len(nothing.mean()) == 0
    assert nothing.by_seed() == {}


def test_held_out_folds_and_test_clips_may_have_different_numbers_of_predictions() -> None:
    folds = trainings(seeds=2)
    second = Predictions(folds.of_split("test").table.assign(fold=1))
    assert len(Predictions.concatenated([folds, second]).mean()) == 6


def test_a_mean_of_uneven_seeds_is_refused() -> None:
    uneven = Predictions(trainings().table.drop(index=2))
    with pytest.raises(PredictionError, match=r"1 clips .*clip2 \(valid\) has 2, others 3"):
        uneven.mean()


def test_a_mean_is_fitted_where_any_training_was_and_chose_what_any_chose() -> None:
    first = one_training(0, fitted=np.array([True, False, True, False, False, False]))
    second = one_training(
        1,
        fitted=np.array([True, True, False, False, False, False]),
        chose=np.array(["", "", "", "epoch", "", ""]),
    )
    for parts in ([first, second], [second, first]):
        table = Predictions.concatenated(parts).mean().table
        assert table["role"].tolist() == [FITTED] * 3 + [HELD_OUT] * 3
        assert table["chose"].tolist() == ["", "", "", "epoch", "", ""]


def test_predictions_by_seed_are_means_over_its_folds() -> None:
    parts = [one_training(seed, fold) for seed in (1, 0) for fold in (0, 1)]
    found = Predictions.concatenated(parts).by_seed()
    assert list(found) == [0, 1]
    expected = (parts[0].probabilities("intent") + parts[1].probabilities("intent")) / 2
    np.testing.assert_allclose(found[1].probabilities("intent"), expected, rtol=1e-12)


def test_a_split_is_picked_and_counted_from_nought() -> None:
    test = one_training().of_split("test")
    assert test.table["clip_id"].tolist() == ["clip3", "clip4", "clip5"]
    assert test.table.index.tolist() == [0, 1, 2]


@every_setting
def test_targets_of_labels_are_one_hot_and_unknown_labels_weigh_nothing(classes: Classes) -> None:
    labels = pd.DataFrame({"clip_id": ["a", "b", "c"]})
    for task, names in classes.items():
        labels[task] = [names[-1], "", names[0]]
    targets = Targets.of_labels(labels.astype("str"), classes)
    assert targets.classes == dict(classes)
    for task, names in classes.items():
        count = len(names)
        expected = np.stack([np.eye(count)[-1], np.full(count, 1 / count), np.eye(count)[0]])
        np.testing.assert_array_equal(targets.probabilities(task), expected)
        assert targets.weights(task).tolist() == [1.0, 0.0, 1.0]


def test_a_label_that_is_no_class_is_named() -> None:
    labels = pd.DataFrame({"clip_id": ["a", "b"], "emotion": ["sad", "bored"]})
    with pytest.raises(PredictionError, match=r"'bored' is no class of emotion; .*happy"):
        Targets.of_labels(labels, EMOTION)


def test_weights_are_scaled_and_distributions_kept() -> None:
    targets = soft_targets()
    scaled = targets.scaled(0.5)
    assert scaled.weights("emotion").tolist() == [0.5, 0.25]
    np.testing.assert_array_equal(scaled.probabilities("emotion"), targets.probabilities("emotion"))
    assert targets.weights("emotion").tolist() == [1.0, 0.5]
    with pytest.raises(PredictionError, match="at least 0"):
        targets.scaled(-1)


def test_targets_join_those_of_other_clips_only() -> None:
    true = Targets.of_labels(pd.DataFrame({"clip_id": ["x"], "emotion": ["sad"]}), EMOTION)
    both = true.with_others(soft_targets())
    assert both.table["clip_id"].tolist() == ["x", "a", "b"]
    assert both.weights("emotion").tolist() == [1.0, 1.0, 0.5]
    with pytest.raises(PredictionError, match="x has two rows"):
        true.with_others(true)


@every_setting
def test_answers_have_the_probability_of_their_label(classes: Classes) -> None:
    predictions = one_training(classes=classes)
    index = {task: np.arange(6) % len(labels) for task, labels in classes.items()}
    answers = Answers.of_predictions(predictions, index)
    for task, labels in classes.items():
        assert answers.table[task].tolist() == [labels[i % len(labels)] for i in range(6)]
        values = predictions.probabilities(task)
        expected = values[np.arange(6), index[task]]
        np.testing.assert_array_equal(answers.confidence(task), expected)
    test = answers.of_split("test")
    assert test.table["clip_id"].tolist() == ["clip3", "clip4", "clip5"]
    np.testing.assert_array_equal(test.confidence(task), expected[3:])


@pytest.mark.parametrize("off", [0, 3e-8, -3e-8])
def test_a_tie_at_float_precision_goes_to_the_first_and_is_stated(off: float) -> None:
    values = np.array([[0.0, 0.5 - off, 0.0, 0.5 + off], [0.0, 0.4, 0.0, 0.6]])
    classes = {"mood": ("calm", "loud", "shy", "wild")}
    index = {"mood": likeliest(values)}
    assert index["mood"].tolist() == [1, 3]
    predictions = Predictions.of_arrays(
        ["a", "b"], ["test"] * 2, {"mood": values}, classes, np.zeros(2, dtype=bool)
    )
    assert Answers.of_predictions(predictions, index).tied("mood").tolist() == [True, False]


def test_clips_whose_labels_are_all_known_are_picked() -> None:
    table = pd.DataFrame(
        {
            "split": ["train", "train", "valid"],
            "emotion": ["sad", "sad", "fear"],
            "intent": ["", "wishing", "wishing"],
        }
    )
    assert labelled(table, ["emotion"]).index.tolist() == [0, 1, 2]
    assert labelled(table, ["emotion", "intent"]).index.tolist() == [1, 2]
    assert labelled(table, ["emotion", "intent"], "train").index.tolist() == [1]


def test_the_mean_of_one_training_is_in_float64_too() -> None:
    halves = {"emotion": np.full((2, 7), 1 / 7, dtype=np.float32)}
    one = Predictions.of_arrays(
        "ab", ["test"] * 2, halves, {"emotion": CLASSES["emotion"]}, np.zeros(2, dtype=bool)
    )
    assert (one.mean().table.filter(like="emotion:").dtypes == "float64").all()
