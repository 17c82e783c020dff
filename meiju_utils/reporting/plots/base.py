"""What all plots share: the look, and a figure that shows itself in a notebook.

Imports `reporting.palette` only.
"""

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from numpy.typing import NDArray

from meiju_utils.reporting.palette import INK

_DPI = 110
MOST_ALT = 400  # characters of a figure in words
MOST_CLASSES = 20  # that a figure shows
MANY_CLASSES = 12  # panels with more stand below each other, their names steeper
LONGEST_LABEL = 24  # characters
_FONT = "DejaVu Sans"  # comes with matplotlib
_CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Heiti TC"),
    *("Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    "Arial Unicode MS",
)
_LITERAL: Any = {"text.parse_math": False}  # a $ in a name is a $
_STYLE: Any = _LITERAL | {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": _FONT,
    "grid.color": "#E8E8E8",
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


class Plot(Figure):
    """A figure made without pyplot, hence without global state; a notebook shows it as PNG.

    `finding`: what it shows, in a sentence for those who do not see it.
    """

    finding: str = ""

    def _repr_png_(self) -> bytes:
        return png(self)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"image/png": {"alt": alt_text(self)}}


def alt_text(figure: Figure) -> str:
    """A figure in words: its finding, its titles, what its axes and marks stand for."""
    told = [getattr(figure, "finding", "")]
    told.append(figure.get_suptitle())
    for ax in figure.axes:
        axes = [name for name in (ax.get_xlabel(), ax.get_ylabel()) if name]
        told += [ax.get_title(loc="left") or ax.get_title(), " against ".join(axes)]
        legend = ax.get_legend()
        told.append(", ".join(text.get_text() for text in legend.get_texts()) if legend else "")
    if not any(told):  # of words alone
        told = [text.get_text() for text in figure.findobj(Text)]
    parts = dict.fromkeys(" ".join(part.split()).rstrip(".") for part in told if part.strip())
    return ". ".join(parts)[:MOST_ALT] or "A figure"


def best_of(names: Sequence[str], values: Any, what: str) -> str:
    """A finding: which of some is largest."""
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).any():
        return ""
    place = int(np.nanargmax(numbers))
    return f"Best by {what}: {names[place]}, {numbers[place]:.3f}"


def png(figure: Figure) -> bytes:
    """The figure as PNG, without dates or versions in it: equal figures give equal bytes.

    Text is shown as it stands, names of clips among it: a `$` sets no formula, and Chinese is drawn
    where a font with it is installed.
    """
    buffer = io.BytesIO()
    # What is made while drawing, as some ticks are, obeys the context; what is there is told.
    with rc_context(_LITERAL | {"font.family": _families()}), _no_glyph_warnings():
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_fontfamily(_families())
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _no_glyph_warnings() -> Iterator[None]:
    """Of characters that no installed font has: a box is shown in their place."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield


@cache
def _families() -> list[str]:
    """The house font, and the first that is installed of those with Chinese characters."""
    installed = {font.name for font in fontManager.ttflist}
    return [_FONT, *[name for name in _CHINESE_FONTS if name in installed][:1]]


def legible(text: str) -> bool:
    """Whether a font for all of a text's characters is certain to be here."""
    return len(_families()) > 1 or all(ord(character) < 0x2E80 for character in text)


def subplots(
    rows: int = 1, columns: int = 1, width: float = 9, height: float = 3.6, **options: Any
) -> tuple[Plot, NDArray[Any]]:
    """A figure of `width` × `height` inches and its axes [rows, columns] in the house style."""
    with rc_context(_STYLE):
        figure = Plot(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, np.asarray(axes)


def panel_title(ax: Axes, text: str) -> None:
    """A panel's title, in the house style."""
    ax.set_title(text, loc="left", fontsize=10.5, fontweight="bold", color=INK)


def message(text: str) -> Plot:
    """A figure that says why there is nothing to see."""
    figure, axes = subplots(height=1.2)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, text, ha="center", va="center", color=INK, fontsize=10)
    return figure


def shown_classes(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Classes in order; of more than MOST_CLASSES those that occur most often in `labels`."""
    if len(classes) <= MOST_CLASSES:
        return list(classes)
    counts = Counter(labels)
    most = set(sorted(classes, key=lambda label: -counts[label])[:MOST_CLASSES])
    return [label for label in classes if label in most]


def of_so_many(shown: Sequence[str], classes: Sequence[str]) -> str:
    """What a title says where not all classes are shown."""
    left = len(classes) - len(shown)
    return f" (the {len(shown)} most frequent of {len(classes)} labels)" if left else ""


def short(label: str) -> str:
    """A label as a tick: long ones end in an ellipsis."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def images_only(axes: NDArray[Any]) -> None:
    """Neither ticks nor frames."""
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)


def label_colorbar(bar: Colorbar, label: str) -> None:
    """A colour bar's label and small ticks."""
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=INK, length=2)
    bar.outline.set_visible(False)


def heatmap(
    ax: Axes,
    values: pd.DataFrame,
    annotations: NDArray[Any] | pd.DataFrame,
    colorbar: str,
    **options: Any,
) -> None:
    """An annotated matrix with its index on the left and its columns below.

    `colorbar` is its label; "" leaves it out.
    """
    with rc_context(_LITERAL), _no_glyph_warnings():  # seaborn measures the names: they are drawn
        sns.heatmap(
            values,
            ax=ax,
            annot=np.asarray(annotations),
            fmt="",
            linewidths=0.8,
            linecolor="white",
            annot_kws={"fontsize": 8},
            cbar=bool(colorbar),
            cbar_kws={"shrink": 0.85, "pad": 0.02},
            **options,
        )
    bar = ax.collections[0].colorbar
    if bar is not None:
        label_colorbar(bar, colorbar)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    names_below(ax, [text.get_text() for text in ax.get_xticklabels()])
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)


def error_lengths(table: pd.DataFrame, score: str) -> NDArray[np.float64]:
    """Distances [2, N] from a score down and up to its interval's ends; 0 where it has none."""
    value = table[score].to_numpy(dtype=np.float64)
    if f"{score}_low" not in table:
        return np.zeros((2, len(value)))
    low, high = (table[f"{score}_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
    lengths = np.clip(np.stack([value - low, high - value]), 0, None)
    return np.asarray(np.nan_to_num(lengths), dtype=np.float64)


def names_below(ax: Axes, names: Sequence[str]) -> None:
    """Names below the ticks that are there, steeper where they are many."""
    steep = 35 if len(names) <= MANY_CLASSES else 60
    ax.set_xticklabels(
        [short(name) for name in names], rotation=steep, ha="right", rotation_mode="anchor"
    )


def names_down(ax: Axes, names: Sequence[str]) -> None:
    """Names on the y axis, the first one on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
