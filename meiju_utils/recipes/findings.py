"""Is one experiment better than another, do the paper's steps hold here, is a network worth it?

Experiments become labels on the same clips; `scoring.comparison` judges them. What is decided in
one table has p values corrected for their number (Holm); its intervals stay 95 % for each row.
Imports `experiment`, `scoring`, `run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meiju_utils.challenge import PAPER_TABLE_I
from meiju_utils.errors import TrainingError
from meiju_utils.predictions import FITTED, labelled
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.writing import label_columns, matched
from meiju_utils.run import Run
from meiju_utils.scoring import (
    ESTIMANDS,
    JOINT,
    MEAN_OF_SEEDS,
    ONE_TRAINING,
    THESE_ANSWERS,
    Scored,
    compared,
    concatenated,
    holm,
    reliability,
    resampled_clips,
    score_table,
    scored,
    scored_answers,
    verdict,
)


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
    Step("pseudo labels raise intent", ("baseline",), PSEUDO, "intent"),
    Step("a single-layer TextCNN raises emotion", (PSEUDO,), TEXTCNN, "emotion"),
    Step("a single-layer TextCNN costs intent", (PSEUDO,), TEXTCNN, "intent"),
    Step("one fusion head alone is no better", (PSEUDO,), ONE_HEAD, "joint"),
    Step(
        "one and two heads fused beat both at intent", (PSEUDO, ONE_HEAD), "one+two-heads", "intent"
    ),
    Step(
        "the ensemble beats every row", ("baseline", PSEUDO, TEXTCNN, ONE_HEAD), "ensemble", "joint"
    ),
)


def compare(
    run: Run,
    first: Experiment | Sequence[Experiment],
    second: Experiment,
    estimand: str = ONE_TRAINING,
    truth: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """How far `second` is ahead of `first`: a row a score, see `scoring.compared`.

    The verdict is on the joint score: its row alone has a p value. The other rows have intervals,
    to be read. NaN where there is no experiment without failure to compare.

    Args:
        run: has the validation clips and their labels.
        first: an experiment or several, of which the best counts. Of several those that failed are
            left out, as is `second` itself.
        second: another experiment.
        estimand: "one training" or "mean of the seeds", of the recipes, over clips and seeds (over
            clips alone where there is one seed, which the column `estimand` then says); or "these
            answers", of these very trainings' mean, over clips.
        truth: other clips to compare on, of which those labelled in every task count.
    """
    return _on_joint(_Judge(run, estimand, truth).table(first, second))


def against(
    run: Run,
    experiment: Experiment,
    others: Sequence[Experiment],
    estimand: str = MEAN_OF_SEEDS,
    truth: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """How far an experiment is ahead of each of the others: rows of `compare`, the name in front.

    p, of the joint scores, is corrected for the number of others.
    """
    judge = _Judge(run, estimand, truth)
    found = []
    for other in others:
        table = _on_joint(judge.table(other, experiment))
        table.insert(0, "against", other.name)
        found.append(table)
    every = pd.concat(found, ignore_index=True)
    return every.assign(p=holm(every["p"].to_numpy(dtype=np.float64)))


def paper_findings(run: Run, rows: Mapping[str, Experiment]) -> pd.DataFrame:
    """Every step of the paper's Table I beside the same step here, with a verdict in words.

    Columns: finding, score, paper and here (differences), low, high, p, verdict, estimand. p is
    corrected for the number of steps that can be compared, and decides the verdict; low and high
    are the step's own 95 % interval. Where the paper's step starts from the best of several rows,
    ours starts from what is the best of them here, whichever that truly is.
    """
    judge = _Judge(run, ONE_TRAINING)
    steps = [step for step in PAPER_STEPS if step.score in (*run.setting.tasks, JOINT)]
    found = [_finding(judge, step, rows) for step in steps]
    table = pd.DataFrame(found, columns=["here", "low", "high", "p", "estimand", "verdict"])
    table["p"] = holm(table["p"].to_numpy(dtype=np.float64))
    published = [step.published for step in steps]
    table["verdict"] = [
        own or verdict(paper, here, p)
        for own, paper, here, p in zip(
            table["verdict"], published, table["here"], table["p"], strict=True
        )
    ]
    table.insert(0, "finding", [step.finding for step in steps])
    table.insert(1, "score", [step.score for step in steps])
    table.insert(2, "paper", published)
    return table[[c for c in table if c != "estimand"] + ["estimand"]]


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


class _Judge:
    """Compares experiments by an estimand on the same clips, each of which it scores once."""

    def __init__(self, run: Run, estimand: str, truth: pd.DataFrame | None = None) -> None:
        if estimand not in ESTIMANDS:
            raise ValueError(f"estimand {estimand!r}: expected one of {', '.join(ESTIMANDS)}.")
        clips, split = (run.table("clips"), "valid") if truth is None else (truth, "")
        truth = labelled(clips, run.setting.tasks, split)
        self.scores = (*run.setting.tasks, JOINT)
        self.estimand, self.truth, self.average = estimand, truth, run.setting.average
        self.right = label_columns(truth, run.setting.classes)
        self.counts = resampled_clips(len(truth))
        self._scored: dict[str, Scored] = {}

    def table(self, first: Experiment | Sequence[Experiment], second: Experiment) -> pd.DataFrame:
        """The rows of `scoring.compared`; NaN where nothing can be compared."""
        several = [first] if isinstance(first, Experiment) else first
        if len(several) > 1:
            several = [one for one in several if not one.failure and one.key != second.key]
            several = list({one.key: one for one in several}.values())
        if not several or any(one.failure for one in (*several, second)):
            columns = ["first", "second", "difference", "se", "dof", "low", "high", "p"]
            nothing = pd.DataFrame(np.nan, index=range(len(self.scores)), columns=columns)
            nothing.insert(0, "score", list(self.scores))
            return nothing.assign(estimand=self.estimand)
        return compared([self.scored(one) for one in several], self.scored(second))

    def scored(self, experiment: Experiment) -> Scored:
        """What an experiment scores on the clips."""
        if experiment.key not in self._scored:
            self._scored[experiment.key] = self._score(experiment)
        return self._scored[experiment.key]

    def _score(self, experiment: Experiment) -> Scored:
        """TrainingError where the clips trained it: who has seen the labels cannot be judged."""
        table = experiment.predictions.table
        judged = table[table["clip_id"].isin(self.truth["clip_id"])]
        if (judged["role"] == FITTED).any():
            raise TrainingError(
                f"Recipe {experiment.name!r} was trained on the clips it is to be compared on. On "
                "train clips compare recipes with `partition: {folds: 5}`."
            )
        mean = matched(experiment.answers, self.truth)
        if self.estimand == THESE_ANSWERS:
            return scored_answers(self.right, mean, self.average, self.counts)
        by_seed = {
            seed: matched(experiment.decoded(part), self.truth)
            for seed, part in experiment.predictions.by_seed().items()
        }
        of_mean = mean if self.estimand == MEAN_OF_SEEDS else None
        return scored(self.right, by_seed, self.average, of_mean, self.counts)


def _on_joint(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p=table["p"].where(table["score"] == JOINT))


def _finding(judge: _Judge, step: Step, rows: Mapping[str, Experiment]) -> tuple[Any, ...]:
    """here, low, high, p, estimand and, where there is nothing to judge, the verdict."""
    before, after = [rows[name] for name in step.before], rows[step.after]
    table = judge.table(before, after).set_index("score")
    figures = table[["difference", "low", "high", "p"]].loc[step.score]
    here, low, high, p = figures.to_numpy(dtype=np.float64)
    if {one.key for one in before} == {after.key}:
        here, low, high, p, words = 0.0, 0.0, 0.0, np.nan, "no pool here"
    else:
        words = "diverged here" if np.isnan(here) else "too few clips" if np.isnan(p) else ""
    return here, low, high, p, table.loc[step.score, "estimand"], words


def reliability_of(experiment: Experiment, truth: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`scoring.reliability` of an experiment before and after calibration, on clips in `truth`
    whose labels are known.

    TrainingError where these trained it: who has seen the labels is right too often.
    """
    table, truth = experiment.predictions.table, labelled(truth, experiment.answers.tasks)
    if (table.loc[table["clip_id"].isin(truth["clip_id"]), "role"] == FITTED).any():
        raise TrainingError(f"{experiment.name} was trained on clips it is to be judged by.")
    right = label_columns(truth, experiment.answers.classes)
    found = {}
    both = {"before": experiment.predictions.mean(), "after calibration": experiment.answers}
    for name, own in both.items():
        rows = own.table.set_index("clip_id").loc[truth["clip_id"]].reset_index()
        at_hand = type(own)(rows)
        given = {task: at_hand.probabilities(task) for task in own.tasks}
        found[name] = reliability(given, right, own.classes)
    return found
