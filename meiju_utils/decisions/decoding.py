"""Decoders: from probabilities to labels, by name; several are applied one after another.

A decoder is called with answers (labels and the probabilities they come from), at first the
likeliest labels, and gives answers to the same clips. One that is fitted has `fit(answers, known)`,
which gives what can stand in JSON, and `apply(answers, fitted, fold)`. Imports `fitting`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from meiju_utils.challenge import Average
from meiju_utils.decisions.argmax import Argmax
from meiju_utils.decisions.fitting import (
    Fitted,
    Known,
    by_state,
    fit_by_fold,
    logs,
    normalised,
)
from meiju_utils.predictions import Answers, class_columns, likeliest
from meiju_utils.scoring import task_f1

Matrix = NDArray[np.float64]
Reach = Annotated[float, Field(gt=0, le=5)]
STEP = 0.1  # of the grid of offsets


class PairPrior:
    """Label pairs that train has are likelier than the tasks' own shares make them.

    log p(a) + log p(b) + strength · log[P(a, b) / (P(a) P(b))], then each task's likeliest label of
    the marginals, which stand for its probabilities from here on. P are the shares of train's
    pairs, `smoothing` clips of independent tasks counted in. Off in splits whose pairs cannot be
    assumed to be train's (`Known.unlike`), and with one task.
    """

    def __init__(
        self, *, strength: NonNegativeFloat = 0.5, smoothing: PositiveFloat = 30.0
    ) -> None:
        self.strength, self.smoothing = strength, smoothing

    def fit(self, answers: Answers, known: Known) -> Fitted:
        tasks = answers.tasks
        if len(tasks) != 2:
            return {"ratio": None, "off": {"": "there is one task alone"}}
        clip_ids = known.labels["clip_id"].to_numpy()
        index = known.indices(answers.classes, clip_ids)
        usable = (index[tasks[0]] >= 0) & (index[tasks[1]] >= 0)
        first, second = index[tasks[0]][usable], index[tasks[1]][usable]
        shape = [len(answers.classes[task]) for task in tasks]
        fold = np.array([known.folds.get(clip_id, -1) for clip_id in clip_ids[usable]])

        def ratio(rows: NDArray[np.bool_]) -> list[list[float]]:
            counts = np.zeros(shape)
            np.add.at(counts, (first[rows], second[rows]), 1.0)
            found: list[list[float]] = self._ratio(counts).tolist()
            return found

        return {"ratio": fit_by_fold(ratio, fold), "off": dict(known.unlike)}

    def _ratio(self, counts: Matrix) -> Matrix:
        """log[P(a, b) / (P(a) P(b))] of counted pairs."""
        total = max(counts.sum(), 1.0)
        apart = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total**2
        share = (counts + self.smoothing * apart) / (total + self.smoothing)
        independent = np.outer(share.sum(axis=1), share.sum(axis=0))
        return np.asarray(np.log(np.maximum(share, 1e-12) / np.maximum(independent, 1e-12)))

    def apply(self, answers: Answers, fitted: Fitted, fold: NDArray[np.int64]) -> Answers:
        table = answers.table
        on = ~table["split"].isin(fitted["off"]).to_numpy()
        if fitted["ratio"] is None or "" in fitted["off"] or not on.any():
            return answers
        tasks = answers.tasks
        found = {task: answers.probabilities(task).copy() for task in tasks}
        first, second = (answers.probabilities(task) for task in tasks)
        for ratio, rows in by_state(fitted["ratio"], fold):
            rows = rows & on
            if not rows.any():
                continue
            one, two = logs(first[rows]), logs(second[rows])
            both = one[:, :, None] + two[:, None, :] + self.strength * np.array(ratio)
            pairs = normalised(both.reshape(len(both), -1)).reshape(both.shape)
            found[tasks[0]][rows], found[tasks[1]][rows] = pairs.sum(axis=2), pairs.sum(axis=1)
        index = {task: likeliest(found[task]) for task in tasks}
        changed = table.copy()
        for task in tasks:
            columns = class_columns(answers.classes, task)
            changed.loc[on, columns] = found[task][on]
            names = np.array(answers.classes[task], dtype=object)[index[task]]
            changed[task] = pd.array(np.where(on, names, table[task]), dtype="str")
        return Answers(changed)

    def notes(self, fitted: Fitted) -> list[str]:
        """Where it is off, and why."""
        off: Mapping[str, str] = fitted["off"]
        return [
            f"Pair prior: off{f' in the {split} split' if split else ''}, as {reason}."
            for split, reason in off.items()
        ]


class _Offsets:
    """Labels by log-probabilities with an offset a class, found by coordinate ascent on a grid.

    The probabilities stay what they are. Micro F1 counts right clips, of which the likeliest labels
    have most: with it nothing is changed.
    """

    def __init__(self, *, reach: Reach = 1.0, sweeps: PositiveInt = 3) -> None:
        self.reach, self.sweeps = reach, sweeps

    def _found(self, value: Any, classes: int) -> list[float]:
        """The offsets of a grid that `value` is largest for; of equals those nearest to zero."""
        steps = round(self.reach / STEP)
        grid = sorted(np.arange(-steps, steps + 1) * STEP, key=abs)
        offsets = np.zeros(classes)
        for _ in range(self.sweeps):
            before = offsets.copy()
            for place in range(classes):
                tried = np.tile(offsets, (len(grid), 1))
                tried[:, place] = grid
                values = np.array([value(row) for row in tried])
                offsets[place] = grid[int(np.argmax(values >= values.max() - 1e-12))]
            if np.array_equal(before, offsets):
                break
        found: list[float] = np.round(offsets, 6).tolist()
        return found

    def _answered(self, answers: Answers, offsets: Mapping[str, Matrix]) -> Answers:
        """Labels by the offsets [N, C] of each task."""
        index = {
            task: np.argmax(logs(answers.probabilities(task)) + own, axis=1)
            for task, own in offsets.items()
        }
        return Answers.of_predictions(answers, index)


class HeldOutOffsets(_Offsets):
    """Offsets that raise the F1 of held-out train clips, then `shrink` times these."""

    held_out = True  # it is fitted on held-out clips

    def __init__(
        self,
        *,
        reach: Reach = 0.8,
        sweeps: PositiveInt = 3,
        shrink: Annotated[float, Field(ge=0, le=1)] = 0.5,
    ) -> None:
        super().__init__(reach=reach, sweeps=sweeps)
        self.shrink = shrink

    def fit(self, answers: Answers, known: Known) -> Fitted:
        train = answers.of_split("train")
        clip_ids = train.table["clip_id"].to_numpy()
        fold, index = known.fold_of(train.table), known.indices(answers.classes, clip_ids)
        found = {}
        for task in answers.tasks:
            use = (index[task] >= 0) & (fold >= 0)
            scores, right = logs(train.probabilities(task))[use], index[task][use]

            def fit(rows: NDArray[np.bool_], scores: Any = scores, right: Any = right) -> Any:
                if known.average == "micro" or not rows.any():
                    return [0.0] * scores.shape[1]

                def value(offsets: Matrix) -> float:
                    answered = np.argmax(scores[rows] + offsets, axis=1)
                    f1 = task_f1(right[rows], answered, known.average)
                    return f1 - 0.002 * float(np.abs(offsets).sum())

                return [self.shrink * own for own in self._found(value, scores.shape[1])]

            found[task] = fit_by_fold(fit, fold[use])
        return found

    def apply(self, answers: Answers, fitted: Fitted, fold: NDArray[np.int64]) -> Answers:
        offsets = {}
        for task, names in answers.classes.items():
            offsets[task] = np.zeros((len(answers), len(names)))
            for state, rows in by_state(fitted[task], fold):
                offsets[task][rows] = state
        return self._answered(answers, offsets)


class ExpectedF1(_Offsets):
    """Offsets that maximise the F1 to be expected of the very clips that are answered.

    Of a class k with expected clips s = Σ p, answered a and expected hits t: 2 t / (a + s), weighed
    as the metric weighs classes. No label is looked at, but the clips are, all of a split at once
    (transductive): each split has its own offsets, and a clip that comes later takes those that
    were found for `test`.
    """

    def fit(self, answers: Answers, known: Known) -> Fitted:
        found: Fitted = {}
        for split in sorted(set(answers.table["split"])):
            own = answers.of_split(split)
            found[split] = {
                task: self._of_clips(own.probabilities(task), known.average)
                for task in answers.tasks
            }
        return found

    def _of_clips(self, probabilities: Matrix, average: Average) -> list[float]:
        scores, classes = logs(probabilities), probabilities.shape[1]
        expected = probabilities.sum(axis=0)
        weight = np.ones(classes) if average == "macro" else expected / expected.sum()
        if average == "micro":
            return [0.0] * classes

        def value(offsets: Matrix) -> float:
            answered = np.argmax(scores + offsets, axis=1)
            chosen = probabilities[np.arange(len(answered)), answered]
            hits = np.bincount(answered, chosen, classes)
            number = np.bincount(answered, minlength=classes)
            return float((weight * 2 * hits / np.maximum(expected + number, 1e-9)).sum())

        return self._found(value, classes)

    def apply(self, answers: Answers, fitted: Fitted, fold: NDArray[np.int64]) -> Answers:
        offsets = {}
        splits = answers.table["split"].to_numpy()
        for task, names in answers.classes.items():
            offsets[task] = np.zeros((len(answers), len(names)))
            for split in set(splits):
                state = fitted.get(split, fitted.get("test"))
                if state is not None:
                    offsets[task][splits == split] = state[task]
        return self._answered(answers, offsets)


DECODERS: dict[str, type] = {
    "argmax": Argmax,
    "pair-prior": PairPrior,
    "offsets": HeldOutOffsets,
    "expected-f1": ExpectedF1,
}

__all__ = ["DECODERS", "Argmax", "ExpectedF1", "HeldOutOffsets", "PairPrior"]
