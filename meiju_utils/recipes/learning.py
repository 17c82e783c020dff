"""Who may learn from whom, so that nothing has seen what a fold holds out. Imports `recipe`."""

from collections.abc import Mapping

from meiju_utils.decisions import DECODERS, ENSEMBLES
from meiju_utils.errors import ConfigError
from meiju_utils.modelling.partitions import Folds, Partition
from meiju_utils.recipes.recipe import Recipe


def check_learning(recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """ConfigError where a recipe learns from what has seen what it must not."""
    _check_partition(recipe, recipes)
    _check_shift(recipe, recipes)


def partition_of(name: str, recipes: Mapping[str, Recipe]) -> Partition | None:
    """A recipe's partition; of an ensemble the one that all behind it share, None where none is."""
    recipe = recipes[name]
    if recipe.kind != "ensemble":
        return recipe.partition
    found = [partition_of(other, recipes) for other in recipe.needs()]
    return found[0] if all(own == found[0] for own in found) else None


def _check_shift(recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """The pool's shares are told by soft labels, and by train clips that trained no teacher."""
    targets = recipe.targets
    if targets is None or not targets.shift:
        return
    if not targets.soft or not _refits(partition_of(targets.teacher, recipes)):
        raise ConfigError(
            f"Recipe {recipe.name!r}: targets.shift needs `soft: true` and a teacher with held-out "
            "predictions of train clips: `partition: {folds: 5, refit: true}`."
        )


def _check_partition(recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """In a fold nobody whom a training learns from may have seen what that fold holds out.

    What is fitted on predictions is so on held-out ones, as many trainings behind each as behind
    those of other clips.
    """
    learns_from = [recipe.start] if recipe.start else []
    if recipe.targets and recipe.partition != "validation":
        learns_from.append(recipe.targets.teacher)
    for other in learns_from:
        where = f"Recipe {recipe.name!r} (partition: {recipe.partition}) learns from {other!r}"
        partition = partition_of(other, recipes)
        if recipes[other].kind == "ensemble" and not _refits(partition):
            raise ConfigError(
                f"{where}, an ensemble, whose predictions are means over folds: it has seen what a "
                "fold holds out. Give all its members `partition: {folds: 5, refit: true}`, name "
                "one of them, or take `partition: validation`."
            )
        if partition != recipe.partition:
            raise ConfigError(
                f"{where} (partition: {partition}), which was trained on other clips. Give both "
                "the same partition."
            )
    fits = [f"calibrate: {recipe.calibrate.name}"] if recipe.calibrate else []
    fits += [one.name for one in recipe.decode if getattr(DECODERS[one.name], "held_out", False)]
    if recipe.kind == "ensemble" and recipe.component is not None:
        kind = ENSEMBLES[recipe.component.name]
        fits += [recipe.component.name] if getattr(kind, "tolerant", False) else []
    if fits and not _refits(partition_of(recipe.name, recipes)):
        raise ConfigError(
            f"Recipe {recipe.name!r}: {fits[0]} is fitted on predictions of train clips that "
            "trained nobody, and so that others are alike. Give it, or all its members, one "
            "`partition: {folds: 5, refit: true}`."
        )


def _refits(partition: Partition | None) -> bool:
    return isinstance(partition, Folds) and partition.refit
