"""One training of the joint network: from a dataset and targets to the best epoch's weights.

Clips that are never trained on choose the epoch. On the CPU a seed gives the same
weights every time, also when the training was interrupted. Imports torch and the modules beside it.
"""

import io
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meiju_utils.challenge import Average
from meiju_utils.components import Component, build
from meiju_utils.config import Training
from meiju_utils.devices import mixed_precision, single_thread, torch_device
from meiju_utils.errors import DamagedError, TrainingError
from meiju_utils.files import read_sealed, write_sealed
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.checkpoints import Seen, TrainedNetwork, gather, predict
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.objectives import OBJECTIVES
from meiju_utils.modelling.optimisation import (
    clip_gradients,
    learning_rate,
    make_optimizer,
    moving_average,
)
from meiju_utils.modelling.starting import initialise_kaiming, start_from
from meiju_utils.modelling.targets import TargetTensors, balanced
from meiju_utils.predictions import Targets, likeliest
from meiju_utils.scoring import JOINT, score

CHECKPOINT_SECONDS = 60.0
# A mean loss so many times that of a uniform answer has diverged.
DIVERGED = 10.0
CROSS_ENTROPY = Component(name="cross-entropy")


@dataclass(frozen=True)
class Plan:
    """What one training is to do: architecture, settings, objective, what is trained on.

    Rows in `fit` (default: the labelled train clips) have true labels and train, those in `choose`
    (default: the labelled validation clips) choose the epoch. `targets` default to the labels of
    `fit`; `start` is the network whose weights are taken over; `average` the F1 of the setting.
    """

    network: NetworkConfig
    training: Training
    average: Average
    objective: Component = CROSS_ENTROPY
    targets: Targets | None = None
    fit: NDArray[np.int64] | None = None
    choose: NDArray[np.int64] | None = None
    start: JointNetwork | None = None


@dataclass(frozen=True)
class Trained:
    """The best epoch's network, its number (from 1), and a row of history for every epoch."""

    model: TrainedNetwork
    best_epoch: int
    history: list[dict[str, Any]]


def train_network(
    dataset: Dataset,
    plan: Plan,
    seed: int,
    progress: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Trained:
    """Train on the targets until the epochs or patience end.

    `progress` is a file that a long training is saved to now and then, and resumed from; whoever
    gave it removes it once the results are safe.
    Raises TrainingError where the loss is not a number or has diverged, or where the start has
    another architecture.
    """
    device = torch_device(plan.training.device)
    devices = [device] if device.type == "cuda" else []
    with single_thread(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return _Trainer(dataset, plan, seed, device).fit(progress, checkpoint_seconds)


class _Trainer:
    def __init__(self, dataset: Dataset, plan: Plan, seed: int, device: torch.device) -> None:
        self.plan, self.seed, self.device = plan, seed, device
        self.training = plan.training
        fit = dataset.labelled("train") if plan.fit is None else plan.fit
        self.valid = dataset.labelled("valid") if plan.choose is None else plan.choose
        self.truth = dataset.truth(self.valid)
        self.seen: Seen = {t: np.unique(own).tolist() for t, own in dataset.truth(fit).items()}
        targets = plan.targets if plan.targets is not None else dataset.targets(fit)
        judged = dataset.targets(self.valid)
        if self.training.class_weights:
            targets, judged = balanced(targets, targets), balanced(judged, targets)
        self.targets = TargetTensors(targets, dataset.clip_ids, device)
        self.judged = TargetTensors(judged, dataset.clip_ids, device)
        self.objective = build(plan.objective, OBJECTIVES)
        self.standardiser = Standardiser.fit(dataset, self.training.standardise, fit)
        self.tensors = ClipTensors(dataset, self.standardiser, device)
        self.network = self._new_network().to(device)
        ema = self.training.ema
        self.average = moving_average(self.network, ema) if ema else None
        self.pool = dataset.rows("unlabeled") if hasattr(self.objective, "consistency") else None
        if self.pool is not None and self.average is None:
            raise TrainingError(
                f"The objective {plan.objective.name} needs a moving average of the network. Give "
                "the recipe `training: {ema: 0.99}`."
            )
        if self.pool is not None and not len(self.pool):
            self.pool = None
        self.optimizer = make_optimizer(self.network, self.training)
        self.order = np.random.default_rng(seed)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_joint = 0, -1.0
        self.limit = float("inf")

    def _new_network(self) -> JointNetwork:
        network = JointNetwork(self.plan.network)
        if self.training.initialisation == "kaiming":
            initialise_kaiming(network)
        if self.plan.start is not None:
            start_from(network, self.plan.start)
        return network

    @property
    def evaluated(self) -> JointNetwork:
        """The network that is judged and kept: the averaged one where there is one."""
        averaged: Any = self.average
        return self.network if averaged is None else averaged.module

    def fit(self, progress: Path | None, checkpoint_seconds: float) -> Trained:
        if progress is not None:
            self._resume(progress)
        saved = time.monotonic()
        first = len(self.history) + 1
        for epoch in range(first, self.training.epochs + 1):
            if epoch - self.best_epoch > self.training.patience and self.training.keep == "best":
                break
            self._epoch(epoch)
            if progress is not None and time.monotonic() - saved >= checkpoint_seconds:
                self._save(progress)
                saved = time.monotonic()
        network = JointNetwork(self.plan.network)
        network.load_state_dict(self.best)
        model = TrainedNetwork(network.eval(), self.standardiser, self.seen)
        return Trained(model, self.best_epoch, self.history)

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = learning_rate(self.training, epoch)
        train_loss = self._train(epoch, rate)
        self._refuse_diverged(train_loss, epoch)
        valid_loss, scores = self._validate()
        if not np.isfinite(valid_loss):  # the last step alone may have gone astray
            self._refuse_diverged(valid_loss, epoch)
        if scores[JOINT] > self.best_joint or self.training.keep == "last":
            self.best_epoch, self.best_joint = epoch, scores[JOINT]
            self.best = {k: v.detach().clone() for k, v in self.evaluated.state_dict().items()}
        self.history.append(
            {
                "seed": self.seed,
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": train_loss,
                "valid_loss": valid_loss,
                **{f"valid_{name}": value for name, value in scores.items()},
                "seconds": time.perf_counter() - began,
            }
        )

    def _train(self, epoch: int, rate: float) -> float:
        """One epoch; the mean loss of its clips, while they trained."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        total = torch.zeros((), device=self.device)
        batches = self.tensors.shuffled(self.targets.rows, self.training.batch_size, self.order)
        for rows in batches:
            batch = self.tensors.batch(rows, self.training.noise, self.training.modality_dropout)
            targets = self.targets.batch(rows)
            with mixed_precision(self.device, self.training.precision):
                logits = self.network(*batch)
            logits = type(logits)(*(x if x is None else x.float() for x in logits))
            loss = self.objective(logits, targets)
            if self.pool is not None:
                loss = loss + self._consistency(len(rows))
            if not np.isfinite(self.limit):
                uniform = type(logits)(*(x if x is None else torch.zeros_like(x) for x in logits))
                self.limit = DIVERGED * abs(float(self.objective(uniform, targets)))
            self.optimizer.zero_grad()
            loss.backward()
            clip_gradients(self.network, self.training)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            total += loss.detach() * len(rows)
        return float(total) / len(self.targets.rows)

    def _consistency(self, clips: int) -> Tensor:
        """How little the network, on noised features, agrees with its average on the pool."""
        assert self.pool is not None
        rows = self.order.choice(self.pool, min(clips, len(self.pool)), replace=False)
        noisy = self.tensors.batch(rows, self.training.noise, self.training.modality_dropout)
        with torch.no_grad():
            averaged = self.evaluated.eval()(*self.tensors.batch(rows))
        found: Tensor = self.objective.consistency(self.network(*noisy), averaged, self.truth)
        return found

    def _refuse_diverged(self, loss: float, epoch: int) -> None:
        if not np.isfinite(loss) or loss > self.limit > 0:
            raise TrainingError(
                f"The training diverged: mean loss {loss:.3g} in epoch {epoch} (seed {self.seed}); "
                f"a uniform answer has {self.limit / DIVERGED:.2f}. Lower training.learning_rate "
                f"(now {self.training.learning_rate:g}) or use training.clipping: global."
            )

    def _validate(self) -> tuple[float, dict[str, float]]:
        """The objective's mean and the scores on the clips that choose the epoch."""
        outputs, loss = [], 0.0
        for rows, logits in predict(self.evaluated, self.tensors, self.valid):
            outputs.append((rows, logits))
            loss += float(self.objective(logits, self.judged.batch(rows))) * len(rows)
        found = gather(outputs, self.valid, self.seen, self.plan.network.classes)
        answers = {task: likeliest(probabilities) for task, probabilities in found.items()}
        return loss / len(self.valid), score(self.truth, answers, self.plan.average)

    def _save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "random": torch.get_rng_state(),
            "device": self.device.type,
            "order": self.order.bit_generator.state,
            "about": [self.history, self.best_epoch, self.best_joint],
        }
        if self.device.type != "cpu":
            state["random device"] = torch.get_device_module(self.device).get_rng_state()
        written = io.BytesIO()
        torch.save(state, written)
        write_sealed(path, written.getvalue())

    def _resume(self, path: Path) -> None:
        """Go on from a saved epoch; one that cannot be read is as good as none."""
        try:
            written = io.BytesIO(read_sealed(path))
            state = torch.load(written, map_location="cpu", weights_only=True)
        except (OSError, DamagedError, RuntimeError, EOFError, pickle.UnpicklingError):
            return  # of another version of torch, say
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        torch.set_rng_state(state["random"])
        # Progress may come from another device, whose generator says nothing here.
        if "random device" in state and state["device"] == self.device.type:
            torch.get_device_module(self.device).set_rng_state(state["random device"])
        self.order.bit_generator.state = state["order"]
        self.history, self.best_epoch, self.best_joint = state["about"]
