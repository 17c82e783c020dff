"""The pseudo labels that recipes are trained on, by the recipes' names. Imports `training`."""

import warnings

from meiju_utils.errors import ConfigError, nearest
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
