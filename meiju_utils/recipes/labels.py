"""The pseudo labels that recipes are trained on, by the recipes' names. Imports `training`."""

import warnings

from meiju_utils.errors import ConfigError, nearest
from meiju_utils.recipes.graph import Recipes, recipes_of
from meiju_utils.recipes.pool_labels import PseudoLabelSet, make_pseudo_labels
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
    recipes = recipes or recipes_of(run)
    found = {}
    for name in names:
        targets = recipes[name].targets if name in recipes else None
        if targets is None:
            taught = [other for other, recipe in recipes.items() if recipe.targets]
            raise ConfigError(f"No recipe {name!r} with targets: {nearest(name, taught)}")
        teacher = load_experiment(run, targets.teacher, recipes)
        fold = None if recipes[name].partition == "validation" else 0
        with warnings.catch_warnings():  # of what the set tells itself
            warnings.filterwarnings("ignore", "Pseudo labels of")
            found[name] = make_pseudo_labels(run, teacher, targets.rule, fold)
    return found
