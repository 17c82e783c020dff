"""From clips to audio, the speaker's face and clean text, with a reason for every choice."""

from meiju_utils.media.reading import Media
from meiju_utils.preprocessing.faces import ClipFaces
from meiju_utils.preprocessing.pipeline import inspect_clip, open_preprocessed, preprocess_corpus
from meiju_utils.preprocessing.review import ReviewedTexts, evaluate_suggestions, open_review
from meiju_utils.preprocessing.store import Preprocessed

__all__ = [
    "ClipFaces",
    "Media",
    "Preprocessed",
    "ReviewedTexts",
    "evaluate_suggestions",
    "inspect_clip",
    "open_preprocessed",
    "open_review",
    "preprocess_corpus",
]
