"""Pseudo labels: which predictions on the unlabelled pool become training labels, and how right.

As in section III.C of the paper: confident predictions of the stage-one model (here the mean over
its seeds), sampled so that the classes of both tasks stay balanced. Pure functions on tables of
predictions; imports `challenge`, `config`, `probabilities` only.

How clips are chosen (`select_pseudo_labels`):

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

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.config import PseudoLabels

AUDIT_THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Selection:
    """Chosen pseudo labels, and what a reader must know of the choice.

    `table`, one row a clip of the pool: clip_id, emotion, intent, emotion_confidence,
    intent_confidence, confidence (the smaller), candidate, use_emotion, use_intent (whether the
    label is trained on) and selected (either is).
    `thresholds`, one row a class: task, label, predicted (clips), passed (the asked threshold),
    threshold (its own in force), selected, lowest (confidence among those; NaN without any).
    """

    table: pd.DataFrame
    thresholds: pd.DataFrame
    notes: list[str]


def select_pseudo_labels(predictions: pd.DataFrame, settings: PseudoLabels) -> Selection:
    """Choose pseudo labels among predictions on the pool (see the module's algorithm).

    `predictions`: clip_id and, of each task, label and `<task>_confidence`; one row a clip.
    """
    table = predictions[["clip_id", *TASKS, *(f"{task}_confidence" for task in TASKS)]].reset_index(
        drop=True
    )
    table["confidence"] = table[[f"{task}_confidence" for task in TASKS]].min(axis=1)
    table["candidate"] = False
    thresholds: list[pd.DataFrame] = []
    groups: list[tuple[Task, ...]] = [TASKS] if settings.tasks == "both" else [(t,) for t in TASKS]
    for tasks in groups:
        confidence = table[_confidence_column(tasks[0], settings)].to_numpy()
        found = _class_thresholds(table, tasks, confidence, settings)
        candidate = _reach(table, tasks, confidence, found)
        chosen = _sample(table, tasks, confidence, candidate, settings.per_class)
        table["candidate"] |= candidate
        for task in tasks:
            table[f"use_{task}"] = chosen
        thresholds.append(found)
    table["selected"] = table["use_emotion"] | table["use_intent"]
    classes = pd.concat(thresholds, ignore_index=True)
    counts, lowest = [], []
    for task, label in zip(classes["task"], classes["label"], strict=True):
        used = table[table[f"use_{task}"] & (table[task] == label)]
        counts.append(len(used))
        lowest.append(used[_confidence_column(task, settings)].min())
    classes = classes.assign(selected=counts, lowest=lowest)
    return Selection(table, classes, _notes(classes, settings))


def _confidence_column(task: Task, settings: PseudoLabels) -> str:
    return "confidence" if settings.tasks == "both" else f"{task}_confidence"


def _reach(
    table: pd.DataFrame,
    tasks: Sequence[Task],
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
    tasks: Sequence[Task],
    confidence: NDArray[np.float64],
    settings: PseudoLabels,
) -> pd.DataFrame:
    rows = []
    for task in tasks:
        for label in CLASSES[task]:
            own = confidence[(table[task] == label).to_numpy()]
            passed = int((own >= settings.threshold).sum())
            threshold = settings.threshold
            if len(own) and passed < settings.least:
                # "higher" is one of the clips' own confidences, so that one clip passes at least.
                lowered = np.quantile(own, settings.fallback_quantile, method="higher")
                threshold = min(threshold, float(lowered))
            rows.append((task, label, len(own), passed, threshold))
    return pd.DataFrame(rows, columns=["task", "label", "predicted", "passed", "threshold"])


def _sample(
    table: pd.DataFrame,
    tasks: Sequence[Task],
    confidence: NDArray[np.float64],
    candidate: NDArray[np.bool_],
    most: int,
) -> NDArray[np.bool_]:
    """Which candidates are chosen, class by class in turn, at most `most` of a class."""
    ids = table["clip_id"].to_numpy(dtype=str)
    order = np.lexsort((ids, -confidence))  # the most confident first, ties by clip id
    order = order[candidate[order]]
    labels = [[(task, label) for label in table[task]] for task in tasks]
    classes_of = list(zip(*labels, strict=True))
    classes = [(task, label) for task in tasks for label in CLASSES[task]]
    waiting = {c: [row for row in order.tolist() if c in classes_of[row]][::-1] for c in classes}
    counts = dict.fromkeys(classes, 0)
    chosen = np.zeros(len(table), dtype=bool)

    def next_of(wanted: tuple[Task, str]) -> int | None:
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


def audit_pseudo_labels(
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    settings: PseudoLabels,
    thresholds: Sequence[float] = AUDIT_THRESHOLDS,
) -> pd.DataFrame:
    """Coverage and precision against threshold, on held-out clips whose labels are known.

    `predictions` as in `select_pseudo_labels`, `truth` (clip_id, emotion, intent) for the same
    clips. One row a threshold, task ("both": both labels right) and label ("all", or a predicted
    class): clips (predicted so), passed, coverage (their share), right, precision (NaN where none
    passes) with the bounds of its 95 % Wilson interval.
    """
    table = _with_truth(predictions, truth)
    rows = []
    for threshold in sorted({*thresholds, settings.threshold}):
        for task, label, among, confidence, right in _groups(table, settings):
            counts = _counts(among, among & (confidence >= threshold), right)
            rows.append({"task": task, "label": label, "threshold": threshold, **counts})
    return pd.DataFrame(rows)


def audit_candidates(
    predictions: pd.DataFrame, truth: pd.DataFrame, classes: pd.DataFrame, settings: PseudoLabels
) -> pd.DataFrame:
    """The same at the thresholds in force (`Selection.thresholds`): what is trained on, audited.

    Held-out clips stand for those of the pool. One row a task and label, without `threshold`.
    """
    table = _with_truth(predictions, truth)
    groups: list[tuple[Task, ...]] = [TASKS] if settings.tasks == "both" else [(t,) for t in TASKS]
    passed: dict[str, NDArray[np.bool_]] = {}
    for tasks in groups:
        confidence = table[_confidence_column(tasks[0], settings)].to_numpy()
        passed |= dict.fromkeys(tasks, _reach(table, tasks, confidence, classes))
    passed["both"] = np.logical_and.reduce([passed[task] for task in TASKS])
    return pd.DataFrame(
        {"task": task, "label": label, **_counts(among, among & passed[task], right)}
        for task, label, among, _, right in _groups(table, settings)
    )


def _with_truth(predictions: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    table = predictions.merge(truth[["clip_id", *TASKS]], on="clip_id", suffixes=("", "_true"))
    smaller = table[[f"{task}_confidence" for task in TASKS]].min(axis=1)
    return table.assign(confidence=smaller)


def _groups(
    table: pd.DataFrame, settings: PseudoLabels
) -> list[tuple[str, str, NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]]:
    """Task, label, the clips predicted so, confidences, which are right: both, each task, class."""
    right = {task: (table[task] == table[f"{task}_true"]).to_numpy() for task in TASKS}
    every = np.ones(len(table), dtype=bool)
    smaller = table["confidence"].to_numpy()
    groups = [("both", "all", every, smaller, right["emotion"] & right["intent"])]
    for task in TASKS:
        confidence = table[_confidence_column(task, settings)].to_numpy()
        groups.append((task, "all", every, confidence, right[task]))
        for label in CLASSES[task]:
            groups.append((task, label, (table[task] == label).to_numpy(), confidence, right[task]))
    return groups


def _counts(
    among: NDArray[np.bool_], passed: NDArray[np.bool_], right: NDArray[np.bool_]
) -> dict[str, float]:
    clips, n, k = int(among.sum()), int(passed.sum()), int((passed & right).sum())
    low, high = _wilson(k, n)
    return {
        "clips": clips,
        "passed": n,
        "coverage": n / clips if clips else np.nan,
        "right": k,
        "precision": k / n if n else np.nan,
        "precision_low": low,
        "precision_high": high,
    }


def _wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of the Wilson interval of a share; NaN without trials."""
    if trials == 0:
        return float("nan"), float("nan")
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return float((centre - spread) / scale), float((centre + spread) / scale)
