"""Which predictions become labels: balance before and after sampling, precision against coverage.

Imports `challenge`, `reporting.palette`, `reporting.plots.base` only.
"""

import numpy as np
import pandas as pd

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.reporting.palette import LABEL_COLORS, SCORE_COLORS
from meiju_utils.reporting.plots.base import Plot, message, panel_title, subplots


def pseudo_label_balance(before: pd.DataFrame, after: pd.DataFrame) -> Plot:
    """Clips a class: confident predictions (pale) and those kept by balanced sampling (full).

    Both tables hold the columns emotion and intent, one row a clip.
    """
    if before.empty:
        return message("No prediction passed the threshold: no pseudo labels to balance.")
    figure, axes = subplots(1, 2, width=10.5, height=3.8)
    for ax, task in zip(axes[0], TASKS, strict=True):
        classes = list(CLASSES[task])
        colors = [LABEL_COLORS[task][label] for label in classes]
        places = np.arange(len(classes))
        for table, shift, alpha in ((before, -0.2, 0.35), (after, 0.2, 1.0)):
            counts = table[task].value_counts().reindex(classes, fill_value=0)
            bars = ax.bar(places + shift, counts, 0.38, color=colors, alpha=alpha)
            ax.bar_label(bars, fontsize=7.5, padding=1)
        ax.set_xticks(places, classes, rotation=35, ha="right", rotation_mode="anchor")
        ax.grid(visible=False, axis="x")
        ax.set_xlabel(task.capitalize())
        ax.set_ylabel("Clips")
        panel_title(ax, f"{task.capitalize()}: {len(before)} confident (pale), {len(after)} kept")
    return figure


def coverage_precision(audit: pd.DataFrame) -> Plot:
    """How many held-out clips pass a confidence threshold, and how many of those are right.

    `audit`: one row a threshold and task, with task, threshold, coverage and precision (shares,
    precision NaN where nothing passes); where it has a column `label`, its rows with label "all"
    (all classes together) are shown. Each task has a panel.
    """
    rows = audit[audit["label"] == "all"] if "label" in audit else audit
    tasks = list(dict.fromkeys(rows["task"]))
    if not tasks:
        return message("No audit of pseudo labels yet.")
    figure, axes = subplots(1, len(tasks), width=1.5 + 4.2 * len(tasks), height=3.6, sharey=True)
    for ax, task in zip(axes[0], tasks, strict=True):
        curve = rows[rows["task"] == task].sort_values("threshold")
        color = SCORE_COLORS.get(task, SCORE_COLORS["joint"])
        ax.plot(
            curve["threshold"],
            100 * curve["precision"],
            "o-",
            color=color,
            markersize=4,
            label="precision: right among those",
        )
        ax.plot(
            curve["threshold"],
            100 * curve["coverage"],
            "s--",
            color=color,
            markersize=4,
            alpha=0.55,
            label="coverage: clips that pass",
        )
        if "precision_low" in curve:
            ax.fill_between(
                curve["threshold"],
                100 * curve["precision_low"].to_numpy(dtype=float),
                100 * curve["precision_high"].to_numpy(dtype=float),
                color=color,
                alpha=0.13,
                linewidth=0,
            )
        ax.set_ylim(0, 103)
        panel_title(ax, {"both": "Both tasks"}.get(task, task.capitalize()))
        ax.set_xlabel("Confidence threshold")
    axes[0, 0].set_ylabel("Held-out clips (%)")
    axes[0, 0].legend(frameon=False, fontsize=8.5, loc="lower left")
    return figure
