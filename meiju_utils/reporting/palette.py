"""Colours and names that every figure, table and page uses. Imports `challenge`, `scoring`."""

from collections.abc import Sequence
from colorsys import hls_to_rgb

from meiju_utils.challenge import Task
from meiju_utils.scoring import JOINT

# Within a palette any two colours stay apart by at least 12 (CIEDE2000) under normal vision and
# simulated protanopia, deuteranopia and tritanopia. "neutral" is grey in both.
EMOTION_COLORS: dict[str, str] = {
    "happy": "#E69F00",
    "surprise": "#56B4E9",
    "sad": "#004D80",
    "disgust": "#009E73",
    "anger": "#C03A00",
    "fear": "#B65FA0",
    "neutral": "#A8A8A8",
}
INTENT_COLORS: dict[str, str] = {
    "questioning": "#2C1E7E",
    "agreeing": "#14692B",
    "acknowledging": "#6A87B5",
    "encouraging": "#C3BE3A",
    "consoling": "#8ACBF5",
    "suggesting": "#D98F8F",
    "wishing": "#9A28C9",
    "neutral": "#5F5F5F",
}
LABEL_COLORS: dict[Task, dict[str, str]] = {"emotion": EMOTION_COLORS, "intent": INTENT_COLORS}
# Of other labels, in order; of more labels than these, hues around the circle.
_QUALITATIVE = (
    *("#0072B2", "#E69F00", "#009E73", "#C03A00", "#B65FA0", "#56B4E9", "#6B5B00", "#A8A8A8"),
    *("#2C1E7E", "#C3BE3A", "#14692B", "#D98F8F", "#9A28C9", "#5F5F5F"),
)
_SCORES = ("#C03A00", "#2C1E7E")  # of a setting's tasks, in order
_JOINT = "#1A6E64"
# What stands beside ours for comparison, and text.
REFERENCE_COLOR = "#9A9A9A"
INK = "#333333"


def label_colors(task: Task, classes: Sequence[str]) -> dict[str, str]:
    """A colour for each of a task's labels: MEIJU's have their own, others by their place."""
    known = LABEL_COLORS.get(task, {})
    if set(classes) <= known.keys():
        return {label: known[label] for label in classes}
    count = len(classes)
    return {
        label: _QUALITATIVE[place] if count <= len(_QUALITATIVE) else _hue(place, count)
        for place, label in enumerate(classes)
    }


def _hue(place: int, count: int) -> str:
    """One of many colours around the circle; neighbours differ in lightness, too."""
    red, green, blue = hls_to_rgb(place / count, (0.35, 0.5, 0.65)[place % 3], 0.65)
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def score_colors(scores: Sequence[str]) -> dict[str, str]:
    """A colour for each score of a table: its tasks in order, and the joint score's."""
    tasks = [score for score in scores if score != JOINT]
    return {JOINT: _JOINT, **dict(zip(tasks, _SCORES, strict=False))}


def score_title(score: str) -> str:
    """A score's name for reading."""
    return "Joint score" if score == JOINT else f"{capital(score)} F1"


def capital(name: str) -> str:
    """A task's name as a heading."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
