"""From probabilities to labels."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES
from meiju_utils.decisions import DECODERS, Argmax, Known
from meiju_utils.predictions import Answers, Classes, Predictions, likeliest
from meiju_utils.scoring import task_f1
from tests.decisions.toys import FOLDS, known, member, shuffled, truth
from tests.vocabularies import EMOTION, every_setting

FITTED = ["pair-prior", "offsets", "expected-f1"]


def predictions(classes: Classes, clips: int) -> Predictions:
    rng = np.random.default_rng(0)
    values = {task: rng.dirichlet(np.ones(len(names)), clips) for task, names in classes.items()}
    ids = [f"clip{i}" for i in range(clips)]
    return Predictions.of_arrays(ids, ["test"] * clips, values, classes, np.zeros(clips, bool))


@every_setting
def test_the_most_probable_label_of_each_task_is_answered(classes: Classes) -> None:
    mean = predictions(classes, 40)
    answers = DECODERS["argmax"]()(mean)
    assert answers.classes == dict(classes)
    assert answers.table["clip_id"].tolist() == mean.table["clip_id"].tolist()
    for task, names in classes.items():
        values = mean.probabilities(task)
        assert answers.table[task].tolist() == [names[i] for i in values.argmax(axis=1)]
        np.testing.assert_array_equal(answers.probabilities(task), values)
        np.testing.assert_array_equal(answers.confidence(task), values.max(axis=1))
        assert not answers.tied(task).any()


def test_of_equals_the_first_in_official_order_is_answered_and_the_tie_stated() -> None:
    emotion, intent = np.zeros((3, 7)), np.zeros((3, 8))
    happy, sad, anger, fear = (
        CLASSES["emotion"].index(e) for e in ("happy", "sad", "anger", "fear")
    )
    emotion[0, fear] = 1
    emotion[1, [sad, anger]] = 0.5
    emotion[2, [happy, sad]] = [0.5 - 3e-8, 0.5 + 3e-8]  # equal but for rounding
    intent[:, CLASSES["intent"].index("wishing")] = 1
    mean = Predictions.of_arrays(
        "abc", ["test"] * 3, {"emotion": emotion, "intent": intent}, CLASSES, np.zeros(3, bool)
    )
    answers = Argmax()(mean)
    assert answers.table["emotion"].tolist() == ["fear", "sad", "happy"]
    assert answers.table["intent"].tolist() == ["wishing"] * 3
    assert answers.tied("emotion").tolist() == [False, True, True]
    assert not answers.tied("intent").any()


def test_no_clips_have_no_answers() -> None:
    assert len(Argmax()(predictions(EMOTION, 3).of_split("unlabeled"))) == 0


def plain(own: Predictions) -> Answers:
    return Answers.of_predictions(own, {t: likeliest(own.probabilities(t)) for t in own.tasks})


def decoded(name: str, own: Predictions, known: Known, **options: Any) -> tuple[Answers, Any]:
    decoder = DECODERS[name](**options)
    answers = plain(own)
    fitted = decoder.fit(answers, known)
    return decoder.apply(answers, fitted, known.fold_of(answers.table)), fitted


def f1(answers: Answers, clips: pd.DataFrame, task: str, average: Any = "weighted") -> float:
    own = answers.of_split("test").table
    return task_f1(clips.set_index("clip_id").loc[own["clip_id"], task], own[task], average)


@pytest.mark.parametrize("name", FITTED)
@settings(max_examples=8)
@given(draw=st.integers(0, 50))
def test_the_order_of_clips_does_not_matter(name: str, draw: int) -> None:
    clips = truth(train=60, draw=draw)
    own = member(clips, 1.0, draw)
    tables = []
    for predictions in (own, shuffled(own, draw)):
        found, _ = decoded(name, predictions, known(clips))
        tables.append(found.table.set_index("clip_id").sort_index())
    pd.testing.assert_frame_equal(tables[0], tables[1])


@every_setting
@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("average", ["weighted", "micro", "macro"])
def test_sure_and_right_answers_stay(classes: Classes, name: str, average: Any) -> None:
    clips = truth(classes)
    own = member(clips, 30.0, classes=classes)
    found, _ = decoded(name, own, known(clips, average))
    for task in classes:
        assert found.table[task].tolist() == clips[task].tolist()


def pairs(clips: int, seed: int = 0) -> pd.DataFrame:
    """The intent follows from the emotion, but for a few clips."""
    table = truth(train=clips, test=clips)
    rng = np.random.default_rng(seed)
    tied = [CLASSES["intent"][CLASSES["emotion"].index(e)] for e in table["emotion"]]
    table["intent"] = np.where(rng.random(len(table)) < 0.9, tied, table["intent"])
    return table


def test_pairs_that_train_has_help_where_one_task_is_easy() -> None:
    clips = pairs(300)
    own = member(clips, {"emotion": 3.0, "intent": 1.0})
    found, _ = decoded("pair-prior", own, known(clips), strength=1.0)
    assert f1(found, clips, "intent") > f1(plain(own), clips, "intent") + 0.1
    for task in found.tasks:
        np.testing.assert_allclose(found.probabilities(task).sum(axis=1), 1)
    none, _ = decoded("pair-prior", own, known(clips), strength=0.0)
    np.testing.assert_allclose(none.probabilities("intent"), own.probabilities("intent"))


def test_the_pair_prior_is_off_where_pairs_may_be_others_and_says_why() -> None:
    clips = pairs(60)
    own = member(clips, 1.0)
    decoder = DECODERS["pair-prior"]()
    reasons = {"test": "nobody knows"}
    found, fitted = decoded("pair-prior", own, known(clips, unlike=reasons))
    test = (found.table["split"] == "test").to_numpy()
    np.testing.assert_array_equal(
        found.probabilities("intent")[test], own.probabilities("intent")[test]
    )
    assert np.abs(found.probabilities("intent") - own.probabilities("intent"))[~test].max() > 0.01
    assert decoder.notes(fitted) == ["Pair prior: off in the test split, as nobody knows."]
    off, fitted = decoded("pair-prior", own, known(clips, unlike={"": "of a reason"}))
    pd.testing.assert_frame_equal(off.table, plain(own).table)
    assert decoder.notes(fitted) == ["Pair prior: off, as of a reason."]
    emotion = member(clips, 1.0, classes=EMOTION)
    alone, fitted = decoded("pair-prior", emotion, known(clips))
    pd.testing.assert_frame_equal(alone.table, plain(emotion).table)
    assert decoder.notes(fitted) == ["Pair prior: off, as there is one task alone."]


def test_a_pair_without_clips_is_rare_but_not_impossible_and_folds_count_others() -> None:
    clips = pairs(60)
    _, fitted = decoded("pair-prior", member(clips, 1.0), known(clips))
    ratio = np.array(fitted["ratio"]["all"])
    assert np.isfinite(ratio).all()
    assert ratio.min() < 0 < ratio.max()
    assert set(fitted["ratio"]) == {"all", *map(str, range(FOLDS))}
    other = clips.copy()
    held = (clips["split"] == "train") & (np.arange(len(clips)) % FOLDS == 0)
    other.loc[held, "intent"] = "wishing"
    _, changed = decoded("pair-prior", member(clips, 1.0), known(other))
    assert changed["ratio"]["0"] == fitted["ratio"]["0"] != changed["ratio"]["1"]


def rare(clips: int = 400) -> tuple[pd.DataFrame, Predictions]:
    """Two emotions of four are rare, and never the likeliest."""
    table = truth(train=clips, test=clips)
    rng = np.random.default_rng(3)
    names = np.array(CLASSES["emotion"][:4])
    table["emotion"] = pd.array(rng.choice(names, len(table), p=[0.5, 0.3, 0.1, 0.1]), dtype="str")
    own = member(table, 1.2).table.copy()
    columns = [f"emotion:{name}" for name in CLASSES["emotion"]]
    scaled = own[columns].to_numpy() * np.array([0.5, 0.3, 0.1, 0.1, 0.001, 0.001, 0.001])
    own[columns] = scaled / scaled.sum(axis=1, keepdims=True)
    return table, Predictions(own)


@pytest.mark.parametrize("name", ["offsets", "expected-f1"])
@pytest.mark.parametrize("average", ["weighted", "macro"])
def test_offsets_raise_the_f1_that_rare_classes_hold_down(name: str, average: Any) -> None:
    clips, own = rare()
    found, _ = decoded(name, own, known(clips, average))
    assert f1(found, clips, "emotion", average) > f1(plain(own), clips, "emotion", average)
    np.testing.assert_array_equal(found.probabilities("emotion"), own.probabilities("emotion"))


@pytest.mark.parametrize("name", ["offsets", "expected-f1"])
def test_for_micro_f1_the_likeliest_labels_stay(name: str) -> None:
    clips, own = rare(100)
    found, _ = decoded(name, own, known(clips, "micro"))
    pd.testing.assert_frame_equal(found.table, plain(own).table)


def test_expected_f1_looks_at_a_splits_own_clips_and_later_ones_take_those_of_test() -> None:
    clips, own = rare()
    decoder = DECODERS["expected-f1"]()
    answers = plain(own)
    fitted = decoder.fit(answers, known(clips))
    other = answers.table.copy()
    other.loc[other["split"] == "train", "split"] = "valid"
    moved = Answers(other)
    again = decoder.fit(moved, known(clips))
    assert fitted["test"] == again["test"]
    assert fitted["train"] == again["valid"]
    del again["valid"]
    later = decoder.apply(moved, again, np.full(len(moved), -1))
    assert len(later) == len(answers)


def test_several_are_applied_one_after_another() -> None:
    clips, own = rare(60)
    first, _ = decoded("pair-prior", own, known(clips))
    decoder = DECODERS["expected-f1"]()
    both = decoder.apply(first, decoder.fit(first, known(clips)), known(clips).fold_of(first.table))
    np.testing.assert_array_equal(both.probabilities("emotion"), first.probabilities("emotion"))
