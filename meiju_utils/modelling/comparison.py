"""Is one experiment better than another, do the paper's steps hold here, is a network worth it?

Both sides are scored on the same resampled sets of validation clips, and of seeds, so that what is
common to them cancels out. Imports `experiments`, `yardsticks`, `challenge`, `metrics`, `run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import PAPER_TABLE_I, TASKS
from meiju_utils.metrics import bootstrap_scores, score
from meiju_utils.modelling.experiments import (
    Experiment,
    labels_by_seed,
    matched_labels,
    single_draws,
)
from meiju_utils.modelling.yardsticks import MAJORITY, MODELS, Yardsticks
from meiju_utils.run import Run

ScoreName = Literal["emotion", "intent", "joint"]
SCORES: tuple[ScoreName, ...] = ("emotion", "intent", "joint")
# A step holds where this share of resamples goes its way: its 95 % interval leaves out 0.
CERTAIN = 0.975


@dataclass(frozen=True)
class Step:
    """A finding of the paper: from the best of some rows of Table I to another, one score moves."""

    finding: str
    before: tuple[str, ...]
    after: str
    score: ScoreName

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
    `second` scores higher).
    """
    draws = [_resampled(run, experiment) for experiment in (first, second)]
    points = [
        np.array([getattr(e.single_intervals, score).value for score in SCORES])
        for e in (first, second)
    ]
    return _difference(points, draws)


def against_yardsticks(run: Run, experiment: Experiment, yardsticks: Yardsticks) -> pd.DataFrame:
    """How far the mean over an experiment's seeds is ahead of each yardstick on all there is.

    Rows as of `compare`, the yardstick's name in front; the intervals are over clips.
    """
    average = run.setting.average
    own = matched_labels(experiment.predictions("valid"), _truth(run))
    found = []
    for name in (MAJORITY, *MODELS):
        predictions = yardsticks.predictions
        simple = matched_labels(predictions[predictions["name"] == name], _truth(run))
        points = [
            np.array([getattr(score(*labels, average), name) for name in SCORES])
            for labels in (simple, own)
        ]
        draws = [bootstrap_scores(*labels, average) for labels in (simple, own)]
        table = _difference(points, draws)
        table.insert(0, "yardstick", name)
        found.append(table)
    return pd.concat(found, ignore_index=True)


def paper_findings(run: Run, rows: Mapping[str, Experiment]) -> pd.DataFrame:
    """Every step of the paper's Table I beside the same step here, with a verdict in words.

    Columns: finding, score, paper and here (differences), low, high, verdict. Where the paper's
    step starts from the best of several rows, ours starts from what is the best of them here.
    """
    found = []
    for step in PAPER_STEPS:
        after = rows[step.after]
        before = max(
            (rows[name] for name in step.before),
            key=lambda row: getattr(row.single_intervals, step.score).value,
        )
        if before.key == after.key:  # no unlabelled pool
            found.append((step.finding, step.score, step.published, 0.0, 0.0, 0.0, "no pool here"))
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


def _difference(
    points: list[NDArray[np.float64]], draws: list[NDArray[np.float64]]
) -> pd.DataFrame:
    """Of scores [3] and their draws [resamples, 3] of two systems: the second less the first."""
    difference = draws[1] - draws[0]
    low, high = np.quantile(difference, [0.025, 0.975], axis=0)
    return pd.DataFrame(
        {
            "score": SCORES,
            "first": points[0],
            "second": points[1],
            "difference": points[1] - points[0],
            "low": low,
            "high": high,
            "ahead": (difference > 0).mean(axis=0) + 0.5 * (difference == 0).mean(axis=0),
        }
    )


def _truth(run: Run) -> pd.DataFrame:
    clips = run.table("clips")
    known = (clips["emotion"] != "") & (clips["intent"] != "")
    return clips.loc[known & (clips["split"] == "valid"), ["clip_id", *TASKS]]


def _resampled(run: Run, experiment: Experiment) -> NDArray[np.float64]:
    """Scores [resamples, 3] of one training, on the same draws for every experiment."""
    members = labels_by_seed(experiment.probabilities, _truth(run))
    return single_draws(list(members.values()), run.setting.average)
