"""Pseudo labels: which predictions on the unlabelled pool become training labels, and how right.

As in section III.C of the paper: confident predictions of the stage-one model (here the mean over
its seeds), sampled so that the classes of both tasks stay balanced. Pure functions on tables of
predictions; imports `challenge`, `config`, `probabilities` only.

How clips are chosen (`select_pseudo_labels`):

1. A clip's confidence is the smaller of the probabilities of its two predicted labels; with
   `tasks: per-task` each label has its own and the tasks are treated apart.
2. A class whose predicted clips reach the threshold fewer than `least` times is short. Its
   threshold falls to the `fallback_quantile` of its own clips' confidences, and a note says so. A
   clip is a candidate where it reaches the threshold of its emotion or of its intent.
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
    threshold (in force), selected.
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
        confidence = table["confidence" if len(tasks) > 1 else f"{tasks[0]}_confidence"].to_numpy()
        found = _class_thresholds(table, tasks, confidence, settings)
        candidate = np.zeros(len(table), dtype=bool)
        for task in tasks:
            own = found[found["task"] == task].set_index("label")["threshold"]
            candidate |= confidence >= table[task].map(own).to_numpy(dtype=float)
        chosen = _sample(table, tasks, confidence, candidate, settings.per_class)
        table["candidate"] |= candidate
        for task in tasks:
            table[f"use_{task}"] = chosen
        thresholds.append(found)
    table["selected"] = table["use_emotion"] | table["use_intent"]
    classes = pd.concat(thresholds, ignore_index=True)
    classes["selected"] = [
        int((table.loc[table[f"use_{task}"], task] == label).sum())
        for task, label in zip(classes["task"], classes["label"], strict=True)
    ]
    return Selection(table, classes, _notes(classes, settings))


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
        elif row["threshold"] < settings.threshold:
            notes.append(
                f"{name}: {row['passed']} of {row['predicted']} predicted clips reach "
                f"{settings.threshold:g}, fewer than {settings.least}; the threshold falls to "
                f"{row['threshold']:.3f}, their quantile {settings.fallback_quantile:g}. "
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
    table = predictions.merge(truth[["clip_id", *TASKS]], on="clip_id", suffixes=("", "_true"))
    right = {task: (table[task] == table[f"{task}_true"]).to_numpy() for task in TASKS}
    confidences = {task: table[f"{task}_confidence"].to_numpy() for task in TASKS}
    smaller = np.minimum(confidences["emotion"], confidences["intent"])
    every = np.ones(len(table), dtype=bool)
    groups = [("both", "all", every, smaller, right["emotion"] & right["intent"])]
    for task in TASKS:
        confidence = smaller if settings.tasks == "both" else confidences[task]
        groups.append((task, "all", every, confidence, right[task]))
        for label in CLASSES[task]:
            groups.append((task, label, (table[task] == label).to_numpy(), confidence, right[task]))
    rows = []
    for threshold in sorted({*thresholds, settings.threshold}):
        for name, label, among, confidence, correct in groups:
            passed = among & (confidence >= threshold)
            clips, n = int(among.sum()), int(passed.sum())
            k = int((passed & correct).sum())
            low, high = _wilson(k, n)
            rows.append(
                {
                    "task": name,
                    "label": label,
                    "threshold": threshold,
                    "clips": clips,
                    "passed": n,
                    "coverage": n / clips if clips else np.nan,
                    "right": k,
                    "precision": k / n if n else np.nan,
                    "precision_low": low,
                    "precision_high": high,
                }
            )
    return pd.DataFrame(rows)


def _wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of the Wilson interval of a share; NaN without trials."""
    if trials == 0:
        return float("nan"), float("nan")
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return float((centre - spread) / scale), float((centre + spread) / scale)
