"""What is in the corpus: labels, label pairs, durations. All take the clips table.

Imports `challenge`, `reporting.palette`, `reporting.plots.base` only.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, SPLITS, TASKS
from meiju_utils.reporting.palette import LABEL_COLORS
from meiju_utils.reporting.plots.base import Plot, heatmap, message, panel_title, subplots

_SPLIT_COLORS = {"train": "#1F4E79", "valid": "#D98E04", "test": "#4E9A5B", "unlabeled": "#9A9A9A"}


def label_pair_heatmap(clips: pd.DataFrame) -> Plot:
    """How many clips have each pair of emotion and intent; pairs that never occur stay white."""
    known = clips[(clips["emotion"] != "") & (clips["intent"] != "")]
    if known.empty:
        return message("No labelled clips: no label pairs to show.")
    counts = (
        pd.crosstab(known["emotion"], known["intent"])
        .reindex(index=list(EMOTIONS), columns=list(INTENTS), fill_value=0)
        .rename_axis(index=None, columns=None)
    )
    figure, axes = subplots(width=8.4, height=4.4)
    ax = axes[0, 0]
    heatmap(ax, counts, counts.astype(str), "clips", cmap="Blues", vmin=0)
    splits = ", ".join(split for split in SPLITS if (known["split"] == split).any())
    empty = int((counts == 0).to_numpy().sum())
    panel_title(ax, f"Label pairs of {len(known)} clips ({splits}); {empty} of 56 never occur")
    ax.set_xlabel("Intent")
    ax.set_ylabel("Emotion")
    return figure


def label_histograms(clips: pd.DataFrame) -> Plot:
    """Share of each label within each split whose labels are known."""
    known = clips[(clips["emotion"] != "") & (clips["intent"] != "")]
    splits = [split for split in SPLITS if (known["split"] == split).any()]
    if not splits:
        return message("No labelled clips: no label histogram to show.")
    figure, axes = subplots(1, 2, width=10.5, height=3.8, sharey=True)
    width = 0.8 / len(splits)
    shades = np.linspace(1, 0.35, len(splits))
    for ax, task in zip(axes[0], TASKS, strict=True):
        classes = list(CLASSES[task])
        colors = [LABEL_COLORS[task][label] for label in classes]
        for i, (split, shade) in enumerate(zip(splits, shades, strict=True)):
            labels = known.loc[known["split"] == split, task]
            share = labels.value_counts(normalize=True).reindex(classes, fill_value=0)
            place = np.arange(len(classes)) + (i - (len(splits) - 1) / 2) * width
            ax.bar(place, 100 * share, width, color=colors, alpha=shade)
        ax.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
        ax.grid(visible=False, axis="x")
        ax.set_xlabel(task.capitalize())
        panel_title(ax, f"{task.capitalize()} labels")
    axes[0, 0].set_ylabel("Share of the split's clips (%)")
    counts = known["split"].value_counts()
    handles = [
        Patch(color="#444444", alpha=shade, label=f"{split} ({counts[split]} clips)")
        for split, shade in zip(splits, shades, strict=True)
    ]
    axes[0, 1].legend(handles=handles, frameon=False, fontsize=8.5)
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
