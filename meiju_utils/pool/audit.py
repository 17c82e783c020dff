"""How right pseudo labels are: coverage and precision on clips whose labels are known.

Any answers with known labels will do: those to validation clips, which chose a network's epoch, so
that these are a little too kind, or to train clips that were held out. The pool is sampled in
another way than they are, so they are weighed by the classes predicted there (see `shift`). Truth
about the pool itself is joined for display where a synthetic corpus has it, and chooses nothing.
Imports `selection`, `shift`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.pool.selection import Selection, confidences
from meiju_utils.pool.shift import effective_number, shift_weights
from meiju_utils.predictions import Answers, Classes

AUDIT_THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BOTH, ALL = "both", "all"
_COLUMNS = (
    *("clips", "passed", "coverage", "pool_coverage", "right", "confidence"),
    *("precision", "precision_low", "precision_high", "effective", "raw_precision"),
)
Passed = Mapping[str, NDArray[np.bool_]]  # task, or "both" → which clips [N]


def audit_thresholds(
    answers: Answers,
    truth: pd.DataFrame,
    selection: Selection,
    thresholds: Sequence[float] = AUDIT_THRESHOLDS,
) -> pd.DataFrame:
    """Coverage and precision against threshold; empty where there is no pool.

    `truth` has clip_id and a label a task for the clips of `answers`. One row a threshold (the
    asked one among them), task ("both": all labels right) and label ("all", or a predicted class):

    - clips (known, predicted so), passed, right: counts;
    - coverage: share that passes, weighed by the classes predicted on the whole pool;
      pool_coverage: the pool's own;
    - precision: share right of those that pass, weighed by the classes of the pool's clips that
      pass, with the bounds of its 95 % Wilson interval for `effective` clips (Kish); confidence:
      their mean confidence; NaN where none passes, here or in the pool;
    - raw_precision: the same share, unweighed.
    """
    held_out = _known(answers, truth)
    rows = []
    wanted = sorted({*thresholds, selection.asked}) if len(selection.table) else []
    for threshold in wanted:
        here, in_pool = (
            _above(table, selection, answers.tasks, threshold)
            for table in (held_out, selection.table)
        )
        for row in _rows(held_out, selection.table, here, in_pool, answers.classes):
            rows.append({"threshold": threshold, **row})
    return _table(rows, ["task", "label", "threshold"])


def audit_selection(answers: Answers, truth: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The same at the thresholds in force: what is trained on, audited.

    Clips that pass these stand for those of the pool that are chosen. One row a task and label,
    without `threshold`.
    """
    held_out = _known(answers, truth)
    rows: list[dict[str, Any]] = []
    if len(selection.table):
        passed = _with_both(selection.reached(held_out))
        chosen = _chosen(selection, answers.tasks)
        rows = _rows(held_out, selection.table, passed, chosen, answers.classes)
    return _table(rows, ["task", "label"])


def with_truth(
    audit: pd.DataFrame, selection: Selection, truth: pd.DataFrame | None
) -> pd.DataFrame:
    """An audit of a selection with a column `in_truth`: the precision on the pool's own clips.

    `truth` (clip_id and a label a task) is known of a synthetic corpus only; where it knows no clip
    of the pool, or is None, the audit stays as it is.
    """
    if truth is None or not truth["clip_id"].isin(selection.table["clip_id"]).any():
        return audit
    tasks = list(selection.thresholds["task"].unique())
    pool = selection.table.merge(
        truth[["clip_id", *tasks]], on="clip_id", how="left", suffixes=("", "_true")
    )
    known = pool[f"{tasks[0]}_true"].notna().to_numpy()
    found = []
    for row in audit.to_dict("records"):
        task, label = str(row["task"]), str(row["label"])
        passed = (
            _above(pool, selection, tasks, row["threshold"])
            if "threshold" in row
            else _chosen(selection, tasks)
        )
        counted = passed[task] & known & _among(pool, task, label)
        right = _right(pool, tasks if task == BOTH else [task])
        found.append(right[counted].mean() if counted.any() else np.nan)
    return audit.assign(in_truth=np.array(found, dtype=np.float64))


def _known(answers: Answers, truth: pd.DataFrame) -> pd.DataFrame:
    labels = truth[["clip_id", *answers.tasks]]
    return confidences(answers).merge(labels, on="clip_id", suffixes=("", "_true"))


def _above(
    table: pd.DataFrame, selection: Selection, tasks: Sequence[str], threshold: float
) -> Passed:
    return _with_both({task: selection.sure(table, task) >= threshold for task in tasks})


def _chosen(selection: Selection, tasks: Sequence[str]) -> Passed:
    used = {task: selection.table[f"use_{task}"].to_numpy(dtype=bool) for task in tasks}
    return _with_both(used)


def _with_both(passed: Passed) -> Passed:
    return {BOTH: np.logical_and.reduce(list(passed.values())), **passed}


def _among(table: pd.DataFrame, task: str, label: str) -> NDArray[np.bool_]:
    if label == ALL:
        return np.ones(len(table), dtype=bool)
    return np.asarray(table[task] == label, dtype=bool)


def _right(table: pd.DataFrame, tasks: Sequence[str]) -> NDArray[np.bool_]:
    right = [np.asarray(table[t] == table[f"{t}_true"], dtype=bool) for t in tasks]
    return np.asarray(np.logical_and.reduce(right))


def _rows(
    held_out: pd.DataFrame,
    pool: pd.DataFrame,
    passed: Passed,
    passed_in_pool: Passed,
    classes: Classes,
) -> list[dict[str, Any]]:
    """Both tasks, then each task and its classes."""
    groups = [(BOTH, ALL)]
    for task, labels in classes.items():
        groups += [(task, label) for label in (ALL, *labels)]
    found = []
    for task, label in groups:
        tasks = list(classes) if task == BOTH else [task]
        among, own = _among(held_out, task, label), _among(pool, task, label)
        left, left_in_pool = among & passed[task], own & passed_in_pool[task]
        right = _right(held_out, tasks)
        if label == ALL:
            weights = shift_weights(held_out[tasks], pool[tasks])
            chosen = shift_weights(held_out.loc[left, tasks], pool.loc[left_in_pool, tasks])
        else:  # of one class all weigh the same
            weights, chosen = among.astype(float), np.ones(int(left.sum()))
        sure = held_out["confidence" if task == BOTH else f"{task}_confidence"].to_numpy()
        precision, effective = _mean(right[left], chosen), effective_number(chosen)
        low, high = _wilson(precision, effective)
        values = (
            *(int(among.sum()), int(left.sum()), _mean(passed[task], weights)),
            *(_mean(passed_in_pool[task], own.astype(float)), int((left & right).sum())),
            *(_mean(sure[left], chosen), precision, low, high, effective),
            right[left].mean() if left.any() else np.nan,
        )
        found.append({"task": task, "label": label, **dict(zip(_COLUMNS, values, strict=True))})
    return found


def _table(rows: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*names, *_COLUMNS])


def _mean(values: NDArray[Any], weights: NDArray[np.float64]) -> float:
    """The weighed mean; NaN without weight."""
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else float("nan")


def _wilson(share: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """Bounds of the Wilson interval of a share of so many trials; NaN without any."""
    if not trials:
        return float("nan"), float("nan")
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return float((centre - spread) / scale), float((centre + spread) / scale)
