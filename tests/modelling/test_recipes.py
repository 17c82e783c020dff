"""Recipes: what they inherit, what they train, what they find already done."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meiju_utils.challenge import PAPER_TABLE_I, TASKS
from meiju_utils.errors import ConfigError, FeatureError, MeijuError, MissingStageError
from meiju_utils.modelling import experiments, recipes
from meiju_utils.modelling.comparison import PAPER_STEPS, compare, paper_findings
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.probabilities import PROBABILITY_COLUMNS
from meiju_utils.modelling.recipe_book import Recipe, load_recipes
from meiju_utils.modelling.recipes import (
    TABLE_ONE,
    load_experiment,
    train_recipe,
    train_recipes,
)
from meiju_utils.run import Run

MakeRun = Callable[..., Run]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Records which experiments' seeds are trained."""
    calls: list[tuple[str, int]] = []
    train = experiments.train_seed

    def record(job: experiments.SeedJob) -> float:
        calls.append((job.folder.name.rsplit("-", 1)[0], job.seed))
        return train(job)

    monkeypatch.setattr(recipes, "train_seed", record)
    return calls


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_recipes_cover_table_one_and_the_official_baseline() -> None:
    book = load_recipes()
    assert set(TABLE_ONE) == set(PAPER_TABLE_I)
    assert set(TABLE_ONE) | {"official-baseline"} <= set(book)
    assert book["official-baseline"].network.stage == "joint"
    assert book["official-baseline"].training["hold_epochs"] == 15
    assert book["official-baseline"].training["beta1"] == 0.5
    assert book["+1textcnn"].network.kernel_heights == [1]
    assert book["+one-head"].network.fusion_heads == 1
    assert book["ensemble"].combine == {"emotion": ["+1textcnn"], "intent": ["one+two-heads"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {title: x, strat: baseline}", "strat"),
        ("mine: {title: x, start: basline}", "did you mean 'baseline'"),
        ("mine: {title: x, pseudo_labels: nobody}", "nobody"),
        ("mine: {title: x, combine: {emotion: [baseline]}}", "intent"),
        ("mine: {title: x, network: {fusion_heads: many}}", "fusion_heads"),
        ("a: {title: x, start: b}\nb: {title: y, start: a}", "circle"),
        ("mine: {title: x, network: {fusion_heads: {emotion: 2}}}", "one for emotion and one"),
        ("mine: {title: x, network: 3}", "network"),
        ("mine: {title: x, combine: {emotion: baseline, intent: [baseline]}}", "list"),
        ("mine: {title: x, start: ensemble}", "no weights of its own"),
        ("mine:", "must map each recipe's name to its settings"),
        ("- mine", "must map each recipe's name to its settings"),
        ("mine: {title: x", "cannot be read"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipes(write(tmp_path / "mine.yaml", text))


def test_unknown_recipes_settings_and_encoders_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match=r"'basline'.*did you mean 'baseline'"):
        train_recipe(run, "basline")
    odd = {"odd": Recipe(title="x", training={"learning_rte": 1})}
    with pytest.raises(ConfigError, match="learning_rate"):
        train_recipe(run, "odd", odd)
    other = {"other": Recipe(title="x", encoders={"text": "hf:unknown"})}
    with pytest.raises(FeatureError, match="hf:unknown"):
        train_recipe(run, "other", other)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"encoders": {"text": "hf:unknown"}}, "hf:unknown"),
        ({"training": {"learning_rte": 1}}, "learning_rate"),
        ({"training": {"seeds": [0, 5]}}, r"seeds \[5\]"),
        ({"network": {"fusion_heads": 3}}, "3 fusion heads"),
    ],
)
def test_what_is_wrong_with_a_later_stage_is_said_before_anything_is_trained(
    make_run: MakeRun, trained: list[tuple[str, int]], fault: dict[str, Any], message: str
) -> None:
    recipes = {
        "first": Recipe(title="one"),
        "second": Recipe.model_validate({"title": "two", "start": "first", **fault}),
    }
    with pytest.raises(MeijuError, match=message):
        train_recipe(make_run(), "second", recipes)
    assert trained == []


def test_recipes_of_ones_own_are_named_in_the_profile(make_run: MakeRun, tmp_path: Path) -> None:
    own = write(tmp_path / "mine.yaml", "mine: {title: x, network: {kernel_heights: [1, 2]}}")
    run = make_run(recipes=str(own))
    found = train_recipe(run, "mine")
    assert found.config["network"]["kernel_heights"] == [1, 2]


def test_the_published_fault_of_unmasked_padding_is_a_recipe(make_run: MakeRun) -> None:
    built_in = load_recipes()
    masked, unmasked = built_in["official-baseline"], built_in["official-baseline-unmasked"]
    assert unmasked.training == {**masked.training, "masking": False}
    book = recipes._Book(make_run(), None)
    names = ("official-baseline", "official-baseline-unmasked")
    assert [book.network(name, {"audio": 1}).masking for name in names] == [True, False]


def test_all_of_table_one_trains_shares_and_is_found_again(
    make_run: MakeRun, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    read: list[str] = []  # the corpus: its key once and its features once, for all recipes
    for name in ("dataset_key", "load_dataset"):
        real = getattr(recipes, name)
        monkeypatch.setattr(
            recipes, name, lambda *a, name=name, real=real: read.append(name) or real(*a)
        )
    with pytest.raises(MissingStageError, match="05_head_variant_training"):
        load_experiment(run, "ensemble")
    read.clear()
    with pytest.warns(UserWarning, match="Pseudo labels"):
        found = train_recipes(run)
    assert sorted(read) == ["dataset_key", "load_dataset"]
    # Six stages of two seeds: three stage ones and what goes on from each.
    stages = (
        "baseline",
        "1textcnn-clean",
        "one-head-clean",
        "pseudo-label",
        "1textcnn",
        "one-head",
    )
    assert sorted(trained) == sorted((stage, seed) for stage in stages for seed in (0, 1))
    trained.clear()
    again = train_recipes(run)
    assert trained == []
    for name in TABLE_ONE:
        assert again[name].key == found[name].key == load_experiment(run, name).key

    baseline = found["baseline"]
    table = baseline.probabilities
    assert len(table) == 2 * len(run.table("clips"))
    assert set(table["split"]) == {"train", "valid", "test", "unlabeled"}
    assert set(baseline.scores["seeds"]) == {"0", "1"}
    assert baseline.scores["clips"] == 24
    single = baseline.single_intervals.joint
    seeds = [scores["joint"] for scores in baseline.scores["seeds"].values()]
    assert single.value == pytest.approx(np.mean(seeds))
    assert single.low <= single.value <= single.high
    assert list(found["+one-head"].history["stage"].unique()) == ["one-head-clean", "+one-head"]
    assert found["ensemble"].history.empty
    assert baseline.config["network"]["fusion_heads"] == {"emotion": 2, "intent": 2}

    emotion, intent = PROBABILITY_COLUMNS["emotion"], PROBABILITY_COLUMNS["intent"]
    mixed = found["ensemble"].probabilities
    np.testing.assert_allclose(mixed[emotion], found["+1textcnn"].probabilities[emotion])
    two, one = (found[name].probabilities[intent] for name in ("+pseudo-label", "+one-head"))
    np.testing.assert_allclose(mixed[intent], (two + one) / 2, atol=1e-6)

    findings = paper_findings(run, found)
    assert (findings["low"] <= findings["high"]).all()
    same = compare(run, baseline, baseline)
    assert (same["difference"] == 0).all()


def test_what_was_interrupted_goes_on_where_it_stopped(
    make_run: MakeRun, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    train = recipes.train_seed

    def fail(job: experiments.SeedJob) -> int:
        if job.seed == 1:
            raise KeyboardInterrupt
        return train(job)

    monkeypatch.setattr(recipes, "train_seed", fail)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(run, "baseline")
    monkeypatch.setattr(recipes, "train_seed", train)
    found = train_recipe(run, "baseline")
    assert trained == [("baseline", 0), ("baseline", 1)]
    assert sorted(found.probabilities["seed"].unique()) == [0, 1]
    assert not list(found.folder.glob("seed-*.parquet"))


def test_a_checkpoint_of_an_experiment_gives_its_probabilities(
    make_run: MakeRun, make_toy: Callable[..., Dataset]
) -> None:
    found = train_recipe(make_run(), "official-pretrain")
    dataset = make_toy()
    rows = dataset.rows("test")
    own = found.network(1).probabilities(dataset, rows, "cpu")
    table = found.probabilities.query("seed == 1 and split == 'test'")
    for task in TASKS:
        np.testing.assert_allclose(own[task], table[PROBABILITY_COLUMNS[task]], atol=1e-6)


def test_the_key_changes_with_all_that_shapes_an_experiment(
    make_run: MakeRun, make_toy: Callable[..., Dataset]
) -> None:
    def relabel(clips: pd.DataFrame) -> None:
        clips.loc[0, "intent"] = "wishing" if clips.loc[0, "intent"] != "wishing" else "agreeing"

    variants: list[dict[str, Any]] = [
        {},
        {"training": {"epochs": 3}},
        {"training": {"seeds": [0]}},
        {"pseudo_labels": {"threshold": 0.5}},
        {"dataset": make_toy(change=relabel)},
        {"store_keys": {"text": "new"}},
        {"track": 2},
    ]
    keys = [recipes._Book(make_run(**v), None).experiment("ensemble").key for v in variants]
    assert len(set(keys)) == len(keys)
    # Where it is computed, and in how many processes, shapes nothing.
    for same in ({"training": {"device": "auto"}}, {"parallel": {"workers": 7}}):
        assert recipes._Book(make_run(**same), None).experiment("ensemble").key == keys[0]
    # Settings of pseudo labels do not touch what uses none.
    stage_one = {
        recipes._Book(make_run(**v), None).experiment("baseline").key
        for v in (variants[0], variants[3])
    }
    assert len(stage_one) == 1


def test_without_a_pool_a_recipe_with_pseudo_labels_is_its_stage_one(
    make_run: MakeRun, make_toy: Callable[..., Dataset], trained: list[tuple[str, int]]
) -> None:
    run = make_run(make_toy(sizes={"train": 20, "valid": 10, "test": 5}), track=2)
    found = train_recipes(run, ["+pseudo-label", "one+two-heads"])
    assert found["+pseudo-label"].name == "baseline"
    assert load_experiment(run, "+pseudo-label").key == found["+pseudo-label"].key
    assert {name for name, _ in trained} == {"baseline", "one-head-clean"}


def test_scarce_and_incomplete_clips_still_give_all_of_table_one(
    make_run: MakeRun, make_toy: Callable[..., Dataset]
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
        assert np.isfinite(experiment.intervals.joint.value)
        assert (experiment.probabilities["emotion_fear"] == 0).all()
        assert len(experiment.probabilities) == 23
    assert len(paper_findings(run, found)) == len(PAPER_STEPS)


def test_a_worker_process_gives_the_same_probabilities(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its job pickled, and another number of threads than this process has."""
    run = make_run(training={"seeds": [0]})
    here = train_recipe(run, "baseline")
    probabilities = here.probabilities
    for path in here.folder.iterdir():
        path.unlink()

    def elsewhere(job: experiments.SeedJob) -> float:
        threads = torch.get_num_threads()
        torch.set_num_threads(threads + 1)
        try:
            return experiments.train_seed(pickle.loads(pickle.dumps(job)))
        finally:
            torch.set_num_threads(threads)

    monkeypatch.setattr(recipes, "train_seed", elsewhere)
    there = train_recipe(run, "baseline").probabilities
    pd.testing.assert_frame_equal(there, probabilities, check_exact=True)


def test_a_setting_fixed_by_the_recipe_wins_over_the_profile(make_run: MakeRun) -> None:
    book = recipes._Book(make_run(training={"noise": 0.7, "learning_rate": 0.01}), None)
    assert book.training("official-baseline").noise == 0
    assert book.training("official-baseline").learning_rate == 2e-4
    assert book.training("baseline").noise == 0.7
    assert book.training("+1textcnn").learning_rate == pytest.approx(0.001)
    assert book.training("official-baseline").epochs == 60  # its schedule counts on them
    assert book.training("baseline").epochs == 2
