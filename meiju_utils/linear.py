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
State = dict[str, NDArray[Any]]
Splits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
Folds = Annotated[int, Field(ge=2)]
Strengths = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
# Inverse regularisation C times the number of features: standardised features contribute alike, so
# the best C falls with their number.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
UNTUNED = 0.5  # temperature of a machine's scores where none is fitted


class _Linear(ABC):
    """A linear model of features, its regularisation chosen by cross-validation.

    Features are standardised first, unless `standardise` is false. With one strength nothing is
    tuned. Soft targets count as a clip of each class, weighted by its probability; all of them fall
    into one fold. `state` is what predicts new clips.
    """

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        strengths: Strengths = STRENGTHS,
        balanced: bool = False,
        folds: Folds = 5,
        standardise: bool = True,
    ) -> None:
        self.classes, self.average = classes, average
        self.strengths, self.folds, self.standardise = strengths, folds, standardise
        self.class_weight = "balanced" if balanced else None
        self.model: Any = None
        self.temperature = 1.0
        self.state: State = {}

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        rows, labels, mass = as_clips(targets, weights)
        present = np.unique(labels)
        self.state = {"present": present}
        if len(present) == 1:
            return
        # Weights reach scaler, model and score by scikit-learn's routing.
        with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
            # Classes with fewer clips than folds are missing from some: tuning meets that too.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            warnings.simplefilter("ignore", FitFailedWarning)  # a fold of one class
            splits = self._splits(x[rows], labels, rows) if len(self.strengths) > 1 else []
            self.model = self._tuned(x[rows], labels, mass, splits)
            self.temperature = self._temperature(x[rows], labels, mass, splits)
        self.state |= _folded(self.model, self.temperature)

    def probabilities(self, x: Matrix) -> Matrix:
        if "fill" in self.state:
            x = np.where(np.isnan(x), self.state["fill"], x)
        return probabilities_of(self.state, x, self.classes)

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
        steps: list[Any] = [self._model().set_fit_request(sample_weight=True)]
        if self.standardise:
            scaler = StandardScaler().set_fit_request(sample_weight=True)
            steps = [SimpleImputer(keep_empty_features=True), scaler, *steps]
        pipeline = make_pipeline(*steps)
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
        return LogisticRegression(max_iter=300, tol=1e-3, class_weight=self.class_weight)


class LinearSvm(_Linear):
    """Linear support vector machine, one class against the rest.

    Its probabilities are the softmax of its scores at the temperature that fits the out-of-fold
    scores best (Guo et al. 2017): the likeliest label stays the machine's own. (scikit-learn's own
    calibration cannot do with a class that is missing from a fold.)
    """

    def _model(self) -> LinearSVC:
        weight = self.class_weight
        return LinearSVC(tol=1e-2, max_iter=5000, random_state=0, class_weight=weight)

    def _temperature(self, x: Matrix, labels: Any, weights: Matrix, splits: Splits) -> float:
        present, place = np.unique(labels, return_inverse=True)
        own = np.full((len(x), len(present)), -np.inf)
        for fit, held in splits:
            seen = np.unique(place[fit])
            if len(seen) > 1:
                other = clone(self.model).fit(x[fit], labels[fit], sample_weight=weights[fit])
                own[np.ix_(held, seen)] = _logits(other, x[held])
        known = np.isfinite(own[np.arange(len(x)), place])
        if not known.any():
            return UNTUNED
        own, right, mass = own[known], place[known], weights[known]

        def loss(log_temperature: float) -> float:
            logs = log_softmax(own / np.exp(log_temperature), axis=1)
            return -float(np.average(logs[np.arange(len(right)), right], weights=mass))

        return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def as_clips(
    targets: Matrix, weights: Matrix
) -> tuple[NDArray[np.int64], NDArray[np.int64], Matrix]:
    """Soft targets as clips of one class each: row, class and weight of every one."""
    rows, labels = np.nonzero((targets > 0) & (weights[:, None] > 0))
    return rows, labels, targets[rows, labels] * weights[rows]


def linear_state(estimator: Any, temperature: float) -> State:
    """`coef` [C, D] and `intercept` [C] of a fitted linear classifier, the temperature in them.

    Of two classes scikit-learn has the second's alone.
    """
    coef, intercept = np.atleast_2d(estimator.coef_), np.ravel(estimator.intercept_)
    if len(coef) == 1:
        coef, intercept = np.stack([-coef[0], coef[0]]) / 2, np.array([-1, 1]) * intercept / 2
    return {"coef": coef / temperature, "intercept": intercept / temperature}


def probabilities_of(state: State, x: Any, classes: int) -> Matrix:
    """[N, classes] of features [N, D] by a state of `present` classes, `coef` and `intercept`."""
    found = np.zeros((x.shape[0], classes))
    found[:, state["present"]] = 1.0
    if "coef" in state:
        logits = np.asarray(x @ state["coef"].T) + state["intercept"]
        found[:, state["present"]] = softmax(logits, axis=1)
    return found


def _folded(model: Pipeline, temperature: float) -> State:
    """The state of a fitted pipeline; what standardises its features goes into the weights."""
    state = linear_state(model[-1], temperature)
    if len(model) == 1:
        return state
    fill, scaler = model[0].statistics_, model[1]
    coef = state["coef"] / scaler.scale_
    return {"coef": coef, "intercept": state["intercept"] - coef @ scaler.mean_, "fill": fill}


def _logits(model: Pipeline, x: Matrix) -> Matrix:
    """[N, present classes]; of two classes scikit-learn gives the second's alone."""
    scores = np.asarray(model.decision_function(x))
    return np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores
