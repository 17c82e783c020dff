"""Training recipes: what is shared, found again, interrupted, repaired, and what diverges."""

import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.errors import (
    ConfigError,
    FeatureError,
    MeijuError,
    MissingStageError,
    TrainingError,
)
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.parallel import SystemicError
from meiju_utils.pool import RULES, Selection
from meiju_utils.predictions import (
    FITTED,
    HELD_OUT,
    NO_SEED,
    Answers,
    Predictions,
    Targets,
    labelled,
)
from meiju_utils.recipes import (
    TABLE_ONE,
    Recipe,
    compare,
    load_experiment,
    load_recipes,
    make_pseudo_labels,
    make_recipes,
    members_of,
    paper_findings,
    pseudo_labels_of,
    rows_of,
    train_recipe,
    train_recipes,
)
from meiju_utils.recipes import graph as graph_module
from meiju_utils.recipes import training as training_module
from meiju_utils.recipes.code import run_job
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.recipes.jobs import Job, NetworkJob
from meiju_utils.recipes.planning import jobs_of
from meiju_utils.recipes.writing import write_failure
from meiju_utils.reporting import plots, tables
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, MEAN, SINGLE, YARDSTICKS

MakeRun = Callable[..., Run]
MakeToy = Callable[..., Dataset]
STAGES = ("baseline", "1textcnn-clean", "one-head-clean", "+pseudo-label", "+1textcnn", "+one-head")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Records which jobs are run."""
    calls: list[tuple[str, int]] = []

    def record(job: Job) -> float:
        calls.append((job.name, job.seed))
        return run_job(job)

    monkeypatch.setattr(training_module, "run_job", record)
    return calls


def written(**own: Any) -> dict[str, Recipe]:
    """Recipes of their YAML values, quick networks among them."""
    return make_recipes({"base": {"network": {"both": {"hidden": 16}}}, **own})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_unknown_recipes_settings_and_encoders_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match=r"'basline'.*did you mean 'baseline'"):
        train_recipe(run, "basline")
    with pytest.raises(ConfigError, match="learning_rate"):
        train_recipe(run, "odd", written(odd={"training": {"learning_rte": 1}}))
    with pytest.raises(FeatureError, match=r"Recipe 'other'.*hf:unknown"):
        train_recipe(run, "other", written(other={"encoders": {"text": "hf:unknown"}}))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"encoders": {"text": "hf:unknown"}}, "hf:unknown"),
        ({"training": {"learning_rte": 1}}, "learning_rate"),
        ({"training": {"seeds": [0, 5]}}, r"seeds \[5\]"),
        ({"network": {"both": {"fusion": {"heads": 3}}}}, "3 fusion heads do not divide 16"),
        ({"network": {"intent": {"hidden": 32}}}, r"intent\.encoders.*another|another.*intent"),
        ({"network": {"both": {"text": {"textcnn": [1]}}}}, r"another architecture.*convolutions"),
        ({"encoders": {"text": None}}, "another architecture"),
    ],
)
def test_what_is_wrong_with_a_later_stage_is_said_before_anything_is_trained(
    make_run: MakeRun, trained: list[tuple[str, int]], fault: dict[str, Any], message: str
) -> None:
    recipes = written(second={"start": "base", **fault})
    with pytest.raises(MeijuError, match=message):
        train_recipe(make_run(), "second", recipes)
    assert trained == []


def test_an_ensemble_of_recipes_without_a_common_seed_is_refused_before_training(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    recipes = written(
        other={"like": "base", "training": {"seeds": [7]}},
        both={"ensemble": {"mean": ["base", "other"]}},
    )
    with pytest.raises(ConfigError, match=r"'both' combines recipes without a common seed"):
        train_recipe(make_run(), "both", recipes)
    assert trained == []


def test_recipes_of_ones_own_are_rows_and_can_be_handed_in(
    make_run: MakeRun, tmp_path: Path
) -> None:
    text = """
    mine: {network: {both: {hidden: 16, text: {textcnn: [1, 2]}}}}
    pair: {ensemble: {mean: {from: [mine, logistic-regression], weights: {mine: 2}}}}
    """
    run = make_run(recipes=str(write(tmp_path / "mine.yaml", text)), submission="pair")
    assert rows_of(run) == [*TABLE_ONE, "mine", "pair"]
    pair, mine = train_recipes(run, ["pair", "mine"]).values()
    branch = mine.config["network"]["architecture"]["branches"]["emotion"]
    assert branch["encoders"]["text"]["options"]["heights"] == [1, 2]
    members = members_of(run, "pair")
    assert list(members) == ["mine", "logistic-regression"]
    linear = members["logistic-regression"].predictions
    assert set(linear.table["seed"]) == {NO_SEED}
    order = mine.predictions.mean().table["clip_id"]
    over_folds = linear.mean().table.set_index("clip_id").loc[order].reset_index()
    linear = Predictions(over_folds)
    assert sorted(set(pair.predictions.table["seed"])) == [0, 1]
    for task in TASKS:
        expected = (
            2 * mine.predictions.mean().probabilities(task) + linear.probabilities(task)
        ) / 3
        np.testing.assert_allclose(pair.predictions.mean().probabilities(task), expected, atol=1e-6)
    assert pair.made_from == {name: one.key for name, one in members.items()}


def test_all_of_table_one_trains_shares_and_is_found_again(
    make_run: MakeRun, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    read: list[str] = []  # the corpus: its key once and its features once, for all recipes
    for name in ("dataset_key", "load_dataset"):
        real = getattr(graph_module, name)
        monkeypatch.setattr(
            graph_module, name, lambda *a, name=name, real=real: read.append(name) or real(*a)
        )
    with pytest.raises(MissingStageError, match="05_head_variant_training"):
        load_experiment(run, "ensemble")
    read.clear()
    with pytest.warns(UserWarning, match="Pseudo labels"):
        found = train_recipes(run)
    assert sorted(read) == ["dataset_key", "load_dataset"]
    # Six stages of two seeds: three stage ones and what goes on from each.
    assert sorted(trained) == sorted((stage, seed) for stage in STAGES for seed in (0, 1))
    trained.clear()
    again = train_recipes(run)
    assert trained == []
    for name in TABLE_ONE:
        assert again[name].key == found[name].key == load_experiment(run, name).key

    baseline = found["baseline"]
    table = baseline.predictions.table
    assert len(table) == 2 * len(run.table("clips"))
    assert set(table["split"]) == {"train", "valid", "test", "unlabeled"}
    roles = table.groupby("split")[["role", "chose"]].agg(set)
    assert roles.loc["train"].tolist() == [{FITTED}, {""}]
    assert roles.loc["valid"].tolist() == [{HELD_OUT}, {"epoch"}]
    assert roles.loc["test"].tolist() == [{HELD_OUT}, {""}]
    student = found["+pseudo-label"].predictions.table
    pool = student[student["split"] == "unlabeled"]
    assert set(pool["role"]) == {FITTED, HELD_OUT}  # some were trained on
    joint = baseline.scores[baseline.scores["score"] == JOINT].set_index("kind")
    assert joint.index.tolist() == [MEAN, SINGLE, "seed 0", "seed 1"]
    assert joint.loc[SINGLE, "value"] == pytest.approx(joint["value"].iloc[2:].mean())
    assert joint.loc[SINGLE, "low"] <= joint.loc[SINGLE, "value"] <= joint.loc[SINGLE, "high"]
    assert list(found["+one-head"].history["stage"].unique()) == ["one-head-clean", "+one-head"]
    best = baseline.history[baseline.history["best"]]
    assert best["seed"].tolist() == [0, 1]
    assert found["ensemble"].history.empty

    mixed = found["ensemble"].predictions
    np.testing.assert_allclose(
        mixed.probabilities("emotion"), found["+1textcnn"].predictions.probabilities("emotion")
    )
    two, one = (
        found[n].predictions.probabilities("intent") for n in ("+pseudo-label", "+one-head")
    )
    np.testing.assert_allclose(mixed.probabilities("intent"), (two + one) / 2, atol=1e-6)

    findings = paper_findings(run, found)
    assert (findings["low"] <= findings["high"]).all()
    assert (compare(run, baseline, baseline)["difference"] == 0).all()


def test_yardsticks_are_recipes_that_are_made_once(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run = make_run()
    found = train_recipes(run, YARDSTICKS)
    assert [name for name, _ in trained] == [name for name in YARDSTICKS for _ in range(5)]
    train_recipes(run, YARDSTICKS)
    assert len(trained) == 3 * 5
    scores = tables.recipe_scores(found)
    joint = scores[(scores["score"] == JOINT) & (scores["kind"] == MEAN)].set_index("system")
    assert joint.loc["logistic-regression", "value"] > joint.loc["majority", "value"]
    assert set(found["majority"].predictions.table["role"]) == {HELD_OUT}


def test_what_was_interrupted_goes_on_where_it_stopped(
    make_run: MakeRun, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    record = training_module.run_job

    def fail(job: Job) -> float:
        if job.seed == 1:
            raise KeyboardInterrupt
        return record(job)

    monkeypatch.setattr(training_module, "run_job", fail)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(run, "base", written())
    monkeypatch.setattr(training_module, "run_job", record)
    found = train_recipe(run, "base", written())
    assert trained == [("base", 0), ("base", 1)]
    assert sorted(found.predictions.table["seed"].unique()) == [0, 1]
    assert not list(found.folder.glob("seed-*.parquet"))
    assert not list(found.folder.glob("*.progress"))


@pytest.mark.parametrize(
    ("lost", "again"),
    [
        (["scores.parquet"], []),
        (["config.json"], []),
        (["answers.parquet", "scores.parquet"], []),
        (["seed-1.safetensors"], [0, 1]),
        (["predictions.parquet"], [0, 1]),
        (["config.json", "history.parquet"], [0, 1]),
    ],
)
def test_an_experiment_that_lost_files_is_made_whole_again(
    make_run: MakeRun, trained: list[tuple[str, int]], lost: list[str], again: list[int]
) -> None:
    run = make_run()
    before = train_recipe(run, "base", written())
    scores, answers = before.scores, before.answers.table
    written_at = (before.folder / "predictions.parquet").stat().st_mtime_ns
    for name in lost:
        (before.folder / name).unlink()
    trained.clear()
    after = train_recipe(run, "base", written())
    assert [seed for _, seed in trained] == again
    pd.testing.assert_frame_equal(after.scores, scores)
    pd.testing.assert_frame_equal(after.answers.table, answers)
    assert after.config["name"] == "base"
    assert not list(after.folder.glob("seed-*.json"))
    changed = (after.folder / "predictions.parquet").stat().st_mtime_ns != written_at
    assert changed == bool(again)  # tables and weights are of the same training


def test_progress_is_kept_until_the_results_are_written(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipes = make_run(), written()
    (job, _) = jobs_of(RecipeGraph(run, recipes), "base")
    job.folder.mkdir(parents=True)
    job.progress.write_bytes(b"from a run that was stopped")
    seen: list[bool] = []

    def record(self: NetworkJob, *arguments: Any) -> None:
        seen.append(self.progress.is_file())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NetworkJob, "write", record)
        with pytest.raises(KeyboardInterrupt):
            job.run()
    assert seen == [True]
    job.run()
    assert not job.progress.exists()


def diverging() -> dict[str, Recipe]:
    wild = {"learning_rate": 1e6, "clipping": "none", "epochs": 10}
    return written(
        wild={"like": "base", "training": wild},
        after={"start": "wild"},
        pair={"ensemble": {"mean": ["base", "after"]}},
        taught={"start": "base", "targets": {"teacher": "pair"}},
    )


def test_a_recipe_that_diverges_is_a_row_that_says_so(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run = make_run(training={"epochs": 2})
    names = ["base", "wild", "after", "pair", "taught"]
    found = train_recipes(run, names, diverging())
    assert not found["base"].failure
    assert "diverged" in found["wild"].failure
    assert "delete" in found["wild"].failure
    for name, cause in (("after", "wild"), ("pair", "after"), ("taught", "pair")):
        assert found[name].failure.startswith(f"{cause}, which it is made from, failed")
    with pytest.raises(TrainingError, match=r"'wild' has no results.*diverged"):
        _ = found["wild"].predictions
    with pytest.raises(TrainingError, match="no results"):
        train_recipe(run, "pair", diverging())
    scores = tables.recipe_scores(found)
    html = tables.show_table_one(scores).to_html()
    assert "diverged" in html
    assert html.count("–") >= 4 * 3
    trained.clear()
    train_recipes(run, names, diverging())
    assert trained == []  # it would diverge again
    assert compare(run, found["base"], found["wild"])["low"].isna().all()


def failing(monkeypatch: pytest.MonkeyPatch, *names: str, error: Exception) -> Callable[[], None]:
    """Trainings of these recipes with seed 1 raise until what is returned is called."""
    record = training_module.run_job

    def fail(job: Job) -> float:
        if job.name in names and job.seed == 1:
            raise error
        return record(job)

    monkeypatch.setattr(training_module, "run_job", fail)
    return lambda: monkeypatch.setattr(training_module, "run_job", record)


def test_a_training_that_meets_another_fault_fails_its_recipe_until_the_next_call(
    make_run: MakeRun, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(training={"epochs": 1})
    recipes = written(
        big={"like": "base"}, after={"start": "big"}, pair={"ensemble": {"mean": ["base", "after"]}}
    )
    names = ["base", "big", "after", "pair"]
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
    mend = failing(monkeypatch, "big", error=error)
    found = train_recipes(run, names, recipes)
    assert not found["base"].failure
    assert re.match("OutOfMemoryError: CUDA.*training.batch_size.*next call", found["big"].failure)
    assert found["after"].failure.startswith("big, which it is made from, failed")
    assert found["pair"].failure.startswith("after, which it is made from, failed")
    assert [name for name in names if found[name].done] == ["base"]
    assert load_experiment(run, "big", recipes).failure == found["big"].failure
    with pytest.raises(torch.OutOfMemoryError) as raised:
        train_recipe(run, "pair", recipes)
    assert "Recipe 'pair' has no results" in "".join(raised.value.__notes__)
    mend()
    trained.clear()
    found = train_recipes(run, names, recipes)
    # what was finished is kept
    assert trained == [("big", 1), ("after", 0), ("after", 1)]
    assert not any(experiment.failure for experiment in found.values())


def test_a_fault_of_most_trainings_stops_them_and_is_measured_by_the_whole_plan(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(training={"seeds": [1]})
    recipes = written(**{f"like-{n}": {"like": "base"} for n in range(4)})
    failing(monkeypatch, *recipes, error=RuntimeError("out of memory"))
    with pytest.raises(SystemicError, match=r"Trainings: 4 of 5 failed.*the first, base seed 1"):
        train_recipes(run, list(recipes), recipes)
    measured: list[int] = []
    monkeypatch.setattr(training_module, "map_items", lambda *_, of, **__: measured.append(of))
    train_recipes(run, list(recipes), recipes)
    monkeypatch.setattr(
        RecipeGraph, "unfinished", lambda *_: ["like-3"]
    )  # as if the others were done
    train_recipes(run, list(recipes), recipes)
    assert measured == [5, 5]


def test_what_is_built_on_a_failure_of_an_earlier_call_fails_too(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run, recipes = make_run(training={"epochs": 2}), diverging()
    first = train_recipes(run, ["wild"], recipes)["wild"]
    trained.clear()
    found = train_recipes(run, ["after", "taught", "base"], recipes)
    assert {name for name, _ in trained} == {"base"}
    assert found["after"].failure.startswith("wild, which it is made from, failed")
    assert found["taught"].failure.startswith("pair, which it is made from, failed")
    assert first.folder.name in found["taught"].failure  # what to delete
    assert not found["base"].failure
    for path in first.folder.iterdir():
        path.unlink()
    assert not found["after"].failure  # its cause is gone: it would be tried again
    assert not found["after"].done


def test_a_training_whose_start_failed_meanwhile_is_not_begun(make_run: MakeRun) -> None:
    graph = RecipeGraph(make_run(), written(second={"start": "base"}))
    job = jobs_of(graph, "second")[0]
    write_failure(graph.experiment("base"), "The training diverged.")
    with pytest.raises(TrainingError, match=r"it starts from, base-\w+, failed"):
        job.run()


def test_lost_targets_of_the_pool_are_made_again(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run = make_run(training={"seeds": [0]})
    recipes = written(taught={"start": "base", "targets": {"teacher": "base"}})
    with pytest.warns(UserWarning, match="Pseudo labels"):
        found = train_recipe(run, "taught", recipes)
    for name in ("pool_targets.parquet", "seed-0.safetensors"):
        (found.folder / name).unlink()
    trained.clear()
    assert train_recipe(run, "taught", recipes).done
    assert trained == [("taught", 0)]


def test_a_finished_ensemble_does_not_ask_for_its_members_weights(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run = make_run(training={"seeds": [0]})
    recipes = written(
        pair={"ensemble": {"mean": ["base", "majority"]}}, majority={"model": "majority"}
    )
    train_recipe(run, "pair", recipes)
    weights = train_recipe(run, "base", recipes).folder / "seed-0.safetensors"
    weights.unlink()
    trained.clear()
    train_recipe(run, "pair", recipes)
    assert trained == []


class Nobody:
    """A rule that chooses no clip."""

    def __call__(self, answers: Answers, labels: pd.DataFrame) -> Selection:
        chosen = RULES["everything"]()(answers, labels)
        nobody = {f"use_{task}": False for task in answers.tasks}
        return replace(chosen, table=chosen.table.assign(selected=False, **nobody))


def test_a_rule_that_chooses_nothing_leaves_the_true_labels(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "nobody", Nobody)
    run = make_run(training={"seeds": [0]})
    targets = {"teacher": "base", "rule": "nobody"}
    recipes = written(taught={"model": "majority", "targets": targets}, plain={"model": "majority"})
    found = train_recipes(run, ["taught", "plain"], recipes)
    one, other = (found[name].predictions.probabilities("intent") for name in found)
    np.testing.assert_array_equal(one, other)


def test_rules_stand_side_by_side_and_one_that_chooses_nothing_trains_on(
    make_run: MakeRun, recwarn: pytest.WarningsRecorder
) -> None:
    run = make_run(training={"seeds": [0]})
    names = ["+pseudo-label", "+pseudo-label-paper"]
    found = train_recipes(run, ["baseline", *names])
    told = [str(w.message) for w in recwarn if "Pseudo labels" in str(w.message)]
    assert len(told) == 2  # one a rule, in the order in which they were made
    recwarn.clear()
    shutil.rmtree(run.path("pseudo_labels"))
    labels = pseudo_labels_of(run, *names)  # made again, without a word: they tell it themselves
    assert not recwarn
    quantile, strict = labels.values()
    assert quantile.selection.table["selected"].any()
    assert not strict.selection.table["selected"].any()
    trained_on = Targets.load(found[names[1]].folder / "pool_targets.parquet")
    assert len(trained_on) == 0
    assert not found[names[1]].failure
    assert "trained on the true labels alone" in " ".join(found[names[1]].notes)
    assert "few or no confident clips" in " ".join(found[names[0]].notes)
    assert found[names[0]].key != found[names[1]].key

    truth = run.table("clips")[["clip_id"]].assign(emotion="sad", intent="neutral")
    rows = tables.pseudo_label_rows(labels, found, truth)
    assert rows["name"].tolist() == ["baseline", *names]
    assert rows["chosen"].isna().tolist() == [True, False, False]
    assert rows["chosen"].iloc[2] == 0
    assert rows["in_truth"].notna().tolist() == [False, True, False]
    assert rows["joint"].notna().all()
    assert "Joint score" in tables.show_scores(rows, "caption").to_html()
    assert "in_truth" not in tables.pseudo_label_rows(labels, found)


def test_pseudo_labels_are_those_of_a_recipe_with_targets_whose_teacher_is_trained(
    make_run: MakeRun,
) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match=r"'\+pseudo-labels' with targets: did you mean"):
        pseudo_labels_of(run, "+pseudo-labels")
    with pytest.raises(ConfigError, match=r"'baseline' with targets: .*Valid: \+1textcnn,"):
        pseudo_labels_of(run, "baseline")
    with pytest.raises(MissingStageError, match="03_baseline"):
        pseudo_labels_of(run, "+pseudo-label")


def test_labels_of_a_teacher_that_failed_are_none_until_it_has_results(make_run: MakeRun) -> None:
    run, recipes = make_run(training={"seeds": [0], "epochs": 2}), diverging()
    failed = train_recipes(run, ["pair", "wild"], recipes)["wild"]
    labels = pseudo_labels_of(run, "taught", recipes=recipes)["taught"]
    assert labels.selection.table.empty
    assert labels.told()[0].startswith("pair, the teacher, has no results: after, which")
    assert labels.by_class().empty
    assert not labels.done
    assert plots.coverage_precision(labels.audit(), 0.99).axes[0].texts
    for path in failed.folder.iterdir():
        path.unlink()
    with pytest.raises(MissingStageError):
        pseudo_labels_of(run, "taught", recipes=recipes)


def test_a_setting_with_emotion_alone_goes_from_recipes_to_tables(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(training={"seeds": [0], "epochs": 1})
    emotion = replace(run.setting, classes={"emotion": CLASSES["emotion"]})
    monkeypatch.setattr(type(run.config), "setting", emotion)
    with pytest.warns(UserWarning, match="Pseudo labels"):
        found = train_recipes(run, [*TABLE_ONE, *YARDSTICKS])
    assert found["ensemble"].answers.tasks == ["emotion"]
    assert list(found["baseline"].network(0).network.interactions) == []
    scores = tables.recipe_scores(found)
    assert set(scores["score"]) == {"emotion", JOINT}
    assert found["baseline"].score("emotion") == found["baseline"].score(JOINT)
    assert "Intent" not in tables.show_table_one(scores).to_html()
    findings = paper_findings(run, found)
    assert set(findings["score"]) == {"emotion", JOINT}
    answers = found["baseline"].answers.of_split("valid").table
    figure = plots.confusion_matrices(answers, answers, run.setting.classes)
    assert len(figure.axes) == 2  # one panel and its bar
    assert plots.table_one(scores).axes
    by_class = make_pseudo_labels(run, found["baseline"]).by_class()
    assert by_class["task"].unique() == ["emotion"]
    assert plots.pseudo_label_balance(by_class).axes


def test_a_checkpoint_of_an_experiment_gives_its_predictions(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    found = train_recipe(make_run(), "base", written())
    dataset = make_toy()
    rows = dataset.rows("test")
    own = found.network(1).probabilities(dataset, rows, "cpu")
    table = found.predictions.of_split("test")
    for task in TASKS:
        of_seed = table.probabilities(task)[(table.table["seed"] == 1).to_numpy()]
        np.testing.assert_allclose(own[task], of_seed, atol=1e-6)


def test_the_key_changes_with_all_that_shapes_an_experiment(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    def relabel(clips: pd.DataFrame) -> None:
        clips.loc[0, "intent"] = "wishing" if clips.loc[0, "intent"] != "wishing" else "agreeing"

    variants: list[dict[str, Any]] = [
        {},
        {"training": {"epochs": 3}},
        {"training": {"seeds": [0]}},
        {"dataset": make_toy(change=relabel)},
        {"store_keys": {"text": "new"}},
        {"track": 2},
    ]
    keys = [RecipeGraph(make_run(**v)).experiment("ensemble").key for v in variants]
    assert len(set(keys)) == len(keys)
    # Where it is computed, and in how many processes, shapes nothing.
    for same in ({"training": {"device": "auto"}}, {"parallel": {"workers": 7}}):
        assert RecipeGraph(make_run(**same)).experiment("ensemble").key == keys[0]


def test_the_key_changes_with_every_component(make_run: MakeRun) -> None:
    run = make_run()
    recipes = written(
        same={"like": "base", "title": "another title"},
        head={"like": "base", "network": {"emotion": {"head": {"dropout": 0.1}}}},
        objective={"like": "base", "objective": {"auxiliary": 0}},
        noise={"like": "base", "training": {"noise": 0}},
        start={"start": "base"},
        taught={"start": "base", "targets": {"teacher": "base"}},
        soft={"start": "base", "targets": {"teacher": "base", "soft": True}},
        light={"start": "base", "targets": {"teacher": "base", "weight": 0.5}},
        all={"start": "base", "targets": {"teacher": "base", "rule": "everything"}},
        strict={"start": "base", "targets": {"teacher": "base", "rule": "paper"}},
        lower={"start": "base", "targets": {"teacher": "base", "rule": {"paper": 0.5}}},
        linear={"model": "logistic-regression"},
        strong={"model": {"logistic-regression": {"strengths": [1]}}},
        mean={"ensemble": {"mean": ["base", "start"]}},
        weighed={"ensemble": {"mean": {"from": ["base", "start"], "weights": {"base": 2}}}},
    )
    graph = RecipeGraph(run, recipes)
    keys = {name: graph.experiment(name).key for name in recipes}
    assert keys.pop("same") == keys["base"]
    assert len(set(keys.values())) == len(keys)


def test_soft_and_weighted_targets_reach_the_training(
    make_run: MakeRun, trained: list[tuple[str, int]]
) -> None:
    run = make_run(training={"seeds": [0]})
    recipes = written(
        taught={"model": "majority", "targets": {"teacher": "base", "rule": "everything"}},
        soft={
            "like": "base",
            "targets": {"teacher": "base", "rule": "everything", "soft": True, "weight": 0.25},
        },
    )
    found = train_recipes(run, ["soft", "taught"], recipes)
    teacher = train_recipe(run, "base", recipes).predictions.of_split("unlabeled")
    targets = Targets.load(found["soft"].folder / "pool_targets.parquet")
    hard = Targets.load(found["taught"].folder / "pool_targets.parquet")
    assert len(targets) == len(hard) == 40
    for task in TASKS:
        np.testing.assert_allclose(
            targets.probabilities(task), teacher.probabilities(task), atol=1e-6
        )
        assert set(targets.weights(task)) == {0.25}
        np.testing.assert_array_equal(
            hard.probabilities(task).argmax(1), teacher.probabilities(task).argmax(1)
        )
    shares = found["taught"].predictions.probabilities("emotion")[0]
    counts = hard.probabilities("emotion").sum(0)
    truth = run.table("clips").query("split == 'train'")["emotion"].value_counts()
    expected = (counts + [truth.get(c, 0) for c in hard.classes["emotion"]]) / 100
    np.testing.assert_allclose(shares, expected, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_without_a_pool_a_recipe_with_pseudo_labels_is_its_stage_one(
    make_run: MakeRun, make_toy: MakeToy, trained: list[tuple[str, int]]
) -> None:
    run = make_run(make_toy(sizes={"train": 20, "valid": 10, "test": 5}), track=2)
    found = train_recipes(run, ["+pseudo-label", "one+two-heads"])
    assert found["+pseudo-label"].name == "baseline"
    assert load_experiment(run, "+pseudo-label").key == found["+pseudo-label"].key
    assert {name for name, _ in trained} == {"baseline", "one-head-clean"}
    assert list(members_of(run, "one+two-heads")) == ["baseline", "one-head-clean"]
    # The pseudo labels are none, which is said in words wherever they are shown.
    (labels,) = pseudo_labels_of(run, "+pseudo-label-paper").values()
    assert labels.told() == ["There are no unlabelled clips, so none are labelled."]
    assert labels.done
    asked = load_recipes()["+pseudo-label"].targets
    assert asked is not None
    known = labelled(run.table("clips"), run.setting.tasks, "train")
    assert len(labels.targets(found["+pseudo-label"], asked, known)) == 0
    assert "nothing to show" in tables.show_table(labels.by_class(), "By class").to_html()
    for figure in (
        plots.coverage_precision(labels.audit(), labels.selection.asked),
        plots.pseudo_label_balance(labels.by_class()),
    ):
        assert "nothing to show" in figure.axes[0].texts[0].get_text()
    clips = labels.selection.table.query("selected").merge(run.table("clips")[["clip_id"]])
    assert "Clip id" in tables.show_clips(clips, run.setting.classes).to_html()
    sets = {"+pseudo-label-paper": labels}
    rows = tables.pseudo_label_rows(sets, {"+pseudo-label-paper": found["+pseudo-label"]})
    assert rows["chosen"].tolist() == [0]


def test_scarce_and_incomplete_clips_still_give_all_of_table_one(
    make_run: MakeRun, make_toy: MakeToy
) -> None:
    """One clip in every other split, a class absent from train, labels missing for some clips."""

    def spoil(clips: pd.DataFrame) -> None:
        clips.loc[clips["emotion"] == "fear", "emotion"] = "sad"
        clips.loc[:2, "emotion"] = ""
        clips.loc[3, "intent"] = ""

    sizes = {"train": 20, "valid": 1, "test": 1, "unlabeled": 1}
    run = make_run(make_toy(sizes, change=spoil), training={"seeds": [0], "epochs": 1})
    with pytest.warns(UserWarning, match="Pseudo labels"):
        found = train_recipes(run)
    notes = " ".join(found["baseline"].notes)
    assert "No train clip has emotion fear: it cannot be learned" in notes
    assert "4 train clips lack a label and are left out" in notes
    for experiment in found.values():
        assert np.isfinite(experiment.score())
        assert (experiment.predictions.table["emotion:fear"] == 0).all()
        assert len(experiment.predictions) == 23
    assert len(paper_findings(run, found)) == 7


def test_a_worker_process_gives_the_same_predictions(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its job pickled, and another number of threads than this process has."""
    run = make_run(training={"seeds": [0]})
    here = train_recipe(run, "base", written())
    predictions = here.predictions.table
    for path in here.folder.iterdir():
        path.unlink()

    def elsewhere(job: Job) -> float:
        threads = torch.get_num_threads()
        torch.set_num_threads(threads + 1)
        try:
            return run_job(pickle.loads(pickle.dumps(job)))
        finally:
            torch.set_num_threads(threads)

    monkeypatch.setattr(training_module, "run_job", elsewhere)
    there = train_recipe(run, "base", written()).predictions.table
    pd.testing.assert_frame_equal(there, predictions, check_exact=True)


def test_a_setting_fixed_by_the_recipe_wins_over_the_profile(make_run: MakeRun) -> None:
    graph = RecipeGraph(make_run(training={"noise": 0.7, "learning_rate": 0.01}))
    assert graph.training("official-baseline").noise == 0
    assert graph.training("official-baseline").learning_rate == 2e-4
    assert graph.training("baseline").noise == 0.7
    assert graph.training("+1textcnn").learning_rate == pytest.approx(0.001)
    assert graph.training("official-baseline").epochs == 60  # its schedule counts on them
    assert graph.training("baseline").epochs == 2


def test_an_experiment_is_one_line_to_read(make_run: MakeRun) -> None:
    run = make_run(training={"seeds": [0]})
    recipes = written()
    assert repr(RecipeGraph(run, recipes).experiment("base")).endswith("not trained yet")
    found = train_recipe(run, "base", recipes)
    assert repr(found).startswith(f"Experiment base ({found.key}): joint {found.score():.3f} [")
    assert "\n" not in repr(found)
    assert found._repr_html_().startswith("<b>base (")


def test_what_a_killed_process_did_not_come_to_remove_goes_with_the_next_call(
    make_run: MakeRun,
) -> None:
    recipes = make_recipes({"net": {"training": {"epochs": 1, "seeds": [0]}}})
    run = make_run()
    experiment = train_recipe(run, "net", recipes)
    left = [experiment.folder / name for name in ("seed-0.json", "seed-0.parquet")]
    for path in left:
        path.touch()
    again = train_recipe(run, "net", recipes)
    assert again.done
    assert not any(path.exists() for path in left)
    assert again.network(0)
