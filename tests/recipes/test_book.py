"""Recipes as data: what they inherit, how components are said, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from meiju_utils.challenge import PAPER_TABLE_I, TASKS
from meiju_utils.components import Component
from meiju_utils.errors import ConfigError
from meiju_utils.recipes import TABLE_ONE, load_recipes, make_recipes
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.scoring import YARDSTICKS


def book(**own: Any) -> dict[str, Recipe]:
    """The built-in recipes and some of one's own, from their YAML values."""
    from meiju_utils.recipes.book import LIBRARY
    from meiju_utils.strict_yaml import read_yaml

    return make_recipes({**read_yaml(LIBRARY), **own})


def test_built_in_recipes_cover_table_one_the_official_baseline_and_yardsticks() -> None:
    recipes = load_recipes()
    assert set(TABLE_ONE) == set(PAPER_TABLE_I)
    assert {*TABLE_ONE, *YARDSTICKS, "official-baseline"} <= set(recipes)
    pretrain, official = recipes["official-pretrain"], recipes["official-baseline"]
    assert pretrain.architecture is not None
    assert official.architecture is not None
    assert pretrain.architecture.interaction is None
    assert not pretrain.architecture.auxiliary
    assert official.architecture.interaction == Component(name="gated")
    assert official.architecture.auxiliary
    assert official.training["hold_epochs"] == 15
    assert official.training["beta1"] == 0.5
    assert official.objective == Component(name="cross-entropy", options={"auxiliary": 1.0})
    branch = recipes["+1textcnn"].architecture.branches["emotion"]  # type: ignore[union-attr]
    assert branch.encoders["text"].options["heights"] == [1]
    branch = recipes["+one-head"].architecture.branches["intent"]  # type: ignore[union-attr]
    assert branch.fusion.options["heads"] == 1
    assert recipes["ensemble"].members == {"emotion": ["+1textcnn"], "intent": ["one+two-heads"]}
    assert [recipes[name].kind for name in YARDSTICKS] == ["model"] * 3


def test_the_published_fault_of_unmasked_padding_is_a_recipe() -> None:
    recipes = load_recipes()
    masked, unmasked = recipes["official-baseline"], recipes["official-baseline-unmasked"]
    assert unmasked.training == masked.training
    assert masked.architecture is not None
    changed = masked.architecture.model_copy(update={"masking": False})
    assert unmasked.architecture == changed


def test_what_differs_between_the_tasks_is_said_of_each() -> None:
    own = {
        "both": {"hidden": 64, "head": {"dropout": 0.4}},
        "emotion": {"text": {"textcnn": [1]}, "hidden": 32},
        "intent": {"fusion": {"heads": 1}, "audio": "lstm"},
    }
    branches = book(mine={"network": own})["mine"].architecture.branches  # type: ignore[union-attr]
    emotion, intent = branches["emotion"], branches["intent"]
    assert (emotion.hidden, intent.hidden) == (32, 64)
    assert emotion.encoders["text"].options == {"heights": [1], "dropout": 0.5}
    assert intent.encoders["text"].options["heights"] == [2, 3, 4]
    assert (emotion.fusion.options["heads"], intent.fusion.options["heads"]) == (2, 1)
    assert emotion.head == intent.head == Component(name="mlp", options={"dropout": 0.4})


def test_a_recipe_takes_the_settings_of_its_start_and_of_what_it_is_like() -> None:
    base = {
        "network": {"both": {"hidden": 64}},
        "training": {"noise": 0.3},
        "encoders": {"audio": None},
    }
    recipes = book(
        base={**base, "objective": {"cross-entropy": 0.5}},
        further={"start": "base", "training": {"epochs": 3}},
        alike={"like": "base", "network": {"intent": {"hidden": 32}}},
        linear={"like": "base", "model": "linear-svm"},
    )
    further, alike, linear = (recipes[name] for name in ("further", "alike", "linear"))
    assert further.training == {"noise": 0.3, "epochs": 3}
    assert further.objective.options == {"auxiliary": 0.5}
    assert further.architecture == recipes["base"].architecture
    assert alike.needs() == []
    assert [b.hidden for b in alike.architecture.branches.values()] == [64, 32]  # type: ignore[union-attr]
    assert linear.kind == "model"
    assert linear.encoders == {"audio": None}


def test_targets_and_ensembles_name_what_they_are_made_from() -> None:
    recipes = book(
        student={
            "start": "baseline",
            "targets": {"teacher": "linear-svm", "rule": {"quantile": 0.7}, "soft": True},
        },
        pair={"ensemble": {"mean": ["baseline", "student"]}},
        apart={"ensemble": {"mean": {"from": {"emotion": ["student"], "intent": ["linear-svm"]}}}},
    )
    assert recipes["student"].needs() == ["baseline", "linear-svm"]
    targets = recipes["student"].targets
    assert targets is not None
    assert (targets.soft, targets.weight) == (True, 1.0)
    assert targets.rule.options["threshold"] == 0.7
    assert recipes["pair"].members == {task: ["baseline", "student"] for task in TASKS}
    assert recipes["apart"].needs() == ["student", "linear-svm"]


def test_recipes_of_one_task_leave_the_other_out() -> None:
    recipes = load_recipes(tasks=["emotion"])
    assert recipes["ensemble"].members == {"emotion": ["+1textcnn"]}
    assert list(recipes["baseline"].architecture.branches) == ["emotion"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strat": "baseline"}, "no key 'strat': did you mean 'start'"),
        ({"start": "basline"}, "did you mean 'baseline'"),
        ({"like": "nobody"}, "builds on 'nobody'"),
        ({"targets": {"teacher": "nobody"}}, "builds on 'nobody'"),
        ({"targets": {"rule": "quantile"}}, "name a `teacher`"),
        ({"targets": {"teacher": "baseline", "rule": "quantlie"}}, "Did you mean 'quantile'"),
        ({"targets": {"teacher": "baseline", "sfot": True}}, "did you mean 'soft'"),
        ({"targets": {"teacher": "baseline", "weight": 0}}, "weight"),
        ({"network": {"both": {"text": "textcn"}}}, "Did you mean 'textcnn'"),
        ({"network": {"both": {"text": {"textcnn": {"hieghts": [1]}}}}}, "Did you mean 'heights'"),
        ({"network": {"both": {"text": {"textcnn": []}}}}, "heights"),
        ({"network": {"both": {"txet": "lstm"}}}, "did you mean 'text'"),
        ({"network": {"emotoin": {"text": "lstm"}}}, "did you mean 'emotion'"),
        ({"network": {"both": {"fusion": {"heads": 0}}}}, "heads = 0"),
        ({"network": {"both": {"fusion": {"haeds": 1}}}}, "Did you mean 'heads'"),
        ({"network": {"both": {"hidden": "wide"}}}, "hidden = 'wide'"),
        ({"network": {"interaction": "gatde"}}, "Did you mean 'gated'"),
        ({"network": {"masking": "no"}}, "masking = 'no'"),
        ({"network": 3}, "network = 3"),
        ({"objective": "cross-entrpy"}, "Did you mean 'cross-entropy'"),
        ({"objective": {"cross-entropy": {"auxiliary": -1}}}, "auxiliary = -1"),
        ({"decode": "argmin"}, "Did you mean 'argmax'"),
        ({"model": "logistic regression"}, "Did you mean 'logistic-regression'"),
        ({"model": {"majority": {"folds": 3}}}, "It has no options"),
        ({"model": {"linear-svm": {"folds": 1}}}, "folds = 1"),
        ({"model": "majority", "ensemble": {"mean": ["baseline"]}}, "say one of them"),
        ({"model": "majority", "start": "baseline"}, "only a network can start"),
        ({"start": "ensemble"}, "only a network has weights to start from"),
        ({"ensemble": {"mean": ["baseline", "nobody"]}}, "builds on 'nobody'"),
        ({"ensemble": {"mean": []}}, "from"),
        (
            {"ensemble": {"mean": {"from": {"emotion": ["baseline"]}}}},
            "one for each of emotion, int",
        ),
        (
            {"ensemble": {"mean": {"from": ["baseline"], "weights": {"x": 1}}}},
            "not among its members",
        ),
        ({"ensemble": {"mean": {"from": ["baseline"], "weights": {"baseline": 0}}}}, "weigh 0"),
        ({"ensemble": {"mean": ["baseline"]}, "encoders": {"audio": None}}, "combines others"),
        ({"ensemble": {"mean": ["baseline"]}, "training": {"epochs": 1}}, "has no training"),
        ({"model": "majority", "objective": "cross-entropy"}, "a model, which has no objective"),
        ({"start": "baseline", "like": "baseline"}, "a start gives settings too"),
        ({"encoders": {"tekst": "hog"}}, "encoders"),
        (None, "must map each recipe's name to its settings"),
        ([1], "must map each recipe's name to its settings"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        book(mine=values)


@pytest.mark.parametrize(
    "own",
    [
        {"a": {"start": "b"}, "b": {"start": "a"}},
        {"a": {"like": "a"}},
        {"a": {"targets": {"teacher": "b"}}, "b": {"start": "a"}},
        {"a": {"ensemble": {"mean": ["b"]}}, "b": {"ensemble": {"mean": ["a"]}}},
    ],
)
def test_recipes_that_build_on_each_other_are_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"in a circle: .*a.* → "):
        book(**own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {title: x", "not valid YAML"),
        ("mine: {title: x}\nmine: {title: y}", "stands twice"),
        ("- mine", "must map each recipe's name to its settings"),
    ],
)
def test_a_file_that_holds_no_recipes_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipes(path)
    with pytest.raises(ConfigError, match=r"No file of recipes.*gone\.yaml"):
        load_recipes(tmp_path / "gone.yaml")
