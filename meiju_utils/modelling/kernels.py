"""Ridge regression on class indicators, linear or with Gaussian kernels, on hard or soft targets.

Imports numpy, scikit-learn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge as LinearRidge
from sklearn.metrics.pairwise import rbf_kernel

from meiju_utils.challenge import Average
from meiju_utils.modelling.views import View

Matrix = NDArray[Any]
State = dict[str, NDArray[Any]]
SHARPNESS = 6.0  # scores are so many times the regressed probabilities
BLOCK = 4096  # clips whose kernel is taken at once


class Ridge:
    """Linear ridge regression on the classes' indicators; `penalty` is times the features' number.

    Standardised features have that squared length on average, so the kernel's diagonal is 1.
    """

    columnwise = True  # one fit serves the columns of all tasks
    reads = "features"

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        view: View = "all",
        penalty: PositiveFloat = 1.0,
    ) -> None:
        self.view, self.penalty = view, penalty
        self.state: State = {}

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        """Features [N, D], target probabilities [N, C] and weights [N]."""
        share = np.average(targets, axis=0, weights=weights)
        model = LinearRidge(self.penalty * x.shape[1], fit_intercept=False)
        model.fit(x, (targets - share).astype(x.dtype), sample_weight=weights.astype(x.dtype))
        self.state = {"coef": np.atleast_2d(model.coef_), "share": share}

    def scores(self, x: Matrix) -> Matrix:
        """[N, C]; what is largest is likeliest."""
        found: Matrix = SHARPNESS * (x @ self.state["coef"].T + self.state["share"])
        return found


class RbfRidge:
    """Kernel ridge regression on the classes' indicators with k(a, b) = exp(-width |a - b|² / D).

    Exact up to `exact` clips; beyond, Nyström's approximation by `landmarks` of them, drawn by
    chance with a fixed seed.
    """

    columnwise = True
    reads = "features"

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        view: View = "all",
        width: PositiveFloat = 0.3,
        penalty: PositiveFloat = 0.3,
        exact: PositiveInt = 4000,
        landmarks: PositiveInt = 1000,
    ) -> None:
        self.view, self.width, self.penalty = view, width, penalty
        self.exact, self.landmarks = exact, landmarks
        self.state: State = {}

    def fit(self, x: Matrix, targets: Matrix, weights: Matrix) -> None:
        """Features [N, D], target probabilities [N, C] and weights [N]."""
        share = np.average(targets, axis=0, weights=weights)
        gamma = self.width / x.shape[1]
        centred, weights = (targets - share).astype(x.dtype), weights.astype(x.dtype)
        if len(x) <= self.exact:
            model = KernelRidge(alpha=self.penalty, kernel="rbf", gamma=gamma)
            model.fit(x, centred, sample_weight=weights)
            points, coef = x, model.dual_coef_
        else:
            number = min(self.landmarks, len(x))
            basis = Nystroem(gamma=gamma, n_components=number, random_state=0).fit(x)
            ridge = LinearRidge(self.penalty, fit_intercept=False, solver="cholesky")
            ridge.fit(basis.transform(x), centred, sample_weight=weights)
            points = basis.components_
            coef = basis.normalization_.T @ np.atleast_2d(ridge.coef_).T
        self.state = {
            "points": np.asarray(points),
            "coef": np.asarray(coef, dtype=x.dtype),
            "share": share,
            "gamma": np.array(gamma),
        }

    def scores(self, x: Matrix) -> Matrix:
        """[N, C]; what is largest is likeliest."""
        points, coef, gamma = (self.state[name] for name in ("points", "coef", "gamma"))
        blocks = [
            rbf_kernel(x[start : start + BLOCK], points, float(gamma)) @ coef
            for start in range(0, len(x), BLOCK)
        ]
        found: Matrix = SHARPNESS * (np.concatenate(blocks) + self.state["share"])
        return found
