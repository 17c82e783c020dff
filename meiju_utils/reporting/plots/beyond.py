"""What goes beyond the paper: reliability, members' weights, the pool's shares of classes.

Imports `reporting.palette`, `reporting.plots.base`, `scoring`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from meiju_utils.reporting.palette import INK, REFERENCE_COLOR, capital, score_colors
from meiju_utils.reporting.plots.base import Plot, message, names_down, panel_title, subplots
from meiju_utils.scoring import calibration_error

if TYPE_CHECKING:
    from meiju_utils.pool.label_shift import LabelShift

LEAST_SHOWN = 0.005  # weights below are as good as none


def reliability_diagram(tables: Mapping[str, pd.DataFrame]) -> Plot:
    """How often the likeliest label is right against how sure it is, by task; on the line both
    agree. `tables` by name are `scoring.reliability`'s; behind a name stands its calibration error.
    """
    known = {name: table for name, table in tables.items() if len(table)}
    if not known:
        return message("No clip's label is known: nothing to compare.")
    tasks = list(dict.fromkeys(task for table in known.values() for task in table["task"]))
    figure, axes = subplots(1, len(tasks), width=5.2 * len(tasks), height=4.6, sharey=True)
    colors = [REFERENCE_COLOR, *score_colors(tasks).values()]
    for ax, task in zip(axes[0], tasks, strict=True):
        ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for place, (name, table) in enumerate(known.items()):
            own = table[table["task"] == task]
            error = calibration_error(own)[task]
            color = colors[0] if place == 0 else score_colors(tasks)[task]
            line = "--" if place == 0 else "-"
            label = f"{name} (error {error:.3f})"
            ax.plot(own["confidence"], own["accuracy"], line, marker="o", color=color, label=label)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_xlabel("Probability of the likeliest label")
        ax.legend(frameon=False, fontsize=8.5, loc="upper left")
        panel_title(ax, capital(task))
    axes[0, 0].set_ylabel("Share of clips in which it is right")
    last = next(reversed(known))
    errors = calibration_error(known[last]).items()
    told = ", ".join(f"{task} {error:.3f}" for task, error in errors)
    figure.finding = f"Calibration error {last}: {told}"
    return figure


def opinion_weights(table: pd.DataFrame) -> Plot:
    """How much each member of a learned ensemble is believed, by task: task, member, weight."""
    if table.empty:
        return message("No weights are learned here: all members count alike.")
    tasks = list(dict.fromkeys(table["task"]))
    wide = table.pivot_table(index="member", columns="task", values="weight", sort=False)
    shown = wide[(wide >= LEAST_SHOWN).any(axis=1)]
    shown = shown.loc[shown.sum(axis=1).sort_values(ascending=False).index]
    figure, axes = subplots(
        1, len(tasks), width=10.5, height=1.4 + 0.28 * len(shown), sharey=True, sharex=True
    )
    for ax, task in zip(axes[0], tasks, strict=True):
        values = shown[task].to_numpy(dtype=np.float64)
        ax.barh(range(len(shown)), values, 0.62, color=score_colors(tasks)[task], alpha=0.85)
        for place, value in enumerate(values):
            if value >= LEAST_SHOWN:
                ax.text(value + 0.008, place, f"{value:.2f}", va="center", fontsize=8)
        names_down(ax, shown.index.tolist())
        ax.set_xlim(0, float(shown.to_numpy().max()) * 1.15)
        panel_title(ax, capital(task))
    left_out = len(wide) - len(shown)
    rest = f"; {left_out} others have none" if left_out else ""
    axes[0, len(tasks) // 2].set_xlabel(f"Weight in the pool of opinions{rest}")
    figure.finding = f"Most believed: {shown.index[0]}" if len(shown) else ""
    return figure


def label_shares(shift: Mapping[str, "LabelShift"], truth: pd.DataFrame | None = None) -> Plot:
    """The classes' shares in train and, with 95 % intervals, in the pool, by task; in `truth`
    (split and a label a task), where the pool's is known, what they are."""
    known = {task: own.shares for task, own in shift.items() if own.shares["pool"].notna().all()}
    if not known:
        return message("There are no unlabelled clips: nothing to show.")
    figure, axes = subplots(1, len(known), width=5.6 * len(known), height=4.2)
    for ax, (task, shares) in zip(axes[0], known.items(), strict=True):
        places = np.arange(len(shares))
        ax.barh(places, shares["train"], 0.7, color=REFERENCE_COLOR, alpha=0.4, label="in train")
        reach = [shares["pool"] - shares["low"], shares["high"] - shares["pool"]]
        ax.errorbar(
            shares["pool"],
            places,
            xerr=np.maximum(np.array(reach), 0),
            fmt="o",
            color=score_colors(list(known))[task],
            capsize=3,
            label="in the pool, estimated",
        )
        if truth is not None and (truth["split"] == "unlabeled").any():
            own = (
                truth.loc[truth["split"] == "unlabeled", task]
                .value_counts(normalize=True)
                .reindex(shares["label"], fill_value=0)
            )
            ax.plot(own, places, "D", markerfacecolor="white", color=INK, label="in truth")
        names_down(ax, shares["label"].tolist())
        ax.set_xlabel("Share of clips")
        holds = "may be used" if shift[task].holds else "not used: the test refutes them"
        panel_title(ax, f"{capital(task)}: {holds}")
        ax.legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure


def expected_against_true(ledger: pd.DataFrame) -> Plot:
    """Joint score of submissions: expected, with its interval, against the true one.

    `ledger` as `read_ledger` gives it. The true score is the board's, or on test where its labels
    are known; expected is that of held-out train clips, or else of validation.
    """
    true = pd.to_numeric(ledger["board_joint"], errors="coerce")
    true = true.fillna(pd.to_numeric(ledger["test_joint"], errors="coerce"))
    figure, axes = subplots(1, 1, 5.2, 4.6)
    ax, low, high = axes[0, 0], 1.0, 0.0
    used = pd.Series(data=False, index=ledger.index)
    for split, mark, color in (("train", "o", "#0072B2"), ("valid", "s", "#C03A00")):
        value, down, up = (
            pd.to_numeric(ledger[f"{split}_joint{end}"], errors="coerce")
            for end in ("", "_low", "_high")
        )
        rows = value.notna() & true.notna() & ~used
        used |= rows
        if not rows.any():
            continue
        reach = np.stack([value - down, up - value])[:, rows].clip(0)
        ax.errorbar(
            value[rows],
            true[rows],
            xerr=np.nan_to_num(reach),
            fmt=mark,
            color=color,
            markersize=5,
            elinewidth=1,
            label="held-out train clips" if split == "train" else "validation",
        )
        low, high = (
            min(low, down[rows].min(), true[rows].min()),
            max(high, up[rows].max(), true[rows].max()),
        )
    if not used.any():
        return message("No submission has both an expected and a true score yet.")
    ends = [max(low - 0.03, 0), min(high + 0.03, 1)]
    ax.plot(ends, ends, color=REFERENCE_COLOR, linewidth=1, linestyle="--", label="as expected")
    ax.set_xlabel("Expected joint score")
    ax.set_ylabel("True joint score (board, or test)")
    panel_title(ax, f"{int(used.sum())} submissions: expected against true")
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return figure
