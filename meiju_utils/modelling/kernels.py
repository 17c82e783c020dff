"""Ridge regression on class indicators, linear or with Gaussian kernels, on hard or soft targets.

Imports numpy, scikit-learn.
"""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy.linalg import LinAlgError, solve
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge as LinearRidge

from meiju_utils.challenge import Average
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.views import View

Matrix = NDArray[Any]
State = dict[str, NDArray[Any]]
SHARPNESS = 6.0  # scores are so many times the regressed probabilities
# Added to the diagonal, times its mean: sums in float32 are off by so much.
ROUNDING = (1e-7, 1e-6, 1e-5, 1e-4)
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
    chance with a fixed seed (`benchmarks/kernels.py` has what that loses).
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
        points = x
        if len(x) <= self.exact:
            model = KernelRidge(alpha=self.penalty, kernel="precomputed")
            coef = model.fit(gaussian(x, x, gamma), centred, sample_weight=weights).dual_coef_
        else:
            drawn = np.random.default_rng(0).permutation(len(x))[: self.landmarks]
            points = x[np.sort(drawn)]
            coef = self._nystroem(x, points, centred, weights, gamma)
        self.state = {
            "points": points,
            "coef": np.asarray(coef, dtype=x.dtype),
            "share": share,
            "gamma": np.array(gamma),
        }

    def _nystroem(
        self, x: Matrix, points: Matrix, centred: Matrix, weights: Matrix, gamma: float
    ) -> Matrix:
        """Coefficients [M, C] of `points` for which the penalised squared error of all x is least.

        (Kᵀ W K + penalty · K(points)) c = Kᵀ W y, summed up block by block.
        """
        among = gaussian(points, points, gamma).astype(np.float64)
        left, right = self.penalty * among, np.zeros((len(points), centred.shape[1]))
        for start in range(0, len(x), BLOCK):
            own = slice(start, start + BLOCK)
            kernel = gaussian(x[own], points, gamma)
            weighted = kernel.T * weights[own]
            left += weighted @ kernel
            right += weighted @ centred[own]
        scale = np.trace(left) / len(left)
        for share in ROUNDING:
            ridge = left + share * scale * np.eye(len(left))
            with suppress(LinAlgError):
                found: Matrix = solve(ridge, right, assume_a="pos")
                return found
        raise TrainingError("The kernel of these features has no inverse; leave the view out.")

    def scores(self, x: Matrix) -> Matrix:
        """[N, C]; what is largest is likeliest."""
        points, coef, gamma = (self.state[name] for name in ("points", "coef", "gamma"))
        found = np.empty((len(x), coef.shape[1]))
        for start in range(0, len(x), BLOCK):
            own = slice(start, start + BLOCK)
            found[own] = gaussian(x[own], points, gamma.item()) @ coef
        return np.asarray(SHARPNESS * (found + self.state["share"]))


def gaussian(a: Matrix, b: Matrix, gamma: float) -> Matrix:
    """exp(-gamma |a - b|²) of all rows [N, D] and [M, D]: [N, M], of the type of `a`.

    As scikit-learn's, which takes 2.6 times as long on float32 (`benchmarks/kernels.py`); of
    standardised features the difference is rounding.
    """
    kernel = a @ b.T
    kernel *= 2
    kernel -= np.einsum("nd,nd->n", a, a)[:, None]
    kernel -= np.einsum("nd,nd->n", b, b)[None]
    kernel *= gamma
    np.minimum(kernel, 0, out=kernel)
    found: Matrix = np.exp(kernel, out=kernel)
    return found
