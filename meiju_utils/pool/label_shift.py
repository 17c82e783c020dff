"""How frequent the classes are in the unlabelled pool, and whether that can be told.

Label shift: classes are otherwise frequent, but clips of a class look alike. Then calibrated
probabilities, corrected until they agree with their own mean, tell the pool's classes (expectation
maximisation: Saerens et al. 2002), and held-out clips, weighed class by class, look like the pool.
The second is put to the test. Imports `predictions`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.predictions import Answers, class_columns
from meiju_utils.scoring import LEVEL

Matrix = NDArray[np.float64]
DRAWS = 200  # of the interval and of the test
MOST = 3000  # clips of the pool that are looked at; more would narrow intervals of little meaning
_ROUNDS, _TOLERANCE = 300, 1e-6


@dataclass(frozen=True)
class LabelShift:
    """Of one task: `shares` (label; train; told, the mean probability of held-out train clips; pool
    with low and high, 95 % over its clips) and `p`, how often held-out clips drawn as assumed look
    as unlike the pool as they do."""

    task: str
    shares: pd.DataFrame
    p: float

    @property
    def holds(self) -> bool:
        """Whether the assumption is not refuted."""
        return self.p > LEVEL

    def told(self) -> str:
        """What was found, in a sentence."""
        if self.holds:
            return (
                f"{self.task.capitalize()}: clips of a class look in the pool as in train, as far "
                f"as can be told (p = {self.p:.2f}): its shares of classes may be used."
            )
        return (
            f"{self.task.capitalize()}: clips of a class do not look in the pool as in train "
            f"(p = {self.p:.3f}): its shares of classes are not used."
        )


def estimate_shift(
    pool: Answers, held_out: Answers, labels: pd.DataFrame, seed: int = 0
) -> dict[str, LabelShift]:
    """Label shift of each task from calibrated answers to the pool and to held-out train clips.

    `labels` has clip_id and a label a task of those that are known. Without a pool, or without
    held-out clips, nothing can be told: p is 0.
    """
    found = {}
    rng = np.random.default_rng(seed)
    own = held_out.table.merge(labels[["clip_id"]], on="clip_id")
    right = labels.set_index("clip_id").loc[own["clip_id"]]
    for task, names in pool.classes.items():
        place = {label: index for index, label in enumerate(names)}
        index = right[task].map(place).to_numpy(dtype=np.int64)
        known = Answers(own).probabilities(task)
        there = pool.probabilities(task)
        if len(there) > MOST:
            there = there[rng.choice(len(there), MOST, replace=False)]
        found[task] = _of_task(task, names, there, known, index, rng)
    return found


def shifted(probabilities: Matrix, shares: pd.DataFrame) -> Matrix:
    """Probabilities [N, C] as they are where classes are as frequent as in the pool."""
    told, pool = (shares[column].to_numpy(dtype=np.float64) for column in ("told", "pool"))
    odds = probabilities * np.divide(pool, told, out=np.zeros_like(pool), where=told > 0)
    total = odds.sum(axis=1, keepdims=True)
    return np.where(total > 0, odds / np.maximum(total, 1e-12), probabilities)


def shifted_answers(pool: Answers, held_out: Answers, labels: pd.DataFrame) -> Answers:
    """Answers to the pool with the probabilities of every task whose shares can be told."""
    table = pool.table.copy()
    for task, found in estimate_shift(pool, held_out, labels).items():
        if found.holds:
            columns = class_columns(pool.classes, task)
            table[columns] = shifted(pool.probabilities(task), found.shares)
    return Answers(table)


def _of_task(
    task: str,
    names: tuple[str, ...],
    pool: Matrix,
    known: Matrix,
    index: NDArray[Any],
    rng: np.random.Generator,
) -> LabelShift:
    classes = len(names)
    shares = {"label": list(names)}
    if not len(pool) or not len(known):
        nothing = np.full(classes, np.nan)
        empty = {**shares, **dict.fromkeys(("train", "told", "pool", "low", "high"), nothing)}
        return LabelShift(task, pd.DataFrame(empty), 0.0)
    prior = np.bincount(index, minlength=classes) / len(index)
    # What predictions say of clips like train's: without knowledge they say the same everywhere.
    told = known.mean(axis=0)
    estimate = _frequencies(pool, told)
    draws = [
        _frequencies(pool[rng.integers(len(pool), size=len(pool))], told, estimate)
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    columns = {"train": prior, "told": told, "pool": estimate, "low": low, "high": high}
    table = pd.DataFrame({**shares, **columns})
    return LabelShift(task, table, _p_value(pool, known, index, prior, estimate, rng))


def _frequencies(pool: Matrix, prior: Matrix, start: Matrix | None = None) -> Matrix:
    """The classes' shares [C] that agree with the probabilities [N, C] they correct."""
    ratio = pool / np.maximum(prior, 1e-9)
    now = prior if start is None else start
    for _ in range(_ROUNDS):
        odds = ratio * now
        after = (odds / np.maximum(odds.sum(axis=1, keepdims=True), 1e-12)).mean(axis=0)
        if np.abs(after - now).max() < _TOLERANCE:
            return np.asarray(after)
        now = after
    return np.asarray(now)


def _p_value(
    pool: Matrix,
    known: Matrix,
    index: NDArray[Any],
    prior: Matrix,
    estimate: Matrix,
    rng: np.random.Generator,
) -> float:
    """How often pools drawn from held-out clips as assumed look as unlike them as the pool does.

    Looks: the likeliest label, and whether it is surer than usual for it. In each draw held-out
    clips are drawn anew too, and the shares estimated again.
    """
    cut = np.array(
        [_median(known.max(axis=1)[known.argmax(axis=1) == c]) for c in range(len(prior))]
    )
    weights = np.divide(estimate, prior, out=np.zeros_like(prior), where=prior > 0)[index]
    if not weights.sum() > 0:
        return 0.0
    found = _distance(pool, known, weights, cut)
    more = 0
    for _ in range(DRAWS):
        as_pool = known[rng.choice(len(known), len(pool), p=weights / weights.sum())]
        drawn = rng.integers(len(known), size=len(known))
        again = np.bincount(index[drawn], minlength=len(prior)) / len(drawn)
        shares = _frequencies(as_pool, known[drawn].mean(axis=0), estimate)
        own = np.divide(shares, again, out=np.zeros_like(again), where=again > 0)[index[drawn]]
        more += _distance(as_pool, known[drawn], own, cut) >= found
    return (1 + more) / (1 + DRAWS)


def _distance(pool: Matrix, known: Matrix, weights: Matrix, cut: Matrix) -> float:
    """Chi-square distance of how clips of the pool and weighed known ones look."""
    cells = 2 * pool.shape[1]
    there = np.bincount(_looks(pool, cut), minlength=cells) / len(pool)
    expected = np.bincount(_looks(known, cut), weights, minlength=cells)
    expected = (expected + 0.5 / cells) / (expected.sum() + 0.5)
    return float(((there - expected) ** 2 / expected).sum())


def _looks(probabilities: Matrix, cut: Matrix) -> Any:
    likeliest = probabilities.argmax(axis=1)
    return 2 * likeliest + (probabilities.max(axis=1) > cut[likeliest])


def _median(values: Matrix) -> float:
    return float(np.median(values)) if len(values) else 0.5
