"""A choice of pseudo labels in sentences: how many pass, why no more do, what limits the choice.

Pure functions of a selection and its audits. Imports `audit`, `selection`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.pool.audit import ALL, BOTH
from meiju_utils.pool.selection import Selection


def tell(selection: Selection, audit: pd.DataFrame, in_force: pd.DataFrame) -> list[str]:
    """What a rule did on this pool and why, from its selection and both audits of it.

    `audit` is by threshold, 0 among them, `in_force` at the thresholds in force; where that has a
    column `in_truth` (see `with_truth`), the truth is told too. Without a pool the selection's
    notes are all there is to say.
    """
    if selection.table.empty:
        return list(selection.notes)
    return [
        _passing(selection),
        *_fallbacks(selection),
        *_calibration(selection, audit),
        _limits(selection),
        *_chosen(selection, in_force),
    ]


def remark(selection: Selection) -> str:
    """What a reader of the student's scores must know of its labels; "" where there is nothing."""
    if selection.table.empty:
        return selection.notes[0]
    if not selection.table["selected"].any():
        return f"{_passing(selection)} It is trained on the true labels alone."
    if selection.notes and selection.asked > 0:  # who takes every clip asks for no sureness
        short = f"{len(selection.notes)} of {len(selection.thresholds)} classes"
        return (
            f"{short} have few or no confident clips in the pool; notebook 04 says which, and what "
            "was done."
        )
    return ""


def _sure(selection: Selection) -> NDArray[np.float64]:
    """Of each clip [N] the confidence that counts; of its surer label where tasks are apart."""
    tasks = selection.thresholds["task"].unique()
    own = np.stack([selection.sure(selection.table, task) for task in tasks])
    return np.asarray(own.max(axis=0), dtype=np.float64)


def _passing(selection: Selection) -> str:
    sure, asked = _sure(selection), selection.asked
    clips, passed = len(sure), int((sure >= asked).sum())
    if asked == 0:
        return f"All clips of the pool ({clips}) are taken, however sure."
    if passed == clips:
        return f"All clips of the pool ({clips}) reach {asked:g}."
    mean = f"the mean is {sure.mean():.2f}"
    if selection.together and len(set(selection.thresholds["task"])) > 1:
        mean += ", as the less sure of a clip's labels counts"
    if passed == 0:
        return f"None of {clips} clips reaches {asked:g}: the surest has {sure.max():.2f}, {mean}."
    return f"{passed} of {clips} clips reach {asked:g}; {mean}."


def _calibration(selection: Selection, audit: pd.DataFrame) -> list[str]:
    """Of each task: is the teacher as right as it is sure?"""
    told = []
    few = (_sure(selection) >= selection.asked).mean() < 0.5
    everything = audit[(audit["threshold"] == 0) & (audit["label"] == ALL)]
    for row in everything[everything["task"] != BOTH].to_dict("records"):
        if pd.isna(row["precision"]):
            continue
        classes = int((selection.thresholds["task"] == row["task"]).sum())
        sure, low, high = (row[c] for c in ("confidence", "precision_low", "precision_high"))
        if sure > high:
            verdict = "it is over-confident, so that a threshold promises more than it keeps"
        else:
            verdict = "it is right more often" if sure < low else "it is about as right as sure"
            verdict += f", but undecided among {classes} classes" if few and sure < 0.6 else ""
        told.append(
            f"The teacher's mean confidence in {row['task']} is {sure:.2f} where "
            f"{row['precision']:.2f} [{low:.2f}, {high:.2f}] of held-out answers, weighed by the "
            f"pool's classes, are right: {verdict}."
        )
    return told


def _fallbacks(selection: Selection) -> list[str]:
    """Of classes whose threshold is not the asked one."""
    fell = selection.thresholds[selection.thresholds["threshold"] < selection.asked]
    if fell.empty:
        return []
    low, high = f"{fell['threshold'].min():.2f}", f"{fell['threshold'].max():.2f}"
    return [
        f"Too few do in {len(fell)} of {len(selection.thresholds)} classes: there the threshold "
        "falls to a quantile of the class's own confidences, "
        f"{low if low == high else f'{low} to {high}'}."
    ]


def _limits(selection: Selection) -> str:
    counts = selection.thresholds["limited_by"].value_counts()
    listed = ", ".join(f"{limit} in {count}" for limit, count in counts.items())
    return f"What limits the choice of a class: {listed} of {len(selection.thresholds)}."


def _chosen(selection: Selection, in_force: pd.DataFrame) -> list[str]:
    """How many clips are chosen, and how right their labels are."""
    chosen, clips = int(selection.table["selected"].sum()), len(selection.table)
    if not chosen:
        return ["No clip is chosen: a student goes on with the true labels alone."]
    told = [f"{chosen} of {clips} clips are chosen."]
    row = in_force[in_force["task"] == BOTH].iloc[0]
    low, high, truth = row["precision_low"], row["precision_high"], row.get("in_truth")
    if pd.isna(row["precision"]):
        told.append("No held-out clip stands for them: how right they are cannot be told.")
    else:
        told.append(
            f"Of the {row['passed']} held-out clips that pass the same thresholds "
            f"{row['raw_precision']:.2f} are right in every label; weighed by the classes of the "
            f"chosen ones {row['precision']:.2f} [{low:.2f}, {high:.2f}]."
        )
    if truth is not None and pd.notna(truth):
        beside = ""
        if truth < low:
            beside = ", fewer than the audit says: clips predicted alike are right less often there"
        elif truth > high:
            beside = ", more than the audit says"
        elif pd.notna(low):
            beside = ", within that interval"
        told.append(f"In truth {truth:.2f} of the chosen clips are right{beside}.")
    return told
