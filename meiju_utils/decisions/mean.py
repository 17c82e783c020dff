"""The mean of several recipes' probabilities, and how alike they are. Imports `predictions`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from meiju_utils.challenge import TASKS
from meiju_utils.errors import ConfigError, PredictionError
from meiju_utils.predictions import (
    ABSENT,
    ALL_FOLDS,
    CLIP,
    FITTED,
    HELD_OUT,
    NO_SEED,
    Predictions,
    class_columns,
    likeliest,
)

Names = Annotated[list[str], Field(min_length=1)]
Weight = Annotated[float, Field(ge=0)]


class Mean:
    """The (weighted) mean of probabilities, seed by seed; each task may have its own members.

    `from`: recipes, or for each task its recipes. `weights`: of those that do not count 1.
    """

    def __init__(
        self, *, from_: Names | dict[str, Names], weights: dict[str, Weight] | None = None
    ) -> None:
        self.source, self.weights = from_, weights or {}

    def members(self, tasks: Iterable[str]) -> dict[str, list[str]]:
        """The recipes behind each task. ConfigError where a task has none."""
        found = members_of_tasks(self.source, tasks)
        every = found if isinstance(self.source, list) else {**self.source, **found}
        odd = sorted(self.weights.keys() - {name for names in every.values() for name in names})
        if odd:
            raise ConfigError(f"An ensemble weighs {odd[0]!r}, which is not among its members.")
        for task, names in every.items():  # also of a task that this setting does not have
            if not any(self.weights.get(name, 1.0) for name in names):
                raise ConfigError(f"All members of {task} weigh 0; give one of them a weight.")
        return found

    def __call__(self, predictions: Mapping[str, Predictions]) -> Predictions:
        """Predictions with the seeds that all members have; see `combine`."""
        tasks = next(iter(predictions.values())).tasks
        weighted = {
            task: [(predictions[name], self.weights.get(name, 1.0)) for name in names]
            for task, names in self.members(tasks).items()
        }
        return combine(weighted)


def members_of_tasks(
    source: Sequence[str] | Mapping[str, list[str]], tasks: Iterable[str]
) -> dict[str, list[str]]:
    """The recipes behind each task, of a list for all or one for each.

    ConfigError where a task has none.
    """
    tasks = list(tasks)
    found = dict(source) if isinstance(source, Mapping) else {task: list(source) for task in tasks}
    if found.keys().isdisjoint(tasks):  # a recipe of MEIJU's tasks where the tasks are others
        every = list(dict.fromkeys(name for names in found.values() for name in names))
        found = dict.fromkeys(tasks, every)
    if not set(tasks) <= found.keys() <= {*tasks, *TASKS}:
        raise ConfigError(
            f"An ensemble's `from` names members of {', '.join(found)}; expected a list, or one "
            f"for each of {', '.join(tasks)}."
        )
    return {task: found[task] for task in tasks}


def combine(members: Mapping[str, list[tuple[Predictions, float]]]) -> Predictions:
    """Weighted mean probabilities of each task over its members, seed by seed, in float64.

    A member's folds are averaged first: of a train clip those that held it out, of others all.

    A member whose predictions know no chance joins every seed. A clip is fitted where it trained
    any member, and chose whatever it chose for any. PredictionError where members share no seed, or
    predict different clips or classes.
    """
    flat = [member for task in members for member, _ in members[task]]
    if any(member.classes != flat[0].classes for member in flat):
        raise PredictionError(
            "Members of an ensemble predict different tasks or classes; make them in one setting."
        )
    seeds = _shared_seeds(flat)
    parts = [_combine_seed(members, seed, [_of_seed(m, seed) for m in flat]) for seed in seeds]
    return Predictions(pd.concat(parts, ignore_index=True))


def _combine_seed(
    members: Mapping[str, list[tuple[Predictions, float]]], seed: int, tables: list[pd.DataFrame]
) -> pd.DataFrame:
    index, flat = tables[0][CLIP], [member for task in members for member, _ in members[task]]
    aligned = []
    for table in tables:
        merged = index.merge(table, on=CLIP)
        if len(table) != len(index) or len(merged) != len(index):
            raise PredictionError(
                "Members of an ensemble predict different clips; train them on the same corpus."
            )
        aligned.append(merged)
    roles = [table["role"] == FITTED for table in aligned]
    combined = index[CLIP].copy()
    absent = np.all([table["role"] == ABSENT for table in aligned], axis=0)
    role = np.where(np.any(roles, axis=0), FITTED, np.where(absent, ABSENT, HELD_OUT))
    combined["role"] = pd.array(role, dtype="str")
    chose = [table["chose"].to_numpy(dtype=object).astype(str) for table in aligned]
    combined["chose"] = pd.array(reduce(lambda a, b: np.where(a >= b, a, b), chose), dtype="str")
    combined["seed"], combined["fold"] = seed, _shared_folds(index, flat)
    position = 0
    for task, weighted in members.items():
        columns = class_columns(weighted[0][0].classes, task)
        weights = np.array([weight for _, weight in weighted])
        stacked = np.stack(
            [t[columns].to_numpy(dtype=np.float64) for t in aligned[position:][: len(weights)]]
        )
        mean = np.tensordot(weights / weights.sum(), stacked, axes=1)
        # at once, as very many classes one by one are slow
        own = pd.DataFrame(mean, columns=columns, index=combined.index)
        combined = pd.concat([combined, own], axis=1)
        position += len(weights)
    return combined


def _shared_folds(index: pd.DataFrame, members: list[Predictions]) -> Any:
    """The fold that held a train clip out of all members; else `ALL_FOLDS`."""
    try:
        found = [member.folds() for member in members]
    except PredictionError:  # somebody trained on them
        return ALL_FOLDS
    own = [index["clip_id"].map(folds) for folds in found]
    same = np.all([column == own[0] for column in own], axis=0) & (index["split"] == "train")
    return own[0].where(same, ALL_FOLDS).astype("int64")


def _shared_seeds(members: list[Predictions]) -> list[int]:
    found = [set(member.table["seed"]) - {NO_SEED} for member in members]
    chancy = [seeds for seeds in found if seeds]
    if not chancy:
        return [NO_SEED]
    shared = sorted(set.intersection(*chancy))
    if not shared:
        raise PredictionError("Recipes to combine share no seed; train them with the same ones.")
    return shared


def _of_seed(member: Predictions, seed: int) -> pd.DataFrame:
    """One row a clip, of a seed or, where the member knows no chance, of its only predictions."""
    table = member.table
    own = table["seed"] == (seed if (table["seed"] == seed).any() else NO_SEED)
    return Predictions(table[own].reset_index(drop=True)).mean().table


def agreement(members: Mapping[str, Predictions]) -> pd.DataFrame:
    """How alike the members of an ensemble are: task, first, second, agreement, correlation.

    `agreement` is the share of clips given the same label (1 - disagreement); `correlation` is
    Pearson's, over all clips and classes, of probabilities less each class's mean, NaN where a
    member answers every clip alike. Members that agree on everything add nothing to each other.
    """
    means = {name: member.mean() for name, member in members.items()}
    rows: list[tuple[Any, ...]] = []
    for first, second in combinations(means, 2):
        ids = means[first].table[CLIP]
        other = Predictions(ids.merge(means[second].table, on=CLIP))
        if not len(ids) == len(other) == len(means[second]):
            raise PredictionError(f"{first} and {second} predict different clips.")
        for task in other.tasks:
            a, b = means[first].probabilities(task), other.probabilities(task)
            same = float((likeliest(a) == likeliest(b)).mean())
            rows.append((task, first, second, same, _correlation(a, b)))
    columns = ["task", "first", "second", "agreement", "correlation"]
    return pd.DataFrame(rows, columns=columns).sort_values("task", kind="stable", ignore_index=True)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")
