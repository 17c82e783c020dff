"""How much each member of a learned ensemble is believed. Imports `training`."""

import pandas as pd

from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.graph import Recipes
from meiju_utils.recipes.training import load_experiment, members_of
from meiju_utils.run import Run

COLUMNS = ["task", "member", "weight"]


def opinion_weights(run: Run, name: str, recipes: Recipes | None = None) -> pd.DataFrame:
    """The weights of the members behind a recipe, a row a task and member: task, member, weight.

    Of an ensemble of one recipe, and of rounds, those of what they stand for. Empty where nothing
    was learned. MissingStageError where it has not been trained.
    """
    experiment = load_experiment(run, name, recipes)
    if experiment.failure:
        return pd.DataFrame(columns=COLUMNS)
    learned = experiment.decisions["ensemble"]
    if "weights" in learned:
        rows = [
            (task, member, weight)
            for task, own in learned["weights"].items()
            for member, weight in zip(own["members"], own["all"]["weights"], strict=True)
        ]
        return pd.DataFrame(rows, columns=COLUMNS)
    behind = learned.get("taken") or next(iter(experiment.made_from), "")
    if not behind or (len(experiment.made_from) > 1 and "taken" not in learned):
        return pd.DataFrame(columns=COLUMNS)
    return opinion_weights(run, behind, recipes)


def heaviest_members(
    run: Run, name: str, most: int = 8, recipes: Recipes | None = None
) -> dict[str, Experiment]:
    """The trainings behind a recipe that are believed most, so many of them; all where no weights
    were learned. MissingStageError where it has not been trained."""
    members = members_of(run, name, recipes)
    weights = opinion_weights(run, name, recipes)
    heaviest = weights.groupby("member")["weight"].sum().sort_values(ascending=False)
    return {n: members[n] for n in heaviest.head(most).index if n in members} or members
