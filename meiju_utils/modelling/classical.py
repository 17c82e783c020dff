"""Classical models on means over time, by name: one is fitted for each task.

A model is called with the number of classes and `average` (of the F1 it is tuned for), fitted on
features [N, D] (NaN where a clip lacks a stream), target probabilities [N, C] and weights [N], and
gives probabilities [N, C]; a class without targets gets none. Imports `dataset`, `linear`.
"""

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import Average
from meiju_utils.components import Component, build
from meiju_utils.linear import LinearLogistic, LinearSvm
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.predictions import Targets

Matrix = NDArray[np.float64]


class Majority:
    """How often each class occurs in the targets, whatever the features."""

    def __init__(self, classes: int, average: Average) -> None:
        self.shares = np.full(classes, 1 / classes)

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        mass = (targets * weights[:, None]).sum(axis=0)
        self.shares = mass / mass.sum()

    def probabilities(self, x: Matrix) -> Matrix:
        return np.tile(self.shares, (len(x), 1))


MODELS: dict[str, type] = {
    "majority": Majority,
    "logistic-regression": LinearLogistic,
    "linear-svm": LinearSvm,
}


def fitted_probabilities(
    component: Component, dataset: Dataset, targets: Targets, average: Average
) -> dict[str, Matrix]:
    """Fit a model for each task on the targets; its probabilities [N, C] of all clips."""
    x = np.concatenate([s.means() for s in dataset.features.values()], axis=1).astype(np.float64)
    place = {clip_id: row for row, clip_id in enumerate(dataset.clip_ids.tolist())}
    rows = np.array([place[clip_id] for clip_id in targets.table["clip_id"]])
    found = {}
    for task, labels in dataset.classes.items():
        model = build(component, MODELS, len(labels), average)
        model.fit(x[rows], targets.probabilities(task), targets.weights(task))
        found[task] = model.probabilities(x)
    return found
