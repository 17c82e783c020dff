"""The challenge's scores, and how sure we may be of them.

One F1 serves the score and its resamples. Imports `challenge` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES, Scores, Task

Average = Literal["weighted", "micro"]
Labels = Sequence[str] | NDArray[Any]


def joint_score(emotion_f1: float, intent_f1: float) -> float:
    """Harmonic mean of both F1 scores, with the official evaluation's 1e-6 in the denominator."""
    return 2 * emotion_f1 * intent_f1 / (emotion_f1 + intent_f1 + 1e-6)


def task_f1(truth: Labels, predicted: Labels, average: Average) -> float:
    """F1 of one task over the classes that occur; a class without predictions counts as zero.

    Labels or indices, both of one kind. Raises ValueError where their numbers differ.
    """
    classes, codes = np.unique(np.stack([truth, predicted]), return_inverse=True)
    once = np.ones((1, len(truth)), dtype=np.int64)
    left, right = codes.reshape(2, -1)
    return float(_f1_of_counts(left, right, once, len(classes), average)[0])


def score(
    emotion_truth: Labels,
    emotion_predicted: Labels,
    intent_truth: Labels,
    intent_predicted: Labels,
    average: Average = "weighted",
) -> Scores:
    """Emotion F1, intent F1 and joint score of a set of answers (official evaluation)."""
    emotion = task_f1(emotion_truth, emotion_predicted, average)
    intent = task_f1(intent_truth, intent_predicted, average)
    return Scores(emotion, intent, joint_score(emotion, intent))


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class ScoreIntervals:
    """Intervals of the three scores."""

    emotion: Interval
    intent: Interval
    joint: Interval


def _codes(labels: Labels, task: Task) -> NDArray[np.int64]:
    """Indices in official order; accepts labels or indices."""
    values = np.asarray(labels)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    index = {label: i for i, label in enumerate(CLASSES[task])}
    return np.array([index[str(v)] for v in values], dtype=np.int64)


def _f1_of_counts(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    counts: NDArray[np.int64],
    classes: int,
    average: Average,
) -> NDArray[np.float64]:
    """F1 of each resample; `counts` [R, N] says how often a clip was drawn."""
    hit = counts * (truth == predicted)
    if average == "micro":
        return np.asarray(hit.sum(1) / np.maximum(counts.sum(1), 1))
    one_hot_truth = np.eye(classes)[truth]
    support = counts @ one_hot_truth
    true_positive = hit @ one_hot_truth
    answered = counts @ np.eye(classes)[predicted]
    f1 = 2 * true_positive / np.maximum(support + answered, 1)
    return np.asarray((f1 * support).sum(1) / np.maximum(support.sum(1), 1))


def bootstrap_scores(
    emotion_truth: Labels,
    emotion_predicted: Labels,
    intent_truth: Labels,
    intent_predicted: Labels,
    average: Average = "weighted",
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Scores [resamples, 3] (emotion, intent, joint) of clips drawn with replacement.

    A seed and a number of clips fix the draws, so two systems scored on the same clips can be
    compared draw by draw.
    """
    columns: list[NDArray[np.float64]] = []
    size = len(emotion_truth)
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    pairs: tuple[tuple[Task, Labels, Labels], ...] = (
        ("emotion", emotion_truth, emotion_predicted),
        ("intent", intent_truth, intent_predicted),
    )
    for task, truth, predicted in pairs:
        columns.append(
            _f1_of_counts(
                _codes(truth, task), _codes(predicted, task), counts, len(CLASSES[task]), average
            )
        )
    emotion, intent = columns
    joint = 2 * emotion * intent / (emotion + intent + 1e-6)
    return np.stack([emotion, intent, joint], axis=1)


def score_intervals(
    emotion_truth: Labels,
    emotion_predicted: Labels,
    intent_truth: Labels,
    intent_predicted: Labels,
    average: Average = "weighted",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> ScoreIntervals:
    """The three scores with percentile bootstrap intervals over clips."""
    point = score(emotion_truth, emotion_predicted, intent_truth, intent_predicted, average)
    draws = bootstrap_scores(
        emotion_truth, emotion_predicted, intent_truth, intent_predicted, average, resamples, seed
    )
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    values = (point.emotion, point.intent, point.joint)
    emotion, intent, joint = (
        Interval(v, float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)
    )
    return ScoreIntervals(emotion, intent, joint)
