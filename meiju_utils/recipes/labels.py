"""The pseudo labels that recipes are trained on, by the recipes' names. Imports `training`."""

import warnings

from meiju_utils.errors import ConfigError, TrainingError, nearest
from meiju_utils.pool.label_shift import LabelShift, estimate_shift
from meiju_utils.predictions import FITTED, labelled
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.graph import RecipeGraph, Recipes
from meiju_utils.recipes.planning import made_labels
from meiju_utils.recipes.pool_labels import PseudoLabelSet
from meiju_utils.recipes.training import load_experiment
from meiju_utils.run import Run


def pseudo_labels_of(
    run: Run, *names: str, recipes: Recipes | None = None
) -> dict[str, PseudoLabelSet]:
    """The pseudo labels of recipes with `targets`, made where they are not there yet.

    Of a recipe with folds those that its first fold learns from.
    Without a pool they are empty sets whose notes say so. ConfigError for an unknown recipe or one
    without targets; MissingStageError names the notebook that trains the teacher.
    """
    graph = RecipeGraph(run, recipes)
    found = {}
    for name in names:
        targets = graph.recipes[name].targets if name in graph.recipes else None
        if targets is None:
            taught = [other for other, recipe in graph.recipes.items() if recipe.targets]
            raise ConfigError(f"No recipe {name!r} with targets: {nearest(name, taught)}")
        load_experiment(run, targets.teacher, graph.recipes)
        with warnings.catch_warnings():  # of what the set tells itself
            warnings.filterwarnings("ignore", "Pseudo labels of")
            found[name] = made_labels(graph, name, graph.folds(name)[0])
    return found


def label_shift(run: Run, experiment: Experiment) -> dict[str, LabelShift]:
    """How frequent each task's classes are in the pool by an experiment's calibrated answers, and
    whether that can be told (see `pool.label_shift`). TrainingError where train clips trained it.
    """
    predictions = experiment.predictions.of_split("train")
    if (predictions.table["role"] == FITTED).any():
        raise TrainingError(
            f"{experiment.name} was trained on the train clips it is to be judged by. Name a "
            "recipe with `partition: {folds: 5, refit: true}` and `calibrate`, as opinions."
        )
    answers = experiment.answers
    known = labelled(run.table("clips"), run.setting.tasks, "train")
    return estimate_shift(answers.of_split("unlabeled"), answers.of_split("train"), known)
