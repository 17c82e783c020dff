"""The one currency after the features: predictions, targets, answers, as checked tables.

A network gives `Predictions`, a logistic regression gives them, an ensemble of others gives them;
`Targets` are what is trained on, true labels, pseudo labels and soft ones alike; `Answers` are
labels with the probabilities they come from. A table's columns tell its tasks (one or two) and
their classes in official order (see `columns`). Imports `columns`, `errors`, `files`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.columns import Classes, check_table, class_columns, classes_of
from meiju_utils.errors import PredictionError
from meiju_utils.files import read_table, write_table

Probabilities = Mapping[str, NDArray[Any]]  # task → [N, classes]

CLIP = ["clip_id", "split"]
MEMBER = ["seed", "fold"]
NO_SEED = -1  # of what chance has no part in, and of a mean over seeds
ALL_FOLDS = -1  # of a mean over folds
FITTED, HELD_OUT, ABSENT = "fitted", "held-out", "absent"
# Stored as float32, equal probabilities are off by some 1e-7.
TIE = 1e-6


def likeliest(probabilities: NDArray[Any]) -> NDArray[np.int64]:
    """Index [N] of the most probable class of [N, C]; of equals (to 1e-6) the first in order."""
    best = probabilities.max(axis=1, keepdims=True)
    return np.asarray((probabilities >= best - TIE).argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class _Table:
    """A table with one column a class of every task; `table` is checked when it is made."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        check_table(self.table, self._columns(), type(self).__name__.lower())

    def _columns(self) -> dict[str, Any]:
        raise NotImplementedError

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Tasks and their labels in order, as the columns tell."""
        return classes_of(self.table)

    @property
    def tasks(self) -> list[str]:
        return list(self.classes)

    def probabilities(self, task: str) -> NDArray[np.float64]:
        """[N, classes] of a task, row by row."""
        return self.table[class_columns(self.classes, task)].to_numpy(dtype=np.float64)

    def __len__(self) -> int:
        return len(self.table)

    def save(self, path: Path) -> None:
        """Write the table as parquet, atomically."""
        write_table(path, self.table)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote, checked again."""
        return cls(read_table(path))


@dataclass(frozen=True)
class Predictions(_Table):
    """What each of several trainings thinks of every clip: one row a clip, seed and fold.

    Columns: clip_id, split, role ("fitted": the clip trained the weights; "held-out": it did not;
    "absent": it lacks all that is looked at, the probabilities are but the classes' shares),
    chose (what was chosen on the clip: "", or as "epoch"), seed, fold, and the probabilities.
    Raises PredictionError for anything else, such as probabilities that do not sum to one.
    """

    def _columns(self) -> dict[str, Any]:
        return {"clip_id": str, "split": str, "role": str, "chose": str, "seed": int, "fold": int}

    def __post_init__(self) -> None:
        super().__post_init__()
        odd = set(self.table["role"]) - {FITTED, HELD_OUT, ABSENT}
        if odd:
            raise PredictionError(
                f"Role {odd.pop()!r}: expected {FITTED!r}, {HELD_OUT!r} or {ABSENT!r}."
            )
        doubled = self.table[self.table.duplicated([*CLIP, *MEMBER])]
        if len(doubled):
            raise PredictionError(
                f"{len(doubled)} clips are predicted twice for one seed and fold, the first is "
                f"{doubled['clip_id'].iloc[0]}. Give each training's predictions once."
            )

    @classmethod
    def of_arrays(
        cls,
        clip_ids: Iterable[str],
        split: Iterable[str],
        probabilities: Probabilities,
        classes: Classes,
        fitted: NDArray[np.bool_],
        chose: NDArray[Any] | str = "",
        seed: int = NO_SEED,
        fold: int | NDArray[Any] = ALL_FOLDS,
        absent: NDArray[np.bool_] | None = None,
    ) -> Self:
        """One training's predictions [N, classes] of each task; `fitted` [N]: who trained it,
        `absent` [N]: who lacks all that it looks at."""
        role = np.where(fitted, FITTED, HELD_OUT)
        if absent is not None:
            role = np.where(absent, ABSENT, role)
        columns: dict[str, Any] = {
            "clip_id": pd.array(list(clip_ids), dtype="str"),
            "split": pd.array(list(split), dtype="str"),
            "role": pd.array(role, dtype="str"),
            "chose": pd.array(np.broadcast_to(chose, len(role)), dtype="str"),
            "seed": np.full(len(role), seed),
            "fold": np.broadcast_to(fold, len(role)),
        }
        for task in classes:
            for index, name in enumerate(class_columns(classes, task)):
                columns[name] = probabilities[task][:, index]
        return cls(pd.DataFrame(columns))

    @classmethod
    def concatenated(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Predictions of several trainings in one table."""
        return Predictions(pd.concat([part.table for part in parts], ignore_index=True))

    def of_split(self, split: str) -> "Predictions":
        """The rows of a split."""
        return Predictions(self.table[self.table["split"] == split].reset_index(drop=True))

    def folds(self) -> dict[str, int]:
        """Train clip → the fold that held it out (of several, the first). PredictionError where
        some train clip has trained its own prediction, or no fold held it out."""
        train = self.table[self.table["split"] == "train"]
        if (train["role"] == FITTED).any() or (train["fold"] == ALL_FOLDS).any():
            raise PredictionError(
                "There are no held-out predictions of the train clips, on which alone a decision "
                "may be fitted. Give the recipe `partition: {folds: 5, refit: true}`."
            )
        first = train.groupby("clip_id", sort=False)["fold"].min()
        return {str(clip_id): int(fold) for clip_id, fold in first.items()}

    def by_seed(self) -> dict[int, "Predictions"]:
        """The mean over folds of each seed."""
        return {
            int(str(seed)): Predictions(part).mean()
            for seed, part in self.table.sort_values("seed", kind="stable").groupby("seed")
        }

    def mean(self) -> "Predictions":
        """The mean over seeds and folds, in float64: one row a clip, whatever the rows' order.

        Within a split every clip must have the same number of predictions. Raises PredictionError
        where some seed or fold lacks clips.
        """
        return self._mean

    @cached_property
    def _mean(self) -> "Predictions":
        columns = [name for task in self.classes for name in class_columns(self.classes, task)]
        wide = dict.fromkeys(columns, "float64")
        if not self.table.duplicated(CLIP).any():
            return Predictions(self.table.astype(wide).assign(seed=NO_SEED, fold=ALL_FOLDS))
        counts = self.table.groupby(CLIP, sort=False).size()
        uneven = counts[counts != counts.groupby("split").transform("max")]
        if len(uneven):
            (clip_id, split), count = uneven.index[0], uneven.iloc[0]
            raise PredictionError(
                f"{len(uneven)} clips lack predictions of some seed or fold: {clip_id} ({split}) "
                f"has {count}, others {counts.max()}. Train the missing seeds again."
            )
        ordered = self.table.sort_values(MEMBER, kind="stable")
        # a copy lies in one piece, however many classes there are
        ordered = ordered.astype(wide).copy()
        groups = ordered.groupby(CLIP, sort=False)
        means = groups[columns].mean().copy().reset_index()
        # "absent" comes before "fitted", that before "held-out", and "" before any other
        for column, merged in (("role", groups["role"].min()), ("chose", groups["chose"].max())):
            means[column] = pd.array(merged.to_numpy(), dtype="str")
        means = self.table[CLIP].drop_duplicates().merge(means, on=CLIP, how="left")
        means = means.assign(seed=NO_SEED, fold=ALL_FOLDS)
        return Predictions(means[[*CLIP, "role", "chose", *MEMBER, *columns]])


@dataclass(frozen=True)
class Targets(_Table):
    """What clips are trained on: clip_id, a probability a class, and `<task>_weight` (0: unknown).

    True labels are one-hot with weight 1, pseudo labels too, soft labels are any distribution.
    One row a clip. Raises PredictionError for anything else.
    """

    def _columns(self) -> dict[str, Any]:
        weights = {f"{task}_weight": float for task in classes_of(self.table)}
        return {"clip_id": str, **weights}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table["clip_id"].duplicated().any():
            clip_id = self.table.loc[self.table["clip_id"].duplicated(), "clip_id"].iloc[0]
            raise PredictionError(f"{clip_id} has two rows of targets; give one.")
        for task in self.classes:
            weight = self.weights(task)
            if not (np.isfinite(weight).all() and (weight >= 0).all()):
                raise PredictionError(f"{task}_weight must be numbers of at least 0.")

    @classmethod
    def of_labels(cls, labels: pd.DataFrame, classes: Classes) -> "Targets":
        """One-hot targets of a table with clip_id and labels ("": unknown, weight 0)."""
        columns: dict[str, Any] = {"clip_id": pd.array(labels["clip_id"].tolist(), dtype="str")}
        for task, names in classes.items():
            given = labels[task].to_numpy(dtype=object).astype(str)
            known = pd.Series(given).isin(names).to_numpy()
            odd = sorted(set(given[~known].tolist()) - {""})
            if odd:
                raise PredictionError(
                    f"{odd[0]!r} is no class of {task}; expected one of {', '.join(names)}."
                )
            columns[f"{task}_weight"] = known.astype(np.float64)
            for name, label in zip(class_columns(classes, task), names, strict=True):
                # an unknown label's distribution is uniform; its weight says that it counts nothing
                columns[name] = np.where(known, given == label, 1 / len(names)).astype(np.float64)
        return cls(pd.DataFrame(columns))

    def weights(self, task: str) -> NDArray[np.float64]:
        """[N] of a task."""
        return self.table[f"{task}_weight"].to_numpy(dtype=np.float64)

    def scaled(self, factor: float) -> "Targets":
        """The same with all weights times a factor."""
        columns = {f"{task}_weight": self.weights(task) * factor for task in self.classes}
        return Targets(self.table.assign(**columns))

    def with_others(self, others: "Targets") -> "Targets":
        """These targets and those of other clips."""
        return Targets(pd.concat([self.table, others.table], ignore_index=True))


@dataclass(frozen=True)
class Answers(_Table):
    """Labels: clip_id, split, a label of each task, and the probabilities they come from."""

    def _columns(self) -> dict[str, Any]:
        return {"clip_id": str, "split": str, **dict.fromkeys(classes_of(self.table), str)}

    def __post_init__(self) -> None:
        super().__post_init__()
        doubled = self.table.loc[self.table.duplicated(CLIP), "clip_id"]
        if len(doubled):
            raise PredictionError(f"{doubled.iloc[0]} is answered twice; give one answer a clip.")
        for task, names in self.classes.items():
            odd = self.table[~self.table[task].isin(names)]
            if len(odd):
                raise PredictionError(
                    f"{odd[task].iloc[0]!r} is no class of {task} ({odd['clip_id'].iloc[0]}); "
                    f"expected one of {', '.join(names)}."
                )

    @classmethod
    def of_predictions(
        cls, mean: "Predictions | Answers", index: Mapping[str, NDArray[Any]]
    ) -> "Answers":
        """Labels by class `index` [N] of each task, with the probabilities of `mean`."""
        table = mean.table[CLIP].copy()
        for task, names in mean.classes.items():
            table[task] = pd.array(np.array(names, dtype=object)[index[task]], dtype="str")
        probabilities = [c for task in mean.classes for c in class_columns(mean.classes, task)]
        return cls(pd.concat([table, mean.table[probabilities]], axis=1))

    def of_split(self, split: str) -> "Answers":
        """The answers to a split's clips."""
        return Answers(self.table[self.table["split"] == split].reset_index(drop=True))

    def confidence(self, task: str) -> NDArray[np.float64]:
        """Probability [N] of the label that was answered."""
        place = {label: index for index, label in enumerate(self.classes[task])}
        chosen = self.table[task].map(place).to_numpy(dtype=np.int64)
        return self.probabilities(task)[np.arange(len(self)), chosen]

    def tied(self, task: str) -> NDArray[np.bool_]:
        """[N]: whether another label is as probable as the one answered."""
        probabilities = self.probabilities(task)
        as_good = probabilities >= self.confidence(task)[:, None] - TIE
        return np.asarray(as_good.sum(axis=1) > 1)


def labelled(table: pd.DataFrame, tasks: Iterable[str], split: str = "") -> pd.DataFrame:
    """The clips of a table (of a split, if given) whose label is known in every task."""
    known = (table[list(tasks)] != "").all(axis=1)
    if split:
        known &= table["split"] == split
    return table[known]


__all__ = [
    "ABSENT",
    "ALL_FOLDS",
    "CLIP",
    "FITTED",
    "HELD_OUT",
    "MEMBER",
    "NO_SEED",
    "TIE",
    "Answers",
    "Classes",
    "Predictions",
    "Targets",
    "class_columns",
    "labelled",
    "likeliest",
]
