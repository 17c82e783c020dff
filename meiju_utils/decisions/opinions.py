"""Ensembles that learn on held-out predictions how much to believe each member.

Each member is calibrated first. What is learned is fitted by fold: a train clip gets its weights
from clips of other folds. A member that lacks all it looks at in a clip drops out there, and the
weights of the others grow. Imports `aligned`, `calibration`, `fitting`, `mean`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from scipy.optimize import minimize

from meiju_utils.components import make_component
from meiju_utils.decisions import calibration
from meiju_utils.decisions.aligned import Mask, Matrix, Opinions
from meiju_utils.decisions.calibration import CALIBRATIONS, fit_calibration
from meiju_utils.decisions.fitting import (
    ALL,
    Fitted,
    Known,
    by_state,
    logs,
    masks_by_fold,
    normalised,
    one_hot,
)
from meiju_utils.decisions.mean import Names, members_of_tasks
from meiju_utils.errors import PredictionError
from meiju_utils.predictions import Predictions
from meiju_utils.scoring import task_f1


class _Learned(ABC):
    """`from`: recipes, or for each task its recipes. `calibrate`: how each is calibrated first."""

    tolerant = True  # members that have no results, or do not apply, are left out

    def __init__(
        self,
        *,
        from_: Names | dict[str, Names],
        calibrate: Literal["bias-corrected", "temperature"] | None = "bias-corrected",
    ) -> None:
        self.source, self.calibrate = from_, calibrate

    def members(self, tasks: Iterable[str]) -> dict[str, list[str]]:
        """The recipes behind each task. ConfigError where a task has none."""
        return members_of_tasks(self.source, tasks)

    def fit(self, members: Mapping[str, Predictions], known: Known) -> Fitted:
        """Calibrations and weights, by task and fold; `members` predict each train clip unseen.

        PredictionError where one does not.
        """
        own: dict[str, Predictions] = {}
        calibrations: Fitted = {}
        for name, predictions in members.items():
            own[name] = predictions.of_split("train").mean()
            if self.calibrate:
                component = make_component(self.calibrate, CALIBRATIONS, name)
                calibrations[name] = fit_calibration(own[name], known, component)
        opinions = Opinions.of(own)
        fold = known.held_out(opinions.table)
        index = known.indices(opinions.classes, opinions.table["clip_id"].to_numpy())
        weights: Fitted = {task: {"members": of} for task, of in self._named(opinions).items()}
        for key, rows in masks_by_fold(fold).items():
            # The calibrations of the same fold, so that nothing here has seen what it holds out.
            state = np.full(len(fold), -1 if key == ALL else int(key))
            found = self._calibrated(opinions, calibrations, state)
            for task, learned in weights.items():
                places = [opinions.names.index(name) for name in learned["members"]]
                use = rows & (index[task] >= 0)
                present = opinions.present[places][:, use]
                learned[key] = self.learn(
                    found[task][places][:, use], present, index[task][use], known
                )
        return {"calibrations": calibrations, "weights": weights}

    def _named(self, opinions: Opinions) -> dict[str, list[str]]:
        """Of each task the members that are there."""
        wanted = self.members(opinions.classes)
        there = {task: [n for n in names if n in opinions.names] for task, names in wanted.items()}
        for task, names in there.items():
            if not names:
                raise PredictionError(f"None of the members of {task} has results.")
        return there

    def _calibrated(
        self, opinions: Opinions, calibrations: Fitted, fold: NDArray[np.int64]
    ) -> dict[str, Matrix]:
        found = {task: own.copy() for task, own in opinions.probabilities.items()}
        for place, name in enumerate(opinions.names):
            for task in found if name in calibrations else ():
                for state, rows in by_state(calibrations[name][task], fold):
                    found[task][place][rows] = calibration.apply(found[task][place][rows], state)
        return found

    def apply(
        self, members: Mapping[str, Predictions], fitted: Fitted, fold: NDArray[np.int64] | int
    ) -> Predictions:
        """Predictions of one row a clip; `fold` [N] (of the first member's rows) or one for all
        held a clip out (-1: none did)."""
        opinions = Opinions.of(members)
        folds = np.broadcast_to(np.asarray(fold, dtype=np.int64), len(opinions.table))
        found = self._calibrated(opinions, fitted["calibrations"], folds)
        combined = {}
        for task, weights in fitted["weights"].items():
            places = [opinions.names.index(name) for name in weights["members"]]
            scores, present = found[task][places], opinions.present[places]
            present = present | ~present.any(axis=0)
            combined[task] = np.empty(scores.shape[1:])
            for state, rows in by_state(weights, folds):
                combined[task][rows] = self.combine(scores[:, rows], present[:, rows], state)
        return opinions.combined(combined, folds)

    @abstractmethod
    def learn(self, found: Matrix, present: Mask, right: NDArray[np.int64], known: Known) -> Fitted:
        """Weights of the members' probabilities [M, N, C] (`present` [M, N]) for labels [N]."""

    @abstractmethod
    def combine(self, found: Matrix, present: Mask, state: Fitted) -> Matrix:
        """Probabilities [N, C] of the members' [M, N, C]."""


class OpinionPool(_Learned):
    """Learned log-opinion pool of each task: p ∝ exp(Σ wₘ log pₘ + b), wₘ ≥ 0.

    Weights start at 1/M and are drawn there by .1 · `penalty` · M · Σ(w − 1/M)²; the biases b, one
    a class, to zero by `penalty` · Σ b²; the rest is the mean log-likelihood of held-out clips.
    (Heskes 1998 for the pool; the penalties are measured.)
    """

    def __init__(
        self,
        *,
        from_: Names | dict[str, Names],
        calibrate: Literal["bias-corrected", "temperature"] | None = "bias-corrected",
        penalty: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__(from_=from_, calibrate=calibrate)
        self.penalty = penalty

    def learn(self, found: Matrix, present: Mask, right: NDArray[np.int64], known: Known) -> Fitted:
        members, clips, classes = found.shape
        equal = np.full(members, 1 / members)
        if not clips:
            return {"weights": equal.tolist(), "bias": [0.0] * classes}
        scores, there = logs(found) * present[:, :, None], present.astype(np.float64)
        truth = one_hot(right, classes)
        pull = 0.1 * self.penalty * members

        def loss(values: Matrix) -> tuple[float, Matrix]:
            weights, bias = values[:members], values[members:]
            total, whole = weights.sum(), np.maximum(weights @ there, 1e-9)
            mixed = np.tensordot(weights, scores, axes=1)
            probabilities = normalised(mixed * (total / whole)[:, None] + bias)
            likelihood = np.log(np.maximum((probabilities * truth).sum(axis=1), 1e-300)).mean()
            gradient = (probabilities - truth) / clips
            along = (gradient * mixed).sum(axis=1)
            by_weight = np.einsum("mnc,nc->m", scores, gradient * (total / whole)[:, None])
            by_weight += (along / whole).sum() - there @ (along * total / whole**2)
            off = weights - equal
            value = -likelihood + pull * (off**2).sum() + self.penalty * (bias**2).sum()
            by_bias = gradient.sum(axis=0) + 2 * self.penalty * bias
            return value, np.concatenate([by_weight + 2 * pull * off, by_bias])

        bounds = [(0.0, None)] * members + [(-2.0, 2.0)] * classes
        start = np.concatenate([equal, np.zeros(classes)])
        options = {"maxiter": 150}
        best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        if not best[:members].sum() > 0:  # nobody knows anything: all say the classes' shares
            best[:members] = equal
        return {"weights": best[:members].tolist(), "bias": best[members:].tolist()}

    def combine(self, found: Matrix, present: Mask, state: Fitted) -> Matrix:
        weights = np.array(state["weights"])
        if not (weights @ present > 0).all():  # only members of no weight are there: they count
            weights = np.maximum(weights, 1e-6)
        whole = weights @ present
        mixed = np.tensordot(weights, logs(found) * present[:, :, None], axes=1)
        return normalised(mixed * (weights.sum() / whole)[:, None] + np.array(state["bias"]))


class Greedy(_Learned):
    """Greedy selection with replacement (Caruana et al. 2004): the mean of the members picked.

    In each of `steps` the member that raises the F1 of held-out clips most; what was best counts.
    """

    def __init__(
        self,
        *,
        from_: Names | dict[str, Names],
        calibrate: Literal["bias-corrected", "temperature"] | None = "bias-corrected",
        steps: PositiveInt = 25,
    ) -> None:
        super().__init__(from_=from_, calibrate=calibrate)
        self.steps = steps

    def learn(self, found: Matrix, present: Mask, right: NDArray[np.int64], known: Known) -> Fitted:
        members = len(found)
        if not len(right):
            return {"weights": [1 / members] * members}
        filled = np.where(present[:, :, None], found, _mean_of(found, present, np.ones(members)))
        total = np.zeros(found.shape[1:])
        counts, best, value = np.zeros(members), np.zeros(members), -1.0
        for _ in range(self.steps):
            tried = [
                task_f1(right, np.argmax(total + own, axis=1), known.average) for own in filled
            ]
            place = int(np.argmax(tried))
            total, counts[place] = total + filled[place], counts[place] + 1
            if tried[place] > value:
                best, value = counts.copy(), tried[place]
        return {"weights": (best / best.sum()).tolist()}

    def combine(self, found: Matrix, present: Mask, state: Fitted) -> Matrix:
        return _mean_of(found, present, np.array(state["weights"]))


class CalibratedMean(_Learned):
    """The mean of the calibrated members: what weights are measured against."""

    def learn(self, found: Matrix, present: Mask, right: NDArray[np.int64], known: Known) -> Fitted:
        return {"weights": [1 / len(found)] * len(found)}

    def combine(self, found: Matrix, present: Mask, state: Fitted) -> Matrix:
        return _mean_of(found, present, np.array(state["weights"]))


def _mean_of(found: Matrix, present: Mask, weights: Matrix) -> Matrix:
    """Weighted mean [N, C] over the members that are there."""
    own = weights[:, None] * present
    own = np.where(own.sum(axis=0) > 0, own, present)
    return np.asarray(np.einsum("mn,mnc->nc", own / own.sum(axis=0), found))
