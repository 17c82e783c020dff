"""How training went and where it errs: curves over epochs, confusion matrices.

Imports `columns`, `scoring`, `reporting.palette`, `reporting.plots.base` only.
"""

from typing import Any

import numpy as np
import pandas as pd

from meiju_utils.columns import Classes
from meiju_utils.reporting.palette import INK, capital, score_colors, score_title
from meiju_utils.reporting.plots.base import (
    MANY_CLASSES,
    Plot,
    heatmap,
    message,
    of_so_many,
    panel_title,
    short,
    shown_classes,
    subplots,
)
from meiju_utils.scoring import JOINT

_LOSS_COLORS = ("#444444", "#D98E04", "#4E9A5B", "#7A4E9A")


def training_curves(history: pd.DataFrame) -> Plot:
    """Losses and validation scores over epochs: thin lines are seeds, thick ones their mean
    (while all of them train); a dot marks the epoch whose weights were kept.

    `history`: one row an epoch, with epoch, maybe seed, stage (stages follow each other on the
    axis) and best, any columns whose names end in "loss" (of one quantity, as they share an axis),
    and of each task and joint the score, with `valid_` before it.
    """
    if history.empty:
        return message("No epochs were trained yet.")
    table, starts = _one_axis(history)
    losses = [str(column) for column in table.columns if str(column).endswith("loss")]
    named = [str(c).removeprefix("valid_") for c in table if str(c).startswith("valid_")]
    scores = [name for name in named if not name.endswith("loss")]
    if len(scores) == 2:  # of one task its own is the joint score
        scores.remove(JOINT)
    score_color = score_colors(scores)
    figure, axes = subplots(1, 2, width=10.5, height=3.6)
    left, right = axes[0]
    colors = dict(zip(losses, _LOSS_COLORS, strict=False))
    for loss, color in colors.items():
        _lines(left, table, loss, color, loss.replace("_", " "))
    for score in scores:
        _lines(right, table, f"valid_{score}", score_color[score], score_title(score))
    _mark_best(left, table, "valid_loss", colors.get("valid_loss", INK))
    chooser = scores[-1] if scores else JOINT
    _mark_best(right, table, f"valid_{chooser}", score_color[chooser])
    seeds = len(table["seed"].unique())
    of_seeds = f", {seeds} seeds and their mean" if seeds > 1 else ""
    for ax, what, unit in (
        (left, "Loss", "Objective, mean over clips (nats)"),
        (right, "Validation scores", "Score"),
    ):
        for stage, start in starts.items():
            ax.axvline(start, color="#BBBBBB", linewidth=0.9, linestyle="--")
            place = ax.get_xaxis_transform()
            ax.text(start, 1.0, f" {stage}", transform=place, fontsize=8, va="top", color=INK)
        panel_title(ax, what + of_seeds)
        ax.set_xlabel("Epoch")
        ax.set_ylabel(unit)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8.5)
    return figure


def _one_axis(history: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """The history with `place` counting on through the stages, and where later stages start."""
    table = history.assign(place=history["epoch"].astype(float))
    for column, default in (("seed", 0), ("stage", "")):
        if column not in table:
            table[column] = default
    starts: dict[str, float] = {}
    end = 0.0
    for stage in table["stage"].unique():
        rows = table["stage"] == stage
        if end:
            # Seeds stop early at different epochs; the next stage starts after the last of them.
            table.loc[rows, "place"] += end + 1 - table.loc[rows, "epoch"].min()
            starts[str(stage)] = end + 0.5
        end = float(table.loc[rows, "place"].max())
    return table, starts


def _mark_best(ax: Any, table: pd.DataFrame, column: str, color: str) -> None:
    """A dot for each seed and stage at the epoch that was chosen."""
    if column in table and "best" in table:
        best = table[table["best"].astype(bool)]
        ax.plot(
            best["place"],
            best[column],
            "o",
            color=color,
            markersize=5,
            markeredgecolor="white",
            zorder=5,
            label="epoch that was kept",
        )


def _lines(ax: Any, table: pd.DataFrame, column: str, color: str, label: str) -> None:
    """One quantity: a thin line a seed and a thick one for their mean, broken between stages."""
    for _, stage in table.dropna(subset=[column]).groupby("stage", sort=False):
        for _, rows in stage.groupby("seed"):
            ax.plot(rows["place"], rows[column], color=color, linewidth=0.7, alpha=0.35)
        by_place = stage.groupby("place")[column].agg(["mean", "size"])
        # Where a seed has stopped early, the mean of the others would jump for no reason of theirs.
        mean = by_place.loc[by_place["size"] == by_place["size"].max(), "mean"]
        ax.plot(mean.index, mean, color=color, linewidth=1.8, label=label)
        label = "_"  # one entry in the legend


def confusion_matrices(truth: pd.DataFrame, predicted: pd.DataFrame, classes: Classes) -> Plot:
    """All tasks side by side: rows true, columns predicted, in percent of the true class (count).

    `truth` and `predicted` hold a column a task (label strings), which `predicted` may lack, for
    the same clips in the same order; `classes` are the setting's, of which very many are cut to the
    most frequent. A clip whose label is not known does not count.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true and {len(predicted)} predicted clips: give the same.")
    if truth.empty:
        return message("No clips with known labels: no confusions to show.")
    tasks = [task for task in classes if task in predicted]
    shown = {task: shown_classes(truth[task], classes[task]) for task in tasks}
    most = max(map(len, shown.values()))
    rows, columns = (len(tasks), 1) if most > MANY_CLASSES else (1, len(tasks))
    figure, axes = subplots(
        rows,
        columns,
        width=max(6.25, 1.9 + 0.55 * most) * columns,
        height=max(5, 1.4 + 0.42 * most) * rows,
    )
    for ax, task in zip(axes.flat, tasks, strict=True):
        bar = "Share of the true class (%)" if task == tasks[-1] else ""
        labels = shown[task]
        table = pd.crosstab(truth[task].to_numpy(), predicted[task].to_numpy()).reindex(
            index=list(classes[task]), columns=list(classes[task]), fill_value=0
        )
        totals = table.sum(axis=1)[labels]
        counts = table.loc[labels, labels].rename_axis(index=None, columns=None)
        percent = 100 * counts.div(totals.where(totals > 0), axis=0)
        cells = [
            [f"{p:.0f}\n({n})" if n else "" for p, n in zip(row, numbers, strict=True)]
            for row, numbers in zip(percent.to_numpy(), counts.to_numpy(), strict=True)
        ]
        percent.index = pd.Index([f"{short(label)} ({totals[label]})" for label in labels])
        heatmap(ax, percent, np.array(cells), bar, cmap="Blues", vmin=0, vmax=100)
        right = int(np.trace(table.to_numpy()))
        panel_title(ax, f"{capital(task)}: {right} of {table.to_numpy().sum()} right")
        ax.set_xlabel("Predicted" + of_so_many(labels, classes[task]))
        ax.set_ylabel("True (clips)")
    return figure
