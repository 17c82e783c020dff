"""Which predictions become labels: what limits the choice of each class, and how right they are.

Imports `reporting.palette`, `reporting.plots.base` only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from meiju_utils.reporting.palette import (
    INK,
    REFERENCE_COLOR,
    capital,
    label_colors,
    score_colors,
)
from meiju_utils.reporting.plots.base import (
    MOST_CLASSES,
    Plot,
    message,
    names_down,
    of_so_many,
    panel_title,
    short,
    subplots,
)
from meiju_utils.scoring import JOINT

# How strong the bars of a class are, one over the other.
_SHADES = {"predicted": 0.2, "candidates": 0.5, "selected": 1.0}
_NO_POOL = "No clip of a pool was labelled, so there is nothing to show."


def pseudo_label_balance(classes: pd.DataFrame) -> Plot:
    """Clips of each class: predicted (pale), candidates, those chosen (full); its cap as a line.

    `classes`: one row a class, with task, label, predicted, candidates, cap (NA: none), selected
    and limited_by, as a `Selection` has them; beside each class stands what limits it.
    """
    tasks = list(dict.fromkeys(classes["task"]))
    if not tasks:
        return message(_NO_POOL)
    most = min(int(classes.groupby("task").size().max()), MOST_CLASSES)
    figure, axes = subplots(1, len(tasks), width=5.4 * len(tasks), height=1.1 + 0.36 * most)
    for ax, task in zip(axes[0], tasks, strict=True):
        of_task = classes[classes["task"] == task]
        by_label = label_colors(task, of_task["label"].tolist())
        rows = of_task.loc[of_task["predicted"].nlargest(MOST_CLASSES).index.sort_values()]
        colors = [by_label[label] for label in rows["label"]]
        for column, alpha in _SHADES.items():
            ax.barh(range(len(rows)), rows[column], 0.7, color=colors, alpha=alpha, linewidth=0)
        right = _draw_caps(ax, rows)
        ends = np.fmax(rows["predicted"].to_numpy(dtype=float), right)
        for place, (row, end) in enumerate(zip(rows.to_dict("records"), ends, strict=True)):
            told = f"{row['selected']} of {row['predicted']}: {row['limited_by']}"
            ax.annotate(
                told,
                (end, place),
                (5, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontsize=8,
            )
        ax.grid(visible=False)
        names_down(ax, [short(label) for label in rows["label"]])
        ax.set_xlim(0, 1.5 * max(1.0, float(ends.max())))  # room for the words
        ax.set_xlabel("Clips of the pool")
        chosen = f"{of_task['selected'].sum()} of {of_task['predicted'].sum()} chosen"
        panel_title(ax, f"{capital(task)}: {chosen}")
        if left := of_so_many(rows["label"].tolist(), of_task["label"].tolist()):
            ax.set_xlabel(f"Clips of the pool{left}")
    shades = ["predicted so", "pass the threshold in force", "chosen"]
    keys: list[Artist] = [
        Patch(color=REFERENCE_COLOR, alpha=alpha, linewidth=0, label=label)
        for label, alpha in zip(shades, _SHADES.values(), strict=True)
    ]
    if classes["cap"].notna().any():
        keys.append(Line2D([], [], color=INK, label="cap"))
    _legend_below(figure, keys)
    return figure


def _draw_caps(ax: Axes, rows: pd.DataFrame) -> NDArray[np.float64]:
    """A line at each class's cap, where it is in sight of the clips; their places (NaN: none)."""
    caps = rows["cap"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    sight = 1.25 * max(1, int(rows["predicted"].max()))
    caps[caps > sight] = np.nan
    for place, cap in enumerate(caps):
        ax.plot([cap, cap], [place - 0.42, place + 0.42], color=INK, linewidth=1.6)
    return np.asarray(caps, dtype=np.float64)


def coverage_precision(audit: pd.DataFrame, asked: float | None = None) -> Plot:
    """How many clips of the pool pass a confidence threshold, and how many such labels are right.

    `audit`: one row a threshold, task and label, as `audit_thresholds` makes it; its rows with
    label "all" (all classes together) are shown, a panel a task. Beside the precision stand the
    unweighed one and, where the audit has it, the truth. `asked` marks the asked threshold.
    """
    rows = audit[audit["label"] == "all"]
    tasks = list(dict.fromkeys(rows["task"]))
    if not tasks:
        return message(_NO_POOL)
    if "both" in tasks and len(tasks) == 2:  # of a single task that is the task itself
        tasks.remove("both")
    colors = score_colors([task for task in tasks if task != "both"])
    figure, axes = subplots(1, len(tasks), width=1.5 + 4.2 * len(tasks), height=4.0, sharey=True)
    for ax, task in zip(axes[0], tasks, strict=True):
        curve = rows[rows["task"] == task].sort_values("threshold")
        _draw_curves(ax, curve, colors.get(task, colors[JOINT]))
        if asked:
            ax.axvline(asked, color=INK, linewidth=1, linestyle=":", label=f"asked: {asked:g}")
        ax.set_ylim(0, 103)
        ax.set_xlim(-0.03, 1.03)
        panel_title(ax, {"both": "Both labels"}.get(task, capital(task)))
        ax.set_xlabel("Confidence threshold")
    axes[0, 0].set_ylabel("Clips (%)")
    _legend_below(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


def _draw_curves(ax: Axes, curve: pd.DataFrame, color: str) -> None:
    x = curve["threshold"].to_numpy(dtype=float)

    def line(column: str, style: str, label: str, **options: Any) -> None:
        if column in curve:
            values = 100 * curve[column].to_numpy(dtype=float)
            options = {"color": color, "markersize": 4, **options}
            ax.plot(x, values, style, label=label, **options)

    line("precision", "o-", "precision, weighed by the pool's classes")
    line("raw_precision", "-", "precision, unweighed", alpha=0.45, linewidth=1)
    line("in_truth", "D-", "precision in truth, on the pool", color=INK, linewidth=1)
    line("pool_coverage", "s--", "coverage: share of the pool", color=REFERENCE_COLOR)
    low, high = (100 * curve[f"precision_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    ax.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)


def _legend_below(figure: Plot, handles: Sequence[Artist]) -> None:
    columns = 3 if len(handles) > 4 else len(handles)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
    )
