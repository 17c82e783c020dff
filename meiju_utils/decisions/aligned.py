"""Several recipes' predictions of the same clips, side by side. Imports `predictions`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.errors import PredictionError
from meiju_utils.predictions import ABSENT, CLIP, FITTED, HELD_OUT, Classes, Predictions

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Opinions:
    """The members' predictions of the same clips: `table` has clip_id, split, role and chose."""

    table: pd.DataFrame
    classes: Classes
    names: list[str]
    probabilities: dict[str, Matrix]  # task → [M, N, C]
    present: Mask  # [M, N]: who has something to go by; everybody where nobody has

    @classmethod
    def of(cls, members: Mapping[str, Predictions]) -> "Opinions":
        """Aligned by clip. PredictionError where members predict different clips or classes."""
        means = {name: own.mean() for name, own in members.items()}
        first = next(iter(means.values()))
        index = first.table[CLIP]
        tables = []
        for own in means.values():
            same = own.table[CLIP].equals(index)
            merged = own.table if same else index.merge(own.table, on=CLIP)
            if not len(index) == len(own.table) == len(merged) or own.classes != first.classes:
                raise PredictionError(
                    "Members of an ensemble predict different clips or classes; train them on the "
                    "same corpus in one setting."
                )
            tables.append(own if same else Predictions(merged))
        absent = np.array([(t.table["role"] == ABSENT).to_numpy() for t in tables])
        fitted = np.array([(t.table["role"] == FITTED).to_numpy() for t in tables]).any(axis=0)
        role = np.where(fitted, FITTED, np.where(absent.all(axis=0), ABSENT, HELD_OUT))
        chose = [t.table["chose"].to_numpy(dtype=object).astype(str) for t in tables]
        largest = reduce(lambda a, b: np.where(a >= b, a, b), chose)
        table = index.assign(role=role, chose=largest)
        found = {t: np.stack([own.probabilities(t) for own in tables]) for t in first.tasks}
        return cls(table, first.classes, list(means), found, ~absent | absent.all(axis=0))

    def combined(self, found: Mapping[str, Matrix], fold: NDArray[np.int64]) -> Predictions:
        """Predictions with the probabilities [N, C] of each task."""
        table = self.table
        return Predictions.of_arrays(
            table["clip_id"],
            table["split"],
            found,
            self.classes,
            fitted=(table["role"] == FITTED).to_numpy(),
            absent=(table["role"] == ABSENT).to_numpy(),
            chose=table["chose"].to_numpy(dtype=object),
            fold=fold,
        )
