"""Scores side by side with their intervals: systems and yardsticks, Table I, ensemble members.

Score tables are tidy (see `scoring.table`). Imports `challenge`, `reporting.palette`,
`reporting.plots.base`, `reporting.tables`, `scoring`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from meiju_utils.challenge import PAPER_TABLE_I, Scores
from meiju_utils.reporting.palette import (
    INK,
    REFERENCE_COLOR,
    capital,
    score_colors,
    score_title,
)
from meiju_utils.reporting.plots.base import (
    Plot,
    best_of,
    error_lengths,
    heatmap,
    message,
    names_down,
    panel_title,
    subplots,
)
from meiju_utils.reporting.tables import has_paper, readable
from meiju_utils.scoring import MARK_MEANS, MEAN, SINGLE, YARDSTICKS, marked


def score_bars(table: pd.DataFrame, title: str = "", kind: str = MEAN) -> Plot:
    """A bar a system and score of a kind, with intervals, in the table's order; yardsticks grey."""
    if table.empty:
        return message("No scores yet.")
    table, scores = readable(table, kind)
    if not np.isfinite(table[scores].to_numpy(dtype=np.float64)).any():
        return message("No scores yet.")
    names = table["name"].tolist()
    is_yardstick = table["name"].isin(YARDSTICKS).to_numpy()
    figure, axes = subplots(
        1, len(scores), width=10.5, height=1.2 + 0.42 * len(names), sharey=True, sharex=True
    )
    highest = float(np.nanmax([table[s].to_numpy() + error_lengths(table, s)[1] for s in scores]))
    for ax, score in zip(axes[0], scores, strict=True):
        values = table[score].to_numpy(dtype=np.float64)
        errors = error_lengths(table, score)
        colors = np.where(is_yardstick, REFERENCE_COLOR, score_colors(scores)[score])
        ax.barh(range(len(names)), values, 0.62, color=colors, alpha=0.85)
        ax.errorbar(
            values,
            range(len(names)),
            xerr=errors,
            fmt="none",
            ecolor=INK,
            elinewidth=1.2,
            capsize=3,
        )
        for place, (value, error) in enumerate(zip(values, errors[1], strict=True)):
            if np.isfinite(value):
                ax.text(
                    value + error + 0.015 * highest, place, f"{value:.3f}", va="center", fontsize=8
                )
        names_down(ax, marked(table))
        ax.set_xlim(0, highest * 1.2 or 1)
        panel_title(ax, score_title(score))
    axes[0, len(scores) // 2].set_xlabel(_label("Score, with 95 % interval", table))
    if title:
        figure.suptitle(title, fontsize=10.5, color=INK)
    figure.finding = best_of(names, table[scores[-1]], score_title(scores[-1]))
    return figure


def table_one(ours: pd.DataFrame, paper: Mapping[str, Scores] = PAPER_TABLE_I) -> Plot:
    """Table I of the paper as a plot: ours with intervals, the paper's as hollow diamonds.

    `ours` is a score table whose systems are recipes, of which what one training is worth is shown.
    The paper's figures are on the test split of Track 1 Mandarin: compare the steps from row to row
    rather than the levels.
    """
    if ours.empty:
        return message("No recipe was trained yet.")
    table, scores = readable(ours, SINGLE)
    paper = paper if has_paper(scores) else {}
    names = [name for name in paper if name in set(table["name"])]
    names += [name for name in table["name"] if name not in paper]
    table = table.set_index("name").loc[names].reset_index()
    figure, axes = subplots(
        1, len(scores), width=10.5, height=1.5 + 0.42 * len(names), sharey=True, sharex=True
    )
    for ax, score in zip(axes[0], scores, strict=True):
        places = np.arange(len(names))
        ax.errorbar(
            table[score],
            places,
            xerr=error_lengths(table, score),
            fmt="o",
            color=score_colors(scores)[score],
            elinewidth=1.6,
            capsize=3,
        )
        published = [getattr(paper[name], score) if name in paper else np.nan for name in names]
        ax.plot(
            published,
            places + 0.25,
            "D",
            markerfacecolor="white",
            color=REFERENCE_COLOR,
            markersize=6,
        )
        names_down(ax, marked(table))
        panel_title(ax, score_title(score))
    axes[0, len(scores) // 2].set_xlabel(_label("Score", table))
    handles = [Line2D([], [], marker="o", color=INK, label="ours, with 95 % interval")]
    if paper:
        handles.append(
            Line2D(
                [],
                [],
                marker="D",
                color=REFERENCE_COLOR,
                markerfacecolor="white",
                linestyle="none",
                label="the paper's (Track 1 Mandarin, test)",
            )
        )
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=8.5)
    figure.finding = best_of(names, table[scores[-1]], score_title(scores[-1]))
    return figure


def _label(text: str, table: pd.DataFrame) -> str:
    """An axis label that says what the mark behind names means, where there is one."""
    return f"{text}\n{MARK_MEANS}" if marked(table) != table["name"].tolist() else text


def agreement_heatmap(table: pd.DataFrame) -> Plot:
    """How often members of an ensemble give the same label, by task.

    `table` is `decisions.agreement`'s: task, first, second, agreement.
    """
    if table.empty:
        return message("One member agrees with itself: nothing to compare.")
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    size = 0.75 * len(names)
    tasks = list(dict.fromkeys(table["task"]))
    figure, axes = subplots(1, len(tasks), width=4.6 + 2 * size, height=2.0 + 0.75 * size)
    for ax, task in zip(axes[0], tasks, strict=True):
        bar = "Clips given the same label (%)" if task == tasks[-1] else ""
        pairs = table[table["task"] == task]
        one_way = pairs.pivot_table(index="first", columns="second", values="agreement")
        square = one_way.reindex(index=names, columns=names)
        percent = 100 * square.fillna(square.T).rename_axis(index=None, columns=None)
        cells = percent.map(lambda value: "" if np.isnan(value) else f"{value:.0f}")
        heatmap(ax, percent, cells, bar, cmap="Greens", vmin=0, vmax=100)
        ax.set_xlabel("Member of the ensemble")
        panel_title(ax, capital(task))
    return figure
