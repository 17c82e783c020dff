"""Colours and names that every figure, table and page uses. Imports `challenge` only."""

from meiju_utils.challenge import Task

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
SCORE_COLORS = {"emotion": "#C03A00", "intent": "#2C1E7E", "joint": "#1A6E64"}
SCORE_TITLES = {"emotion": "Emotion F1", "intent": "Intent F1", "joint": "Joint score"}
# What stands beside ours for comparison, and text.
REFERENCE_COLOR = "#9A9A9A"
INK = "#333333"
