"""Tasks and classes to test tables with: MEIJU's, others of another size, one task alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES
from meiju_utils.predictions import Answers, Classes, class_columns

FIVE_AND_NINE: Classes = {
    "valence": tuple(f"step {i}" for i in range(5)),
    "topic": tuple(f"topic {i}" for i in range(9)),
}
EMOTION: Classes = {"emotion": CLASSES["emotion"]}
every_setting = pytest.mark.parametrize(
    "classes", [CLASSES, FIVE_AND_NINE, EMOTION], ids=["meiju", "five-and-nine", "emotion"]
)
Row = tuple[Any, ...]  # a label of each task, then the probability of each


def answers(rows: list[Row], classes: Classes = CLASSES, split: str = "unlabeled") -> Answers:
    """Answers to clips c000, c001, ...; the rest of a probability falls to the other classes."""
    ids = [f"c{i:03d}" for i in range(len(rows))]
    table = pd.DataFrame({"clip_id": ids, "split": split}, dtype="str")
    columns: dict[str, Any] = {}
    for place, (task, names) in enumerate(classes.items()):
        table[task] = pd.array([row[place] for row in rows], dtype="str")
        sure = np.array([row[len(classes) + place] for row in rows], dtype=float)
        rest = (1 - sure) / (len(names) - 1)
        for name, column in zip(names, class_columns(classes, task), strict=True):
            columns[column] = np.where(table[task] == name, sure, rest)
    return Answers(pd.concat([table, pd.DataFrame(columns, dtype="float64")], axis=1))
