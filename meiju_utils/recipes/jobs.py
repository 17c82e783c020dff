"""The work of one training, done in a worker process: weights, predictions, history on disk.

A job writes `<member>.parquet` (predictions) and, last, `<member>.json` (history) beside the
weights; they are joined into the experiment's tables afterwards. Imports `book`, `modelling`.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meiju_utils.challenge import Average
from meiju_utils.config import Training
from meiju_utils.errors import TrainingError
from meiju_utils.files import read_record, write_record
from meiju_utils.integrity import intact
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.partitions import Part
from meiju_utils.predictions import Predictions, Targets
from meiju_utils.recipes.experiment import FAILURE, Member
from meiju_utils.recipes.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker process needs to train a recipe on one part, with one seed.

    `code` is the key of the code that shall do it; `pool_targets` a file of targets of the
    unlabelled pool, written before the job starts.
    """

    recipe: Recipe
    code: str
    folder: Path
    dataset: Dataset
    part: Part
    average: Average
    member: Member
    pool_targets: Path | None = None

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.recipe.name

    @property
    def seed(self) -> int:
        return self.member.seed

    @property
    def record(self) -> Path:
        """Written last: it marks the job as done."""
        return self.folder / f"{self.member.name}.json"

    @property
    def predictions(self) -> Path:
        return self.folder / f"{self.member.name}.parquet"

    @property
    def progress(self) -> Path:
        """Where a long training is saved to now and then."""
        return self.folder / f"{self.member.name}.progress"

    @property
    def done(self) -> bool:
        return intact(self.record) and intact(self.predictions)

    def targets(self) -> Targets:
        """The true labels of the clips that fit, and the pool's targets where there are any."""
        targets = self.dataset.targets(self.dataset.rows_of(self.part.fit))
        return (
            targets.with_others(Targets.load(self.pool_targets)) if self.pool_targets else targets
        )

    def write(
        self,
        probabilities: dict[str, Any],
        targets: Targets,
        chose: str,
        record: dict[str, Any],
        absent: Any = None,
    ) -> None:
        """Write predictions of the part's clips and the record; progress is removed after them."""
        weight = np.sum([targets.weights(task) for task in targets.classes], axis=0)
        rows = self.part.predicted(self.dataset)
        fitted, chosen = np.zeros((2, len(self.dataset.clip_ids)), dtype=bool)
        fitted[self.dataset.rows_of(targets.table["clip_id"][weight > 0])] = True
        chosen[self.dataset.rows_of(self.part.choose)] = True
        Predictions.of_arrays(
            self.dataset.clip_ids[rows],
            self.dataset.split[rows],
            {task: found[rows] for task, found in probabilities.items()},
            self.dataset.classes,
            fitted=fitted[rows],
            chose=np.where(chosen[rows], chose, ""),
            seed=self.member.seed,
            fold=self.member.fold,
            absent=None if absent is None else absent[rows],
        ).save(self.predictions)
        write_record(self.record, {"seed": self.seed, **record})
        self.progress.unlink(missing_ok=True)

    def run(self) -> float:
        """Do the work; the best score on the way (NaN where none was looked at)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NetworkJob(Job):
    """Training a network, from scratch or from the weights in `start`."""

    network: NetworkConfig
    training: Training
    start: Path | None = None

    @property
    def done(self) -> bool:
        return super().done and intact(self.member.weights(self.folder))

    def run(self) -> float:
        """A training that was interrupted goes on from its last saved epoch."""
        from meiju_utils.modelling.checkpoints import TrainedNetwork
        from meiju_utils.modelling.training import Plan, train_network

        if self.start and (self.start.parent / FAILURE).is_file():  # another seed of it, meanwhile
            raise TrainingError(f"The recipe it starts from, {self.start.parent.name}, failed.")
        targets = self.targets()
        trained = train_network(
            self.dataset,
            Plan(
                network=self.network,
                training=self.training,
                average=self.average,
                objective=self.recipe.objective,
                targets=targets,
                fit=self.dataset.rows_of(self.part.fit),
                choose=self.dataset.rows_of(self.part.choose),
                start=TrainedNetwork.load(self.start).network if self.start else None,
            ),
            self.seed,
            progress=self.progress,
        )
        trained.model.save(self.member.weights(self.folder))
        every = np.arange(len(self.dataset.clip_ids))
        found = trained.model.probabilities(self.dataset, every, self.training.device)
        for row in trained.history:
            row |= {"fold": self.member.fold, "best": row["epoch"] == trained.best_epoch}
        chose = "epoch" if self.training.keep == "best" else ""
        self.write(found, targets, chose, {"history": trained.history})
        return max(float(row["valid_joint"]) for row in trained.history)


@dataclass(frozen=True, kw_only=True)
class ModelJob(Job):
    """Fitting a classical model; those that would choose an epoch fit too."""

    @property
    def done(self) -> bool:
        weights = self.member.weights(self.folder)
        return super().done and (not self.member.answers or intact(weights))

    def targets(self) -> Targets:
        """Of a model nothing is chosen on clips beside those it fits."""
        if self.part.published:
            return super().targets()
        choosers = self.dataset.targets(self.dataset.rows_of(self.part.choose))
        return super().targets().with_others(choosers)

    def run(self) -> float:
        from meiju_utils.modelling.fitting import FittedModel

        assert self.recipe.component is not None
        targets = self.targets()
        model = FittedModel.fit(self.recipe.component, self.dataset, targets, self.average)
        if self.member.answers:
            model.save(self.member.weights(self.folder))
        found, absent = model.probabilities(self.dataset)
        self.write(found, targets, "", {"history": []}, absent)
        return float("nan")


def remove_parts(folder: Path, member: Member) -> None:
    """Remove what a training wrote to be joined into the experiment's tables."""
    with suppress(OSError):  # a folder that may only be read
        for suffix in (".parquet", ".json"):
            (folder / f"{member.name}{suffix}").unlink(missing_ok=True)


def read_records(jobs: list[Job]) -> tuple[Predictions, list[dict[str, Any]]]:
    """What the jobs of a recipe left: their predictions, and a row of history an epoch."""
    predictions = Predictions.concatenated([Predictions.load(job.predictions) for job in jobs])
    history = [row for job in jobs for row in read_record(job.record)["history"]]
    return predictions, history
