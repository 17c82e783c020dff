"""The synthetic corpus: real MP4 clips of drawn talking faces in the official folder layout.

For a new user without the licensed data, and for tests. Voice, face and words of a clip each show
its emotion and intent only some of the time, independently; a tenth of the training labels are
wrong. One cast of 24 people plays in all splits, as in clips cut from the same series, leads far
more often than others, whatever the labels. Importing it brings OpenCV, PyAV, SciPy.
"""

from meiju_utils.corpus.demo.build import (
    DemoCorpus,
    build_demo_corpus,
    read_true_labels,
    read_true_texts,
    truth_folder,
)
from meiju_utils.corpus.demo.plan import SIZES, Size

__all__ = [
    "SIZES",
    "DemoCorpus",
    "Size",
    "build_demo_corpus",
    "read_true_labels",
    "read_true_texts",
    "truth_folder",
]
