"""How often are verdicts false where nothing differs, and how often do they find what does?

    python benchmarks/verdicts.py                       # all of it, half an hour on one core
    python benchmarks/verdicts.py --repetitions 200     # a look

Systems are made up: a clip's logits are its signal (the true class and what is hard about the clip,
both common to all systems), what a system makes of the clip, what a training makes of it, and an
effect of the training's seed, one number a class for all clips. The answer is the largest of seven
and of eight, truth is drawn from the published label pairs of the validation split (Track 1,
Mandarin). Equal systems have equal laws, so that every verdict on them is false. "Before" is what
the suite did until 0.1.0: percentiles of a bootstrap over clips and, for one training, seeds.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES
from meiju_utils.corpus.demo.labels import pair_counts
from meiju_utils.predictions import NO_SEED
from meiju_utils.recipes.findings import PAPER_STEPS
from meiju_utils.scoring import (
    LEVEL,
    Scored,
    compared,
    holm,
    joint_score,
    resampled_clips,
    resampled_scores,
    scored,
    scored_answers,
    task_f1,
)

SEEDS = 3
STRENGTH = 2.0  # of the true class: joint scores of some 0.6, as on the demo
HARD, OWN, TRAINING = 1.0, 0.4, 0.4  # s.d. of the logits: of a clip, a system, a training on a clip
EFFECTS = (0.0, 0.3, 0.6)  # s.d. of the seed's effect, in logits
GAIN = 0.05  # true difference of the joint score, of one training, that is to be found
SHARED = 0.8  # of the variance of the seeds' effects of a teacher and its student
ROUNDS = 500  # draws of clips and systems behind each expected score
AVERAGE = "weighted"
BOUNDS = (LEVEL / 2, 1 - LEVEL / 2)

Labels = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class System:
    """The answers of its trainings by seed, and those of the mean of their probabilities."""

    by_seed: dict[int, Labels]
    mean: Labels


class Clips:
    """Made-up clips: their truth, and systems that answer them."""

    def __init__(self, size: int, effect: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.size, self.effect = size, effect
        counts = pair_counts(1, "mandarin", "valid")
        pairs = self.rng.choice(counts.size, size, p=(counts / counts.sum()).ravel())
        self.truth = dict(zip(CLASSES, np.divmod(pairs, counts.shape[1]), strict=True))
        self.hard = {t: HARD * self._normal(size, len(CLASSES[t])) for t in CLASSES}
        self.shared = {t: self._normal(SEEDS, 1, len(CLASSES[t])) for t in CLASSES}

    def _normal(self, *shape: int) -> NDArray[np.float64]:
        return self.rng.standard_normal(shape)

    def system(self, strength: float = STRENGTH, chance: bool = True, alike: float = 0) -> System:
        """A system; `alike`: the share of its seeds' effects that others have too."""
        number = SEEDS if chance else 1
        answers, mean = {}, {}
        for task, truth in self.truth.items():
            classes = len(CLASSES[task])
            fixed = strength * np.eye(classes)[truth] + self.hard[task]
            logits = fixed + OWN * self._normal(self.size, classes)
            logits = logits + TRAINING * self._normal(number, self.size, classes)
            if chance:
                own = self._normal(SEEDS, 1, classes)
                both = np.sqrt(alike) * self.shared[task] + np.sqrt(1 - alike) * own
                logits = logits + self.effect * both
            answers[task] = logits.argmax(axis=-1)
            odds = np.exp(logits)
            mean[task] = (odds / odds.sum(axis=-1, keepdims=True)).mean(axis=0).argmax(axis=-1)
        seeds = range(SEEDS) if chance else [NO_SEED]
        return System({s: {t: a[i] for t, a in answers.items()} for i, s in enumerate(seeds)}, mean)

    def joint(self, answers: Labels) -> float:
        return float(joint_score(*(task_f1(self.truth[t], answers[t], AVERAGE) for t in answers)))


class Judge:
    """Verdicts of a method on systems: whether there is one, of the joint score if not said."""

    def __init__(self, clips: Clips, resamples: int, seed: int) -> None:
        self.clips, self.counts = clips, resampled_clips(clips.size, resamples, seed)
        self._trainings: dict[System, Scored] = {}

    def training(self, system: System) -> Scored:
        if system not in self._trainings:
            found = scored(self.clips.truth, system.by_seed, AVERAGE, counts=self.counts)
            self._trainings[system] = found
        return self._trainings[system]

    def mean(self, system: System) -> Scored:
        return scored(self.clips.truth, system.by_seed, AVERAGE, system.mean, self.counts)

    def answers(self, labels: Labels) -> Scored:
        return scored_answers(self.clips.truth, labels, AVERAGE, self.counts)

    def two_level(self, system: System) -> NDArray[np.float64]:
        """Scores [R, 3] of one training as before: each resample takes other clips and seeds."""
        every = system.by_seed.values()
        draws = np.stack(
            [resampled_scores(self.clips.truth, one, self.counts, AVERAGE) for one in every]
        )
        rng = np.random.default_rng(0)
        chosen = rng.integers(len(draws), size=draws.shape[:2])
        return np.take_along_axis(draws, chosen[:, :, None], axis=0).mean(axis=0)


def differs(first: Sequence[Scored], second: Scored) -> bool:
    return bool(compared(first, second)["p"].iloc[-1] <= LEVEL)


def differed(first: NDArray[np.float64], second: NDArray[np.float64], column: int = -1) -> bool:
    low, high = np.quantile((second - first)[:, column], BOUNDS)
    return bool(low > 0 or high < 0)


Verdicts = dict[str, tuple[bool, bool]]  # question → (before, now)


def pair(judge: Judge, one: System, other: System, about: str) -> Verdicts:
    """Two systems, by one training and by the mean of their seeds."""
    means = [judge.mean(system) for system in (one, other)]
    now = differs([judge.training(one)], judge.training(other))
    return {
        f"one training, {about}": (differed(judge.two_level(one), judge.two_level(other)), now),
        f"mean of the seeds, {about}": (
            differed(means[0].draws, means[1].draws),
            differs(means[:1], means[1]),
        ),
    }


def swapped(judge: Judge, one: System, other: System) -> Verdicts:
    """Two sets of answers: the means', which change places at a coin's toss for every clip."""
    coin = judge.clips.rng.random(judge.clips.size) < 0.5
    sets = [
        judge.answers({t: np.where(coin, a.mean[t], b.mean[t]) for t in CLASSES})
        for a, b in ((one, other), (other, one))
    ]
    return {"these answers": (differed(sets[0].draws, sets[1].draws), differs(sets[:1], sets[1]))}


def best(judge: Judge, several: Sequence[System], other: System, about: str) -> Verdicts:
    """One training against the best of several; before, the best was chosen once."""
    found = [judge.training(system) for system in several]
    first = several[int(np.argmax([one.value[-1] for one in found]))]
    before = differed(judge.two_level(first), judge.two_level(other))
    return {f"one training, best of {about}": (before, differs(found, judge.training(other)))}


def table(judge: Judge, systems: dict[str, System]) -> Verdicts:
    """Whether any of the paper's steps between equal systems gets a verdict."""
    found = {name: judge.training(system) for name, system in systems.items()}
    draws = {name: judge.two_level(system) for name, system in systems.items()}
    p, before = [], False
    for step in PAPER_STEPS:
        column = found[step.after].scores.index(step.score)
        several = [found[name] for name in step.before]
        first = step.before[int(np.argmax([one.value[column] for one in several]))]
        before |= differed(draws[first], draws[step.after], column)
        p.append(compared(several, found[step.after])["p"].iloc[column])
    return {"any of the paper's seven steps": (before, bool((holm(p) <= LEVEL).any()))}


def nulls(judge: Judge, levels: dict[str, float]) -> Verdicts:
    """Verdicts on systems that are equal."""
    clips = judge.clips
    names = dict.fromkeys(name for step in PAPER_STEPS for name in (*step.before, step.after))
    systems = {name: clips.system() for name in names}
    one, other, third, fourth = list(systems.values())[:4]
    weak = [clips.system(STRENGTH / 2) for _ in range(2)]
    teacher, student = (clips.system(alike=SHARED) for _ in range(2))
    fixed = {name: clips.system(level, chance=False) for name, level in levels.items()}
    return {
        **pair(judge, one, other, "two recipes"),
        **pair(judge, teacher, student, "a student and its teacher"),
        **{
            question: verdict
            for name, system in fixed.items()
            for question, verdict in pair(judge, one, system, "one without chance").items()
            if question.startswith(name)
        },
        **swapped(judge, one, other),
        **best(judge, [one, other, third], fourth, "three that are equal"),
        **best(judge, [one, *weak], fourth, "three, two of them far behind"),
        **table(judge, systems),
    }


def gains(judge: Judge, strength: float) -> Verdicts:
    """Verdicts on a system that is better by GAIN."""
    clips = judge.clips
    one, other, third = (clips.system() for _ in range(3))
    better = clips.system(strength)
    return {
        **pair(judge, one, better, "two recipes"),
        **best(judge, [one, other, third], better, "three that are equal"),
    }


def strength_of(
    size: int, effect: float, aim: Callable[[Clips], float], chance: bool, rounds: int
) -> float:
    """The strength at which the expected joint score is as `aim` says, between those of a grid."""
    grid = STRENGTH + np.linspace(-0.6, 0.6, 7)
    found = [
        np.mean([one_training(Clips(size, effect, seed), at, chance) for seed in range(rounds)])
        for at in grid
    ]
    target = np.mean([aim(Clips(size, effect, seed)) for seed in range(rounds)])
    return float(np.interp(target, found, grid))


def one_training(clips: Clips, strength: float = STRENGTH, chance: bool = True) -> float:
    by_seed = clips.system(strength, chance).by_seed.values()
    return float(np.mean([clips.joint(answers) for answers in by_seed]))


def mean_of_seeds(clips: Clips) -> float:
    return clips.joint(clips.system().mean)


def rates(size: int, effect: float, repetitions: int, resamples: int) -> dict[str, dict[str, Any]]:
    """Shares [before, now] of verdicts by kind ("nulls", "gains") and question."""
    aim = partial(strength_of, size, effect, rounds=ROUNDS)
    levels = {
        "one training": aim(one_training, chance=False),
        "mean of the seeds": aim(mean_of_seeds, chance=False),
    }
    better = aim(lambda clips: one_training(clips) + GAIN, chance=True)
    kinds = {"nulls": partial(nulls, levels=levels), "gains": partial(gains, strength=better)}
    found: dict[str, dict[str, Any]] = {}
    for kind, judged in kinds.items():
        every: dict[str, list[tuple[bool, bool]]] = {}
        for number in range(repetitions):
            seed = 10**6 + number
            verdicts = judged(Judge(Clips(size, effect, seed), resamples, seed))
            for question, verdict in verdicts.items():
                every.setdefault(question, []).append(verdict)
        found[kind] = {q: np.mean(v, axis=0) for q, v in every.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--clips", type=int, nargs="+", default=[80, 400])
    parser.add_argument("--effects", type=float, nargs="+", default=EFFECTS, help="in logits")
    chosen = parser.parse_args()
    started = perf_counter()
    for size in chosen.clips:
        cells = [rates(size, e, chosen.repetitions, chosen.resamples) for e in chosen.effects]
        for kind in cells[0]:
            heading = "".join(f" {effect} logits |" for effect in chosen.effects)
            print(f"\n{size} clips, {kind}: % of verdicts, before : now\n\n| |{heading}")
            print("|---|" + "---|" * len(chosen.effects))
            for question in cells[0][kind]:
                shares = [100 * cell[kind][question] for cell in cells]
                row = "".join(f" {before:.1f} : {now:.1f} |" for before, now in shares)
                print(f"| {question} |{row}", flush=True)
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / chosen.repetitions)
    print(f"\nStandard error of a rate of 5 %: {error:.1f}.  {perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
