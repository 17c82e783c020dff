"""Whether probabilities are as often right as they say: reliability, calibration error.

Imports numpy, pandas.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BINS = 10
COLUMNS = ["task", "bin", "clips", "confidence", "accuracy"]


def reliability(
    probabilities: Mapping[str, NDArray[Any]],
    truth: Mapping[str, NDArray[Any]],
    classes: Mapping[str, tuple[str, ...]],
    bins: int = BINS,
) -> pd.DataFrame:
    """How sure of the likeliest label, and how often right: task, bin, clips, confidence, accuracy.

    `probabilities` [N, C] and `truth` [N] (labels) by task. Bins hold equally many clips, from the
    least to the most sure; there are no more bins than clips.
    """
    rows = []
    for task, names in classes.items():
        own = np.asarray(probabilities[task], dtype=np.float64)
        sure = own.max(axis=1)
        right = np.array(names, dtype=object)[own.argmax(axis=1)] == truth[task]
        order = np.argsort(sure, kind="stable")
        for number, some in enumerate(np.array_split(order, max(1, min(bins, len(order))))):
            if len(some):
                rows.append((task, number, len(some), sure[some].mean(), right[some].mean()))
    return pd.DataFrame(rows, columns=COLUMNS)


def calibration_error(table: pd.DataFrame) -> dict[str, float]:
    """Expected calibration error of each task: the mean distance of confidence and accuracy in the
    bins of `reliability`, weighed by their clips."""
    distance = (table["confidence"] - table["accuracy"]).abs() * table["clips"]
    found = distance.groupby(table["task"], sort=False).sum()
    number = table.groupby("task", sort=False)["clips"].sum()
    return {str(task): float(value) for task, value in (found / number).items()}
