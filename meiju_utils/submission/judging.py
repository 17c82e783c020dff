"""What submissions score where labels are known, and whether one is better than another.

Imports `checker`, `scoring`.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from meiju_utils.challenge import CLASSES, SUBMISSION_COLUMNS, TASKS, Average, Task
from meiju_utils.errors import SubmissionError
from meiju_utils.scoring import JOINT, compared, interval, scored_answers
from meiju_utils.submission.checker import read_bounded
from meiju_utils.submission.faults import Findings
from meiju_utils.submission.reading import csv_in_archive, decode, without_extension

NAMES = ("filename", "clip_id", "name")  # of the column of clips, compared without case
_OFFICIAL = dict(zip(TASKS, SUBMISSION_COLUMNS[1:], strict=True))  # task → column
Labels = dict[Task, NDArray[Any]]


@dataclass(frozen=True)
class Judged:
    """Answers and labels of the same clips, task by task."""

    clip_ids: list[str]
    labels: Labels
    answers: list[Labels]


def read_labels(path: Path) -> pd.DataFrame:
    """A table of clips and their labels, from a CSV or ZIP of any of the forms in use: clip_id and
    a column a task, as strings.

    A column of clips is called filename, clip_id or name; official columns are emotion or emo_pred,
    intent or int_pred. SubmissionError where there is no such table, or a clip stands there twice.
    """
    data, findings = read_bounded(path), Findings()
    if data is not None and data.startswith(b"PK"):
        data = csv_in_archive(data, findings)
    if data is None or findings.faults:
        told = findings.faults[0].message if findings.faults else "it is far too large"
        raise SubmissionError(f"{path}: {told}. Expected a CSV of clips and labels.")
    try:
        rows = list(csv.reader(io.StringIO(decode(data, findings), newline="")))
    except csv.Error as error:
        raise SubmissionError(f"{path} is no CSV ({error}).") from None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = [name.lower() for name in rows[0]] if rows else []
    place = next((header.index(name) for name in NAMES if name in header), None)
    if place is None:
        found = ",".join(header)[:80] or "nothing"
        raise SubmissionError(
            f"{path} has no column of clips ({', '.join(NAMES)}) in its first line: {found!r}."
        )
    short = [row for row in rows[1:] if len(row) < len(header)]
    if short:
        raise SubmissionError(f"{path}: the line {','.join(short[0])[:80]!r} has too few fields.")
    clips = [without_extension(row[place]) for row in rows[1:]]
    if twice := [clip for clip, count in Counter(clips).items() if count > 1]:
        raise SubmissionError(f"{path}: {twice[0]} stands there twice.")
    table = {"clip_id": clips}
    for task, column in _OFFICIAL.items():
        for name in (column, task):
            if name in header:
                table[task] = [row[header.index(name)] for row in rows[1:]]
    if len(table) == 1:  # tasks of one's own: every other column
        others = [name for name in header if name not in (*NAMES, "split") and ":" not in name]
        table |= {name: [row[header.index(name)] for row in rows[1:]] for name in others}
    if len(table) == 1:
        raise SubmissionError(f"{path} has no column of labels: {','.join(header)[:80]!r}.")
    return pd.DataFrame(table, dtype="str")


def judged(submissions: Sequence[Path], labels: Path) -> Judged:
    """Submissions beside the true labels of their clips.

    All clips of the submissions must be the same, and have labels; labels of other clips are left
    aside. SubmissionError where they do not fit.
    """
    truth = read_labels(labels).set_index("clip_id")
    tables = [read_labels(path).set_index("clip_id") for path in submissions]
    clips = list(tables[0].index)
    tasks = [task for task in tables[0].columns if task in truth.columns]
    if not tasks:
        raise SubmissionError(
            f"{labels} has none of the columns {', '.join(tables[0].columns)}: nothing to compare."
        )
    if len(tasks) > 2:
        raise SubmissionError(
            f"{submissions[0]} has {len(tasks)} columns of labels: give one or two."
        )
    for path, table in zip(submissions, tables, strict=True):
        odd = sorted(set(table.index) ^ set(clips))
        if odd or not set(tasks) <= set(table.columns):
            what = f"clip {odd[0]}" if odd else f"labels of {tasks[0]}"
            raise SubmissionError(f"{path} and {submissions[0]} differ: {what}.")
    unknown = [clip for clip in clips if clip not in truth.index]
    if unknown or not clips:
        told = f"{len(unknown)} of {len(clips)} clips, the first {unknown[0]}" if unknown else "no"
        raise SubmissionError(f"{labels} has no labels of {told}. Give those of all clips.")
    for task in tasks:
        if task in CLASSES and (odd := sorted(set(truth.loc[clips, task]) - set(CLASSES[task]))):
            raise SubmissionError(f"{labels}: {odd[0]!r} is no {task}.")
    columns = [
        {t: one.loc[clips, t].to_numpy(dtype=object).astype(str) for t in tasks}
        for one in (truth, *tables)
    ]
    return Judged(clips, columns[0], columns[1:])


def score_rows(found: Judged, average: Average) -> pd.DataFrame:
    """Scores of the (first) submission: score, value, low, high (95 % over clips)."""
    system = scored_answers(found.labels, found.answers[0], average)
    low, high = interval(system)
    rows = {"score": list(system.scores), "value": system.value, "low": low, "high": high}
    return pd.DataFrame(rows)


def comparison(found: Judged, average: Average) -> pd.DataFrame:
    """The second submission against the first, a row a score: score, first, second, difference,
    low, high, p (paired bootstrap over clips); of each task, and of clips right in all (joint),
    mended and broken (clips right in one alone) and McNemar's exact p."""
    first, second = (scored_answers(found.labels, own, average) for own in found.answers)
    table = compared([first], second)[
        ["score", "first", "second", "difference", "low", "high", "p"]
    ]
    hits = [_hits(found.labels, own) for own in found.answers]
    rows = []
    for score in table["score"]:
        before, after = (own[score] for own in hits)
        mended, broken = int((after & ~before).sum()), int((before & ~after).sum())
        p = binomtest(mended, mended + broken).pvalue if mended + broken else 1.0
        rows.append((mended, broken, float(p)))
    counted = pd.DataFrame(rows, columns=["mended", "broken", "mcnemar_p"])
    return pd.concat([table, counted], axis=1)


def flips(found: Judged) -> pd.DataFrame:
    """Clips answered otherwise by the second: clip_id, task, label, first, second, what
    ("mended", "broken", or "" where both are wrong)."""
    parts = []
    for task, labels in found.labels.items():
        first, second = (own[task] for own in found.answers)
        rows = np.flatnonzero(first != second)
        what = np.where(second == labels, "mended", np.where(first == labels, "broken", ""))
        clips = np.array(found.clip_ids, dtype=object)[rows]
        columns = {"clip_id": clips, "task": task, "label": labels[rows], "first": first[rows]}
        parts.append(pd.DataFrame({**columns, "second": second[rows], "what": what[rows]}))
    return pd.concat(parts, ignore_index=True)


def _hits(labels: Labels, answers: Labels) -> dict[str, NDArray[np.bool_]]:
    """Which clips are right, in each task and in all."""
    own = {task: labels[task] == answers[task] for task in labels}
    return {**own, JOINT: np.logical_and.reduce(list(own.values()))}
