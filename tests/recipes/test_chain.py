"""Members, opinions, students and decisions as recipes, on toys whose words tell their labels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.errors import ConfigError, TrainingError
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.fitting import FittedModel
from meiju_utils.predictions import HELD_OUT, Predictions, labelled
from meiju_utils.recipes import (
    Recipe,
    heaviest_members,
    label_shift,
    load_recipes,
    make_recipes,
    members_of,
    opinion_weights,
    piece_table,
    recipes_of_pieces,
    reliability_of,
    rows_of,
    train_recipe,
    train_recipes,
)
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.recipes.pieces import CUMULATED
from meiju_utils.run import Run
from meiju_utils.scoring import calibration_error, reliability
from tests.toys import with_words

MakeRun = Callable[..., Run]
MakeToy = Callable[..., Dataset]
FOLDED = {"partition": {"folds": 3, "refit": True}}
SIZES = {"train": 90, "valid": 40, "test": 40, "unlabeled": 60}


def few(**own: Any) -> dict[str, Recipe]:
    """A short chain: three members, one view's students, two rounds."""
    return make_recipes(
        {
            "audio": {"model": {"rbf-ridge": "audio"}, **FOLDED},
            "every": {"like": "audio", "model": {"view": "all"}},
            "words": {"model": "tfidf-svm", **FOLDED},
            "opinions": {
                "ensemble": {"opinion-pool": ["audio", "every", "words"]},
                "calibrate": "bias-corrected",
            },
            "students": {
                "ensemble": {"opinion-pool": {"from": ["audio", "every", "words"]}},
                "calibrate": "bias-corrected",
                "students": {"teacher": "opinions", "of": ["audio", "every"], "rounds": 2},
            },
            "best": {
                "ensemble": {"mean": ["students"]},
                "calibrate": "bias-corrected",
                "decode": ["pair-prior", "expected-f1"],
            },
            **own,
        }
    )


@pytest.fixture
def toy(make_toy: MakeToy) -> Dataset:
    return with_words(make_toy(sizes=SIZES, noise=2.0))


def test_the_chain_of_the_library_is_made_and_is_better_than_a_member(
    make_run: MakeRun, toy: Dataset
) -> None:
    run = make_run(toy)
    names = ["best", "best-single", "rbf-ridge-audio", "greedy", "with-network"]
    found = train_recipes(run, names)
    assert not any(one.failure for one in found.values())
    best = found["best"]
    assert best.score() > found["rbf-ridge-audio"].score()
    assert best.score(split="train") > found["rbf-ridge-audio"].score(split="train")
    assert best.chose("valid") == best.chose("train") == ""  # nothing was chosen on them
    behind = members_of(run, "best")
    assert "rbf-ridge-all" in behind
    assert "students-2:rbf-ridge-equal" in behind
    assert len(behind) == len(load_recipes()["opinions"].needs()) + 2 * 5
    single = found["best-single"]
    assert [member.name for member in single.members] == ["seed-0"]
    assert single.chose("valid") == ""
    assert single.history["best"].to_numpy().nonzero()[0].tolist() == [19]  # the last epoch's
    # No train clip was predicted by who trained on it.
    train = best.predictions.of_split("train").table
    assert (train["role"] == HELD_OUT).all()
    assert set(train["fold"]) == set(range(5))
    weights = opinion_weights(run, "best")
    assert set(weights["task"]) == {"emotion", "intent"}
    assert set(weights["member"]) <= set(behind)
    assert (weights["weight"] >= 0).all()
    assert opinion_weights(run, "rbf-ridge-audio").empty
    believed = heaviest_members(run, "best", 3)
    assert next(iter(believed)) == weights.groupby("member")["weight"].sum().idxmax()
    assert len(believed) == 3
    assert list(heaviest_members(run, "rbf-ridge-audio")) == ["rbf-ridge-audio"]
    chosen = tuple(piece for piece in CUMULATED if piece.recipe in ("opinions", "best"))
    made = train_recipes(run, recipes_of_pieces(chosen))
    table = piece_table(run, made, chosen)
    assert table["recipe"].tolist() == ["opinions", "best"]
    assert (table["low"] <= table["adds"]).all()
    assert np.isfinite(table["paper_p"]).all()
    clips = labelled(run.table("clips"), run.setting.tasks, "train")
    diagrams = reliability_of(made["opinions"], clips)
    assert list(diagrams) == ["before", "after calibration"]
    with pytest.raises(TrainingError, match="was trained on clips it is to be judged by"):
        reliability_of(single, clips)
    shift = label_shift(run, made["opinions"])
    assert set(shift) == {"emotion", "intent"}
    with pytest.raises(TrainingError, match="Name a recipe with"):
        label_shift(run, single)
    assert [note for note in best.notes if "pool" in note] == [
        "Pair prior: off in the unlabeled split, as nobody knows which label pairs the unlabelled "
        "pool has."
    ]


def test_a_refit_answers_for_other_clips_and_each_fold_labels_the_pool_for_itself(
    make_run: MakeRun, toy: Dataset
) -> None:
    run = make_run(toy)
    recipes = few()
    opinions, audio = train_recipes(run, ["opinions", "audio"], recipes).values()
    assert [member.name for member in audio.members] == ["fold-3"]  # of the refit alone
    others = audio.predictions.table[audio.predictions.table["split"] != "train"]
    assert set(others["fold"]) == {3}
    assert not others["clip_id"].duplicated().any()
    for experiment in (audio, opinions):
        own = experiment.of_folds.table
        assert set(own["split"]) == {"valid", "unlabeled"}
        assert own.groupby("fold").size().tolist() == [100] * 3
        answers = [experiment.fold_answers(fold).of_split("unlabeled") for fold in (0, 1)]
        assert not np.array_equal(*(one.probabilities("emotion") for one in answers))
        assert experiment.fold_answers(None) is experiment.answers
    # What a new clip would be told is what the run's own were told.
    model = FittedModel.load(audio.members[0].weights(audio.folder))
    again, _ = model.probabilities(RecipeGraph(run, recipes).dataset("audio"))
    rows = np.flatnonzero(toy.split == "test")
    told = audio.predictions.of_split("test").probabilities("intent")
    np.testing.assert_allclose(again["intent"][rows], told, atol=1e-5)


def test_labels_that_a_fold_holds_out_reach_neither_its_model_nor_its_student(
    make_run: MakeRun, toy: Dataset
) -> None:
    """The student's teacher is that of the fold, too."""
    taught = {"targets": {"teacher": "words", "rule": "everything", "soft": True}}
    run, recipes = make_run(toy), few(student={"like": "audio", **taught})
    student = "student"
    before = train_recipe(run, student, recipes)
    held = before.predictions.table.query("split == 'train' and fold == 1")["clip_id"].tolist()
    labels = {task: own.copy() for task, own in toy.labels.items()}
    for own in labels.values():  # the same clips in each fold, their labels exchanged
        rows = toy.rows_of(held)
        own[rows] = own[rows][::-1]
    graph = RecipeGraph(run, recipes)
    split = graph.split(student)
    assert split is not None
    table = split.table
    other = make_run(replace(toy, labels=labels))
    after = RecipeGraph(other, recipes).split(student)
    assert after is not None
    after.save(table, [])  # dealt as before
    changed = train_recipe(other, student, recipes)
    tables = [one.predictions.table.set_index("clip_id") for one in (before, changed)]
    columns = [name for name in tables[0] if ":" in name]
    np.testing.assert_allclose(*(t.loc[held, columns] for t in tables), atol=1e-6)
    rest = [clip for clip in tables[0].index if clip not in held]
    assert not np.allclose(*(t.loc[rest, columns] for t in tables), atol=1e-3)


def test_without_a_pool_students_are_their_teacher(make_run: MakeRun, make_toy: MakeToy) -> None:
    toy = with_words(make_toy(sizes={"train": 60, "valid": 20, "test": 10}))
    run = make_run(toy, track=2)
    found = train_recipes(run, ["students", "best"], few())
    assert found["students"].name == "opinions"
    assert found["best"].made_from.keys() == {"opinions"}
    (note,) = found["best"].notes
    assert note.startswith("Pair prior: off, as in Track 2")


def test_of_one_modality_what_does_not_apply_is_left_out_and_said(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    toy = with_words(make_toy(sizes=SIZES, widths={"text": 7}))
    run = make_run(toy, embeddings={"audio": None, "visual": None})
    best, opinions = train_recipes(run, ["best", "opinions"]).values()
    assert not best.failure
    left_out = [note for note in opinions.notes if note.startswith("Without")]
    assert len(left_out) == 3
    assert any("Without audio: logistic-audio, rbf-ridge-audio left out." in n for n in left_out)
    assert any("a second modality beside text" in note and "svm-all" in note for note in left_out)
    assert "rbf-ridge-text" in members_of(run, "best")
    assert not any("audio" in name or "all" in name for name in members_of(run, "best"))
    recipes = few(none={"ensemble": {"greedy": ["audio"]}})
    with pytest.raises(ConfigError, match="none of its members can be made"):
        train_recipe(run, "none", recipes)


class Broken:
    """A model that cannot be fitted."""

    def __init__(self, classes: int, average: str) -> None:
        pass

    def fit(self, *_: Any) -> None:
        raise TrainingError("No such luck.")


def test_a_member_that_fails_is_left_out_and_all_are_a_failure(
    make_run: MakeRun, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "broken", Broken)
    recipes = few(
        broken={"model": "broken", **FOLDED},
        some={"ensemble": {"opinion-pool": ["broken", "words"]}},
        lost={"ensemble": {"opinion-pool": ["broken"]}},
    )
    found = train_recipes(make_run(toy), ["some", "lost"], recipes)
    assert not found["some"].failure
    assert "Without results, left out: broken." in found["some"].notes
    assert "broken, which it is made from, failed" in found["lost"].failure


def test_a_view_that_a_third_of_the_clips_lacks_and_a_pool_of_five_clips(
    make_run: MakeRun, make_toy: MakeToy, without: Any
) -> None:
    toy = with_words(make_toy(sizes={**SIZES, "unlabeled": 5}))
    toy = without(toy, "audio", np.arange(0, len(toy.clip_ids), 3))
    found = train_recipes(make_run(toy), ["best", "audio"], few())
    assert not found["best"].failure
    lacking = found["audio"].predictions.table["role"] == "absent"
    assert lacking.sum() == len(np.arange(0, len(toy.clip_ids), 3))
    assert (found["best"].predictions.table["role"] != "absent").all()
    assert not found["audio"].scores.empty


def test_a_class_with_fewer_clips_than_folds_is_learned_as_far_as_it_can(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    def spoil(clips: pd.DataFrame) -> None:
        fear = clips.index[(clips["emotion"] == "fear") & (clips["split"] == "train")]
        clips.loc[fear[2:], "emotion"] = "sad"
        clips.loc[clips["emotion"] == "anger", "emotion"] = "sad"

    toy = with_words(make_toy(sizes=SIZES, change=spoil))
    best = train_recipe(make_run(toy), "best", few())
    assert np.isfinite(best.predictions.probabilities("emotion")).all()


def test_one_task_goes_through_the_chain(
    make_run: MakeRun, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(toy)
    emotion = replace(run.setting, classes={"emotion": toy.classes["emotion"]})
    monkeypatch.setattr(type(run.config), "setting", emotion)
    best = train_recipe(run, "best", few())
    assert best.predictions.tasks == ["emotion"]
    assert "Pair prior: off, as there is one task alone." in best.notes


def test_a_calibrated_chain_is_as_often_right_as_it_says(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    toy = with_words(make_toy(sizes={**SIZES, "train": 300}, noise=3.0))
    found = train_recipes(make_run(toy), ["students", "audio"], few())
    names = {task: np.array(labels, dtype=object) for task, labels in toy.classes.items()}
    error = {}
    for name, experiment in found.items():
        own = experiment.answers.of_split("train")
        rows = [toy.place[clip_id] for clip_id in own.table["clip_id"]]
        truth = {task: names[task][toy.labels[task][rows]] for task in toy.classes}
        given = {task: own.probabilities(task) for task in own.tasks}
        error[name] = calibration_error(reliability(given, truth, own.classes))
    # Ten bins of 30 clips are off by some .05 by chance alone.
    assert max(error["students"].values()) < 0.1


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"a": {"ensemble": {"opinion-pool": ["logistic"]}}}, "'a': opinion-pool is fitted on"),
        ({"a": {"like": "logistic", "calibrate": "temperature"}}, "calibrate: temperature is fit"),
        ({"a": {"like": "logistic", "decode": "offsets"}}, "'a': offsets is fitted on"),
        ({"a": {"like": "audio", "decode": []}}, "'a': decode is empty"),
        ({"a": {"like": "audio", "calibrate": "plat"}}, "'a': calibrate: no 'plat'"),
        ({"a": {"students": {"teacher": "audio", "of": ["audio"]}}}, "join an ensemble"),
        (
            {"a": {"ensemble": {"greedy": {"from": ["audio"]}}, "students": {"of": []}}},
            "'a': students: teacher: Field required",
        ),
        (
            {
                "a": {
                    "ensemble": {"greedy": {"from": ["audio"]}},
                    "students": {"teacher": "audio", "of": ["audio"], "rounds": 0},
                }
            },
            "'a': students: rounds: ",
        ),
        (
            {"a": {"like": "audio", "targets": {"teacher": "audio", "shift": True}}},
            "targets.shift needs `soft: true`",
        ),
        (
            {
                "m": {"ensemble": {"mean": ["audio", "logistic"]}},
                "a": {"like": "m", "calibrate": "temperature"},
            },
            "all its members, one `partition: {folds: 5, refit: true}`",
        ),
    ],
)
def test_what_cannot_be_honest_or_is_misspelt_is_refused(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        few(logistic={"model": "logistic-regression", "partition": {"folds": 3}}, **own)
    assert message in str(caught.value)


def test_a_chain_of_ones_own_is_one_row(make_run: MakeRun, toy: Dataset, tmp_path: Any) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "mine: {ensemble: {greedy: {from: [nb-svm]}},"
        " students: {teacher: opinions, of: [rbf-ridge-text], rounds: 1}}"
    )
    run = make_run(toy, recipes=str(own), submission="mine")
    assert [name for name in rows_of(run) if "mine" in name] == ["mine"]


def test_students_shifted_to_the_pools_shares_where_these_can_be_told(
    make_run: MakeRun, toy: Dataset
) -> None:
    targets = {"teacher": "opinions", "rule": "everything", "soft": True}
    recipes = few(
        plain={"like": "every", "targets": targets},
        moved={"like": "every", "targets": {**targets, "shift": True}},
    )
    plain, moved = train_recipes(make_run(toy), ["plain", "moved"], recipes).values()
    assert plain.key != moved.key
    a, b = (one.predictions.of_split("test").probabilities("intent") for one in (plain, moved))
    assert not np.array_equal(a, b)


def test_decisions_are_made_anew_from_predictions_without_training(
    make_run: MakeRun, toy: Dataset
) -> None:
    run = make_run(toy)
    best = train_recipe(run, "best", few())
    before = best.answers.table
    fitted = best.decisions
    assert set(fitted) == {"ensemble", "calibrate", "decode", "notes"}
    assert set(fitted["decode"][1]) == {"test", "train", "unlabeled", "valid"}
    pd.testing.assert_frame_equal(best.decoded(best.predictions.mean()).table, before)
    (best.folder / "decisions.json").unlink()
    again = train_recipe(run, "best", few())
    pd.testing.assert_frame_equal(again.answers.table, before)
    assert again.decisions == fitted
    later = Predictions(best.predictions.of_split("test").table.head(3))
    pd.testing.assert_frame_equal(
        best.decoded(later.mean()).table, best.answers.of_split("test").table.head(3)
    )
