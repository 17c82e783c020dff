"""Folds: clips dealt into parts that are alike, copies of one recording never in two of them.

Imports `errors`, `run`.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.errors import TrainingError
from meiju_utils.run import Run

REST = "other"  # stands for all strata that are too small to be dealt evenly


@dataclass(frozen=True)
class Folding:
    """The fold [N] of each clip, and what had to give way."""

    fold: NDArray[np.int64]
    notes: list[str]


def deal(
    labels: Iterable[Iterable[str]], groups: Sequence[str], folds: int, seed: int = 0
) -> Folding:
    """Deal clips into folds, stratified by their labels as far as counts allow.

    `labels` are those of each task for the same N clips; clips of a group stay together. A label
    combination with fewer clips than folds is dealt with others of its label in the first task,
    and where these are too few as well, with all such. A group larger than a fold makes that fold
    larger. The notes say both. Raises TrainingError where there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    sizes = Counter(groups)
    if len(sizes) < folds:
        raise TrainingError(
            f"{len(groups)} clips in {len(sizes)} groups (a recording and its copies are one) "
            f"cannot be dealt into {folds} folds. Ask for fewer folds, or label more clips."
        )
    strata, notes = _strata(list(zip(*labels, strict=True)), folds)
    largest, size = sizes.most_common(1)[0]
    if size > -(-len(groups) // folds):
        notes.append(
            f"{size} clips are copies of one recording ({largest}), more than a fold of "
            f"{len(groups) // folds}: their fold is larger."
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = np.empty(len(groups), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, held) in enumerate(splitter.split(strata, strata, list(groups))):
            found[held] = number
    return Folding(found, notes)


def recording_of(run: Run) -> dict[str, str]:
    """Clip id → a name that all copies of the recording share, as the doctor found them, and all
    clips of a group.

    Copies in other splits count: two train clips may be copies of one test clip. Without the table
    `copies` (notebook 01 writes it) every clip is a recording of its own.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    clips = run.table("clips")
    clip_ids = clips["clip_id"].tolist()
    place = {clip_id: row for row, clip_id in enumerate(clip_ids)}
    grouped = clips[clips["group"] != ""] if "group" in clips else clips[:0]  # as in older tables
    links = []
    if len(grouped):
        first = grouped.groupby("group")["clip_id"].transform("first")
        links.append(pd.DataFrame({"clip_a": grouped["clip_id"], "clip_b": first}))
    if run.has("copies"):
        copies = run.table("copies")
        if not run.setting.is_official:  # one camera makes clips alike; their table has groups
            copies = copies[copies["kind"] != "same picture"]
        links.append(copies)
    if not links:
        return dict(zip(clip_ids, clip_ids, strict=True))
    both = pd.concat(links, ignore_index=True)
    ends = np.array([both[side].map(place) for side in ("clip_a", "clip_b")], dtype=np.float64)
    ends = ends[:, np.isfinite(ends).all(axis=0)]  # the lists may have changed since
    rows, columns = ends.astype(np.int64)
    shape = (len(clip_ids), len(clip_ids))
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    _, owner = connected_components(graph, directed=False)
    _, named = np.unique(owner, return_index=True)
    return {clip_id: clip_ids[named[o]] for clip_id, o in zip(clip_ids, owner, strict=True)}


def _strata(combinations: list[tuple[str, ...]], folds: int) -> tuple[list[str], list[str]]:
    """What each clip counts as, and a note where combinations are rarer than folds."""
    counts = Counter(combinations)
    rare = {combination for combination, count in counts.items() if count < folds}
    names = [
        f"{labels[0]} + {REST}" if labels in rare else " + ".join(labels) for labels in combinations
    ]
    left = Counter(names)
    names = [REST if left[name] < folds else name for name in names]
    if names and Counter(names)[REST] == len(names):
        return names, [f"No label has as many clips as there are folds ({folds}): dealt by chance."]
    if not rare:
        return names, []
    clips = sum(counts[combination] for combination in rare)
    return names, [
        f"{len(rare)} label combinations ({clips} clips) have fewer clips than the {folds} folds: "
        "they are dealt together with their like, and some folds have none of them."
    ]
