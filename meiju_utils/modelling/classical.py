"""Classical models on means over time, by name: one is fitted for each task.

A model is called with the number of classes and `average` (of the F1 it is tuned for), fitted on
features [N, D] (NaN where a clip lacks a stream), target probabilities [N, C] and weights [N], and
gives probabilities [N, C]; a class without targets gets none. Imports numpy, scipy, scikit-learn.
"""

import warnings
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from meiju_utils.challenge import Average

Matrix = NDArray[np.float64]
Folds = Annotated[int, Field(ge=2)]
Strengths = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
# Inverse regularisation C times the number of features: standardised features contribute alike, so
# the best C falls with their number.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Majority:
    """How often each class occurs in the targets, whatever the features."""

    def __init__(self, classes: int, average: Average) -> None:
        self.shares = np.full(classes, 1 / classes)

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        mass = (targets * weights[:, None]).sum(axis=0)
        self.shares = mass / mass.sum()

    def probabilities(self, x: Matrix) -> Matrix:
        return np.tile(self.shares, (len(x), 1))


class _Linear:
    """A linear model of standardised features, its regularisation chosen by cross-validation.

    Soft targets count as a clip of each class, weighted by its probability.
    """

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        strengths: Strengths = STRENGTHS,
        folds: Folds = 5,
    ) -> None:
        self.classes, self.average = classes, average
        self.strengths, self.folds = strengths, folds
        self.model: Pipeline | None = None
        self.present = np.arange(0)
        self.temperature = 1.0

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        hard = targets.argmax(axis=1)
        rows, labels = np.nonzero((targets > 0) & (weights[:, None] > 0))
        mass = targets[rows, labels] * weights[rows]
        self.present = np.unique(labels)
        if len(self.present) == 1:
            return
        strength, scores = self._tune(x, hard, weights)
        self.temperature = self._temperature(scores, hard)
        self.model = self._fitted(strength, x[rows], labels, mass)

    def probabilities(self, x: Matrix) -> Matrix:
        found = np.zeros((len(x), self.classes))
        found[:, self.present] = (
            1.0 if self.model is None else softmax(self._scores(self.model, x), axis=1)
        )
        return found

    def _model(self, c: float) -> Any:
        raise NotImplementedError

    def _fitted(self, strength: float, x: Matrix, labels: Any, weights: Matrix) -> Pipeline:
        model = self._model(strength / x.shape[1])
        pipeline = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)
        weighted = [pipeline.steps[1][0], pipeline.steps[2][0]]
        return pipeline.fit(x, labels, **{f"{name}__sample_weight": weights for name in weighted})

    def _scores(self, model: Pipeline, x: Matrix) -> Matrix:
        """Logits [N, present classes]; of two classes scikit-learn gives the second's alone."""
        scores = np.asarray(model.decision_function(x))
        scores = np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores
        return scores / self.temperature

    def _tune(self, x: Matrix, labels: Any, weights: Matrix) -> tuple[float, Matrix]:
        """The best strength, of equals the smallest, and its out-of-fold scores (NaN: none)."""
        nothing = np.full((len(x), self.classes), np.nan)
        counted = np.flatnonzero(weights > 0)
        folds = min(self.folds, int(np.bincount(labels[counted]).max()))
        if folds < 2:  # no two clips share a class: nothing can be tuned
            return self.strengths[0], nothing
        splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
        found = {strength: nothing.copy() for strength in self.strengths}
        with warnings.catch_warnings():
            # Classes with fewer clips than folds are missing from some: tuning meets that too.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            for inner, outer in splitter.split(counted, labels[counted]):
                fit, held = counted[inner], counted[outer]
                seen = np.unique(labels[fit])
                for strength, scores in found.items():
                    scores[held] = -np.inf
                    if len(seen) == 1:
                        scores[np.ix_(held, seen)] = 0.0
                        continue
                    model = self._fitted(strength, x[fit], labels[fit], weights[fit])
                    scores[np.ix_(held, seen)] = self._scores(model, x[held])
        truth, counts = labels[counted], weights[counted]

        def f1(strength: float) -> float:
            guesses = found[strength][counted].argmax(axis=1)
            options = {"average": self.average, "sample_weight": counts, "zero_division": 0}
            return float(f1_score(truth, guesses, **options))

        best = max(self.strengths, key=f1)
        return best, found[best]

    def _temperature(self, scores: Matrix, labels: Any) -> float:
        return 1.0


class LinearLogistic(_Linear):
    """Multinomial logistic regression."""

    def _model(self, c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=300, tol=1e-3)


class LinearSvm(_Linear):
    """Linear support vector machine, one class against the rest.

    Its probabilities are the softmax of its scores at the temperature that fits the out-of-fold
    scores best (Guo et al. 2017): the likeliest label stays the machine's own.
    """

    def _model(self, c: float) -> LinearSVC:
        return LinearSVC(C=c, tol=1e-2, max_iter=5000, random_state=0)

    def _temperature(self, scores: Matrix, labels: Any) -> float:
        known = np.isfinite(scores[np.arange(len(labels)), labels])
        if not known.any():
            return 1.0
        own, right = scores[known], labels[known]

        def loss(log_temperature: float) -> float:
            logs = log_softmax(own / np.exp(log_temperature), axis=1)
            return float(-logs[np.arange(len(right)), right].mean())

        return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


MODELS: dict[str, type] = {
    "majority": Majority,
    "logistic-regression": LinearLogistic,
    "linear-svm": LinearSvm,
}
