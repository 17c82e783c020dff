"""Linear models of features, tuned on what they are trained on: the yardsticks' and the probes'.

A model is called with the number of classes and `average` (of the F1 it is tuned for), fitted on
features [N, D] (NaN where a clip lacks a stream), target probabilities [N, C] and weights [N], and
gives probabilities [N, C]; a class without targets gets none. Imports numpy, scipy, scikit-learn.
"""

import warnings
from abc import ABC, abstractmethod
from typing import Annotated, Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from meiju_utils.challenge import Average

Matrix = NDArray[np.float64]
Splits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
Folds = Annotated[int, Field(ge=2)]
Strengths = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
# Inverse regularisation C times the number of features: standardised features contribute alike, so
# the best C falls with their number.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class _Linear(ABC):
    """A linear model of standardised features, its regularisation chosen by cross-validation.

    Soft targets count as a clip of each class, weighted by its probability; all of them fall into
    one fold.
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
        self.model: Any = None
        self.present = np.arange(0)
        self.temperature = 1.0

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        rows, labels = np.nonzero((targets > 0) & (weights[:, None] > 0))
        self.present = np.unique(labels)
        if len(self.present) == 1:
            return
        mass = targets[rows, labels] * weights[rows]
        # Weights reach scaler, model and score by scikit-learn's routing.
        with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
            # Classes with fewer clips than folds are missing from some: tuning meets that too.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            warnings.simplefilter("ignore", FitFailedWarning)  # a fold of one class
            splits = self._splits(x[rows], labels, rows)
            self.model = self._tuned(x[rows], labels, mass, splits)
            self.temperature = self._temperature(x[rows], labels, mass, splits)

    def probabilities(self, x: Matrix) -> Matrix:
        found = np.zeros((len(x), self.classes))
        found[:, self.present] = 1.0
        if self.model is not None:
            found[:, self.present] = softmax(_logits(self.model, x) / self.temperature, axis=1)
        return found

    @abstractmethod
    def _model(self) -> Any:
        """The estimator behind the scaler, its strength C yet to be set."""

    def _splits(self, x: Matrix, labels: Any, clips: Any) -> Splits:
        """Folds of clips for tuning; none where no two clips share a class."""
        folds = min(self.folds, int(np.bincount(labels).max()), len(np.unique(clips)))
        if folds < 2:
            return []
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        return list(splitter.split(x, labels, clips))

    def _tuned(self, x: Matrix, labels: Any, weights: Matrix, splits: Splits) -> Any:
        """The model of the best strength, of equals the smallest."""
        steps = StandardScaler(), self._model()
        weighted = [step.set_fit_request(sample_weight=True) for step in steps]
        pipeline = make_pipeline(SimpleImputer(keep_empty_features=True), *weighted)
        name = f"{pipeline.steps[-1][0]}__C"
        strengths = [strength / x.shape[1] for strength in self.strengths]
        if not splits or len(strengths) == 1:
            pipeline.set_params(**{name: strengths[0]})
            return pipeline.fit(x, labels, sample_weight=weights)
        scorer = make_scorer(f1_score, average=self.average, zero_division=0)
        search = GridSearchCV(
            pipeline,
            {name: strengths},
            scoring=scorer.set_score_request(sample_weight=True),
            cv=splits,
            error_score=0.0,
        )
        return search.fit(x, labels, sample_weight=weights).best_estimator_

    def _temperature(self, x: Matrix, labels: Any, weights: Matrix, splits: Splits) -> float:
        return 1.0


class LinearLogistic(_Linear):
    """Multinomial logistic regression."""

    def _model(self) -> LogisticRegression:
        return LogisticRegression(max_iter=300, tol=1e-3)


class LinearSvm(_Linear):
    """Linear support vector machine, one class against the rest.

    Its probabilities are the softmax of its scores at the temperature that fits the out-of-fold
    scores best (Guo et al. 2017): the likeliest label stays the machine's own. (scikit-learn's own
    calibration cannot do with a class that is missing from a fold.)
    """

    def _model(self) -> LinearSVC:
        return LinearSVC(tol=1e-2, max_iter=5000, random_state=0)

    def _temperature(self, x: Matrix, labels: Any, weights: Matrix, splits: Splits) -> float:
        place = np.searchsorted(self.present, labels)
        own = np.full((len(x), len(self.present)), -np.inf)
        for fit, held in splits:
            seen = np.unique(place[fit])
            if len(seen) > 1:
                model = clone(self.model).fit(x[fit], labels[fit], sample_weight=weights[fit])
                own[np.ix_(held, seen)] = _logits(model, x[held])
        known = np.isfinite(own[np.arange(len(x)), place])
        if not known.any():
            return 1.0
        own, right, mass = own[known], place[known], weights[known]

        def loss(log_temperature: float) -> float:
            logs = log_softmax(own / np.exp(log_temperature), axis=1)
            return -float(np.average(logs[np.arange(len(right)), right], weights=mass))

        return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def _logits(model: Pipeline, x: Matrix) -> Matrix:
    """[N, present classes]; of two classes scikit-learn gives the second's alone."""
    scores = np.asarray(model.decision_function(x))
    return np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores
