"""The network as it is: its parts with what they read and give, and where its gates open.

Imports `reporting.palette`, `reporting.plots.base`.
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from meiju_utils.reporting.palette import INK, capital, score_colors
from meiju_utils.reporting.plots.base import Plot, message, panel_title, subplots

_WIDE, _HIGH = 1.66, 1.12  # of a box, in inches as the axes have them
_GAP = 0.36  # between boxes that follow each other
_PALE = 0.14  # opacity of a box


def architecture(parts: pd.DataFrame) -> Plot:
    """The network drawn from its parts (`recipes.network_parts`): a box a part, with its kind, the
    shapes that a batch has before and behind it, and its number of parameters."""
    if parts.empty:
        return message("No network was trained: there is nothing to draw.")
    tasks = list(dict.fromkeys(parts["task"]))
    streams = [s for s in dict.fromkeys(parts["stream"]) if s]
    columns = [p for p in ("fusion", "interaction", "head") if (parts["part"] == p).any()]
    lane = len(streams) * (_HIGH + 0.22)
    width = (2 + len(columns)) * (_WIDE + _GAP) - _GAP
    height = len(tasks) * lane + (len(tasks) - 1) * 0.55
    figure, axes = subplots(width=width + 0.3, height=height + 0.9)
    ax = axes[0, 0]
    ax.set_axis_off()
    ax.set_xlim(-0.1, width + 0.1)
    ax.set_ylim(-0.25, height + 0.3)
    colors = score_colors(tasks)
    middles: dict[str, list[float]] = {stream: [] for stream in streams}
    fused: dict[str, tuple[float, float]] = {}
    for place, task in enumerate(tasks):
        own = parts[parts["task"] == task]
        top = height - place * (lane + 0.55)
        middle = top - lane / 2
        x = _WIDE + _GAP
        ax.text(x, top + 0.06, capital(task), color=colors[task], fontsize=10.5, weight="bold")
        encoders = own[own["part"] == "encoder"]
        for row, encoder in enumerate(encoders.to_dict("records")):
            y = top - (row + 0.5) * (_HIGH + 0.22)
            middles[encoder["stream"]].append(y)
            _box(ax, x, y, encoder["is"], encoder, colors[task])
            _arrow(ax, (x + _WIDE, y), (x + _WIDE + _GAP, middle))
        for part in columns:
            x += _WIDE + _GAP
            found = own[own["part"] == part]
            if found.empty:
                continue
            one: dict[str, Any] = found.iloc[0].to_dict()
            _box(ax, x, middle, f"{part}: {one['is']}", one, colors[task])
            if part != columns[-1]:
                _arrow(ax, (x + _WIDE, middle), (x + _WIDE + _GAP, middle))
            if part == "fusion":
                fused[task] = (x + _WIDE, middle)
    if "interaction" in columns and len(tasks) == 2:
        for own_task, other in (tasks, tasks[::-1]):  # each looks at the other
            start, end = fused[other], fused[own_task]
            _arrow(ax, start, (end[0] + _GAP, end[1]), colors[other], "--")
    for stream, places in middles.items():
        y = sum(places) / len(places)
        shape = parts.loc[parts["stream"] == stream, "reads"].iloc[0]
        _box(ax, 0, y, stream, {"reads": shape}, INK)
        for there in places:
            _arrow(ax, (_WIDE, y), (_WIDE + _GAP, there))
    total = int(parts["parameters"].sum())
    panel_title(ax, f"The joint network: {total / 1e6:.2f} million parameters in these parts")
    figure.finding = f"{len(parts)} parts of {len(tasks)} branches over {', '.join(streams)}"
    return figure


def gates(openings: pd.DataFrame, clip_id: str = "") -> Plot:
    """How far the gates of each task open for each stream (`recipes.gate_openings`): the spread
    over clips, and a diamond for one clip, by default the first."""
    if openings.empty:
        return message("This network has no gated interaction.")
    clip_id = clip_id or openings["clip_id"].iloc[0]
    tasks = list(dict.fromkeys(openings["task"]))
    figure, axes = subplots(1, len(tasks), width=4.4 * len(tasks), height=3.2, sharey=True)
    for ax, task in zip(axes[0], tasks, strict=True):
        own = openings[openings["task"] == task]
        streams = list(dict.fromkeys(own["stream"]))
        color = score_colors(tasks)[task]
        values = [own.loc[own["stream"] == stream, "gate"].to_numpy() for stream in streams]
        ax.boxplot(values, tick_labels=streams, medianprops={"color": color}, whis=(2.5, 97.5))
        one = own[own["clip_id"] == clip_id].set_index("stream")["gate"]
        if len(one):
            heights = [one[stream] for stream in streams]
            ax.plot(range(1, len(streams) + 1), heights, "D", color=color, label=clip_id)
            ax.legend(frameon=False, fontsize=8.5)
        panel_title(ax, f"{capital(task)} takes from the other task")
    axes[0, 0].set_ylabel("Mean opening of the gate, 0 to 1")
    means = openings.groupby(["task", "stream"], sort=False)["gate"].mean()
    widest = ", ".join(means.index[int(means.to_numpy().argmax())])
    figure.finding = f"Widest on average: {widest}, {means.max():.2f}"
    return figure


def _box(ax: Axes, x: float, y: float, title: str, part: dict[str, Any], color: str) -> None:
    box = FancyBboxPatch(
        (x, y - _HIGH / 2),
        *(_WIDE, _HIGH),
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=(color, _PALE),
        edgecolor=color,
        linewidth=1,
    )
    ax.add_patch(box)
    lines = textwrap.wrap(part.get("options", ""), 30)
    lines += [part["reads"], *([f"→ {part['gives']}"] if "gives" in part else [])]
    if "parameters" in part:
        lines.append(f"{part['parameters']:,} parameters".replace(",", " "))
    lines = [line for line in lines if line]
    top = y + 0.09 * len(lines)
    ax.text(x + _WIDE / 2, top, title, ha="center", va="center", fontsize=8.5, weight="bold")
    for place, line in enumerate(lines, start=1):
        ax.text(
            *(x + _WIDE / 2, top - 0.18 * place),
            line,
            ha="center",
            va="center",
            fontsize=7.4,
            color=INK,
        )


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str = "#888888",
    line: str = "-",
) -> None:
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 0.9, "linestyle": line}
    ax.annotate("", end, start, arrowprops=style | {"shrinkA": 1, "shrinkB": 1})
