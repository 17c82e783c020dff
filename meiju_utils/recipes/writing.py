"""Writing what an experiment came to, and what follows from it. Imports `experiment`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from meiju_utils.challenge import Average
from meiju_utils.decisions import Known
from meiju_utils.errors import TrainingError
from meiju_utils.files import read_record, write_record, write_table
from meiju_utils.predictions import FITTED, NO_SEED, Answers, Classes, Predictions
from meiju_utils.recipes.deciding import decide, decided, folds_of
from meiju_utils.recipes.experiment import (
    COMBINATION,
    DECISIONS,
    FAILURE,
    OF_FOLDS,
    Experiment,
    scoring_code,
)
from meiju_utils.scoring import concatenated, score_table, training_table


def write_failure(
    experiment: Experiment, reason: str, cause: Experiment | None = None, settled: bool = True
) -> None:
    """Note that a recipe has no results, and how to try again.

    `cause` is the experiment it is made from that failed; without, it failed itself. What is not
    `settled` is tried again by the next call, as it may not be the training's own fault.
    """
    root = experiment.folder.name
    if cause is not None:
        root, settled = cause._failed["root"], cause.done
    again = (
        f"To try again delete {root} in experiments." if settled else "The next call tries again."
    )
    told = f"{reason} ({again})"
    write_record(experiment.folder / FAILURE, {"reason": told, "root": root, "settled": settled})


def write_results(
    experiment: Experiment,
    predictions: Predictions,
    truth: pd.DataFrame,
    known: Known,
    history: pd.DataFrame | None = None,
    of_folds: Predictions | None = None,
    combination: Mapping[str, Any] | None = None,
) -> None:
    """Write what an experiment came to; `truth` has labelled clips of train and valid.

    `of_folds`: see `Experiment.of_folds`; `combination`: what an ensemble fitted, and `notes`.
    """
    if history is not None:
        write_table(experiment.folder / "history.parquet", history)
    if of_folds is not None:
        of_folds.save(experiment.folder / OF_FOLDS)
    write_record(experiment.folder / COMBINATION, dict(combination or {}))
    predictions.save(experiment.folder / "predictions.parquet")
    write_scores(experiment, predictions, truth, known)


def write_scores(
    experiment: Experiment, predictions: Predictions, truth: pd.DataFrame, known: Known
) -> None:
    """Write what follows from an experiment's predictions: what is decided on them, its answers
    and, last, its scores."""
    known = replace(known, folds=folds_of(predictions))
    mean, average = predictions.mean(), known.average
    answers, fitted = decide(experiment.recipe, mean, known)
    combination = read_record(experiment.folder / COMBINATION)
    notes = [*combination.pop("notes", []), *fitted.pop("notes")]
    write_record(experiment.folder / DECISIONS, {"ensemble": combination, **fitted, "notes": notes})
    experiment.__dict__.pop("decisions", None)  # of an earlier time
    answers.save(experiment.folder / "answers.parquet")
    by_seed = {NO_SEED: answers}
    if NO_SEED not in set(predictions.table["seed"]):
        by_seed = {
            seed: decided(experiment.recipe, part, fitted, known.fold_of(part.table))
            for seed, part in predictions.by_seed().items()
        }
    parts = []
    for split in ("valid", "train"):
        own, right = predictions.of_split(split).table, truth[truth["split"] == split]
        if len(right) and (own["role"] != FITTED).all():  # who trained cannot judge
            scores = experiment_scores(experiment.name, split, answers, by_seed, right, average)
            parts.append(scores.assign(chose=own["chose"].max()))
    scores = concatenated(parts)
    scores.attrs = {"scoring": scoring_code()}
    write_table(experiment.folder / "scores.parquet", scores)


def experiment_scores(
    name: str,
    split: str,
    answers: Answers,
    by_seed: dict[int, Answers],
    truth: pd.DataFrame,
    average: Average,
) -> pd.DataFrame:
    """The tidy table of scores on the clips in `truth` (clip_id and a label a task)."""
    right = label_columns(truth, answers.classes)
    mean = score_table(name, split, right, matched(answers, truth), average)
    trainings = {seed: matched(own, truth) for seed, own in by_seed.items()}
    return concatenated([mean, training_table(name, split, right, trainings, average)])


def label_columns(table: pd.DataFrame, tasks: Classes) -> dict[str, Any]:
    """A table's labels, task by task: what the functions in `scoring` take."""
    return {task: table[task].to_numpy(dtype=object).astype(str) for task in tasks}


def matched(answers: Answers, truth: pd.DataFrame) -> dict[str, Any]:
    """The answers to the clips of `truth`, in its order. TrainingError where one is missing."""
    own = answers.table.set_index("clip_id")
    lacking = truth.loc[~truth["clip_id"].isin(own.index), "clip_id"].tolist()
    if lacking:
        raise TrainingError(
            f"There is no answer to {len(lacking)} clips, the first {lacking[0]}; every clip whose "
            "true label is known must have one."
        )
    return label_columns(own.loc[truth["clip_id"]], answers.classes)
