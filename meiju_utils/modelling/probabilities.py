"""Tables of class probabilities: how trainings hand on what they think of every clip.

Columns: clip_id, split, seed, fold, `emotion_<label>` x7, `intent_<label>` x8, one row a clip and
training. All functions are pure. Imports `challenge`, `errors` only.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.errors import TrainingError

PROBABILITY_COLUMNS: dict[Task, list[str]] = {
    task: [f"{task}_{label}" for label in CLASSES[task]] for task in TASKS
}
CLIP = ["clip_id", "split"]
MEMBER = ["seed", "fold"]


def probability_table(
    clip_ids: NDArray[Any],
    split: NDArray[Any],
    probabilities: Mapping[Task, NDArray[np.float32]],
    seed: int,
    fold: int = 0,
) -> pd.DataFrame:
    """One training's probabilities [N, classes] of each task as a table."""
    columns: dict[str, Any] = {
        "clip_id": pd.array(clip_ids, dtype="str"),
        "split": pd.array(split, dtype="str"),
        "seed": np.full(len(clip_ids), seed),
        "fold": np.full(len(clip_ids), fold),
    }
    for task, names in PROBABILITY_COLUMNS.items():
        columns |= {name: probabilities[task][:, i] for i, name in enumerate(names)}
    return pd.DataFrame(columns)


def mean_over_members(table: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds and folds: clip_id, split, probabilities (float64), one row a clip."""
    columns = [*PROBABILITY_COLUMNS["emotion"], *PROBABILITY_COLUMNS["intent"]]
    ordered = table.sort_values(MEMBER, kind="stable").astype(dict.fromkeys(columns, "float64"))
    means = ordered.groupby(CLIP, sort=False)[columns].mean().reset_index()
    return table[CLIP].drop_duplicates().merge(means, on=CLIP, how="left")


def combine(members: Mapping[Task, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """Mean probabilities of each task over its members, seed by seed and fold by fold.

    Emotion and intent may come from different tables. The result has the seeds and folds that all
    tables have; TrainingError where they share none, or cover different clips.
    """
    key = [*CLIP, *MEMBER]
    tables = [table for task in TASKS for table in members[task]]
    shared = reduce(
        lambda found, more: found.merge(more, on=MEMBER),
        (table[MEMBER].drop_duplicates() for table in tables),
    )
    aligned = [table.merge(shared, on=MEMBER) for table in tables]
    index = aligned[0][key]
    if shared.empty:
        raise TrainingError("Experiments to combine share no seed; train them with the same ones.")
    for table in aligned:
        if len(table) != len(index) or len(index.merge(table[key], on=key)) != len(index):
            raise TrainingError(
                "Experiments to combine predict different clips; train them on the same corpus."
            )
    combined = index.copy()
    position = 0
    for task in TASKS:
        columns = PROBABILITY_COLUMNS[task]
        count = len(members[task])
        values = [
            index.merge(table, on=key)[columns].to_numpy(dtype=np.float64)
            for table in aligned[position : position + count]
        ]
        combined[columns] = np.mean(values, axis=0)
        position += count
    return combined


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """The most probable labels, row by row: `emotion`, `intent` and `<task>_confidence` added."""
    decided = table[[column for column in (*CLIP, *MEMBER) if column in table]].copy()
    for task, columns in PROBABILITY_COLUMNS.items():
        values = table[columns].to_numpy()
        decided[task] = pd.array(np.array(CLASSES[task])[values.argmax(axis=1)], dtype="str")
        decided[f"{task}_confidence"] = values.max(axis=1)
    return decided
