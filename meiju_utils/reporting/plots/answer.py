"""One clip and the answer to it: frames with the chosen face, sound and pitch, both bars.

Imports `reporting.palette`, `reporting.plots.base` only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from meiju_utils.reporting.palette import INK, REFERENCE_COLOR, capital, label_colors
from meiju_utils.reporting.plots.base import Plot, legible, names_down, panel_title, subplots

_FRAMES = 5
_BOX, _PITCH = "#D55E00", "#0072B2"
_MARKS = {"audio": "o", "visual": "s", "text": "^"}  # told apart without colour
_LINE = 90  # characters of a text


@dataclass(frozen=True)
class ShownClip:
    """What is seen and heard of a clip: `frames` RGB at `times` (s), `track` [T, 4] of the chosen
    face (see `preprocessing.store`), `samples` at `rate` Hz, `pitch` in Hz every 10 ms."""

    title: str
    frames: Sequence[NDArray[np.uint8]]
    times: NDArray[np.float64]
    track: NDArray[np.float64]
    samples: NDArray[np.float32]
    rate: int
    pitch: NDArray[np.float64]
    text: str
    why: str


def clip_answer(
    clip: ShownClip,
    answer: Mapping[str, Mapping[str, Any]],
    alone: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> Plot:
    """The clip above, the probabilities of each task below; marks are what a modality alone says.

    `answer`: of each task `label` and `probabilities` by label; `alone` the same by modality.
    """
    low = 0.24 * max(len(own["probabilities"]) for own in answer.values()) + 0.4
    figure, axes = subplots(3, 1, 10.5, 4.2 + low, height_ratios=[2.1, 1.2, low])
    for ax in axes.flat:
        ax.set_axis_off()
    grid = axes[0, 0].get_gridspec()
    _frames(figure, grid[0], clip)
    _sound(figure.add_subplot(grid[1]), clip)
    below = grid[2].subgridspec(1, len(answer))
    for place, (task, own) in enumerate(answer.items()):
        said = {modality: tasks[task]["probabilities"] for modality, tasks in alone.items()}
        _bars(figure.add_subplot(below[0, place]), task, own, said, legend=place == 0)
    words = _cut(clip.text) if legible(clip.text) else "(no font here has its words)"
    heading = f"{clip.title}:  {words}" if clip.text else clip.title
    figure.suptitle(heading, fontsize=11, color=INK, x=0.01, ha="left", fontweight="bold")
    told = [f"{task} {own['label']}" for task, own in answer.items()]
    figure.finding = f"{clip.title}: {' and '.join(told)}"
    return figure


def _frames(figure: Plot, place: Any, clip: ShownClip) -> None:
    count = max(len(clip.frames), 1)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _FRAMES)).round().astype(int))
    inner = place.subgridspec(1, max(len(chosen), 3))
    for column, index in enumerate(chosen):
        ax = figure.add_subplot(inner[0, column])
        ax.set_axis_off()
        if not len(clip.frames):
            ax.text(0, 0.5, "no picture", color=INK)
            continue
        ax.imshow(clip.frames[index])
        seconds = float(clip.times[index]) if index < len(clip.times) else 0.0
        ax.set_title(f"{seconds:.1f} s", fontsize=8, color=INK)
        _box(ax, clip.track, seconds)
        ax.set_xlim(0, clip.frames[index].shape[1])
        ax.set_ylim(clip.frames[index].shape[0], 0)
    ax = figure.add_subplot(inner[0, 0], frameon=False)
    ax.set_axis_off()
    told = f"Box: {clip.why}"
    ax.text(0, -0.08, told, fontsize=8.5, color=INK, transform=ax.transAxes, va="top")


def _box(ax: Axes, track: NDArray[np.float64], seconds: float) -> None:
    """The chosen face where it is at a time."""
    for _, x, y, half in track[np.abs(track[:, 0] - seconds) < 0.05][:1] if len(track) else []:
        left, right, top, bottom = x - half, x + half, y - half, y + half
        across, down = [left, right, right, left, left], [top, top, bottom, bottom, top]
        ax.plot(across, down, color=_BOX, linewidth=2)


def _sound(ax: Axes, clip: ShownClip) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    panel_title(ax, "Sound, and pitch of the voice")
    ax.tick_params(labelsize=8.5)
    if not len(clip.samples):
        ax.text(0.5, 0.5, "no sound", ha="center", color=INK, transform=ax.transAxes)
        return
    step = max(len(clip.samples) // 2000, 1)
    usable = clip.samples[: len(clip.samples) // step * step].reshape(-1, step)
    seconds = np.arange(len(usable)) * step / clip.rate
    low, high = usable.min(axis=1), usable.max(axis=1)
    ax.fill_between(seconds, low, high, color=REFERENCE_COLOR, linewidth=0)
    ax.set_xlim(0, len(clip.samples) / clip.rate)
    ax.set_xlabel("Time (s)", fontsize=9)
    ax.set_yticks([])
    if np.isfinite(clip.pitch).any():
        other = ax.twinx()
        other.spines[["top", "left"]].set_visible(False)
        times = np.arange(len(clip.pitch)) / 100 + 0.02
        other.plot(times, clip.pitch, ".", color=_PITCH, markersize=3)
        other.set_ylabel("Pitch (Hz)", fontsize=9, color=_PITCH)
        other.tick_params(labelsize=8.5, colors=_PITCH)
        other.set_ylim(50, 500)


def _bars(
    ax: Axes,
    task: str,
    own: Mapping[str, Any],
    alone: Mapping[str, Mapping[str, float]],
    legend: bool,
) -> None:
    shares: Mapping[str, float] = own["probabilities"]
    names, colors = list(shares), label_colors(task, list(shares))
    places = np.arange(len(names))
    ax.barh(
        places,
        list(shares.values()),
        color=[colors[name] for name in names],
        edgecolor=[INK if name == own["label"] else "none" for name in names],
        linewidth=1.6,
        height=0.72,
    )
    for modality, said in alone.items():
        ax.plot(
            [said[name] for name in names],
            places,
            _MARKS.get(modality, "d"),
            color=INK,
            markerfacecolor="white",
            markersize=4.5,
            linewidth=0,
            label=f"{modality} alone",
        )
    names_down(ax, names)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(0, max(1.0 if max(shares.values()) > 0.6 else 0.75, *shares.values()))
    ax.set_xlabel("Probability", fontsize=9)
    ax.tick_params(labelsize=8.5)
    panel_title(ax, f"{capital(task)}: {own['label']}, {shares[own['label']]:.0%}")
    if legend and alone:
        ax.legend(frameon=False, fontsize=8, loc="lower right")


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
