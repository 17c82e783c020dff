"""Classical models by name, and fitting them.

A model is made with the number of classes and `average` (of the F1 it may be tuned for), fitted for
each task on what it reads, target probabilities [N, C] and weights [N], and gives probabilities
[N, C]; a class without targets gets none. By default it reads means over time [N, D] (float64, NaN
where a clip lacks a stream). With `reads = "features"` it reads a view (see `views`) that its
option `view` names, with `reads = "texts"` the clips' words [N]. What is `columnwise` is fitted
once on the columns of all tasks and gives scores. `state`, arrays by name, predicts new clips.
Imports `dataset`, `views`, `linear`, `kernels`, `texts`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils import linear
from meiju_utils.challenge import Average
from meiju_utils.components import Component
from meiju_utils.linear import Folds, Strengths
from meiju_utils.modelling.kernels import RbfRidge, Ridge
from meiju_utils.modelling.texts import NbSvm, TfidfLogistic, TfidfSvm
from meiju_utils.modelling.views import View, streams_of

Matrix = NDArray[np.float64]


class Majority:
    """How often each class occurs in the targets, whatever the features."""

    def __init__(self, classes: int, average: Average) -> None:
        self.state: linear.State = {"shares": np.full(classes, 1 / classes)}

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        mass = (targets * weights[:, None]).sum(axis=0)
        self.state = {"shares": mass / mass.sum()}

    def probabilities(self, x: Matrix) -> Matrix:
        return np.tile(self.state["shares"], (len(x), 1))


class _OnView:
    """A linear model (the next base) of a view, which standardises it; see `linear`."""

    reads = "features"

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        view: View = "all",
        strengths: Strengths = linear.STRENGTHS,
        balanced: bool = False,
        folds: Folds = 5,
    ) -> None:
        options: dict[str, Any] = {"strengths": strengths, "balanced": balanced, "folds": folds}
        super().__init__(classes, average, **options, standardise=False)  # type: ignore[call-arg]
        self.view = view


class LogisticRegression(_OnView, linear.LinearLogistic):
    """Multinomial logistic regression on a view."""


class LinearSvm(_OnView, linear.LinearSvm):
    """Linear support vector machine on a view."""


MODELS: dict[str, type] = {
    "majority": Majority,
    "logistic-regression": LogisticRegression,
    "linear-svm": LinearSvm,
    "ridge": Ridge,
    "rbf-ridge": RbfRidge,
    "nb-svm": NbSvm,
    "tfidf-logistic": TfidfLogistic,
    "tfidf-svm": TfidfSvm,
}


def lacking(component: Component, streams: Sequence[str]) -> str:
    """What a model needs and a corpus with these streams does not have; "" where nothing."""
    kind: Any = MODELS[component.name]
    if getattr(kind, "reads", "") == "texts":
        return "" if "text" in streams else "text"
    view = str(component.options.get("view", "all"))
    return "" if streams_of(view, list(streams)) else view


def alone(component: Component, streams: Sequence[str]) -> bool:
    """Whether it joins modalities where there is one alone, so that it is that one's model."""
    joined = component.options.get("view") in ("all", "equal")
    return joined and len(streams) == 1
