"""What decisions are fitted on, and fitting them so that no clip has a say in its own.

A decision fitted on train clips is fitted once on all of them, for other clips, and once without
each fold, for the clips that this fold holds out. Imports `predictions`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from meiju_utils.challenge import Average
from meiju_utils.errors import PredictionError
from meiju_utils.predictions import Classes

ALL = "all"  # what was fitted on all train clips; what was fitted without a fold has its number
Fitted = dict[str, Any]  # what can stand in JSON
LEAST = 1e-6  # probabilities below count as this in logarithms


@dataclass(frozen=True)
class Known:
    """What may be known when decisions are fitted: the train clips' labels, the metric.

    `labels`: clip_id, a label a task. `folds`: the fold that held a train clip out; empty where
    nobody predicts train clips unseen. `unlike`: splits whose label pairs cannot be assumed to be
    as frequent as train's, with the reason; "" stands for all splits.
    """

    labels: pd.DataFrame
    average: Average
    folds: Mapping[str, int] = field(default_factory=dict)
    unlike: Mapping[str, str] = field(default_factory=dict)

    def indices(self, classes: Classes, clip_ids: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
        """Label index [N] of some train clips in each task; -1: not known."""
        own = self.labels.set_index("clip_id").reindex(clip_ids)
        found = {}
        for task, names in classes.items():
            place = {label: index for index, label in enumerate(names)}
            found[task] = np.array([place.get(label, -1) for label in own[task]], dtype=np.int64)
        return found

    def fold_of(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """The fold [N] that held a train clip out; -1 of all other clips."""
        train = (table["split"] == "train").to_numpy()
        found = table["clip_id"].map(self.folds).fillna(-1).to_numpy(dtype=np.int64)
        return np.asarray(np.where(train, found, -1))

    def held_out(self, train: pd.DataFrame) -> NDArray[np.int64]:
        """The fold [N] that held each of some train clips out. PredictionError where none did."""
        found = self.fold_of(train)
        if (found < 0).any():
            raise PredictionError(
                "A decision may be fitted on train clips alone that trained nobody, and "
                f"{int((found < 0).sum())} of {len(found)} did. Give the recipe, or all that it "
                "combines, `partition: {folds: 5, refit: true}`."
            )
        return found


def fit_by_fold(fit: Callable[[NDArray[np.bool_]], Any], fold: NDArray[np.int64]) -> dict[str, Any]:
    """What `fit` makes of all rows (a mask [N]), and of all but those of each fold."""
    return {key: fit(rows) for key, rows in masks_by_fold(fold).items()}


def masks_by_fold(fold: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """The rows [N] that each of the fits by fold is on, by its key."""
    found = {ALL: np.ones(len(fold), dtype=bool)}
    return found | {str(number): fold != number for number in np.unique(fold) if number >= 0}


def by_state(fitted: Fitted, fold: NDArray[np.int64]) -> list[tuple[Any, NDArray[np.bool_]]]:
    """Each of the things fitted by fold, with the rows [N] it is for."""
    keys = [str(number) if str(number) in fitted else ALL for number in fold]
    return [(fitted[key], np.array([own == key for own in keys])) for key in sorted(set(keys))]


def logs(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithms of probabilities, none below that of `LEAST`."""
    return np.asarray(np.log(np.clip(probabilities, LEAST, 1.0)))


def normalised(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities [..., C] of unnormalised logarithms."""
    return np.asarray(np.exp(scores - logsumexp(scores, axis=-1, keepdims=True)))


def one_hot(index: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """[N, C] of class indices."""
    return np.eye(classes)[index]
