"""Sampling in balance over the classes of all tasks at once. Imports `predictions`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.predictions import Classes


def balanced_sample(
    labels: pd.DataFrame,
    order: NDArray[np.int64],
    caps: Mapping[tuple[str, str], int],
    classes: Classes,
) -> NDArray[np.bool_]:
    """Which rows [N] of `labels` (a column a task) are taken.

    The class (of either task) with the fewest clips takes its first row in `order`, over and over.
    No class gets more than its cap (a class without one: any number), so a row whose other class is
    full is passed over. It ends when no class can take any more. Rows that `order` lacks are never
    taken.
    """
    taken = np.zeros(len(labels), dtype=bool)
    tasks = [task for task in classes if task in labels]
    classes_of = list(zip(*([(t, label) for label in labels[t]] for t in tasks), strict=True))
    every = [(task, label) for task in tasks for label in classes[task]]
    waiting = {c: [row for row in order.tolist() if c in classes_of[row]][::-1] for c in every}
    if all(len(waiting[c]) <= caps.get(c, len(labels)) for c in every):
        taken[order] = True  # no cap binds, so the turns would take all of them
        return taken
    counts = dict.fromkeys(every, 0)

    def next_of(wanted: tuple[str, str]) -> int | None:
        queue = waiting[wanted]
        while queue and (
            taken[queue[-1]]
            or any(counts[c] >= caps.get(c, len(labels)) for c in classes_of[queue[-1]])
        ):
            queue.pop()  # taken already, or a class of its is full: it will not come again
        return queue[-1] if queue else None

    while True:
        nexts = {c: row for c in every if (row := next_of(c)) is not None}
        if not nexts:
            return taken
        row = nexts[min(nexts, key=lambda c: counts[c])]
        taken[row] = True
        for c in classes_of[row]:
            counts[c] += 1
