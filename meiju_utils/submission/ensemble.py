"""Combining the probabilities of several trainings, and deciding on labels.

A probability table has the columns clip_id, split, (seed, fold,) `emotion_<label>` ×7 and
`intent_<label>` ×8, one row a clip and training. All functions are pure; probabilities are averaged
in float64 and in a fixed order, so that the order of rows changes nothing. Imports `challenge`,
`errors`, `modelling.probabilities` only.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.errors import SubmissionError
from meiju_utils.modelling import probabilities
from meiju_utils.modelling.probabilities import PROBABILITY_COLUMNS

_ALL_COLUMNS = [column for task in TASKS for column in PROBABILITY_COLUMNS[task]]
_KEYS = ["clip_id", "split"]
_MEMBER = ["seed", "fold"]
# Probabilities are stored as float32: sums are off by some 1e-7, and equal ones by as much.
_SUM_TOLERANCE = 1e-3
_TIE = 1e-6


def mean_over_members(table: pd.DataFrame, name: str = "the table") -> pd.DataFrame:
    """Mean over an experiment's seeds and folds: clip_id, split, probabilities, one row a clip.

    Within a split every clip must have the same number of predictions (all seeds; with
    cross-validation, each seed's held-out one). A table without seed and fold is one training's.
    Raises SubmissionError for anything that is not such a table.
    """
    members = [column for column in _MEMBER if column in table]
    _check_table(table, members, name)
    counts = table.groupby(_KEYS, sort=False).size()
    uneven = counts[counts != counts.groupby("split").transform("max")]
    if len(uneven):
        (clip_id, split), count = uneven.index[0], uneven.iloc[0]
        raise SubmissionError(
            f"In {name}, {len(uneven)} clips lack predictions of some seed or fold: {clip_id} "
            f"({split}) has {count}, others {counts.max()}. Train the missing seeds again."
        )
    if not members:
        return table[[*_KEYS, *_ALL_COLUMNS]].astype(dict.fromkeys(_ALL_COLUMNS, "float64"))
    return probabilities.mean_over_members(table.assign(**{m: table.get(m, 0) for m in _MEMBER}))


def weighted_mean(
    tables: Mapping[str, pd.DataFrame], weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Weighted mean over experiments (each first averaged over its seeds); equal weights if None.

    Weights need not sum to one. Raises SubmissionError where the clips or the names differ.
    """
    means = _aligned(tables)
    weights = dict.fromkeys(means, 1.0) if weights is None else dict(weights)
    if set(weights) != set(means):
        odd = ", ".join(sorted(set(weights) ^ set(means)))
        raise SubmissionError(f"Weights and experiments do not match: {odd}. Name each in both.")
    values = np.array([weights[name] for name in means], dtype=np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise SubmissionError(f"Weights must be at least 0 with one above 0, not {weights}.")
    stacked = np.stack([mean[_ALL_COLUMNS].to_numpy() for mean in means.values()])
    combined = next(iter(means.values())).copy()
    combined[_ALL_COLUMNS] = np.tensordot(values / values.sum(), stacked, axes=1)
    return combined


def mix_tasks(emotion_from: pd.DataFrame, intent_from: pd.DataFrame) -> pd.DataFrame:
    """Emotion probabilities of one experiment, intent of another: the ensemble of paper Table I."""
    means = _aligned({"the emotion's table": emotion_from, "the intent's table": intent_from})
    emotion, intent = means.values()
    mixed = emotion.copy()
    mixed[PROBABILITY_COLUMNS["intent"]] = intent[PROBABILITY_COLUMNS["intent"]]
    return mixed


def decode(table: pd.DataFrame) -> pd.DataFrame:
    """The most probable labels: clip_id, split, and for each task label, confidence and tie.

    Columns `emotion`, `emotion_confidence` (its probability), `emotion_tied` (another label is as
    probable; the first in official order is taken), and the same for intent.
    """
    mean = mean_over_members(table)
    decoded = mean[_KEYS].copy()
    for task in TASKS:
        values = mean[PROBABILITY_COLUMNS[task]].to_numpy()
        best = values.max(axis=1, keepdims=True)
        as_good = values >= best - _TIE
        decoded[task] = np.array(CLASSES[task])[as_good.argmax(axis=1)]
        decoded[f"{task}_confidence"] = best[:, 0]
        decoded[f"{task}_tied"] = as_good.sum(axis=1) > 1
    return decoded.astype(dict.fromkeys(TASKS, "str"))


def agreement(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How alike the members of an ensemble are: task, first, second, agreement, correlation.

    `agreement` is the share of clips given the same label (1 - disagreement); `correlation` is
    Pearson's, over all clips and classes, of probabilities less each class's mean, NaN where a
    member answers every clip alike. Members that agree on everything add nothing to each other.
    """
    means = _aligned(tables)
    labels = {name: decode(mean) for name, mean in means.items()}
    rows = [
        (
            task,
            first,
            second,
            float((labels[first][task] == labels[second][task]).mean()),
            _correlation(
                means[first][PROBABILITY_COLUMNS[task]].to_numpy(),
                means[second][PROBABILITY_COLUMNS[task]].to_numpy(),
            ),
        )
        for task in TASKS
        for first, second in combinations(means, 2)
    ]
    return pd.DataFrame(rows, columns=["task", "first", "second", "agreement", "correlation"])


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def _aligned(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Each table's mean over members, rows in the first one's order; the clips must be the same."""
    if not tables:
        raise SubmissionError("An ensemble needs at least one experiment.")
    means = {name: mean_over_members(table, name) for name, table in tables.items()}
    first_name, first = next(iter(means.items()))
    clips = set(zip(first["clip_id"], first["split"], strict=True))
    for name, mean in means.items():
        others = set(zip(mean["clip_id"], mean["split"], strict=True))
        if others != clips:
            raise SubmissionError(
                f"{first_name} and {name} do not cover the same clips: "
                f"{_some(clips - others, first_name)}{_some(others - clips, name)}"
                "Train both on the same corpus, or select the same splits."
            )
    return {name: first[_KEYS].merge(mean, on=_KEYS) for name, mean in means.items()}


def _some(clips: set[tuple[str, str]], name: str) -> str:
    if not clips:
        return ""
    named = ", ".join(f"{clip_id} ({split})" for clip_id, split in sorted(clips)[:3])
    return f"{len(clips)} only in {name} ({named}{', …' if len(clips) > 3 else ''}). "


def _check_table(table: pd.DataFrame, members: list[str], name: str) -> None:
    absent = [column for column in (*_KEYS, *_ALL_COLUMNS) if column not in table]
    if absent:
        raise SubmissionError(
            f"{name} is not a probability table: it lacks {', '.join(absent[:5])}"
            f"{', …' if len(absent) > 5 else ''}."
        )
    if table.empty:
        raise SubmissionError(f"{name} has no rows. Select splits that hold clips.")
    doubled = table[table.duplicated([*_KEYS, *members])]
    if len(doubled):
        raise SubmissionError(
            f"{name} predicts {doubled['clip_id'].iloc[0]} twice for one seed and fold "
            f"({len(doubled)} such rows). Give each training's predictions once."
        )
    for task in TASKS:
        values = table[PROBABILITY_COLUMNS[task]].to_numpy(dtype=np.float64)
        bad = ~(np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1))
        bad |= ~(np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
        if bad.any():
            clip_id = table["clip_id"].to_numpy()[bad][0]
            raise SubmissionError(
                f"{name}: the {task} probabilities of {int(bad.sum())} rows, the first of "
                f"{clip_id}, are not numbers from 0 to 1 that sum to 1. Train it again."
            )
