"""What embeddings know: probe scores by encoder, and a projection coloured by label.

Imports `challenge`, `scoring`, `reporting.palette`, `reporting.plots.base` only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import MODALITIES, Task
from meiju_utils.reporting.palette import label_colors, score_colors, score_title
from meiju_utils.reporting.plots.base import (
    Plot,
    best_of,
    error_lengths,
    message,
    names_down,
    panel_title,
    short,
    shown_classes,
    subplots,
)
from meiju_utils.scoring import scores_in


def probe_scores(table: pd.DataFrame) -> Plot:
    """Cross-validated scores of linear probes, a dot with its interval for each encoder.

    `table`: one row an encoder, with modality, encoder and, of each task and joint, the score with
    its `<score>_low` and `<score>_high`. Encoders stand by modality, best first.
    """
    scores = scores_in(table)
    colors = score_colors(scores)
    if table.empty or not scores:
        return message("No encoders were probed yet.")
    order = {modality: i for i, modality in enumerate(MODALITIES)}
    ordered = table.assign(order=table["modality"].map(order).fillna(len(order))).sort_values(
        ["order", scores[-1]], ascending=[True, False], kind="stable"
    )
    names = [f"{m} · {e}" for m, e in zip(ordered["modality"], ordered["encoder"], strict=True)]
    figure, axes = subplots(
        1, len(scores), width=10.5, height=1.1 + 0.36 * len(names), sharey=True, sharex=True
    )
    breaks = np.flatnonzero(np.diff(ordered["order"].to_numpy())) + 0.5
    for ax, score in zip(axes[0], scores, strict=True):
        ax.errorbar(
            ordered[score],
            range(len(names)),
            xerr=error_lengths(ordered, score),
            fmt="o",
            markersize=6,
            color=colors[score],
            ecolor=colors[score],
            elinewidth=1.6,
            capsize=3,
        )
        for place in breaks:
            ax.axhline(place, color="#CCCCCC", linewidth=0.8)
        names_down(ax, names)
        panel_title(ax, score_title(score))
    highest = max((ordered[s].to_numpy() + error_lengths(ordered, s)[1]).max() for s in scores)
    axes[0, 0].set_xlim(0, 1.06 * highest or 1)  # shared
    axes[0, len(scores) // 2].set_xlabel("Score of a linear probe, with 95 % interval")
    figure.finding = best_of(names, ordered[scores[-1]], score_title(scores[-1]))
    return figure


def projection(
    coordinates: NDArray[Any], labels: Sequence[str], task: Task, classes: Sequence[str]
) -> Plot:
    """Clips in the plane, coloured by label; clips without one ("") pale, behind the others.

    `classes`: the task's labels; of very many only the most frequent have a colour.
    """
    points = np.asarray(coordinates)
    names = np.asarray(labels)
    if len(points) == 0:
        return message("No embeddings to project.")
    shown = shown_classes(names.tolist(), classes)
    figure, axes = subplots(width=7.6, height=max(5, 0.22 * len(shown)))
    ax = axes[0, 0]
    unknown = ~np.isin(names, shown)
    if unknown.any():
        other = "another or no label" if (names[unknown] != "").any() else "no label"
        label = f"{other} ({unknown.sum()})"
        ax.scatter(*points[unknown].T, s=8, color="#DDDDDD", linewidths=0, label=label)
    colors = label_colors(task, classes)
    for name in shown:
        chosen = names == name
        if chosen.any():
            ax.scatter(
                *points[chosen].T,
                s=22,
                color=colors[name],
                edgecolors="white",
                linewidths=0.4,
                label=f"{short(name)} ({chosen.sum()})",
            )
    panel_title(ax, f"{len(points)} clips, coloured by {task}")
    ax.set_xlabel("First axis of the projection")
    ax.set_ylabel("Second axis of the projection")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5)
    return figure
