"""Who trains, who chooses, who is predicted: the published validation split, or folds of train.

`validation`, as published: all labelled train clips train, the validation clips choose the epoch,
and scores on these are a little too kind. `{folds: k, repeats: r}`: every train clip is predicted
by trainings that never saw it; of the clips that train, a tenth chooses the epoch in their place,
so that nothing was chosen on what is predicted. All other clips have the mean of all trainings or,
with `refit: true`, one more training on all train clips: then held-out and other predictions are of
equally many trainings, as a calibration fitted on the ones for the others needs. Imports `folding`,
`run`, `dataset`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from meiju_utils import folding
from meiju_utils.errors import TrainingError
from meiju_utils.files import fingerprint, read_table, write_table
from meiju_utils.folding import deal, recording_of
from meiju_utils.integrity import intact
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.predictions import Predictions
from meiju_utils.run import Run
from meiju_utils.sources import code_key

CHOOSERS = 10  # one in so many of the clips that fit chooses the epoch
FIT, CHOOSE, HELD_OUT = "fit", "choose", "held-out"


class Folds(BaseModel):
    """Cross-validation: `folds` parts, dealt anew in each of `repeats`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folds: Annotated[int, Field(ge=2, strict=True)]
    repeats: Annotated[int, Field(ge=1, strict=True)] = 1
    refit: bool = False

    @property
    def number(self) -> int:
        """Of the trainings that hold clips out; a refit comes after them."""
        return self.folds * self.repeats

    def __str__(self) -> str:
        told = f"{self.folds} folds" + (f" x {self.repeats}" if self.repeats > 1 else "")
        return told + (" and all" if self.refit else "")


Partition = Literal["validation"] | Folds


@dataclass(frozen=True)
class Part:
    """One fitting: clip ids of those that train, that choose the epoch, that are held out.

    `published`: the validation clips choose.
    """

    fold: int
    fit: NDArray[Any]
    choose: NDArray[Any]
    held_out: NDArray[Any]
    published: bool = False

    def predicted(self, dataset: Dataset) -> NDArray[np.int64]:
        """Rows whose predictions are kept: of train, with folds, those held out; all others."""
        if self.published:
            return np.arange(len(dataset.clip_ids))
        predicted = dataset.split != "train"
        predicted[dataset.rows_of(self.held_out)] = True
        return np.flatnonzero(predicted)


def own_predictions(predictions: Predictions, partition: Folds) -> tuple[Predictions, Predictions]:
    """With a refit: what counts of all trainings' predictions, and what the folds' own think of
    other clips than the test clips (who labels the pool in a fold must not know what it holds out).
    """
    table = predictions.table
    train, of_fold = table["split"] == "train", table["fold"] < partition.number
    own = table[train == of_fold]
    others = table[of_fold & ~train & (table["split"] != "test")]
    return Predictions(own.reset_index(drop=True)), Predictions(others.reset_index(drop=True))


@dataclass(frozen=True)
class FoldTable:
    """The one split of a corpus for a number of folds and repeats, in the run folder.

    `table`: clip_id, fold (counted through the repeats), role: "fit", "choose", "held-out".
    """

    key: str
    path: Path

    @property
    def done(self) -> bool:
        return intact(self.path)

    @cached_property
    def table(self) -> pd.DataFrame:
        return read_table(self.path)

    @property
    def notes(self) -> list[str]:
        """What had to give way: combinations of labels rarer than folds, large groups of copies."""
        found: list[str] = self.table.attrs["notes"]
        return found

    def parts(self) -> list[Part]:
        """A part for each fold, in order."""
        found = []
        for fold, rows in self.table.groupby("fold"):
            ids = {r: rows.loc[rows["role"] == r, "clip_id"].to_numpy(dtype=str) for r in ROLES}
            found.append(Part(int(str(fold)), ids[FIT], ids[CHOOSE], ids[HELD_OUT]))
        return found

    def save(self, table: pd.DataFrame, notes: Sequence[str]) -> None:
        """Write table and notes."""
        table.attrs["notes"] = list(notes)
        write_table(self.path, table)


ROLES = (FIT, CHOOSE, HELD_OUT)


def fold_table(run: Run, partition: Folds) -> FoldTable:
    """The split of the run's labelled train clips, made where it is not there yet.

    Raises TrainingError where there are too few clips for so many folds.
    """
    clips = run.table("clips")
    train = clips[clips["split"] == "train"].reset_index(drop=True)
    groups = train["clip_id"].map(recording_of(run)).tolist()
    tasks = run.setting.tasks
    known = train[["clip_id", *tasks]].to_numpy(dtype=object).tolist()
    key = fingerprint(
        known, groups, partition.model_dump(), code_key(folding, sys.modules[__name__])
    )
    refit = "-refit" if partition.refit else ""
    name = f"folds-{partition.folds}x{partition.repeats}{refit}-{key}.parquet"
    found = FoldTable(key, run.path("partitions", name))
    if not found.done:
        labels = [train[task].to_numpy(dtype=str) for task in tasks]
        found.save(*_dealt(train["clip_id"].to_numpy(dtype=str), labels, groups, partition))
    return found


def validation_part(dataset: Dataset) -> Part:
    """The published partition."""
    train, valid = (dataset.clip_ids[dataset.labelled(split)] for split in ("train", "valid"))
    return Part(0, train, valid, np.array([], dtype=str), published=True)


def _dealt(
    clip_ids: NDArray[Any], labels: list[NDArray[Any]], groups: list[str], partition: Folds
) -> tuple[pd.DataFrame, list[str]]:
    known = np.logical_and.reduce([task != "" for task in labels])
    if not known.any():
        raise TrainingError("No train clip has a label of every task; there is nothing to fold.")
    grouped = np.array(groups)
    rows, notes = [], []
    for repeat in range(partition.repeats):
        folded = deal([t[known] for t in labels], grouped[known].tolist(), partition.folds, repeat)
        fold = np.empty(len(clip_ids), dtype=np.int64)
        fold[known] = folded.fold
        # Clips without a label train nothing; each is predicted by one training like the others.
        fold[~known] = np.arange((~known).sum()) % partition.folds
        notes += [note for note in folded.notes if note not in notes]
        for number in range(partition.folds):
            held = fold == number
            rows.append(_roles(clip_ids, labels, grouped, known & ~held, held, repeat))
    if partition.refit:
        rows.append(_roles(clip_ids, labels, grouped, known, np.zeros_like(known), 0))
    numbered = [table.assign(fold=fold) for fold, table in enumerate(rows)]
    return pd.concat(numbered, ignore_index=True)[["clip_id", "fold", "role"]], notes


def _roles(
    clip_ids: NDArray[Any],
    labels: list[NDArray[Any]],
    groups: NDArray[Any],
    fits: NDArray[np.bool_],
    held: NDArray[np.bool_],
    seed: int,
) -> pd.DataFrame:
    """The clips that have a role in one training: clip_id, role."""
    fit = np.flatnonzero(fits)
    role = np.full(len(clip_ids), "", dtype=object)
    role[held], role[fit] = HELD_OUT, FIT
    role[fit[_choosers([t[fit] for t in labels], groups[fit], seed)]] = CHOOSE
    kept = role != ""
    ids = pd.array(clip_ids[kept].tolist(), dtype="str")
    return pd.DataFrame({"clip_id": ids, "role": pd.array(role[kept].tolist(), dtype="str")})


def _choosers(labels: list[NDArray[Any]], groups: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    """Which of the clips that fit choose the epoch: a tenth, dealt like a fold."""
    folds = min(CHOOSERS, len(set(groups.tolist())))
    if folds < 2:
        raise TrainingError(
            "After holding out a fold only one recording is left to train on and to choose the "
            "epoch. Label more clips, or use `partition: validation`."
        )
    return np.asarray(deal(labels, groups.tolist(), folds, seed).fold == 0)
