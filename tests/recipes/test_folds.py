"""Folds and keys in recipes: who has seen what, and what is trained anew where code changes."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from meiju_utils.errors import ConfigError, TrainingError
from meiju_utils.files import read_json
from meiju_utils.modelling import parts
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.partitions import Folds, fold_table
from meiju_utils.predictions import FITTED, HELD_OUT, Targets
from meiju_utils.recipes import Experiment, Recipe, compare, make_recipes, train_recipes
from meiju_utils.recipes import experiment as experiment_module
from meiju_utils.recipes import training as training_module
from meiju_utils.recipes import writing as writing_module
from meiju_utils.recipes.code import run_job
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.recipes.jobs import Job
from meiju_utils.recipes.planning import jobs_of
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, MEAN

MakeRun = Callable[..., Run]
THREE = {"folds": 3}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records which jobs are run."""
    calls: list[str] = []

    def record(job: Job) -> float:
        calls.append(job.name)
        return run_job(job)

    monkeypatch.setattr(training_module, "run_job", record)
    return calls


def written(**own: Any) -> dict[str, Recipe]:
    """Recipes of their YAML values, a quick network with folds among them."""
    base = {"network": {"both": {"hidden": 16}}, "partition": THREE, "training": {"seeds": [0]}}
    return make_recipes({"base": base, **own})


def rows_of(experiment: Experiment, split: str) -> pd.DataFrame:
    return experiment.predictions.of_split(split).table


@pytest.mark.filterwarnings("ignore:Pseudo labels")
def test_folds_predict_every_train_clip_by_trainings_that_never_saw_it(make_run: MakeRun) -> None:
    run = make_run()
    recipes = written(
        taught={"start": "base", "targets": {"teacher": "base"}},
        linear={"model": "logistic-regression", "partition": {"folds": 3, "repeats": 2}},
        plain={"model": "majority"},
        both={"ensemble": {"mean": ["taught", "linear"]}},
        mixed={"ensemble": {"mean": ["base", "plain"]}},
    )
    found = train_recipes(run, list(recipes), recipes)
    assert not any(experiment.failure for experiment in found.values())
    split = fold_table(run, Folds(folds=3)).table
    held = split[split["role"] == HELD_OUT].set_index("clip_id")["fold"]
    for name, repeats, folds in (("base", 1, 3), ("taught", 1, 3), ("linear", 2, 6)):
        train, rest = rows_of(found[name], "train"), rows_of(found[name], "valid")
        assert set(train["role"]) == {HELD_OUT}
        assert set(train["chose"]) | set(rest["chose"]) == {""}
        assert (train["clip_id"].value_counts() == repeats).all()
        assert (rest["clip_id"].value_counts() == folds).all()
        if repeats == 1:
            assert train["fold"].tolist() == held.loc[train["clip_id"]].tolist()
        on_train = found[name].score(split="train")
        assert 0 < on_train <= 1
        assert found[name].chose("valid") == found[name].chose("train") == ""
    # Of each fold its own teachers labelled the pool.
    pool = rows_of(found["taught"], "unlabeled")
    assert set(pool.groupby("fold")["role"].agg(set).map(len)) <= {1, 2}
    assert (pool["role"] == FITTED).any()
    assert len(list(found["taught"].folder.glob("pool_targets-fold-?.parquet"))) == 3
    assert any("confident clips in the pool" in note for note in found["taught"].notes)
    assert found["base"].network(0, fold=2)
    with pytest.raises(TrainingError, match="no training of seed 0 and fold 7"):
        found["base"].network(0, fold=7)
    assert set(found["base"].history["fold"]) == {0, 1, 2}
    # Together with whoever has seen the train clips an ensemble has seen them.
    assert set(rows_of(found["both"], "train")["role"]) == {HELD_OUT}
    assert set(rows_of(found["mixed"], "train")["role"]) == {FITTED}
    assert set(found["both"].scores["split"]) == {"valid", "train"}
    assert set(found["mixed"].scores["split"]) == {"valid"}


def test_a_score_on_clips_that_chose_the_epoch_is_marked(make_run: MakeRun) -> None:
    recipes = written(published={"like": "base", "partition": "validation"})
    found = train_recipes(make_run(), ["base", "published"], recipes)
    assert found["published"].chose("valid") == "epoch"
    assert set(found["published"].scores["chose"]) == {"epoch"}
    assert set(found["base"].scores["chose"]) == {""}


def test_a_tenth_of_the_clips_that_fit_chooses_and_no_group_is_cut(make_run: MakeRun) -> None:
    run = make_run()
    copies = [(f"clip{i:04d}", f"clip{i + 30:04d}") for i in range(30)]
    run.save_table("copies", pd.DataFrame(copies, columns=["clip_a", "clip_b"]))
    table = fold_table(run, Folds(folds=5)).table
    assert len(list(run.path("partitions").glob("*.parquet"))) == 1
    fold_table(run, Folds(folds=5))
    assert len(list(run.path("partitions").glob("*.parquet"))) == 1
    number = table["clip_id"].str.removeprefix("clip").astype(int) % 30
    assert all(len(roles) == 1 for roles in table.groupby(["fold", number])["role"].agg(set))
    assert (table["role"] == HELD_OUT).sum() == 60
    choosers = table[table["role"] == "choose"]["fold"].value_counts()
    assert choosers.between(2, 8).all()  # of 48, in pairs


def test_unlabelled_train_clips_train_nothing_and_are_predicted_like_the_others(
    make_run: MakeRun, make_toy: Callable[..., Dataset]
) -> None:
    def hide(clips: pd.DataFrame) -> None:
        clips.loc[:3, "emotion"] = ""

    recipes = written(linear={"model": "majority", "partition": THREE})
    found = train_recipes(make_run(make_toy(change=hide)), ["linear"], recipes)["linear"]
    train = rows_of(found, "train")
    assert train["clip_id"].nunique() == len(train) == 60
    assert set(train["role"]) == {HELD_OUT}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"model": "majority", "partition": {"folds": 1}}, "folds: Input should be greater"),
        ({"model": "majority", "partition": {"fold": 3}}, "no key 'fold': did you mean 'folds'"),
        ({"model": "majority", "partition": "folds"}, r"'folds': expected `validation`, or folds"),
        ({"ensemble": {"mean": ["base"]}, "partition": THREE}, "partition and encoders are theirs"),
        ({"start": "base", "partition": {"folds": 4}}, r"'own'.*4 folds.*'base'.*3 folds"),
        ({"start": "base", "partition": "validation"}, "was trained on other clips"),
        (
            {"model": "majority", "targets": {"teacher": "plain"}, "partition": THREE},
            "Give both the same partition",
        ),
        (
            {"model": "majority", "targets": {"teacher": "pair"}, "partition": THREE},
            "means over folds",
        ),
    ],
)
def test_partitions_that_make_no_sense_are_refused(own: dict[str, Any], message: str) -> None:
    others = {"plain": {"model": "majority"}, "pair": {"ensemble": {"mean": ["base", "plain"]}}}
    with pytest.raises(ConfigError, match=message):
        written(**others, own=own)


def test_whoever_chooses_on_the_validation_clips_may_learn_from_folds(make_run: MakeRun) -> None:
    targets = {"teacher": "folded", "rule": "everything", "soft": True}
    recipes = written(
        folded={"model": "logistic-regression", "partition": THREE},
        student={"model": "logistic-regression", "targets": targets},
    )
    found = train_recipes(make_run(), ["student"], recipes)["student"]
    assert set(rows_of(found, "unlabeled")["role"]) == {FITTED}
    assert set(rows_of(found, "valid")["role"]) == {HELD_OUT}


def test_more_folds_than_recordings_are_refused_before_training(
    make_run: MakeRun, trained: list[str]
) -> None:
    recipes = written(linear={"model": "majority", "partition": {"folds": 61}})
    with pytest.raises(TrainingError, match="cannot be dealt into 61 folds"):
        train_recipes(make_run(), ["linear"], recipes)
    assert trained == []


def test_folds_that_few_clips_force_are_noted(make_run: MakeRun) -> None:
    recipes = written(linear={"model": "majority", "partition": {"folds": 20}})
    found = train_recipes(make_run(), ["linear"], recipes)["linear"]
    assert any("fewer clips than the 20 folds" in n or "by chance" in n for n in found.notes)


FUSION = '''"""A fusion of one's own."""
from torch import nn

class Own(nn.Module):
    """Tokens as they are."""
    def __init__(self, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)

    def forward(self, tokens):
        return self.norm(tokens)
'''


def test_changed_code_trains_its_recipes_and_what_is_built_on_them_anew_and_nothing_else(
    make_run: MakeRun, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(source: str) -> None:
        (tmp_path / "own_fusion.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop("own_fusion", None)
        monkeypatch.setitem(parts.FUSIONS, "own", importlib.import_module("own_fusion").Own)

    load(FUSION)
    small = {"network": {"both": {"hidden": 16}}}
    values: dict[str, Any] = {
        "plain": small,
        "own": {"network": {"both": {"hidden": 16, "fusion": "own"}}},
        "after": {"start": "own"},
        "linear": {"model": "logistic-regression"},
        "mean": {"ensemble": {"mean": ["own", "linear"]}},
        "other": {"ensemble": {"mean": ["plain", "linear"]}},
    }
    run = make_run(training={"seeds": [0], "epochs": 1})

    def made() -> dict[str, str]:
        trained.clear()
        recipes = make_recipes(values)
        return {n: e.key for n, e in train_recipes(run, list(values), recipes).items()}

    first = made()
    assert sorted(trained) == ["after", "linear", "own", "plain"]
    load(FUSION.replace("Tokens as they are.", "Tokens, normalised.") + "\n# a comment\n")
    assert made() == first
    assert trained == []
    load(FUSION.replace("self.norm(tokens)", "0 * self.norm(tokens)"))
    second = made()
    assert sorted(trained) == ["after", "own"]
    assert {name for name in first if first[name] != second[name]} == {"own", "after", "mean"}
    (tmp_path / "own_fusion.py").write_text(FUSION, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own_fusion\.py says something else.*Restart"):
        made()


def test_an_interrupted_training_does_not_go_on_under_other_code(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipes = make_run(), written()

    def interrupted(job: Job) -> float:
        job.progress.parent.mkdir(parents=True, exist_ok=True)
        job.progress.write_bytes(b"half a training")
        raise KeyboardInterrupt

    monkeypatch.setattr(training_module, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_recipes(run, ["base"], recipes)
    monkeypatch.setattr("torch.__version__", "0.0")  # other code of a library
    found: list[Path] = []
    monkeypatch.setattr(
        training_module, "run_job", lambda job: found.append(job.progress) or run_job(job)
    )
    train_recipes(run, ["base"], recipes)
    assert len(found) == 3
    (old,) = run.path().rglob("*.progress")
    assert all(path.parent != old.parent for path in found)


def test_a_worker_with_other_code_refuses_the_work(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(job: Job) -> float:
        with monkeypatch.context() as there:
            there.setattr(np, "__version__", "0.0")
            return run_job(job)

    monkeypatch.setattr(training_module, "run_job", elsewhere)
    with pytest.raises(ConfigError, match="A worker has other code of recipe 'base'"):
        train_recipes(make_run(), ["base"], written())


def test_scores_of_held_out_train_clips_are_tables_of_their_own(make_run: MakeRun) -> None:
    found = train_recipes(make_run(), ["base"], written())["base"]
    joint = found.scores[(found.scores["score"] == JOINT) & (found.scores["kind"] == MEAN)]
    assert joint["split"].tolist() == ["valid", "train"]
    assert repr(found).endswith("on valid")


def _other(dataset: Dataset, rows: Any) -> Dataset:
    """The same with other labels and features of some clips."""
    labels = {task: values.copy() for task, values in dataset.labels.items()}
    for task, values in labels.items():
        values[rows] = (values[rows] + 1) % len(dataset.classes[task])
    features = {}
    for stream, sequences in dataset.features.items():
        frames = sequences.frames.copy()
        frames[sequences.frame_rows(rows)] *= -3
        features[stream] = replace(sequences, frames=frames)
    return replace(dataset, labels=labels, features=features)


def _weights(job: Job, dataset: Dataset, folder: Path) -> tuple[dict[str, Any], Any]:
    """All tensors of a trained fold (weights, statistics of features) and its history."""
    changed = replace(job, dataset=dataset, folder=folder)
    changed.run()
    history = pd.DataFrame(read_json(changed.record)["history"]).drop(columns="seconds")
    return load_file(changed.member.weights(folder)), history


def test_nothing_of_what_a_fold_holds_out_or_of_other_splits_reaches_its_training(
    make_run: MakeRun, tmp_path: Path
) -> None:
    graph = RecipeGraph(make_run(training={"epochs": 3}), written())
    job = jobs_of(graph, "base")[1]
    before, history = _weights(job, job.dataset, tmp_path / "before")
    unseen = np.flatnonzero(
        np.isin(job.dataset.clip_ids, job.part.held_out) | (job.dataset.split != "train")
    )
    after, again = _weights(job, _other(job.dataset, unseen), tmp_path / "after")
    pd.testing.assert_frame_equal(history, again)
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name], err_msg=name)
    fit = _other(job.dataset, job.dataset.rows_of(job.part.fit))
    assert any((before[n] != t).any() for n, t in _weights(job, fit, tmp_path / "fit")[0].items())


def test_the_clips_that_choose_the_epoch_train_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    graph = RecipeGraph(make_run(training={"epochs": 1}), written())
    job = jobs_of(graph, "base")[0]
    before, history = _weights(job, job.dataset, tmp_path / "before")
    choosers = _other(job.dataset, job.dataset.rows_of(job.part.choose))
    after, again = _weights(job, choosers, tmp_path / "after")
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name], err_msg=name)
    assert history["valid_loss"].tolist() != again["valid_loss"].tolist()
    assert history["train_loss"].tolist() == again["train_loss"].tolist()


def test_each_folds_own_teachers_label_the_pool_for_it(make_run: MakeRun) -> None:
    targets = {"teacher": "base", "rule": "everything", "soft": True}
    recipes = written(taught={"start": "base", "targets": targets})
    run = make_run()
    found = train_recipes(run, ["base", "taught"], recipes)
    table = found["base"].predictions.table
    for fold in range(3):
        own = Targets.load(found["taught"].folder / f"pool_targets-fold-{fold}.parquet").table
        of_fold = table[(table["fold"] == fold) & (table["split"] == "unlabeled")]
        expected = of_fold.set_index("clip_id").loc[own["clip_id"], "emotion:happy"]
        np.testing.assert_allclose(own["emotion:happy"], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Pseudo labels")
def test_caps_count_no_label_that_a_fold_holds_out(make_run: MakeRun) -> None:
    rule = {"paper": {"threshold": 0.01, "cap": 1.0}}
    recipes = written(taught={"start": "base", "targets": {"teacher": "base", "rule": rule}})
    run = make_run()
    train_recipes(run, ["taught"], recipes)
    graph, clips = RecipeGraph(run, recipes), run.table("clips")
    for fold, labels in enumerate(graph.pool_labels("taught")):
        split = graph.split("taught")
        assert split is not None
        seen = clips[(clips["split"] == "train")]
        seen = seen[~seen["clip_id"].isin(split.parts()[fold].held_out)]
        caps = labels.selection.thresholds.query("task == 'emotion'").set_index("label")["cap"]
        counts = seen["emotion"].value_counts()
        assert caps.to_dict() == {label: counts.get(label, 0) for label in caps.index}


def test_who_was_trained_on_clips_is_not_compared_on_them(make_run: MakeRun) -> None:
    run = make_run()
    recipes = written(
        folded={"model": "logistic-regression", "partition": THREE},
        plain={"model": "logistic-regression"},
    )
    found = train_recipes(run, ["base", "folded", "plain"], recipes)
    train = run.table("clips").query("split == 'train'")
    assert len(compare(run, found["folded"], found["base"], truth=train)) == 3
    with pytest.raises(TrainingError, match="'plain' was trained on the clips"):
        compare(run, found["folded"], found["plain"], truth=train)


def test_scores_are_made_anew_where_the_code_that_scores_has_changed(
    make_run: MakeRun, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipes = make_run(), written()
    first = train_recipes(run, ["base"], recipes)["base"]
    trained.clear()
    for module in (experiment_module, writing_module):
        monkeypatch.setattr(module, "scoring_code", lambda: "other code")
    assert not first.done
    again = train_recipes(run, ["base"], recipes)["base"]
    assert again.done
    assert trained == []
