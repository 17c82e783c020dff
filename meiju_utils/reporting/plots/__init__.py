"""Plots by topic. Each function takes data and returns a figure; none shows or saves it.

Sentences in Chinese are shown in the HTML tables of `reporting.tables`: no font with Chinese glyphs
is certain to be there for figures, which use one where it is (for names of clips).
"""

from meiju_utils.reporting.palette import EMOTION_COLORS, INTENT_COLORS, LABEL_COLORS
from meiju_utils.reporting.plots.answer import ShownClip, clip_answer
from meiju_utils.reporting.plots.base import Plot, alt_text, message, png
from meiju_utils.reporting.plots.beyond import (
    expected_against_true,
    label_shares,
    opinion_weights,
    reliability_diagram,
)
from meiju_utils.reporting.plots.corpus import (
    duration_histogram,
    label_histograms,
    label_pair_heatmap,
)
from meiju_utils.reporting.plots.embeddings import probe_scores, projection
from meiju_utils.reporting.plots.media import face_crops, frame_strip, waveform_and_mel
from meiju_utils.reporting.plots.network import architecture, gates
from meiju_utils.reporting.plots.pseudo_labels import coverage_precision, pseudo_label_balance
from meiju_utils.reporting.plots.scores import agreement_heatmap, score_bars, table_one
from meiju_utils.reporting.plots.speaker import speaker_tracks
from meiju_utils.reporting.plots.training import confusion_matrices, training_curves

__all__ = [
    "EMOTION_COLORS",
    "INTENT_COLORS",
    "LABEL_COLORS",
    "Plot",
    "ShownClip",
    "agreement_heatmap",
    "alt_text",
    "architecture",
    "clip_answer",
    "confusion_matrices",
    "coverage_precision",
    "duration_histogram",
    "expected_against_true",
    "face_crops",
    "frame_strip",
    "gates",
    "label_histograms",
    "label_pair_heatmap",
    "label_shares",
    "message",
    "opinion_weights",
    "png",
    "probe_scores",
    "projection",
    "pseudo_label_balance",
    "reliability_diagram",
    "score_bars",
    "speaker_tracks",
    "table_one",
    "training_curves",
    "waveform_and_mel",
]
