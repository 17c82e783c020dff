"""Columns of probabilities: `<task>:<label>`, and whether a table of them is what it must be.

Imports `errors`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from meiju_utils.errors import PredictionError

Classes = Mapping[str, tuple[str, ...]]  # task → its labels in official order

SUM_TOLERANCE = 1e-3  # stored as float32, sums of probabilities are off by some 1e-7


def class_columns(classes: Classes, task: str) -> list[str]:
    """The columns of a task's probabilities."""
    return [f"{task}:{label}" for label in classes[task]]


def classes_of(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Tasks and labels that the columns `<task>:<label>` name, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for column in map(str, table.columns):
        task, colon, label = column.partition(":")
        if colon:
            found[task] = (*found.get(task, ()), label)
    return found


def check_table(table: pd.DataFrame, columns: Mapping[str, Any], what: str) -> None:
    """PredictionError unless `table` has `columns` of these kinds and proper probabilities."""
    classes = classes_of(table)
    if not classes:
        raise PredictionError(f"The {what} have no probabilities: no column <task>:<label>.")
    missing = [name for name in columns if name not in table]
    if missing:
        raise PredictionError(f"The {what} lack the columns {', '.join(missing)}.")
    if not all(_is_plainly(table[name], kind) for name, kind in columns.items()):
        _check_columns(table, columns, what)
    for task in classes:
        try:
            values = table[class_columns(classes, task)].to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            raise PredictionError(
                f"The {task} probabilities of the {what} are no numbers."
            ) from None
        # one comparison over all classes, as the schema's column by column takes many times as long
        odd = ~((values >= 0) & (values <= 1 + SUM_TOLERANCE))
        if odd.any():
            row = odd.any(axis=1)
            raise PredictionError(
                f"The {task} probabilities of {int(row.sum())} rows are not numbers from 0 to 1, "
                f"the first of {table['clip_id'].to_numpy()[row][0]}: {values[odd][0]:.3f}."
            )
        sums = values.sum(axis=1)
        bad = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
        if bad.any():
            raise PredictionError(
                f"The {task} probabilities of {int(bad.sum())} rows do not sum to one, the first "
                f"of {table['clip_id'].to_numpy()[bad][0]}: {sums[bad][0]:.3f}. Give numbers from "
                "0 to 1 that sum to 1, or train it again."
            )


def _is_plainly(column: pd.Series, kind: type) -> bool:
    """Whether a column is of a kind beyond doubt; most are, and pandera takes 20 ms a table."""
    return bool(column.dtype == _dtype(kind) and not column.hasnans)


@cache
def _dtype(kind: type) -> Any:
    return pd.Series(dtype=kind).dtype


def _check_columns(table: pd.DataFrame, columns: Mapping[str, Any], what: str) -> None:
    import pandera.pandas as pa  # takes a second: only where something is odd

    schema = pa.DataFrameSchema({name: pa.Column(kind) for name, kind in columns.items()})
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        raise PredictionError(
            f"The {what} break a rule: column {case['column']!r}: {case['check']}; found "
            f"{case['failure_case']}."
        ) from None
