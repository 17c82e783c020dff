"""Which labels the clips have, and what each modality shows of them.

Label pairs follow the published lists (`label_pair_counts.csv`, counts of emotion x intent by
track, language and split). A modality shows the truth only some of the time, independently of the
others: that is what makes the three together better than one, and the task unsolved. Imports
`challenge` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import EMOTIONS, INTENTS, Language, TrackNumber

WRONG_LABELS = 0.1  # share of the training labels, of each task, that are not the true ones
_DRAWS = 2000  # attempts at a sample in which every class occurs

Pair = tuple[str, str]


def pair_counts(track: TrackNumber, language: Language, split: str) -> NDArray[np.int64]:
    """Published counts [7, 8] of emotion x intent, both in official order."""
    source = resources.files(__package__).joinpath("label_pair_counts.csv")
    with source.open(encoding="utf-8") as lines:
        table = pd.read_csv(lines, keep_default_na=False)
    rows = table[
        (table["track"] == track) & (table["language"] == language) & (table["split"] == split)
    ].set_index("emotion")
    return rows.loc[list(EMOTIONS), list(INTENTS)].to_numpy(dtype=np.int64)


def draw_pairs(counts: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[Pair]:
    """`size` label pairs distributed as `counts` [7, 8], in random order.

    Systematic sampling (equal steps through the cumulated counts): every pair and every emotion
    occurs as often as expected, rounded up or down. Among random starts and orders of the intents
    the first with every class is taken, or that with most classes where `size` is too small.
    """
    best: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)
    most = -1
    for _ in range(_DRAWS):
        columns = rng.permutation(len(INTENTS))
        edges = np.cumsum(counts[:, columns])
        marks = (np.arange(size) + rng.random()) * edges[-1] / size
        emotion, column = np.divmod(np.searchsorted(edges, marks, side="right"), len(INTENTS))
        intent = columns[column]
        classes = len(np.unique(emotion)) + len(np.unique(intent))
        if classes > most:
            best, most = np.stack([emotion, intent], axis=1), classes
        if most == len(EMOTIONS) + len(INTENTS):
            break
    return [(EMOTIONS[e], INTENTS[i]) for e, i in rng.permutation(best)]


def spoil_labels(
    pairs: Sequence[Pair], counts: NDArray[np.int64], rng: np.random.Generator
) -> list[Pair]:
    """The pairs with a tenth of the emotions and a tenth of the intents replaced by wrong ones.

    A wrong label is drawn by `counts` among those seen with the clip's other label, so that the
    spoiled list holds no pair the published lists do not.
    """
    wrong = [[EMOTIONS.index(e), INTENTS.index(i)] for e, i in pairs]
    amount = round(WRONG_LABELS * len(pairs))
    for task, weights in enumerate((counts.T, counts)):
        for clip in rng.permutation(len(pairs))[:amount]:
            others = weights[wrong[clip][1 - task]].astype(float)
            others[wrong[clip][task]] = 0
            if others.sum() > 0:
                wrong[clip][task] = int(rng.choice(len(others), p=others / others.sum()))
    return [(EMOTIONS[e], INTENTS[i]) for e, i in wrong]


@dataclass(frozen=True)
class Evidence:
    """What voice, face and words of one clip express: the truth, "neutral", or something else."""

    voice_emotion: str
    voice_intent: str
    face_emotion: str
    face_intent: str
    text_emotion: str
    text_intent: str


@dataclass(frozen=True)
class _Shown:
    """Probability that a modality shows the truth, and that it shows nothing ("neutral").

    The rest of the time it shows a class drawn at random.
    """

    truth: float
    nothing: float


# Calibrated with benchmarks/demo_corpus.py: emotion is mostly in voice and face, intent mostly in
# the words, and a linear model of all three reaches a joint score of about 0.5.
_EMOTION_IN = {"voice": _Shown(0.72, 0.14), "face": _Shown(0.7, 0.15), "text": _Shown(0.35, 0.6)}
_INTENT_IN = {"voice": _Shown(0.7, 0.25), "face": _Shown(0.7, 0.25), "text": _Shown(0.74, 0.16)}


def draw_evidence(pair: Pair, rng: np.random.Generator) -> Evidence:
    """What each modality shows of a clip with the true labels `pair`."""
    emotion, intent = pair
    return Evidence(
        **{f"{m}_emotion": _show(s, emotion, EMOTIONS, rng) for m, s in _EMOTION_IN.items()},
        **{f"{m}_intent": _show(s, intent, INTENTS, rng) for m, s in _INTENT_IN.items()},
    )


def _show(shown: _Shown, label: str, classes: tuple[str, ...], rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < shown.truth:
        return label
    return "neutral" if draw < shown.truth + shown.nothing else str(rng.choice(classes))
