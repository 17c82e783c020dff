"""Rules: which answers to the unlabelled pool become training labels, by name.

A rule's options are all its settings. It is called with a teacher's answers to the pool and with
the labels of the train clips (clip_id and a label a task), and gives a `Selection`; without a pool
that is empty, and its note says so. Imports `selection`.
"""

import math
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, PositiveFloat, PositiveInt

from meiju_utils.pool.selection import Selection, choose
from meiju_utils.predictions import Answers

Share = Annotated[float, Field(gt=0, lt=1)]
Tasks = Literal["both", "per-task"]  # the smaller of both confidences counts, or each its own


class Paper:
    """The paper's rule (section III.C): sure in both labels, in balance, no fallback unless asked.

    The paper says that confidences are at least 0.99 and that emotion and intent classes stay
    balanced, not how. Here a class may get at most `cap` times as many clips as it has in train
    (rounded up; null: any number): the balance that train has by its making stays, and no class has
    more pseudo labels than `cap` times its true ones. `fallback` is the quantile of its clips'
    confidences that a class takes as its threshold where none of them passes.
    """

    def __init__(
        self,
        *,
        threshold: Share = 0.99,
        cap: PositiveFloat | None = 1.0,
        fallback: Share | None = None,
        tasks: Tasks = "both",
    ) -> None:
        self.threshold, self.cap, self.fallback, self.tasks = threshold, cap, fallback, tasks

    def __call__(self, answers: Answers, labels: pd.DataFrame) -> Selection:
        caps: dict[tuple[str, str], int] = {}
        if self.cap is not None:
            for task, names in answers.classes.items():
                counts = labels[task].value_counts()
                caps |= {(task, n): math.ceil(self.cap * counts.get(n, 0)) for n in names}
        return choose(
            answers,
            asked=self.threshold,
            together=self.tasks == "both",
            fallback=self.fallback,
            caps=caps,
        )


class Quantile:
    """For pools that a strict threshold leaves empty: every predicted class gets some labels.

    A class of which fewer than `least` clips pass takes the `fallback_quantile` of its clips'
    confidences as its threshold; none gets more than `per_class` clips.
    """

    def __init__(
        self,
        *,
        threshold: Share = 0.99,
        tasks: Tasks = "both",
        least: PositiveInt = 8,
        fallback_quantile: Share = 0.8,
        per_class: PositiveInt = 60,
    ) -> None:
        self.threshold, self.tasks, self.least = threshold, tasks, least
        self.fallback_quantile, self.per_class = fallback_quantile, per_class

    def __call__(self, answers: Answers, labels: pd.DataFrame) -> Selection:
        classes = [(task, label) for task, names in answers.classes.items() for label in names]
        return choose(
            answers,
            asked=self.threshold,
            together=self.tasks == "both",
            least=self.least,
            fallback=self.fallback_quantile,
            caps=dict.fromkeys(classes, self.per_class),
        )


class Everything:
    """Every clip of the pool, with its likeliest label or, for soft targets, all probabilities."""

    def __call__(self, answers: Answers, labels: pd.DataFrame) -> Selection:
        return choose(answers, asked=0.0)


RULES: dict[str, type] = {"quantile": Quantile, "paper": Paper, "everything": Everything}
