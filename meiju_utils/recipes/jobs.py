"""The work of one training, done in a worker process: weights, predictions, history on disk.

A job writes `seed-<n>.parquet` (predictions) and, last, `seed-<n>.json` (history) beside the
weights; they are joined into the experiment's tables afterwards. Imports `modelling`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meiju_utils.challenge import Average
from meiju_utils.components import Component, build
from meiju_utils.config import Training
from meiju_utils.errors import TrainingError
from meiju_utils.files import read_json, write_json
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.predictions import NO_SEED, Predictions, Targets
from meiju_utils.recipes.experiment import FAILURE, checkpoint_path

POOL_TARGETS = "pool_targets.parquet"


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker process needs to train one seed of a recipe, or fit a model.

    `pool_targets` is a file of targets of the unlabelled pool, written before the job starts.
    """

    name: str
    folder: Path
    dataset: Dataset
    average: Average
    seed: int = NO_SEED
    pool_targets: Path | None = None

    @property
    def record(self) -> Path:
        """Written last: it marks the job as done."""
        return self.folder / f"seed-{self.seed}.json"

    @property
    def predictions(self) -> Path:
        return self.folder / f"seed-{self.seed}.parquet"

    @property
    def progress(self) -> Path:
        """Where a long training is saved to now and then."""
        return self.folder / f"seed-{self.seed}.progress"

    @property
    def done(self) -> bool:
        return self.record.is_file() and self.predictions.is_file()

    def targets(self) -> Targets:
        """The true labels of the train clips, and the pool's targets where there are any."""
        targets = self.dataset.targets(self.dataset.labelled("train"))
        return (
            targets.with_others(Targets.load(self.pool_targets)) if self.pool_targets else targets
        )

    def write(self, probabilities: dict[str, Any], chose: str, record: dict[str, Any]) -> None:
        """Write predictions of every clip and the record; progress is removed after them."""
        dataset, targets = self.dataset, self.targets()
        weight = sum(targets.weights(task) for task in targets.classes)
        trained = set(targets.table["clip_id"].to_numpy()[np.asarray(weight) > 0])
        judged = np.isin(np.arange(len(dataset.clip_ids)), dataset.labelled("valid"))
        Predictions.of_arrays(
            dataset.clip_ids,
            dataset.split,
            probabilities,
            dataset.classes,
            fitted=np.array([clip_id in trained for clip_id in dataset.clip_ids]),
            chose=np.where(judged, chose, ""),
            seed=self.seed,
            fold=0,
        ).save(self.predictions)
        write_json(self.record, {"seed": self.seed, **record})
        self.progress.unlink(missing_ok=True)

    def run(self) -> float:
        """Do the work; the best validation score on the way (NaN where none was looked at)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NetworkJob(Job):
    """Training a network, from scratch or from the weights in `start`."""

    network: NetworkConfig
    training: Training
    objective: Component
    start: Path | None = None
    show: str = ""

    @property
    def done(self) -> bool:
        return super().done and checkpoint_path(self.folder, self.seed).is_file()

    def run(self) -> float:
        """A training that was interrupted goes on from its last saved epoch."""
        from meiju_utils.modelling.checkpoints import TrainedNetwork
        from meiju_utils.modelling.training import Plan, train_network

        if self.start and (self.start.parent / FAILURE).is_file():  # another seed of it, meanwhile
            raise TrainingError(f"The recipe it starts from, {self.start.parent.name}, failed.")
        trained = train_network(
            self.dataset,
            Plan(
                network=self.network,
                training=self.training,
                average=self.average,
                objective=self.objective,
                targets=self.targets(),
                start=TrainedNetwork.load(self.start).network if self.start else None,
            ),
            self.seed,
            progress=self.progress,
            show=self.show,
        )
        trained.model.save(checkpoint_path(self.folder, self.seed))
        rows = np.arange(len(self.dataset.clip_ids))
        found = trained.model.probabilities(self.dataset, rows, self.training.device)
        for row in trained.history:
            row["best"] = row["epoch"] == trained.best_epoch
        self.write(found, "epoch", {"history": trained.history})
        return max(float(row["valid_joint"]) for row in trained.history)


@dataclass(frozen=True, kw_only=True)
class ModelJob(Job):
    """Fitting a classical model on means over time."""

    model: Component

    def run(self) -> float:
        from meiju_utils.modelling.classical import MODELS

        dataset, targets = self.dataset, self.targets()
        means = [sequences.means() for sequences in dataset.features.values()]
        x = np.concatenate(means, axis=1).astype(np.float64)
        place = {clip_id: row for row, clip_id in enumerate(dataset.clip_ids.tolist())}
        rows = np.array([place[clip_id] for clip_id in targets.table["clip_id"]])
        found = {}
        for task, labels in dataset.classes.items():
            model = build(self.model, MODELS, len(labels), self.average)
            model.fit(x[rows], targets.probabilities(task), targets.weights(task))
            found[task] = model.probabilities(x)
        self.write(found, "", {"history": []})
        return float("nan")


def run_job(job: Job) -> float:
    """`job.run()`, as a function that a worker can be sent."""
    return job.run()


def read_records(jobs: list[Job]) -> tuple[Predictions, list[dict[str, Any]]]:
    """What the jobs of a recipe left: their predictions, and a row of history an epoch."""
    predictions = Predictions.concatenated([Predictions.load(job.predictions) for job in jobs])
    history = [row for job in jobs for row in read_json(job.record)["history"]]
    return predictions, history
