"""An experiment on disk: what a recipe made, how it went, what it thinks of every clip.

A folder with `config.json` (effective settings, what it is made from), `predictions.parquet`,
`combination.json` (what an ensemble fitted), `decisions.json` (all that was fitted on predictions),
`answers.parquet` and `scores.parquet`; where a network was trained also `history.parquet` and, of
each training, the kept epoch's weights `seed-<n>.safetensors` or, with folds,
`seed-<n>-fold-<k>.safetensors`; of a classical model `fit.safetensors` or `fold-<k>.safetensors`;
of a refit `of_folds.parquet`, what each fold's trainings alone think of other clips. Where a
training failed there is `failed.json` instead, which settles the matter where it would fail again
(it diverged). What is gone is made again from what is there. Nothing downstream needs the weights
again. Imports `predictions`, `scoring`, `decisions`, `modelling.checkpoints`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from meiju_utils.decisions import Known
from meiju_utils.errors import TrainingError
from meiju_utils.files import DAMAGED, read_record, read_table
from meiju_utils.integrity import intact
from meiju_utils.predictions import NO_SEED, Answers, Predictions
from meiju_utils.recipes.deciding import decided, folds_of
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.scoring import (
    JOINT,
    MEAN,
    comparison,
    f1,
    failed_table,
)
from meiju_utils.scoring import table as scoring_table
from meiju_utils.sources import code_key

if TYPE_CHECKING:
    from meiju_utils.modelling.checkpoints import TrainedNetwork

FAILURE = "failed.json"
# What an ensemble fitted, kept for when decisions are made anew; all that was decided; of a refit.
COMBINATION, DECISIONS, OF_FOLDS = "combination.json", "decisions.json", "of_folds.parquet"
_RESULTS = ("config.json", "predictions.parquet", DECISIONS, "answers.parquet", "scores.parquet")


@dataclass(frozen=True)
class Member:
    """One training of an experiment: its seed and, where there are `folds`, its fold.

    `answers`: whether it has a part in what is said of clips other than train's.
    """

    seed: int
    fold: int = 0
    folds: bool = False
    answers: bool = True

    @property
    def name(self) -> str:
        """What its files are named after."""
        chance = [f"seed-{self.seed}"] if self.seed != NO_SEED else []
        fold = [f"fold-{self.fold}"] if self.folds else []
        return "-".join([*chance, *fold]) or "fit"

    def weights(self, folder: Path) -> Path:
        """Where its weights lie in an experiment's folder."""
        return folder / f"{self.name}.safetensors"


@dataclass(frozen=True)
class Experiment:
    """An experiment of a recipe, read from its folder when asked for.

    `members` have weights on disk, of networks also a history (`epochs`). Of a refit (`folded`)
    there is what the trainings of each fold think of clips that no fold holds out.
    """

    name: str
    key: str
    folder: Path
    members: tuple[Member, ...] = ()
    epochs: bool = False
    folded: bool = False

    @property
    def done(self) -> bool:
        """Whether all its files are there and intact, or a training of it would fail again."""
        if self.failure:
            return bool(self._failed.get("settled", True))
        there = self.has_predictions and all(intact(self.folder / name) for name in _RESULTS)
        return there and self._scored_by() == scoring_code()

    @property
    def damaged(self) -> bool:
        """Whether some of its files were set aside and not made again."""
        return not self.done and any(self.folder.glob(f"*{DAMAGED}"))

    def _scored_by(self) -> str:
        """The key of the code that made the scores."""
        kept = (pq.read_schema(self.folder / "scores.parquet").metadata or {}).get(b"PANDAS_ATTRS")
        return str(json.loads(kept or "{}").get("scoring", ""))

    @property
    def has_predictions(self) -> bool:
        """Whether only what can be computed from predictions may be missing."""
        files = [self.folder / "predictions.parquet", self.folder / COMBINATION]
        if self.epochs:
            files.append(self.folder / "history.parquet")
        if self.folded:
            files.append(self.folder / OF_FOLDS)
        files += [member.weights(self.folder) for member in self.members]
        return all(intact(path) for path in files)

    @property
    def failure(self) -> str:
        """Why there are no results; "" where nothing failed."""
        found = self._failed
        # It lasts as long as that of the recipe it comes from.
        there = found and intact(self.folder.parent / found["root"] / FAILURE)
        return str(found["reason"]) if there else ""

    @property
    def _failed(self) -> dict[str, Any]:
        """What `write_failure` wrote; empty where there is nothing."""
        path = self.folder / FAILURE
        return read_record(path) if intact(path) else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Effective settings; `notes` says what a reader of the scores must know."""
        return read_record(self.folder / "config.json")

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know: what clips lack, or why it failed."""
        if self.failure:
            return [self.failure]
        return [*self.config["notes"], *self.decisions["notes"]]

    @cached_property
    def decisions(self) -> dict[str, Any]:
        """What was fitted on predictions: `ensemble`, `calibrate`, `decode` and `notes` on them."""
        return read_record(self.folder / DECISIONS)

    @cached_property
    def made_from(self) -> dict[str, str]:
        """Keys by name of the experiments this one combines or was built on."""
        return dict(self.config["made from"])

    @cached_property
    def predictions(self) -> Predictions:
        """Every training's predictions of every clip. TrainingError where one diverged."""
        self._refuse_failed()
        return Predictions.load(self.folder / "predictions.parquet")

    @cached_property
    def answers(self) -> Answers:
        """Labels for every clip, from the mean over seeds by the recipe's decoder."""
        self._refuse_failed()
        return Answers.load(self.folder / "answers.parquet")

    def fold_answers(self, fold: int | None) -> Answers:
        """Answers of the trainings of one fold alone; None: of all, as `answers`."""
        if fold is None:
            return self.answers
        table = self.of_folds.table if self.folded else self.predictions.table
        own = Predictions(table[table["fold"] == fold].reset_index(drop=True)).mean()
        return decided(self.recipe, own, self.decisions, np.full(len(own), fold))

    @cached_property
    def of_folds(self) -> Predictions:
        """What each fold's trainings think of clips that no fold holds out; where `folded`."""
        self._refuse_failed()
        return Predictions.load(self.folder / OF_FOLDS)

    def _refuse_failed(self) -> None:
        if self.failure:
            raise TrainingError(f"Recipe {self.name!r} has no results: {self.failure}")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A tidy score table (see `scoring.table`) on the labelled validation clips.

        With folds also on the train clips, split "train": each predicted by trainings that did not
        see it.
        """
        if self.failure:
            return failed_table(self.name, "valid", self.config["classes"])
        return read_table(self.folder / "scores.parquet")

    def score(self, name: str = JOINT, kind: str = MEAN, split: str = "valid") -> float:
        """One value of the score table; NaN where the recipe failed or has no such score."""
        table = self.scores[self.scores["split"] == split]
        own = table[(table["score"] == name) & (table["kind"] == kind)]
        return float(own["value"].iloc[0]) if len(own) else float("nan")

    def chose(self, split: str) -> str:
        """What was chosen on a split's clips, as "epoch"; "" if nothing."""
        own = self.scores.loc[self.scores["split"] == split, "chose"]
        return str(own.iloc[0]) if len(own) else ""

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row an epoch and seed, `stage` naming the recipe: losses, validation scores, seconds.

        `best` marks the epoch whose weights were kept. The stages before this one come first. Empty
        where nothing was trained over epochs.
        """
        path = self.folder / "history.parquet"
        return read_table(path) if path.is_file() else pd.DataFrame()

    def network(self, seed: int, fold: int = 0) -> "TrainedNetwork":
        """The network of a seed (and fold), rebuilt from its checkpoint."""
        from meiju_utils.modelling.checkpoints import TrainedNetwork

        for member in self.members:
            if (member.seed, member.fold) == (seed, fold):
                return TrainedNetwork.load(member.weights(self.folder))
        raise TrainingError(f"{self!r} has no training of seed {seed} and fold {fold}.")

    @property
    def recipe(self) -> Recipe:
        """What it is an experiment of."""
        return Recipe.model_validate(self.config["recipe"])

    def decoded(self, predictions: Predictions) -> Answers:
        """Labels of predictions (one row a clip), by what the recipe decides and was fitted."""
        known = Known(pd.DataFrame(), "weighted", folds_of(self.predictions))
        return decided(self.recipe, predictions, self.decisions, known.fold_of(predictions.table))

    def __repr__(self) -> str:
        if not self.done:
            return f"Experiment {self.name} ({self.key}): not trained yet"
        if self.failure:
            return f"Experiment {self.name} ({self.key}): {self.failure}"
        table = self.scores[self.scores["split"] == "valid"]
        own = table[(table["score"] == JOINT) & (table["kind"] == MEAN)].iloc[0]
        return (
            f"Experiment {self.name} ({self.key}): joint {own['value']:.3f} "
            f"[{own['low']:.3f}, {own['high']:.3f}] on valid"
        )

    def _repr_html_(self) -> str:
        name, colon, rest = repr(self).removeprefix("Experiment ").partition(":")
        return f"<b>{escape(name)}</b>{colon}{escape(rest)}"


def scoring_code() -> str:
    """The key of the code that scores: where it changes, scores are made anew, and nothing else."""
    return code_key(f1, comparison, scoring_table)
