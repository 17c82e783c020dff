"""An experiment on disk: what was trained, how it went, what it thinks of every clip.

A folder with `config.json` (effective settings), of each seed the best epoch's weights
`seed-<n>.safetensors`, and `history.parquet`, `probabilities.parquet`, `scores.json`; the last is
written last and marks the experiment as whole. Nothing downstream needs the weights again.
Imports `training` and the modules beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import Scores, Task
from meiju_utils.config import Training
from meiju_utils.files import atomic_path, read_json, write_json
from meiju_utils.metrics import (
    Interval,
    ScoreIntervals,
    bootstrap_scores,
    score,
    score_intervals,
)
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.checkpoints import TrainedNetwork
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.probabilities import (
    answers,
    mean_over_members,
    probability_table,
)
from meiju_utils.modelling.training import Plan, train_network

Average = Literal["weighted", "micro"]
SCORES = ("emotion", "intent", "joint")
# True and predicted emotion, true and predicted intent, of the same clips.
Labels = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Experiment:
    """A finished experiment, read from its folder when asked for."""

    name: str
    key: str
    folder: Path

    @property
    def done(self) -> bool:
        return (self.folder / "scores.json").is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        """Effective settings; `notes` says what a reader of the scores must know."""
        found: dict[str, Any] = read_json(self.folder / "config.json")
        return found

    @property
    def notes(self) -> list[str]:
        return list(self.config["notes"])

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Validation scores, their `average` and number of `clips`, and `best_epochs` by seed.

        `seeds` has the scores of each seed; `single` what one training is worth (the mean over
        seeds), `ensemble` what the mean of the seeds' probabilities is worth. The latter two have
        `value`, `low` and `high`, the bounds of a 95 % bootstrap interval: over seeds and clips,
        and over clips.
        """
        found: dict[str, Any] = read_json(self.folder / "scores.json")
        return found

    @property
    def intervals(self) -> ScoreIntervals:
        """Validation scores of the mean over seeds, with intervals over clips."""
        return _as_intervals(self.scores["ensemble"])

    @property
    def single_intervals(self) -> ScoreIntervals:
        """Validation scores of one training, with intervals over seeds and clips."""
        return _as_intervals(self.scores["single"])

    @cached_property
    def probabilities(self) -> pd.DataFrame:
        """clip_id, split, seed, fold and the probabilities; train clips' are in-sample."""
        return pd.read_parquet(self.folder / "probabilities.parquet")

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row an epoch and seed, `stage` naming the recipe: losses, validation scores, seconds.

        The stages before this one come first. Empty for a combination of experiments.
        """
        return pd.read_parquet(self.folder / "history.parquet")

    def network(self, seed: int) -> TrainedNetwork:
        """The network of a seed, rebuilt from its checkpoint."""
        return TrainedNetwork.load(checkpoint_path(self.folder, seed))

    def predictions(self, split: str) -> pd.DataFrame:
        """Labels and confidences of a split by the mean over seeds (see `answers`)."""
        chosen = self.probabilities[self.probabilities["split"] == split]
        return answers(mean_over_members(chosen))


@dataclass(frozen=True)
class SeedJob:
    """All that a worker process needs to train one seed of an experiment."""

    folder: Path
    dataset: Dataset
    network: NetworkConfig
    training: Training
    average: Average
    seed: int
    start: Path | None = None
    pseudo_labels: dict[Task, NDArray[np.int64]] | None = None
    show: str = ""

    @property
    def done(self) -> bool:
        return (self.folder / f"seed-{self.seed}.json").is_file()


def checkpoint_path(folder: Path, seed: int) -> Path:
    """Where a seed's weights lie in an experiment's folder."""
    return folder / f"seed-{seed}.safetensors"


def train_seed(job: SeedJob) -> float:
    """Train one seed and write its weights, probabilities and history; its best joint score.

    A training that was interrupted goes on from its last saved epoch.
    """
    start = TrainedNetwork.load(job.start).network if job.start else None
    trained = train_network(
        job.dataset,
        Plan(job.network, job.training, job.average, job.pseudo_labels, start),
        job.seed,
        progress=job.folder / f"seed-{job.seed}.progress.safetensors",
        show=job.show,
    )
    trained.model.save(checkpoint_path(job.folder, job.seed))
    rows = np.arange(len(job.dataset.clip_ids))
    table = probability_table(
        job.dataset.clip_ids,
        job.dataset.split,
        trained.model.probabilities(job.dataset, rows, job.training.device),
        job.seed,
    )
    _write_parquet(job.folder / f"seed-{job.seed}.parquet", table)
    write_json(
        job.folder / f"seed-{job.seed}.json",
        {"seed": job.seed, "best_epoch": trained.best_epoch, "history": trained.history},
    )
    return max(float(row["valid_joint"]) for row in trained.history)


def finish_training(
    experiment: Experiment,
    seeds: list[int],
    truth: pd.DataFrame,
    average: Average,
    before: pd.DataFrame | None = None,
) -> None:
    """Join the seeds' results into the experiment's tables and scores.

    `before` is the history of what it started from.
    """
    parts = {seed: experiment.folder / f"seed-{seed}.parquet" for seed in seeds}
    records = [read_json(experiment.folder / f"seed-{seed}.json") for seed in seeds]
    history = pd.DataFrame([row for record in records for row in record["history"]])
    history = history.assign(stage=experiment.name).astype({"stage": "str"})
    if before is not None:
        history = pd.concat([before, history], ignore_index=True)
    probabilities = pd.concat([pd.read_parquet(path) for path in parts.values()], ignore_index=True)
    best_epochs = {str(record["seed"]): record["best_epoch"] for record in records}
    write_results(experiment, probabilities, history, truth, average, best_epochs)
    for path in parts.values():
        path.unlink()


def write_results(
    experiment: Experiment,
    probabilities: pd.DataFrame,
    history: pd.DataFrame,
    truth: pd.DataFrame,
    average: Average,
    best_epochs: Mapping[str, int] | None = None,
) -> None:
    """Write probabilities, history and, last, the scores on the clips in `truth`."""
    _write_parquet(experiment.folder / "probabilities.parquet", probabilities)
    _write_parquet(experiment.folder / "history.parquet", history)
    scores = score_probabilities(probabilities, truth, average)
    write_json(experiment.folder / "scores.json", {**scores, "best_epochs": best_epochs or {}})


def score_probabilities(
    probabilities: pd.DataFrame, truth: pd.DataFrame, average: Average
) -> dict[str, Any]:
    """Scores of the clips in `truth` (clip_id, emotion, intent): see `Experiment.scores`."""
    known = probabilities[probabilities["clip_id"].isin(truth["clip_id"])]
    members = labels_by_seed(known, truth)
    points = {seed: score(*member, average) for seed, member in members.items()}
    together = paired_labels(mean_over_members(known), truth)
    return {
        "average": average,
        "clips": len(truth),
        "seeds": {seed: asdict(point) for seed, point in points.items()},
        "single": asdict(_single_intervals(list(members.values()), list(points.values()), average)),
        "ensemble": asdict(score_intervals(*together, average)),
    }


def _single_intervals(
    members: Sequence[Labels], points: Sequence[Scores], average: Average
) -> ScoreIntervals:
    """Mean scores over trainings, with intervals over trainings and clips."""
    low, high = np.quantile(single_draws(members, average), [0.025, 0.975], axis=0)
    mean = np.mean([(p.emotion, p.intent, p.joint) for p in points], axis=0)
    return ScoreIntervals(
        *(Interval(float(v), float(a), float(b)) for v, a, b in zip(mean, low, high, strict=True))
    )


def single_draws(members: Sequence[Labels], average: Average) -> NDArray[np.float64]:
    """Scores [resamples, 3] of one training: each draw takes other clips and other trainings.

    The numbers of clips and trainings fix the draws, so that experiments can be compared draw by
    draw, clips with the same clips and seeds with the same seeds.
    """
    draws = np.stack([bootstrap_scores(*member, average) for member in members])
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(members), size=(len(members), draws.shape[1]))
    means: NDArray[np.float64] = np.take_along_axis(draws, chosen[:, :, None], axis=0).mean(axis=0)
    return means


def _as_intervals(scores: Mapping[str, Mapping[str, float]]) -> ScoreIntervals:
    return ScoreIntervals(**{name: Interval(**values) for name, values in scores.items()})


def labels_by_seed(probabilities: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Labels]:
    """Of each seed, in order, what `paired_labels` gives."""
    ordered = probabilities.sort_values("seed", kind="stable")
    return {str(seed): paired_labels(part, truth) for seed, part in ordered.groupby("seed")}


def paired_labels(probabilities: pd.DataFrame, truth: pd.DataFrame) -> Labels:
    """What `matched_labels` gives of the likeliest labels."""
    return matched_labels(answers(probabilities), truth)


def matched_labels(predicted: pd.DataFrame, truth: pd.DataFrame) -> Labels:
    """True and predicted emotion, true and predicted intent, of the clips in both tables.

    Both have clip_id, emotion, intent. In the order of `truth`: the arguments of the functions in
    `metrics`.
    """
    both = truth.merge(predicted, on="clip_id", suffixes=("_true", "_predicted"))
    return (
        both["emotion_true"].to_numpy(dtype=str),
        both["emotion_predicted"].to_numpy(dtype=str),
        both["intent_true"].to_numpy(dtype=str),
        both["intent_predicted"].to_numpy(dtype=str),
    )


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
