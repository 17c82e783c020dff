"""Is one system better than another, and how sure may we be of it?

What a system is, is said by an estimand: "one training" (the mean over trainings' scores is what
one of them is worth), "mean of the seeds" (of their probabilities), both over clips and seeds; and
"these answers", one set of them as it stands, over clips alone. The first two are claims about a
recipe, whichever seeds it is trained with; the third about a file. Imports `challenge`,
`predictions`, `scoring.f1`.

The variance of a difference has two parts. *Seeds*: the variance between the trainings' scores,
over their number, of either system. *Clips*: the variance over resampled clips (both systems on
the same ones) less what the clips do to each training alone, for the seeds' part has that already:
the moments of Obuchowski & Rockette (1995, Communications in Statistics: Simulation 24, 285-308)
for readers, here trainings, that differ from system to system. Degrees of freedom follow
Satterthwaite (1946, Biometrics Bulletin 2, 110-114), as Hillis (2007, Statistics in Medicine 26,
596-619) proposes for these moments: with three seeds far fewer than clips would suggest. Three
seeds may be alike by luck, so the interval over clips alone counts where it is wider.

Trainings of two systems are not taken for pairs, even where they share a seed: what they have in
common, as a student that starts from its teacher's weights, makes verdicts rarer, not wrong.
`benchmarks/verdicts.py` measures how often verdicts are false.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from meiju_utils.challenge import Average
from meiju_utils.predictions import NO_SEED
from meiju_utils.scoring.f1 import (
    JOINT,
    Labels,
    resampled_clips,
    resampled_scores,
    score,
)

ONE_TRAINING, MEAN_OF_SEEDS, THESE_ANSWERS = "one training", "mean of the seeds", "these answers"
ESTIMANDS = (ONE_TRAINING, MEAN_OF_SEEDS, THESE_ANSWERS)
CLIPS_ALONE = ", over clips alone"  # after an estimand: of chance a single seed tells nothing
HOLDS, FAILS = "holds", "does not hold"  # verdicts that are sure
LEVEL = 0.05  # of a verdict: false in at most this share of true nulls; intervals leave out as much
CHOICES = 10_000  # draws in which the best of several is chosen anew
ROUNDING = 1e-12  # scores that differ by less are equal

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """What a system scores on some clips, and how that varies. Arrays have a column a score.

    Args:
        scores: names of the tasks and, last, "joint".
        value: [K] the scores.
        draws: [R, K] the same on resampled sets of the clips.
        between: [K] variance of `value` by that of the trainings' scores, over their number.
        within: [K] the part of `between` that is owed to the clips.
        trainings: how many there are; 1 where chance has no part, or where its part is unknown.
        clips: how many there are.
        estimand: what is scored, see above.
        one_seed: whether chance has a part of which a single training tells nothing.
    """

    scores: tuple[str, ...]
    value: Floats
    draws: Floats
    between: Floats
    within: Floats
    trainings: int
    clips: int
    estimand: str
    one_seed: bool = False


def scored(
    truth: Labels,
    by_seed: Mapping[int, Labels],
    average: Average,
    mean: Labels | None = None,
    counts: NDArray[np.int64] | None = None,
) -> Scored:
    """Scores of a system on some clips; the estimand is one training or, if given, the mean.

    Args:
        truth: labels by task, as all that follow.
        by_seed: answers of each training; of NO_SEED where chance has no part.
        average: of class-wise F1.
        mean: answers of the trainings' mean.
        counts: [R, clips] of `resampled_clips`, to share among systems; their default is fixed by
            the number of clips, so that systems can be compared draw by draw.
    """
    if counts is None:
        counts = resampled_clips(len(next(iter(truth.values()))))
    every = list(by_seed.values())
    points = np.array([list(score(truth, one, average).values()) for one in every])
    draws = np.stack([resampled_scores(truth, one, counts, average) for one in every])
    value, own = points.mean(axis=0), draws.mean(axis=0)
    between = within = np.zeros(len(value))
    if len(every) > 1:
        between = points.var(axis=0, ddof=1) / len(every)
        # of trainings with variance v each and covariance c over clips: (v - c) / S
        within = (draws.var(axis=1).mean(axis=0) - own.var(axis=0)) / (len(every) - 1)
    if mean is not None:
        value = np.array(list(score(truth, mean, average).values()))
        own = resampled_scores(truth, mean, counts, average)
    return Scored(
        scores=(*truth, JOINT),
        value=value,
        draws=own,
        between=between,
        within=within,
        trainings=len(every),
        clips=counts.shape[1],
        estimand=ONE_TRAINING if mean is None else MEAN_OF_SEEDS,
        one_seed=len(every) == 1 and NO_SEED not in by_seed,
    )


def scored_answers(
    truth: Labels,
    answers: Labels,
    average: Average,
    counts: NDArray[np.int64] | None = None,
) -> Scored:
    """Scores of one set of answers as it stands: estimand "these answers", over clips alone."""
    found = scored(truth, {NO_SEED: answers}, average, counts=counts)
    return replace(found, estimand=THESE_ANSWERS)


def interval(system: Scored) -> tuple[Floats, Floats]:
    """Bounds [K] of the 95 % intervals of a system's scores, within 0 and 1."""
    errors = [_error(system.draws[:, k], [system], k) for k in range(len(system.scores))]
    se, dof = np.array(errors).T
    reach = stdtrit(dof, 1 - LEVEL / 2) * se
    return np.clip(system.value - reach, 0, 1), np.clip(system.value + reach, 0, 1)


def compared(first: Sequence[Scored], second: Scored) -> pd.DataFrame:
    """How far `second` is ahead of `first` or, of several, of the best of them.

    A row a score: score, first and second (values), difference, se and dof (standard error and
    degrees of freedom), low and high (95 % interval of the difference), p (two-sided, of this row
    by itself), estimand. What answers alike, clip by clip, differs by 0 for certain (p = 1). With
    fewer than two clips low, high and p are NaN.

    Of several the best is not known, only likely, so its choice counts: `second` beats the best
    where it beats each of them (which needs no correction: Berger 1982, Technometrics 24, 295-300),
    and is worse where it is behind by more than draws of all errors in which the best is chosen
    anew each time (Dunnett 1955, JASA 50, 1096-1121, for what is compared with the best as Hsu
    1981, Annals of Statistics 9, 1026-1034). se and dof are those with the best one here.
    """
    label = second.estimand
    if any(one.one_seed for one in (*first, second)):
        label += CLIPS_ALONE
        first, second = [_over_clips(one) for one in first], _over_clips(second)
    rows = [_row(first, second, k) for k in range(len(second.scores))]
    table = pd.DataFrame(rows, columns=["first", "difference", "se", "dof", "low", "high", "p"])
    table.insert(0, "score", list(second.scores))
    table.insert(2, "second", second.value)
    return table.assign(estimand=label)


def holm(p: Sequence[float] | Floats) -> Floats:
    """p values corrected for their number; NaN stays and does not count.

    The chance that any is false stays below the level, whatever they have to do with each other
    (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).
    """
    found = np.array(p, dtype=np.float64)
    order = np.argsort(found)[: np.isfinite(found).sum()]  # NaN is last
    steps = found[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return found


def verdict(published: float, difference: float, p: float) -> str:
    """In words: does a step of `published` size hold where we see `difference`?"""
    along = difference * published > 0
    if p <= LEVEL:
        return HOLDS if along else FAILS
    return "same direction, within noise" if along else "not seen, within noise"


def _over_clips(system: Scored) -> Scored:
    nothing = np.zeros_like(system.value)
    return replace(system, between=nothing, within=nothing, trainings=1)


def _error(draws: Floats, systems: Sequence[Scored], k: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of what `systems` make together, as its `draws` [R]."""
    size = systems[0].clips
    if size < 2:
        return np.nan, np.nan
    unbiased = size / (size - 1)  # resamples of n clips vary as those around their own mean
    alone = unbiased * float(draws.var(ddof=1))
    clips = max(alone - unbiased * sum(float(one.within[k]) for one in systems), 0.0)
    seeds = [(float(one.between[k]), one.trainings - 1) for one in systems if one.trainings > 1]
    variance = clips + sum(part for part, _ in seeds)
    spread = clips**2 / (size - 1) + sum(part**2 / dof for part, dof in seeds)
    both = (np.sqrt(variance), variance**2 / spread if spread > 0 else size - 1)
    over_clips = (np.sqrt(alone), float(size - 1))
    return max(over_clips, both, key=lambda error: error[0] * stdtrit(error[1], 1 - LEVEL / 2))


def _row(first: Sequence[Scored], second: Scored, k: int) -> tuple[float, ...]:
    """first, difference, se, dof, low, high, p of a score."""
    values = np.array([one.value[k] for one in first])
    gaps = second.value[k] - values
    draws = np.stack([second.draws[:, k] - one.draws[:, k] for one in first], axis=1)  # [R, first]
    se, dof = np.array([_error(draws[:, i], [second, one], k) for i, one in enumerate(first)]).T
    alike = np.abs(np.vstack([draws, gaps])).max(axis=0) < ROUNDING
    se[alike] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = stdtr(dof, np.where(alike, 0, gaps / se))  # of a smaller difference, one by one
    beaten, tail = float(chance.min()), LEVEL / 2
    if (~alike).sum() > 1:  # as far behind as the one it is furthest behind, chosen anew
        lowest = _lowest(first, second, draws, ~alike, k)
        beaten = float((1 + (lowest <= ndtri(beaten)).sum()) / (1 + CHOICES))
        tail = float(ndtr(np.quantile(lowest, LEVEL / 2)))
    low = float((gaps - stdtrit(dof, 1 - LEVEL / 2) * se).min())
    high = float((gaps - stdtrit(dof, tail) * se).min())
    p = min(2 * min(1 - float(chance.min()), beaten), 1.0) if np.isfinite(low) else np.nan
    best = int(values.argmax())
    return values[best], gaps[best], se[best], dof[best], low, high, p


def _lowest(
    first: Sequence[Scored], second: Scored, draws: Floats, among: NDArray[np.bool_], k: int
) -> Floats:
    """[CHOICES] draws of the lowest of the differences' errors, each in its own standard errors.

    Errors are normal, with the covariance over clips (`draws` [R, first]) and over seeds.
    """
    seeds = np.diag([max(float(one.between[k] - one.within[k]), 0.0) for one in first])
    common = max(float(second.between[k] - second.within[k]), 0.0)
    covariance = (np.cov(draws, rowvar=False) + seeds + common)[np.ix_(among, among)]
    scale = np.sqrt(np.maximum(np.diag(covariance), ROUNDING**2))
    normal = np.random.default_rng(0).multivariate_normal(
        np.zeros(len(scale)), covariance / np.outer(scale, scale), CHOICES, method="eigh"
    )
    return np.asarray(normal.min(axis=1))
