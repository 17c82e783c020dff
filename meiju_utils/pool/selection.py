"""What a rule leaves: the labels chosen from the pool and, class by class, what limited the choice.

A choice goes in three steps, whose numbers are the rule's:

1. A clip's confidence is the smaller of the probabilities of its two predicted labels; where the
   tasks are chosen apart, each label has its own.
2. A class whose predicted clips reach the asked threshold fewer than `least` times is short. Where
   there is a fallback, its threshold falls to that quantile of its own clips' confidences, if that
   is lower. A clip is a candidate where it reaches the threshold of its emotion or of its intent: a
   short class brings in clips that its other class alone would not.
3. Candidates are sampled in balance, no class above its cap (see `sampling`).

Imports `predictions`, `sampling`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.pool.sampling import balanced_sample
from meiju_utils.predictions import Answers, Classes, Targets, class_columns

NO_POOL = "There are no unlabelled clips, so none are labelled."
THRESHOLD, CAP, OTHER_FULL, NEVER, POOL = (
    "threshold",
    "cap",
    "other class full",
    "never predicted",
    "pool",
)
_COLUMNS = ["task", "label", "predicted", "passed", "threshold"]


@dataclass(frozen=True)
class Selection:
    """Chosen pseudo labels, and what a reader must know of the choice.

    `table`, one row a clip of the pool: clip_id, of each task the label, `<task>_confidence` and
    `use_<task>` (whether the label is trained on), confidence (the smallest), candidate, and
    selected (any label is trained on).
    `thresholds`, one row a class: task, label, predicted (clips), passed (the asked threshold),
    threshold (its own in force), candidates, cap (none: NA), selected, lowest (confidence among
    those; NaN without any) and limited_by: "threshold" (no candidate is left), "cap" (it is full),
    "other class full" (those of its candidates that are left), "never predicted", or "pool" (every
    clip predicted so is chosen). Both are empty where there is no pool.
    `asked` is the threshold that was asked for (0: none), `together` whether a clip's labels are
    chosen together, by the smaller confidence. `notes` tell of classes that are short.
    """

    table: pd.DataFrame
    thresholds: pd.DataFrame
    notes: list[str]
    asked: float
    together: bool

    def sure(self, table: pd.DataFrame, task: str | None = None) -> NDArray[np.float64]:
        """The confidences [N] in a table of `confidences` that count for a task (None: all)."""
        column = "confidence" if task is None or self.together else f"{task}_confidence"
        return table[column].to_numpy(dtype=np.float64)

    def reached(self, table: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
        """Of each task which clips [N] of a table of `confidences` pass the thresholds in force."""
        found: dict[str, NDArray[np.bool_]] = {}
        for tasks in _groups(list(self.thresholds["task"].unique()), self.together):
            reached = _reach(table, tasks, self.sure(table, tasks[0]), self.thresholds)
            found |= dict.fromkeys(tasks, reached)
        return found


def choose(
    answers: Answers,
    *,
    asked: float,
    together: bool = True,
    least: int = 1,
    fallback: float | None = None,
    caps: Mapping[tuple[str, str], int] | None = None,
) -> Selection:
    """The choice described above, from a teacher's answers to the pool.

    Args:
        asked: least confidence; 0 takes every clip.
        together: whether a clip's labels are chosen together, by the smaller confidence.
        least: a class of which fewer clips pass is short.
        fallback: quantile of a short class's confidences that its threshold falls to; None: none.
        caps: of (task, class) how many clips it may get at most; one that is not there has no cap.
    """
    classes, limits = answers.classes, caps or {}
    table = confidences(answers).assign(candidate=False)
    rows = []
    for tasks in _groups(list(classes), together):
        column = "confidence" if together else f"{tasks[0]}_confidence"
        confidence = table[column].to_numpy(dtype=np.float64)
        found = _class_thresholds(table, tasks, confidence, classes, asked, least, fallback)
        candidate = _reach(table, tasks, confidence, found)
        ids = table["clip_id"].to_numpy(dtype=str)
        order = np.lexsort((ids, -confidence))  # the most confident first, ties by clip id
        chosen = balanced_sample(table[list(tasks)], order[candidate[order]], limits, classes)
        table["candidate"] |= candidate
        for task in tasks:
            table[f"use_{task}"] = chosen
        rows.append(_counted(found, table, confidence, candidate, chosen, limits))
    table["selected"] = table[[f"use_{task}" for task in classes]].any(axis=1).astype(bool)
    thresholds = pd.concat(rows, ignore_index=True)
    if table.empty:
        return Selection(table, thresholds[:0], [NO_POOL], asked, together)
    notes = _notes(thresholds, asked, least, fallback)
    return Selection(table, thresholds, notes, asked, together)


def targets_of(selection: Selection, answers: Answers, soft: bool, weight: float) -> Targets:
    """Targets of the chosen clips: their labels or, where `soft`, the teacher's probabilities.

    `answers` are those to the pool that the choice was made from; each label counts `weight`.
    """
    chosen = selection.table[selection.table["selected"]].reset_index(drop=True)
    table = Targets.of_labels(chosen, answers.classes).table
    if soft:
        names = [c for task in answers.tasks for c in class_columns(answers.classes, task)]
        own = answers.table.set_index("clip_id").loc[chosen["clip_id"], names]
        table[names] = own.to_numpy(dtype=np.float64)
    for task in answers.tasks:
        table[f"{task}_weight"] = np.where(chosen[f"use_{task}"], weight, 0.0)
    return Targets(table)


def confidences(answers: Answers) -> pd.DataFrame:
    """clip_id, of each task label and `<task>_confidence`, and confidence, the smallest."""
    table = answers.table[["clip_id", *answers.tasks]].copy()
    for task in answers.tasks:
        table[f"{task}_confidence"] = answers.confidence(task)
    columns = [f"{task}_confidence" for task in answers.tasks]
    return table.assign(confidence=table[columns].min(axis=1))


def _groups(tasks: Sequence[str], together: bool) -> list[tuple[str, ...]]:
    """Tasks whose labels are chosen together."""
    return [tuple(tasks)] if together and tasks else [(task,) for task in tasks]


def _reach(
    table: pd.DataFrame,
    tasks: Sequence[str],
    confidence: NDArray[np.float64],
    thresholds: pd.DataFrame,
) -> NDArray[np.bool_]:
    """Which clips reach the threshold in force of any of their classes."""
    reached = np.zeros(len(table), dtype=bool)
    for task in tasks:
        own = thresholds[thresholds["task"] == task].set_index("label")["threshold"]
        reached |= confidence >= table[task].map(own).to_numpy(dtype=float)
    return reached


def _class_thresholds(
    table: pd.DataFrame,
    tasks: Sequence[str],
    confidence: NDArray[np.float64],
    classes: Classes,
    asked: float,
    least: int,
    fallback: float | None,
) -> pd.DataFrame:
    rows = []
    for task in tasks:
        for label in classes[task]:
            own = confidence[(table[task] == label).to_numpy()]
            passed = int((own >= asked).sum())
            threshold = asked
            if fallback is not None and len(own) and passed < least:
                # "higher" is one of the clips' own confidences, so that one clip passes at least.
                threshold = min(asked, float(np.quantile(own, fallback, method="higher")))
            rows.append((task, label, len(own), passed, threshold))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _counted(
    found: pd.DataFrame,
    table: pd.DataFrame,
    confidence: NDArray[np.float64],
    candidate: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    caps: Mapping[tuple[str, str], int],
) -> pd.DataFrame:
    rows = []
    for row in found.to_dict("records"):
        own = (table[row["task"]] == row["label"]).to_numpy()
        candidates, selected = int((own & candidate).sum()), int((own & chosen).sum())
        cap = caps.get((row["task"], row["label"]))
        lowest = confidence[own & chosen].min() if selected else np.nan
        limit = _limit(row["predicted"], candidates, cap, selected)
        rows.append((candidates, cap, selected, lowest, limit))
    columns = ["candidates", "cap", "selected", "lowest", "limited_by"]
    counts = pd.DataFrame(rows, columns=columns, index=found.index)
    return pd.concat([found, counts.astype({"cap": "Int64", "limited_by": "str"})], axis=1)


def _limit(predicted: int, candidates: int, cap: int | None, selected: int) -> str:
    """Why a class has no more clips than it has."""
    if predicted == 0:
        return NEVER
    if selected == predicted:
        return POOL
    if cap is not None and selected >= cap:
        return CAP
    return OTHER_FULL if candidates > selected else THRESHOLD


def _notes(thresholds: pd.DataFrame, asked: float, least: int, fallback: float | None) -> list[str]:
    notes = []
    for row in thresholds.to_dict("records"):
        name = f"{row['task']} {row['label']}"
        if row["predicted"] == 0:
            notes.append(f"{name} is never predicted on the pool: it gets no pseudo label.")
        elif row["passed"] < least:
            if fallback is None:
                then = "there is no fallback"
            elif row["threshold"] < asked:
                then = f"the threshold falls to {row['threshold']:.3f}, their quantile {fallback:g}"
            else:
                then = f"their quantile {fallback:g} is no lower"
            notes.append(
                f"{name}: {row['passed']} of {row['predicted']} predicted clips reach {asked:g}, "
                f"fewer than {least}; {then}. {row['selected']} chosen."
            )
        elif row["selected"] == 0:
            full = "its cap is 0" if row["cap"] == 0 else "its candidates' other classes are full"
            notes.append(f"{name}: {full}; none is chosen.")
    return notes
