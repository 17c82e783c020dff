"""Comparisons of systems: their parts of variance, their verdicts, and what they cannot tell."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from meiju_utils.predictions import NO_SEED
from meiju_utils.scoring import (
    CLIPS_ALONE,
    ESTIMANDS,
    FAILS,
    HOLDS,
    JOINT,
    LEVEL,
    MEAN_OF_SEEDS,
    ONE_TRAINING,
    THESE_ANSWERS,
    Scored,
    bootstrap_scores,
    compared,
    holm,
    interval,
    score,
    scored,
    scored_answers,
    verdict,
)

CLASSES = {"emotion": 7, "intent": 8}
CLIPS = 120
SMALL = np.sqrt(CLIPS / (CLIPS - 1))  # a bootstrap's variance is that over n, not n - 1
TRUTH = {t: np.random.default_rng(0).integers(0, n, CLIPS) for t, n in CLASSES.items()}


def answers(right: float, draw: int = 0) -> dict[str, Any]:
    """Answers of which the share `right` is right."""
    rng = np.random.default_rng([7, draw])
    return {
        task: np.where(rng.random(CLIPS) < right, TRUTH[task], (TRUTH[task] + 1) % count)
        for task, count in CLASSES.items()
    }


def system(*shares: float, draw: int = 0) -> Scored:
    """One training of a system whose trainings are right on these shares of the clips."""
    by_seed = {seed: answers(share, 10 * draw + seed) for seed, share in enumerate(shares)}
    return scored(TRUTH, by_seed, "weighted")


def made_up(
    value: float, errors: Sequence[float], between: float = 0.0, trainings: int = 3
) -> Scored:
    """A system of one score by what it came to: `errors` [R] of resampled clips."""
    return Scored(
        scores=(JOINT,),
        value=np.array([value]),
        draws=value + np.array(errors)[:, None],
        between=np.array([between]),
        within=np.zeros(1),
        trainings=trainings,
        clips=80,
        estimand=ONE_TRAINING,
    )


def normal(draw: int, scale: float = 0.02) -> Any:
    return scale * np.random.default_rng(draw).standard_normal(4000)


def test_a_difference_and_its_interval_are_those_of_the_trainings_means() -> None:
    weak, strong = system(0.3, 0.3, 0.35), system(0.9, 0.85, 0.9)
    table = compared([weak], strong)
    assert table["score"].tolist() == ["emotion", "intent", JOINT]
    every = [answers(share, seed) for seed, share in enumerate((0.9, 0.85, 0.9))]
    points = [list(score(TRUTH, one).values()) for one in every]
    np.testing.assert_allclose(table["second"], np.mean(points, axis=0))
    np.testing.assert_allclose(table["difference"], table["second"] - table["first"])
    reach = stats.t.ppf(0.975, table["dof"]) * table["se"]
    np.testing.assert_allclose(table["low"], table["difference"] - reach)
    np.testing.assert_allclose(table["high"], table["difference"] + reach)
    expected = 2 * stats.t.sf(table["difference"] / table["se"], table["dof"])
    # 1 - (1 - p): p below the rounding of 1 is lost
    np.testing.assert_allclose(table["p"], expected, atol=1e-12)
    assert (table["low"] > 0).all()


def test_without_chance_a_difference_is_as_sure_as_its_clips() -> None:
    sides = [answers(0.5, 1), answers(0.6, 2)]
    first, second = (scored(TRUTH, {NO_SEED: one}, "weighted") for one in sides)
    table = compared([first], second)
    draws = bootstrap_scores(TRUTH, sides[1]) - bootstrap_scores(TRUTH, sides[0])
    np.testing.assert_allclose(table["se"], SMALL * draws.std(axis=0, ddof=1))
    np.testing.assert_allclose(table["dof"], CLIPS - 1)
    assert set(table["estimand"]) == {ONE_TRAINING}


def test_trainings_that_differ_widen_the_interval_and_cost_degrees_of_freedom() -> None:
    first = system(0.5, 0.5, 0.5)
    lucky, steady = system(0.9, 0.4, 0.4, draw=1), system(0.56, 0.57, 0.57, draw=1)
    wide, narrow = (compared([first], second).iloc[-1] for second in (lucky, steady))
    assert wide["se"] > 2 * narrow["se"]
    assert wide["dof"] < 5  # three seeds of either side have four at most
    assert narrow["dof"] > wide["dof"]
    assert wide["low"] < 0 < wide["high"]


def test_seeds_that_are_alike_by_luck_do_not_narrow_an_interval() -> None:
    one, other = system(0.5, 0.6, 0.5), system(0.6, 0.6, 0.7, draw=1)
    lucky = [replace(side, between=np.zeros_like(side.between)) for side in (one, other)]
    table = compared(lucky[:1], lucky[1])
    spread = (other.draws - one.draws).std(axis=0, ddof=1)
    np.testing.assert_allclose(table["se"], SMALL * spread)
    np.testing.assert_allclose(table["dof"], CLIPS - 1)


def test_a_mean_over_seeds_is_scored_as_it_is_and_varies_as_its_trainings_do() -> None:
    by_seed = {seed: answers(share, seed) for seed, share in enumerate((0.9, 0.5, 0.5))}
    mean = answers(0.8, 9)
    training = scored(TRUTH, by_seed, "weighted")
    found = scored(TRUTH, by_seed, "weighted", mean)
    assert (training.estimand, found.estimand) == (ONE_TRAINING, MEAN_OF_SEEDS)
    np.testing.assert_allclose(found.value, list(score(TRUTH, mean).values()))
    np.testing.assert_array_equal(found.between, training.between)
    alone = scored_answers(TRUTH, mean, "weighted")
    assert alone.estimand == THESE_ANSWERS
    assert not alone.between.any()
    np.testing.assert_array_equal(found.draws, alone.draws)


def test_what_clips_do_to_a_single_training_is_counted_once() -> None:
    # Trainings without effects of seeds: their scores differ by chance on each clip alone. With
    # many of them, `between` and `within` are two estimates of the same variance.
    many = system(*[0.6] * 200)
    # 199 degrees of freedom: a variance's relative standard error is √(2 / 199) = 0.1
    np.testing.assert_allclose(many.between, many.within, rtol=0.3)
    low, high = interval(many)
    single = interval(system(0.6))
    assert ((high - low) < (single[1] - single[0])).all()


def test_one_seed_is_compared_over_clips_alone_and_says_so() -> None:
    once, thrice = system(0.6), system(0.3, 0.5, 0.7, draw=1)
    assert once.one_seed
    table = compared([thrice], once)
    assert set(table["estimand"]) == {ONE_TRAINING + CLIPS_ALONE}
    np.testing.assert_allclose(table["dof"], CLIPS - 1)
    spread = (once.draws - thrice.draws).std(axis=0, ddof=1)
    np.testing.assert_allclose(table["se"], SMALL * spread)
    assert set(compared([once], thrice)["estimand"]) == {ONE_TRAINING + CLIPS_ALONE}
    certain = scored(TRUTH, {NO_SEED: answers(0.6)}, "weighted")
    assert set(compared([certain], thrice)["estimand"]) == {ONE_TRAINING}


def test_what_answers_alike_differs_by_nothing_for_certain() -> None:
    one = system(0.4, 0.6, 0.8)
    again = system(0.4, 0.6, 0.8)
    table = compared([one], again)
    assert (table[["difference", "se", "low", "high"]] == 0).all(axis=None)
    assert (table["p"] == 1).all()
    among = compared([one, system(0.2, 0.2, 0.2, draw=3)], again)
    assert (among["high"] == 0).all()  # nothing beats itself
    assert (among["p"] > LEVEL).all()


def test_of_several_the_best_is_beaten_where_each_of_them_is() -> None:
    second = made_up(0.6, normal(0))
    near, far = made_up(0.56, normal(1)), made_up(0.3, normal(2))
    alone, both = (compared(first, second).iloc[0] for first in ([near], [far, near]))
    assert both["first"] == near.value[0]
    assert both["difference"] == pytest.approx(0.04)
    assert both["low"] == pytest.approx(alone["low"])
    assert both["p"] == pytest.approx(alone["p"])


def test_being_behind_the_best_of_several_counts_less_than_behind_one() -> None:
    second = made_up(0.5, normal(0))
    several = [made_up(0.56, normal(draw)) for draw in (1, 2, 3, 4)]
    alone, best = (compared(first, second).iloc[0] for first in (several[:1], several))
    assert alone["high"] < 0
    assert best["high"] > alone["high"]
    assert best["p"] > alone["p"]
    # The lowest of four differences with a side in common, so that they go together by a half:
    # P(lowest of four <= z), from an independent sample
    z = -0.06 / (0.02 * np.sqrt(2))
    rng = np.random.default_rng(5)
    errors = (rng.standard_normal((200_000, 1)) - rng.standard_normal((200_000, 4))) / np.sqrt(2)
    expected = 2 * (errors.min(axis=1) <= z).mean()
    # of normal draws instead of t with 79 degrees of freedom, and of 4000 resamples
    assert best["p"] == pytest.approx(expected, rel=0.25)


def test_the_same_one_twice_is_one_of_several() -> None:
    one, second = made_up(0.6, normal(1)), made_up(0.52, normal(0))
    alone, twice = (compared(first, second).iloc[0] for first in ([one], [one, one]))
    assert twice["high"] == pytest.approx(alone["high"], abs=2e-3)  # quantiles of 10 000 draws


def test_a_single_clip_tells_nothing() -> None:
    truth = {"emotion": np.array([1])}
    right, wrong = ({"emotion": np.array([label])} for label in (1, 2))
    table = compared(
        [scored_answers(truth, wrong, "weighted")], scored_answers(truth, right, "weighted")
    )
    assert (table["difference"] == 1).all()
    assert table[["low", "high", "p"]].isna().all(axis=None)


def test_an_interval_of_a_system_stays_within_the_scores_range() -> None:
    for share in (0.0, 0.02, 0.98, 1.0):
        low, high = interval(system(share, share, share))
        assert (low >= 0).all()
        assert (high <= 1).all()
        assert (low <= high).all()


def test_estimands_are_three() -> None:
    assert ESTIMANDS == (ONE_TRAINING, MEAN_OF_SEEDS, THESE_ANSWERS)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01], [0.01]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),  # Holm's steps: 3·0.01, 2·0.03, then not below
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.01, np.nan, 0.02], [0.02, np.nan, 0.02]),
        ([], []),
    ],
)
def test_holms_correction_as_computed_by_hand(p: list[float], corrected: list[float]) -> None:
    np.testing.assert_allclose(holm(p), corrected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_correction_lies_between_none_and_bonferronis(p: list[float]) -> None:
    found = holm(p)
    assert (found >= np.array(p) - 1e-12).all()  # rounding
    assert (found <= np.minimum(len(p) * np.array(p), 1) + 1e-12).all()
    assert (np.diff(found[np.argsort(p)]) >= 0).all()


@pytest.mark.parametrize(
    ("published", "difference", "p", "words"),
    [
        (0.01, 0.02, 0.01, HOLDS),
        (-0.01, -0.02, 0.01, HOLDS),
        (0.01, -0.02, 0.01, FAILS),
        (0.01, 0.002, 0.6, "same direction, within noise"),
        (0.01, -0.002, 0.4, "not seen, within noise"),
        (0.01, 0.02, LEVEL, HOLDS),
    ],
)
def test_verdicts(published: float, difference: float, p: float, words: str) -> None:
    assert verdict(published, difference, p) == words


def test_equal_systems_rarely_get_a_verdict() -> None:
    # A small edition of benchmarks/verdicts.py: one training of three, clips and seeds normal.
    rng = np.random.default_rng(0)
    errors = normal(1, scale=0.01)
    false = 0
    rounds = 400
    for _ in range(rounds):
        clip = rng.normal(scale=0.01)
        points = rng.normal(scale=0.03, size=(2, 3))
        sides = [
            made_up(0.5 + own.mean() + shift, sign * errors / 2, own.var(ddof=1) / 3)
            for own, shift, sign in zip(points, (clip, 0.0), (1, -1), strict=True)
        ]
        false += compared(sides[:1], sides[1])["p"].item() <= LEVEL
    # nominal 20 of 400; three standard errors above are 33
    assert 0 < false <= 33


def test_systems_are_compared_by_what_they_are_not_by_their_order() -> None:
    one, other = system(0.5, 0.6, 0.5), system(0.6, 0.6, 0.7, draw=1)
    there, back = compared([one], other), compared([other], one)
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["low"], -back["high"])
    np.testing.assert_allclose(there["p"], back["p"], atol=1e-12)  # see above
