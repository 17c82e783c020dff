"""How a table looks in a notebook and in the report: cells, headings, one style for all.

Imports `files`, `html`.
"""

from html import escape
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from meiju_utils.files import fingerprint
from meiju_utils.html import LITERAL


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """A score as `0.560 [0.512, 0.608]`, as far as it is known."""
    if pd.isna(value):
        return "–"
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def heading(column: Any) -> str:
    """`duration_s` → `Duration (s)`, `clip_id` → `Clip id`."""
    name = str(column)
    if name.endswith("_s"):
        name = f"{name[:-2]} (s)"
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _cell(value: Any) -> str:
    if value is pd.NA:
        return "–"
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.{3 if abs(value) < 1 else 2}f}"
    return escape(str(value))


def styled(table: pd.DataFrame, caption: str) -> Styler:
    """A table for reading: text to the left, numbers to the right, everything escaped."""
    # The id stands in the HTML: from the content, so that equal tables give equal pages.
    key = fingerprint(table.to_csv(), caption)
    styler = Styler(table.reset_index(drop=True), uuid=key, cell_ids=False).hide(axis="index")
    numbers = [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c])]
    others: Any = [c for c in table.columns if c not in numbers]
    styler = (
        styler.format(_cell)
        .set_table_attributes(LITERAL)
        .set_table_styles(
            [
                {"selector": "caption", "props": "text-align:left;font-weight:bold;padding:4px 0"},
                {"selector": "th", "props": "text-align:left"},
            ]
        )
    )
    styler = styler.set_properties(subset=others, **{"text-align": "left"})
    return styler.set_caption(escape(caption)) if caption else styler
