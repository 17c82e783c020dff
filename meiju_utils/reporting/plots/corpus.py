"""What is in the corpus: labels, label pairs, durations. All take the clips table.

Imports `challenge`, `predictions`, `reporting.palette`, `reporting.plots.base` only.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from meiju_utils.challenge import SPLITS
from meiju_utils.columns import Classes
from meiju_utils.predictions import labelled
from meiju_utils.reporting.palette import capital, label_colors
from meiju_utils.reporting.plots.base import (
    Plot,
    heatmap,
    message,
    names_below,
    of_so_many,
    panel_title,
    short,
    shown_classes,
    subplots,
)

_SPLIT_COLORS = {"train": "#1F4E79", "valid": "#D98E04", "test": "#4E9A5B", "unlabeled": "#9A9A9A"}


def label_pair_heatmap(clips: pd.DataFrame, classes: Classes) -> Plot:
    """How many clips have each pair of two tasks' labels; pairs that never occur stay white.

    `classes`: those of the setting; of one task a figure that says so.
    """
    if len(classes) < 2:
        return message(f"One task, {next(iter(classes))}: there are no label pairs to show.")
    known = labelled(clips, classes)
    if known.empty:
        return message("No labelled clips: no label pairs to show.")
    (first, rows), (second, columns) = (
        (task, shown_classes(known[task], labels)) for task, labels in classes.items()
    )
    counts = (
        pd.crosstab(known[first], known[second])
        .reindex(index=rows, columns=columns, fill_value=0)
        .rename_axis(index=None, columns=None)
    )
    figure, axes = subplots(
        width=max(8.4, 3 + 0.5 * len(columns)), height=max(4.4, 1.6 + 0.34 * len(rows))
    )
    ax = axes[0, 0]
    heatmap(ax, counts.rename(index=short), counts.astype(str), "clips", cmap="Blues", vmin=0)
    splits = ", ".join(split for split in SPLITS if (known["split"] == split).any())
    every = len(classes[first]) * len(classes[second])
    empty = every - len(known[[first, second]].drop_duplicates())
    panel_title(ax, f"Label pairs of {len(known)} clips ({splits}); {empty} of {every} never occur")
    ax.set_xlabel(capital(second) + of_so_many(columns, classes[second]))
    ax.set_ylabel(capital(first) + of_so_many(rows, classes[first]))
    return figure


def label_histograms(clips: pd.DataFrame, classes: Classes) -> Plot:
    """Share of each label of the setting's `classes` within each split whose labels are known."""
    known = labelled(clips, classes)
    splits = [split for split in SPLITS if (known["split"] == split).any()]
    if not splits:
        return message("No labelled clips: no label histogram to show.")
    shown = {task: shown_classes(known[task], labels) for task, labels in classes.items()}
    most = max(map(len, shown.values()))
    wide = max(5.25, 1 + 0.25 * most) * len(classes)
    figure, axes = subplots(1, len(classes), width=wide, height=3.8, sharey=True)
    width = 0.8 / len(splits)
    shades = np.linspace(1, 0.35, len(splits))
    for ax, (task, labels) in zip(axes[0], shown.items(), strict=True):
        by_label = label_colors(task, classes[task])
        colors = [by_label[label] for label in labels]
        for i, (split, shade) in enumerate(zip(splits, shades, strict=True)):
            own = known.loc[known["split"] == split, task]
            share = own.value_counts(normalize=True).reindex(labels, fill_value=0)
            place = np.arange(len(labels)) + (i - (len(splits) - 1) / 2) * width
            ax.bar(place, 100 * share, width, color=colors, alpha=shade)
        ax.set_xticks(range(len(labels)))
        names_below(ax, labels)
        ax.grid(visible=False, axis="x")
        ax.set_xlabel(capital(task) + of_so_many(labels, classes[task]))
        panel_title(ax, f"{capital(task)} labels")
    axes[0, 0].set_ylabel("Share of the split's clips (%)")
    counts = known["split"].value_counts()
    handles = [
        Patch(color="#444444", alpha=shade, label=f"{split} ({counts[split]} clips)")
        for split, shade in zip(splits, shades, strict=True)
    ]
    axes[0, -1].legend(handles=handles, frameon=False, fontsize=8.5)
    return figure


def duration_histogram(clips: pd.DataFrame) -> Plot:
    """Durations by split, each split's bars adding up to 100 %."""
    known = clips.dropna(subset=["duration_s"])
    if known.empty:
        return message("Durations are not known: no video has been read.")
    figure, axes = subplots(width=8, height=3.4)
    ax = axes[0, 0]
    splits = [split for split in SPLITS if (known["split"] == split).any()]
    sns.histplot(
        known,
        x="duration_s",
        hue="split",
        hue_order=splits,
        palette={split: _SPLIT_COLORS[split] for split in splits},
        stat="percent",
        common_norm=False,
        element="step",
        fill=False,
        linewidth=1.6,
        bins=24,
        ax=ax,
    )
    median, missing = known["duration_s"].median(), len(clips) - len(known)
    without = f"; {missing} clips without a duration" if missing else ""
    panel_title(ax, f"Durations of {len(known)} clips, median {median:.2f} s{without}")
    ax.set_xlabel("Duration (s)")
    ax.set_ylabel("Share of the split's clips (%)")
    legend = ax.get_legend()
    if legend is not None:
        legend.set_frame_on(False)
        legend.set_title("")
    return figure
