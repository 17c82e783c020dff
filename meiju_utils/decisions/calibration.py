"""Calibration: probabilities that are as often right as they say, by name.

A calibration is called for one task with logarithms of probabilities [N, C] and label indices [N]
of held-out clips, and gives what `apply` takes. Imports `fitting`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from scipy.optimize import minimize
from scipy.special import expit

from meiju_utils.components import Component, build
from meiju_utils.decisions.fitting import (
    Fitted,
    Known,
    by_state,
    fit_by_fold,
    logs,
    normalised,
    one_hot,
)
from meiju_utils.predictions import ABSENT, Predictions, class_columns

Matrix = NDArray[np.float64]
MOST_DOUBT = -0.8  # the logit of .31: more than that no corpus worth training on has


class BiasCorrected:
    """One temperature for all classes and a bias for each (Alexandari et al. 2020), by likelihood.

    `penalty` times the sum of squared biases holds those of rare classes back.
    """

    biases, doubts = True, False

    def __init__(self, *, penalty: NonNegativeFloat = 0.01) -> None:
        self.penalty = penalty

    def fit(self, scores: Matrix, index: NDArray[np.int64]) -> Fitted:
        classes = scores.shape[1]
        right = one_hot(index, classes)
        free = classes if self.biases else 0

        def loss(values: Matrix) -> tuple[float, Matrix]:
            slope, bias = np.exp(values[0]), np.zeros(classes)
            bias[:free] = values[1 : 1 + free]
            doubt = expit(values[-1]) if self.doubts else 0.0
            found = normalised(scores * slope + bias)
            own = (found * right).sum(axis=1)
            mixed = np.maximum((1 - doubt) * own + doubt / classes, 1e-300)
            trusted = ((1 - doubt) * own / mixed)[:, None]
            gradient = trusted * (found - right) / len(scores)
            by_bias = gradient.sum(axis=0)[:free] + 2 * self.penalty * bias[:free]
            by_doubt = -((1 / classes - own) / mixed).mean() * doubt * (1 - doubt)
            total = -np.log(mixed).mean() + self.penalty * (bias[:free] ** 2).sum()
            return total, np.array([(gradient * scores).sum() * slope, *by_bias, by_doubt])

        # no more than a hundredfold sharper or flatter: a perfect member has no best temperature
        bounds = [(-4.6, 4.6), *[(None, None)] * free, (-9.0, MOST_DOUBT)]
        start = np.array([0.0] * (1 + free) + [-4.0])
        best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        bias = best[1 : 1 + free].tolist() if free else [0.0] * classes
        doubt = float(expit(best[-1])) if self.doubts else 0.0
        return {"slope": float(np.exp(best[0])), "bias": bias, "doubt": doubt}


class NoiseTolerant(BiasCorrected):
    """The same where some labels are listed wrong: with the probability `doubt`, fitted too, a clip
    has any label. So a few clips that are surely listed wrong do not flatten all probabilities.
    """

    doubts = True


class Temperature(BiasCorrected):
    """One temperature for all classes (Guo et al. 2017): the likeliest label stays the same."""

    biases = False

    def __init__(self) -> None:
        super().__init__(penalty=0.0)


CALIBRATIONS: dict[str, type] = {
    "bias-corrected": BiasCorrected,
    "noise-tolerant": NoiseTolerant,
    "temperature": Temperature,
}


def apply(probabilities: NDArray[Any], fitted: Fitted) -> Matrix:
    """Calibrated probabilities [N, C]."""
    found = normalised(centred(probabilities) * fitted["slope"] + np.array(fitted["bias"]))
    return np.asarray((1 - fitted["doubt"]) * found + fitted["doubt"] / found.shape[1])


def centred(probabilities: NDArray[Any]) -> Matrix:
    """Logarithms of probabilities [N, C], of mean zero in every clip."""
    scores = logs(probabilities)
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def fit_calibration(
    predictions: Predictions, known: Known, component: Component
) -> dict[str, Fitted]:
    """A calibration for each task, fitted by fold (`fitting.fit_by_fold`) on the train clips.

    `predictions` has one row a clip. A clip whose label is not known, and one that lacks all that
    was looked at, has no say. PredictionError where no train clip is predicted unseen.
    """
    train = predictions.of_split("train")
    fold = known.held_out(train.table)
    index = known.indices(train.classes, train.table["clip_id"].to_numpy())
    seen = (train.table["role"] != ABSENT).to_numpy()
    calibration = build(component, CALIBRATIONS)
    found = {}
    for task in train.tasks:
        use = seen & (index[task] >= 0)
        scores, right = centred(train.probabilities(task))[use], index[task][use]

        def fit(rows: NDArray[np.bool_], scores: Any = scores, right: Any = right) -> Fitted:
            if not rows.any():  # nobody to learn from
                return {"slope": 1.0, "bias": [0.0] * scores.shape[1], "doubt": 0.0}
            fitted: Fitted = calibration.fit(scores[rows], right[rows])
            return fitted

        found[task] = fit_by_fold(fit, fold[use])
    return found


def calibrated(
    predictions: Predictions, fitted: Mapping[str, Fitted], fold: NDArray[np.int64]
) -> Predictions:
    """The same with calibrated probabilities; `fold` [N] held a clip out (-1: none did)."""
    table = predictions.table.copy()
    for task in predictions.tasks:
        before = predictions.probabilities(task)
        after = np.empty_like(before)
        for state, rows in by_state(fitted[task], fold):
            after[rows] = apply(before[rows], state)
        table[class_columns(predictions.classes, task)] = after
    return Predictions(table)
