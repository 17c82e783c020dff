"""How right pseudo labels are: coverage and precision on held-out clips. Imports `selection`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.config import PseudoLabels
from meiju_utils.pool.selection import confidence_column, confidences, reach, task_groups
from meiju_utils.predictions import Answers, Classes

AUDIT_THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def audit_pseudo_labels(
    answers: Answers,
    truth: pd.DataFrame,
    settings: PseudoLabels,
    thresholds: Sequence[float] = AUDIT_THRESHOLDS,
) -> pd.DataFrame:
    """Coverage and precision against threshold, on held-out clips whose labels are known.

    `truth` has clip_id and a label a task for the same clips. One row a threshold, task ("both":
    all labels right) and label ("all", or a predicted class): clips (predicted so), passed,
    coverage (their share), right, precision (NaN where none passes) with the bounds of its 95 %
    Wilson interval.
    """
    table = _with_truth(answers, truth)
    rows = []
    for threshold in sorted({*thresholds, settings.threshold}):
        for task, label, among, confidence, right in _groups(table, settings, answers.classes):
            counts = _counts(among, among & (confidence >= threshold), right)
            rows.append({"task": task, "label": label, "threshold": threshold, **counts})
    return pd.DataFrame(rows)


def audit_candidates(
    answers: Answers, truth: pd.DataFrame, classes: pd.DataFrame, settings: PseudoLabels
) -> pd.DataFrame:
    """The same at the thresholds in force (`Selection.thresholds`): what is trained on, audited.

    Held-out clips stand for those of the pool. One row a task and label, without `threshold`.
    """
    table = _with_truth(answers, truth)
    passed: dict[str, NDArray[np.bool_]] = {}
    for tasks in task_groups(answers.classes, settings):
        confidence = table[confidence_column(tasks[0], settings)].to_numpy()
        passed |= dict.fromkeys(tasks, reach(table, tasks, confidence, classes))
    passed["both"] = np.logical_and.reduce(list(passed.values()))
    return pd.DataFrame(
        {"task": task, "label": label, **_counts(among, among & passed[task], right)}
        for task, label, among, _, right in _groups(table, settings, answers.classes)
    )


def _with_truth(answers: Answers, truth: pd.DataFrame) -> pd.DataFrame:
    known = truth[["clip_id", *answers.tasks]]
    return confidences(answers).merge(known, on="clip_id", suffixes=("", "_true"))


def _groups(
    table: pd.DataFrame, settings: PseudoLabels, classes: Classes
) -> list[tuple[str, str, NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]]:
    """Task, label, the clips predicted so, confidences, which are right: both, each task, class."""
    right = {task: (table[task] == table[f"{task}_true"]).to_numpy() for task in classes}
    every = np.ones(len(table), dtype=bool)
    smaller = table["confidence"].to_numpy()
    groups = [("both", "all", every, smaller, np.logical_and.reduce(list(right.values())))]
    for task, labels in classes.items():
        confidence = table[confidence_column(task, settings)].to_numpy()
        groups.append((task, "all", every, confidence, right[task]))
        for label in labels:
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
