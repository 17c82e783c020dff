"""Rules: which answers to the unlabelled pool become training labels, by name.

A rule is called with the profile's settings and its own options, and then with the teacher's
answers to the pool. Pure functions; imports `config`, `predictions`.

The rule `quantile`, after section III.C of the paper: confident answers of the stage-one model
(here the mean over its seeds), sampled so that the classes of all tasks stay balanced.

1. A clip's confidence is the smaller of the probabilities of its two predicted labels; with
   `tasks: per-task` each label has its own and the tasks are treated apart.
2. A class whose predicted clips reach the threshold fewer than `least` times is short, and a note
   says so. Its threshold falls to the `fallback_quantile` of its own clips' confidences, where that
   is lower. A clip is a candidate where it reaches the threshold of its emotion or of its intent: a
   short class brings in clips that its other class alone would not.
3. The class (of either task) with the fewest chosen clips takes its most confident candidate, over
   and over. No class gets more than `per_class` clips, so a candidate whose other class is full is
   passed over. It ends when no class can take any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from meiju_utils.config import PseudoLabels
from meiju_utils.predictions import Answers, Classes

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Selection:
    """Chosen pseudo labels, and what a reader must know of the choice.

    `table`, one row a clip of the pool: clip_id, of each task the label, `<task>_confidence` and
    `use_<task>` (whether the label is trained on), confidence (the smallest), candidate, and
    selected (any label is trained on).
    `thresholds`, one row a class: task, label, predicted (clips), passed (the asked threshold),
    threshold (its own in force), selected, lowest (confidence among those; NaN without any).
    """

    table: pd.DataFrame
    thresholds: pd.DataFrame
    notes: list[str]


class Quantile:
    """The rule described above; an option that is not given is the profile's `pseudo_labels`."""

    def __init__(
        self,
        settings: PseudoLabels,
        *,
        threshold: Share | None = None,
        tasks: Literal["both", "per-task"] | None = None,
        least: PositiveInt | None = None,
        fallback_quantile: Share | None = None,
        per_class: PositiveInt | None = None,
    ) -> None:
        own = {
            "threshold": threshold,
            "tasks": tasks,
            "least": least,
            "fallback_quantile": fallback_quantile,
            "per_class": per_class,
        }
        given = {name: value for name, value in own.items() if value is not None}
        self.settings = settings.model_copy(update=given)

    def __call__(self, answers: Answers) -> Selection:
        classes, settings = answers.classes, self.settings
        table = confidences(answers)
        table["candidate"] = False
        thresholds: list[pd.DataFrame] = []
        for tasks in task_groups(classes, settings):
            confidence = table[confidence_column(tasks[0], settings)].to_numpy()
            found = _class_thresholds(table, tasks, confidence, settings, classes)
            candidate = reach(table, tasks, confidence, found)
            chosen = _sample(table, tasks, confidence, candidate, settings.per_class, classes)
            table["candidate"] |= candidate
            for task in tasks:
                table[f"use_{task}"] = chosen
            thresholds.append(found)
        table["selected"] = table[[f"use_{task}" for task in classes]].any(axis=1)
        return _counted(table, pd.concat(thresholds, ignore_index=True), settings)


class Everything:
    """Every clip of the pool, with its likeliest label or, for soft targets, all probabilities."""

    def __init__(self, settings: PseudoLabels) -> None:
        everything = {"threshold": 1e-9, "least": 1, "per_class": 2**31}
        self.settings = settings.model_copy(update=everything)

    def __call__(self, answers: Answers) -> Selection:
        table = confidences(answers).assign(candidate=True, selected=True)
        rows = []
        for task, labels in answers.classes.items():
            table[f"use_{task}"] = True
            counts = table[task].value_counts()
            rows += [
                (task, label, counts.get(label, 0), counts.get(label, 0), 0.0) for label in labels
            ]
        return _counted(table, pd.DataFrame(rows, columns=THRESHOLD_COLUMNS), self.settings)


RULES: dict[str, type] = {"quantile": Quantile, "everything": Everything}
THRESHOLD_COLUMNS = ["task", "label", "predicted", "passed", "threshold"]


def confidences(answers: Answers) -> pd.DataFrame:
    """clip_id, of each task label and `<task>_confidence`, and confidence, the smallest."""
    table = answers.table[["clip_id", *answers.tasks]].copy()
    for task in answers.tasks:
        table[f"{task}_confidence"] = answers.confidence(task)
    columns = [f"{task}_confidence" for task in answers.tasks]
    return table.assign(confidence=table[columns].min(axis=1))


def task_groups(classes: Classes, settings: PseudoLabels) -> list[tuple[str, ...]]:
    """Tasks whose labels are chosen together."""
    return [tuple(classes)] if settings.tasks == "both" else [(task,) for task in classes]


def _counted(table: pd.DataFrame, classes: pd.DataFrame, settings: PseudoLabels) -> Selection:
    counts, lowest = [], []
    for task, label in zip(classes["task"], classes["label"], strict=True):
        used = table[table[f"use_{task}"] & (table[task] == label)]
        counts.append(len(used))
        lowest.append(used[confidence_column(task, settings)].min())
    classes = classes.assign(selected=counts, lowest=lowest)
    return Selection(table, classes, _notes(classes, settings))


def confidence_column(task: str, settings: PseudoLabels) -> str:
    return "confidence" if settings.tasks == "both" else f"{task}_confidence"


def reach(
    table: pd.DataFrame,
    tasks: Sequence[str],
    confidence: NDArray[np.float64],
    classes: pd.DataFrame,
) -> NDArray[np.bool_]:
    """Which clips reach the threshold in force of any of their classes."""
    reached = np.zeros(len(table), dtype=bool)
    for task in tasks:
        own = classes[classes["task"] == task].set_index("label")["threshold"]
        reached |= confidence >= table[task].map(own).to_numpy(dtype=float)
    return reached


def _class_thresholds(
    table: pd.DataFrame,
    tasks: Sequence[str],
    confidence: NDArray[np.float64],
    settings: PseudoLabels,
    classes: Classes,
) -> pd.DataFrame:
    rows = []
    for task in tasks:
        for label in classes[task]:
            own = confidence[(table[task] == label).to_numpy()]
            passed = int((own >= settings.threshold).sum())
            threshold = settings.threshold
            if len(own) and passed < settings.least:
                # "higher" is one of the clips' own confidences, so that one clip passes at least.
                lowered = np.quantile(own, settings.fallback_quantile, method="higher")
                threshold = min(threshold, float(lowered))
            rows.append((task, label, len(own), passed, threshold))
    return pd.DataFrame(rows, columns=THRESHOLD_COLUMNS)


def _sample(
    table: pd.DataFrame,
    tasks: Sequence[str],
    confidence: NDArray[np.float64],
    candidate: NDArray[np.bool_],
    most: int,
    all_classes: Classes,
) -> NDArray[np.bool_]:
    """Which candidates are chosen, class by class in turn, at most `most` of a class."""
    ids = table["clip_id"].to_numpy(dtype=str)
    order = np.lexsort((ids, -confidence))  # the most confident first, ties by clip id
    order = order[candidate[order]]
    labels = [[(task, label) for label in table[task]] for task in tasks]
    classes_of = list(zip(*labels, strict=True))
    classes = [(task, label) for task in tasks for label in all_classes[task]]
    waiting = {c: [row for row in order.tolist() if c in classes_of[row]][::-1] for c in classes}
    counts = dict.fromkeys(classes, 0)
    chosen = np.zeros(len(table), dtype=bool)

    def next_of(wanted: tuple[str, str]) -> int | None:
        queue = waiting[wanted]
        while queue and (
            chosen[queue[-1]] or any(counts[c] >= most for c in classes_of[queue[-1]])
        ):
            queue.pop()  # chosen already, or a class of its is full: it will not come again
        return queue[-1] if queue else None

    while True:
        nexts = {c: row for c in classes if (row := next_of(c)) is not None}
        if not nexts:
            return chosen
        row = nexts[min(nexts, key=lambda c: counts[c])]
        chosen[row] = True
        for c in classes_of[row]:
            counts[c] += 1


def _notes(classes: pd.DataFrame, settings: PseudoLabels) -> list[str]:
    notes = []
    for row in classes.to_dict("records"):
        name = f"{row['task']} {row['label']}"
        if row["predicted"] == 0:
            notes.append(f"{name} is never predicted on the pool: it gets no pseudo label.")
        elif row["passed"] < settings.least:
            falls = (
                f"the threshold falls to {row['threshold']:.3f}, their quantile "
                f"{settings.fallback_quantile:g}"
                if row["threshold"] < settings.threshold
                else f"their quantile {settings.fallback_quantile:g} is no lower"
            )
            notes.append(
                f"{name}: {row['passed']} of {row['predicted']} predicted clips reach "
                f"{settings.threshold:g}, fewer than {settings.least}; {falls}. "
                f"{row['selected']} chosen."
            )
        elif row["selected"] == 0:
            notes.append(f"{name}: its candidates' other classes are full; none is chosen.")
    return notes
