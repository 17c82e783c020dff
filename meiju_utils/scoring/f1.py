"""The challenge's scores, and how sure we may be of them.

Labels come as a mapping of task → one label (or index) a clip. The joint score of two tasks is the
harmonic mean of their F1 scores, that of one task is its F1. One F1 serves the score and its
resamples. Imports `challenge` only.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import Average

Column = Sequence[str] | NDArray[Any]
Labels = Mapping[str, Column]

JOINT = "joint"
RESAMPLES = 2000


def joint_score(first: Any, second: Any) -> Any:
    """Harmonic mean of two F1 scores, with the official evaluation's 1e-6 in the denominator."""
    return 2 * first * second / (first + second + 1e-6)


def task_f1(truth: Column, answers: Column, average: Average) -> float:
    """F1 of one task over the classes that occur; a class without answers counts as zero.

    Labels or indices, both of one kind. Raises ValueError where their numbers differ.
    """
    once = np.ones((1, len(truth)), dtype=np.int64)
    return float(_f1_of_counts(truth, answers, once, average)[0])


def score(truth: Labels, answers: Labels, average: Average = "weighted") -> dict[str, float]:
    """F1 of each task and the joint score of a set of answers (official evaluation)."""
    scores = {task: task_f1(truth[task], answers[task], average) for task in truth}
    return {**scores, JOINT: float(_joint(list(scores.values())))}


@lru_cache(maxsize=2)  # those of validation and of train are asked for by every recipe
def resampled_clips(size: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each of `size` clips is drawn, with replacement, in each resample [R, size]."""
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    found = np.asarray(draws, dtype=np.int64)
    found.flags.writeable = False
    return found


def resampled_scores(
    truth: Labels, answers: Labels, counts: NDArray[np.int64], average: Average = "weighted"
) -> NDArray[np.float64]:
    """Scores [R, tasks + 1] (the joint score last) of the resamples `counts` [R, clips]."""
    columns = [_f1_of_counts(truth[task], answers[task], counts, average) for task in truth]
    return np.stack([*columns, _joint(columns)], axis=1)


def bootstrap_scores(
    truth: Labels,
    answers: Labels,
    average: Average = "weighted",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Scores [resamples, tasks + 1] (the joint score last) of clips drawn with replacement.

    A seed and a number of clips fix the draws, so two systems scored on the same clips can be
    compared draw by draw.
    """
    counts = resampled_clips(len(next(iter(truth.values()))), resamples, seed)
    return resampled_scores(truth, answers, counts, average)


def _joint(scores: Sequence[Any]) -> Any:
    return scores[0] if len(scores) == 1 else joint_score(*scores)


def _f1_of_counts(
    truth: Column, answers: Column, counts: NDArray[np.int64], average: Average
) -> NDArray[np.float64]:
    """F1 of each resample; `counts` [R, N] says how often a clip was drawn."""
    classes, codes = np.unique(np.stack([truth, answers]), return_inverse=True)
    left, right = codes.reshape(2, -1)
    hit = counts * (left == right)
    if average == "micro":
        return np.asarray(hit.sum(1) / np.maximum(counts.sum(1), 1))
    one_hot = np.eye(len(classes))
    support = counts @ one_hot[left]
    true_positive = hit @ one_hot[left]
    answered = counts @ one_hot[right]
    f1 = 2 * true_positive / np.maximum(support + answered, 1)
    if average == "macro":
        return np.asarray(f1.sum(1) / np.maximum((support + answered > 0).sum(1), 1))
    return np.asarray((f1 * support).sum(1) / np.maximum(support.sum(1), 1))
