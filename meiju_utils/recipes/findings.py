"""Is one experiment better than another, do the paper's steps hold here, is a network worth it?

Both sides are scored on the same resampled sets of validation clips, and of seeds, so that what is
common to them cancels out. Imports `experiment`, `scoring`, `run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import PAPER_TABLE_I
from meiju_utils.predictions import labelled
from meiju_utils.recipes.experiment import Experiment, label_columns, matched
from meiju_utils.run import Run
from meiju_utils.scoring import (
    JOINT,
    MEAN,
    SINGLE,
    bootstrap_scores,
    concatenated,
    score_table,
    single_draws,
)

# A step holds where this share of resamples goes its way: its 95 % interval leaves out 0.
CERTAIN = 0.975


@dataclass(frozen=True)
class Step:
    """A finding of the paper: from the best of some rows of Table I to another, one score moves."""

    finding: str
    before: tuple[str, ...]
    after: str
    score: str

    @property
    def published(self) -> float:
        """The paper's difference."""
        before = max(getattr(PAPER_TABLE_I[name], self.score) for name in self.before)
        return float(getattr(PAPER_TABLE_I[self.after], self.score) - before)


PSEUDO, TEXTCNN, ONE_HEAD = "+pseudo-label", "+1textcnn", "+one-head"
PAPER_STEPS = (
    Step("pseudo labels raise emotion", ("baseline",), PSEUDO, "emotion"),
    Step("... and intent", ("baseline",), PSEUDO, "intent"),
    Step("a single-layer TextCNN raises emotion", (PSEUDO,), TEXTCNN, "emotion"),
    Step("... and costs intent", (PSEUDO,), TEXTCNN, "intent"),
    Step("one fusion head alone is no better", (PSEUDO,), ONE_HEAD, "joint"),
    Step(
        "one and two heads fused beat both at intent", (PSEUDO, ONE_HEAD), "one+two-heads", "intent"
    ),
    Step(
        "the ensemble beats every row", ("baseline", PSEUDO, TEXTCNN, ONE_HEAD), "ensemble", "joint"
    ),
)


def compare(run: Run, first: Experiment, second: Experiment) -> pd.DataFrame:
    """How far a training of `second` is ahead of one of `first` on the validation clips.

    One row a score: score, first and second (means over seeds), difference with the bounds low and
    high of its 95 % bootstrap interval over seeds and clips, ahead (share of resamples in which
    `second` scores higher). NaN where one of the two failed.
    """
    draws = [_training_draws(run, experiment) for experiment in (first, second)]
    return _difference(run, [first, second], SINGLE, draws)


def against(run: Run, experiment: Experiment, others: Sequence[Experiment]) -> pd.DataFrame:
    """How far the mean over an experiment's seeds is ahead of that of each of the others.

    Rows as of `compare`, the other's name in front; the intervals are over clips.
    """
    found = []
    for other in others:
        draws = [_mean_draws(run, e) for e in (other, experiment)]
        table = _difference(run, [other, experiment], MEAN, draws)
        table.insert(0, "against", other.name)
        found.append(table)
    return pd.concat(found, ignore_index=True)


def paper_findings(run: Run, rows: Mapping[str, Experiment]) -> pd.DataFrame:
    """Every step of the paper's Table I beside the same step here, with a verdict in words.

    Columns: finding, score, paper and here (differences), low, high, verdict. Where the paper's
    step starts from the best of several rows, ours starts from what is the best of them here.
    """
    found = []
    for step in (step for step in PAPER_STEPS if step.score in (*run.setting.tasks, JOINT)):
        after = rows[step.after]
        before = max(
            (rows[name] for name in step.before),
            key=lambda row: np.nan_to_num(row.score(step.score, SINGLE), nan=-1.0),
        )
        if before.key == after.key:  # no unlabelled pool
            found.append((step.finding, step.score, step.published, 0.0, 0.0, 0.0, "no pool here"))
            continue
        if before.failure or after.failure:
            nothing = (float("nan"),) * 3
            found.append((step.finding, step.score, step.published, *nothing, "diverged here"))
            continue
        table = compare(run, before, after)
        own = table[table["score"] == step.score]
        difference, low, high, ahead = (
            float(own[column].item()) for column in ("difference", "low", "high", "ahead")
        )
        words = verdict(step.published, difference, ahead)
        found.append((step.finding, step.score, step.published, difference, low, high, words))
    columns = ["finding", "score", "paper", "here", "low", "high", "verdict"]
    return pd.DataFrame(found, columns=columns)


def verdict(published: float, difference: float, ahead: float) -> str:
    """In words: does a step of `published` size hold where we see `difference`?"""
    with_paper = ahead if published > 0 else 1 - ahead
    if with_paper >= CERTAIN:
        return "holds"
    if with_paper <= 1 - CERTAIN:
        return "does not hold"
    return (
        "same direction, within noise" if difference * published > 0 else "not seen, within noise"
    )


def scores_on(
    run: Run, experiments: Iterable[Experiment], truth: pd.DataFrame, split: str
) -> pd.DataFrame:
    """A tidy score table of what experiments answer to the clips in `truth`, by their names.

    Kind "mean": of the mean over seeds, with intervals over clips. Empty where `truth` is.
    """
    if truth.empty:
        return concatenated([])
    right = label_columns(truth, run.setting.classes)
    average = run.setting.average
    tables = [
        score_table(e.name, split, right, matched(e.answers, truth), average).assign(
            chose=e.chose(split)
        )
        for e in experiments
    ]
    return concatenated(tables)


def _difference(
    run: Run, pair: list[Experiment], kind: str, draws: list[NDArray[np.float64]]
) -> pd.DataFrame:
    """Of two systems with draws [resamples, scores]: the second less the first."""
    names = [*run.setting.tasks, JOINT]
    points = [np.array([e.score(name, kind) for name in names]) for e in pair]
    difference = draws[1] - draws[0]
    low, high = np.quantile(difference, [0.025, 0.975], axis=0)
    ahead = (difference > 0).mean(axis=0) + 0.5 * (difference == 0).mean(axis=0)
    return pd.DataFrame(
        {
            "score": names,
            "first": points[0],
            "second": points[1],
            "difference": points[1] - points[0],
            "low": low,
            "high": high,
            "ahead": np.where(np.isfinite(low), ahead, np.nan),
        }
    )


def _truth(run: Run) -> pd.DataFrame:
    return labelled(run.table("clips"), run.setting.tasks, "valid")


def _training_draws(run: Run, experiment: Experiment) -> NDArray[np.float64]:
    """Scores [resamples, scores] of one training, on the same draws for every experiment."""
    if experiment.failure:
        return _no_draws(run)
    truth = _truth(run)
    seeds = experiment.predictions.by_seed().values()
    trainings = [matched(experiment.decoded(part), truth) for part in seeds]
    right = label_columns(truth, run.setting.classes)
    return single_draws(right, trainings, run.setting.average)


def _mean_draws(run: Run, experiment: Experiment) -> NDArray[np.float64]:
    """The same of the mean over its seeds."""
    if experiment.failure:
        return _no_draws(run)
    truth = _truth(run)
    right = label_columns(truth, run.setting.classes)
    return bootstrap_scores(right, matched(experiment.answers, truth), run.setting.average)


def _no_draws(run: Run) -> NDArray[np.float64]:
    return np.full((1, len(run.setting.tasks) + 1), np.nan)
