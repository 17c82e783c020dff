"""An ensemble's predictions from those of its members. Imports `book`, `experiment`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from meiju_utils.components import build
from meiju_utils.decisions import ENSEMBLES, Fitted, Known
from meiju_utils.predictions import Predictions
from meiju_utils.recipes.deciding import folds_of
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.recipe import Recipe


def combined(
    recipe: Recipe, members: Mapping[str, Experiment], known: Known, folded: bool
) -> tuple[Predictions, Predictions | None, Fitted]:
    """An ensemble's predictions, what it thinks by each fold's trainings alone (where `folded`,
    see `Experiment.of_folds`), and what it fitted. `members` by the names the recipe has."""
    assert recipe.component is not None
    ensemble = build(recipe.component, ENSEMBLES)
    own = {name: member.predictions for name, member in members.items()}
    if not hasattr(ensemble, "fit"):
        return ensemble(own), _of_folds(ensemble, members, None) if folded else None, {}
    folds = folds_of(next(iter(own.values())))
    known = Known(known.labels, known.average, folds, known.unlike)
    fitted: Fitted = ensemble.fit(own, known)
    first = next(iter(own.values())).mean()
    found = ensemble.apply(own, fitted, known.fold_of(first.table))
    return found, _of_folds(ensemble, members, fitted) if folded else None, fitted


def _of_folds(
    ensemble: Any, members: Mapping[str, Experiment], fitted: Fitted | None
) -> Predictions:
    tables = {name: member.of_folds.table for name, member in members.items()}
    parts = []
    for fold in np.unique(next(iter(tables.values()))["fold"]):
        own = {
            name: Predictions(table[table["fold"] == fold].reset_index(drop=True))
            for name, table in tables.items()
        }
        found = ensemble(own) if fitted is None else ensemble.apply(own, fitted, int(fold))
        parts.append(Predictions(found.mean().table.assign(fold=int(fold))))
    return Predictions.concatenated(parts)
