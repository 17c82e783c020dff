"""Is one experiment better than another, and do the paper's steps hold here?

Both are scored on the same resampled sets of validation clips, so that what is common to them
cancels out. Imports `experiments`, `challenge`, `metrics`, `run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import PAPER_TABLE_I
from meiju_utils.metrics import bootstrap_scores
from meiju_utils.modelling.experiments import Experiment, paired_labels
from meiju_utils.modelling.probabilities import mean_over_members
from meiju_utils.run import Run

ScoreName = Literal["emotion", "intent", "joint"]
SCORES: tuple[ScoreName, ...] = ("emotion", "intent", "joint")
# A step holds where this share of resampled clip sets goes its way: its 95 % interval leaves out 0.
CERTAIN = 0.975


@dataclass(frozen=True)
class Step:
    """A finding of the paper: from one row of Table I to another, one score moves."""

    finding: str
    before: str
    after: str
    score: ScoreName

    @property
    def published(self) -> float:
        """The paper's difference."""
        after, before = PAPER_TABLE_I[self.after], PAPER_TABLE_I[self.before]
        return float(getattr(after, self.score) - getattr(before, self.score))


PAPER_STEPS = (
    Step("pseudo labels raise both", "baseline", "+pseudo-label", "joint"),
    Step("a single-layer TextCNN raises emotion", "+pseudo-label", "+1textcnn", "emotion"),
    Step("... and costs intent", "+pseudo-label", "+1textcnn", "intent"),
    Step("one fusion head alone is no better", "+pseudo-label", "+one-head", "joint"),
    Step("one and two heads fused raise intent", "+pseudo-label", "one+two-heads", "intent"),
    Step("the ensemble is best", "+1textcnn", "ensemble", "joint"),
)


def compare(run: Run, first: Experiment, second: Experiment) -> pd.DataFrame:
    """How far `second` is ahead of `first` on the validation clips.

    One row a score: score, first, second, difference with the bounds low and high of its 95 %
    bootstrap interval, ahead (share of resampled clip sets on which `second` scores higher).
    """
    draws = [_resampled(run, experiment) for experiment in (first, second)]
    difference = draws[1] - draws[0]
    low, high = np.quantile(difference, [0.025, 0.975], axis=0)
    ahead = (difference > 0).mean(axis=0) + 0.5 * (difference == 0).mean(axis=0)
    points = [[getattr(e.intervals, score).value for score in SCORES] for e in (first, second)]
    return pd.DataFrame(
        {
            "score": SCORES,
            "first": points[0],
            "second": points[1],
            "difference": np.subtract(points[1], points[0]),
            "low": low,
            "high": high,
            "ahead": ahead,
        }
    )


def paper_findings(run: Run, rows: Mapping[str, Experiment]) -> pd.DataFrame:
    """Every step of the paper's Table I beside the same step here, with a verdict in words.

    Columns: finding, score, paper and here (differences), low, high, verdict.
    """
    found = []
    for step in PAPER_STEPS:
        if rows[step.before].key == rows[step.after].key:  # no unlabelled pool
            found.append((step.finding, step.score, step.published, 0.0, 0.0, 0.0, "no pool here"))
            continue
        table = compare(run, rows[step.before], rows[step.after])
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


def _resampled(run: Run, experiment: Experiment) -> NDArray[np.float64]:
    """Scores [resamples, 3] on the same draws of validation clips for every experiment."""
    clips = run.table("clips")
    known = (clips["emotion"] != "") & (clips["intent"] != "")
    truth = clips.loc[known & (clips["split"] == "valid"), ["clip_id", "emotion", "intent"]]
    labels = paired_labels(mean_over_members(experiment.probabilities), truth)
    return bootstrap_scores(*labels, run.setting.average)
