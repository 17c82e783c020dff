"""One training of the joint network: from a dataset and labels to the best epoch's weights.

The validation split chooses the epoch and is never trained on. On the CPU a seed gives the same
weights every time, also when the training was interrupted. Imports torch and the modules beside it.
"""

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from meiju_utils.challenge import TASKS, Task
from meiju_utils.config import Training
from meiju_utils.embeddings.checkpoints import single_thread, torch_device
from meiju_utils.errors import TrainingError
from meiju_utils.metrics import score
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.checkpoints import (
    TrainedNetwork,
    load_tensors,
    predict,
    save_tensors,
    with_prefix,
)
from meiju_utils.modelling.dataset import UNKNOWN, Dataset
from meiju_utils.modelling.memory import keep_freed_memory
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.optimisation import (
    AdamW,
    JointLoss,
    average_into,
    clipped_step,
    label_weights,
    learning_rate,
)

CHECKPOINT_SECONDS = 60.0
# A mean loss so many times that of a uniform answer has diverged.
DIVERGED = 10.0


@dataclass(frozen=True)
class Plan:
    """What one training is to do: architecture, settings, labels, where it starts.

    `pseudo_labels` gives labels [N] (-1: none) to clips of the unlabelled pool; `start` is the
    network whose weights are taken over; `average` the F1 of the setting.
    """

    network: NetworkConfig
    training: Training
    average: Literal["weighted", "micro"]
    pseudo_labels: dict[Task, NDArray[np.int64]] | None = None
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
    show: str = "",
) -> Trained:
    """Train on the labelled train clips (and pseudo labels) until the epochs or patience end.

    `progress` is a file that a long training is saved to now and then, and resumed from; it is
    removed at the end. `show` names a progress bar; "" shows none. Raises TrainingError where
    the loss is not a number or has diverged, FeatureError where the start has other widths.
    """
    keep_freed_memory()
    with single_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Trainer(dataset, plan, seed).fit(progress, checkpoint_seconds, show)


class _Trainer:
    def __init__(self, dataset: Dataset, plan: Plan, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.training = plan.training
        device = torch_device(self.training.device)
        labels = dict(dataset.labels)
        rows = dataset.labelled("train")
        if plan.pseudo_labels is not None:
            pool = dataset.rows("unlabeled")
            for task in TASKS:
                labels[task] = labels[task].copy()
                labels[task][pool] = plan.pseudo_labels[task][pool]
            known = np.logical_or.reduce([labels[task][pool] != UNKNOWN for task in TASKS])
            rows = np.concatenate([rows, pool[known]])
        self.rows = rows
        self.valid = dataset.labelled("valid")
        self.truth = dataset.truth(self.valid)
        self.seen: dict[Task, list[int]] = {
            task: np.unique(values[values != UNKNOWN]).tolist()
            for task in TASKS
            for values in [dataset.labels[task][dataset.labelled("train")]]
        }
        self.standardiser = Standardiser.fit(dataset, self.training.standardise)
        whole = not plan.network.masking
        self.tensors = ClipTensors(dataset, self.standardiser, device, whole)
        weights = label_weights(labels, rows, self.training.class_weights)
        self.loss = JointLoss(labels, weights, self.training.auxiliary_weight, device)
        self.network = self._new_network().to(device)
        self.average = copy.deepcopy(self.network) if self.training.ema else None
        self.optimizer = AdamW(self.network.parameters(), self.training)
        self.order = np.random.default_rng(seed)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_joint, self.steps = 0, -1.0, 0

    def _new_network(self) -> JointNetwork:
        network = JointNetwork(self.plan.network)
        if self.training.initialisation == "kaiming":
            network.initialise_kaiming()
        if self.plan.start is not None:
            network.start_from(self.plan.start)
        return network

    @property
    def evaluated(self) -> JointNetwork:
        """The network that is judged and kept: the averaged one where there is one."""
        return self.network if self.average is None else self.average

    def fit(self, progress: Path | None, checkpoint_seconds: float, show: str) -> Trained:
        if progress is not None and progress.is_file():
            self._resume(progress)
        saved = time.monotonic()
        first = len(self.history) + 1
        epochs = tqdm(
            range(first, self.training.epochs + 1),
            desc=show,
            unit="epoch",
            initial=first - 1,
            total=self.training.epochs,
            disable=not show,
        )
        for epoch in epochs:
            if epoch - self.best_epoch > self.training.patience:
                break
            self._epoch(epoch)
            joint = self.history[-1]["valid_joint"]
            epochs.set_postfix(joint=f"{joint:.3f}", best=f"{self.best_joint:.3f}")
            if progress is not None and time.monotonic() - saved >= checkpoint_seconds:
                self._save(progress)
                saved = time.monotonic()
        epochs.close()
        network = JointNetwork(self.plan.network)
        network.load_state_dict(self.best)
        if progress is not None:
            progress.unlink(missing_ok=True)
        model = TrainedNetwork(network.eval(), self.standardiser, self.seen)
        return Trained(model, self.best_epoch, self.history)

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = learning_rate(self.training, epoch)
        train_loss = self._train(epoch, rate)
        valid_loss, probabilities = self._validate()
        answers = [probabilities[task].argmax(axis=1) for task in TASKS]
        scores = score(
            self.truth[0], answers[0], self.truth[1], answers[1], average=self.plan.average
        )
        if scores.joint > self.best_joint:
            self.best_epoch, self.best_joint = epoch, scores.joint
            self.best = {k: v.detach().clone() for k, v in self.evaluated.state_dict().items()}
        self.history.append(
            {
                "seed": self.seed,
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": train_loss,
                "valid_loss": valid_loss,
                "valid_emotion": scores.emotion,
                "valid_intent": scores.intent,
                "valid_joint": scores.joint,
                "seconds": time.perf_counter() - began,
            }
        )

    def _train(self, epoch: int, rate: float) -> float:
        self.network.train()
        total = torch.zeros((), device=self.tensors.device)
        for rows in self.tensors.shuffled(self.rows, self.training.batch_size, self.order):
            self.network.zero_grad()
            for piece in self.tensors.pieces(rows):
                batch = self.tensors.batch(
                    piece, self.training.noise, self.training.modality_dropout
                )
                loss = self.loss(self.network(*batch), piece, rows)
                torch.autograd.backward(loss)
                total += loss.detach() * len(rows)
            clipped_step(self.network, self.optimizer, self.training, rate)
            self.steps += 1
            if self.average is not None:
                average_into(self.average, self.network, self.training.ema, self.steps)
        mean = float(total) / len(self.rows)
        limit = DIVERGED * self.loss.uniform(self.plan.network.stage == "joint")
        if not mean <= limit:
            raise TrainingError(
                f"The training diverged: mean loss {mean:.3g} in epoch {epoch} (seed {self.seed}); "
                f"a uniform answer has {limit / DIVERGED:.2f}. Lower training.learning_rate "
                f"(now {self.training.learning_rate:g}) or use training.clipping: global."
            )
        return mean

    def _validate(self) -> tuple[float, dict[Task, NDArray[np.float32]]]:
        """Cross-entropy of both tasks and probabilities on the validation split."""
        found = predict(self.evaluated, self.tensors, self.valid, self.seen)
        loss = 0.0
        for task, truth in zip(TASKS, self.truth, strict=True):
            right = found[task][np.arange(len(truth)), truth]
            loss -= float(np.log(np.maximum(right, 1e-7)).mean())
        return loss, found

    def _save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, state in self.optimizer.state.items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.tensors.device.type != "cpu":
            generator = torch.get_device_module(self.tensors.device)
            tensors["random.device"] = generator.get_rng_state()
        about: dict[str, Any] = {
            "history": self.history,
            "order": self.order.bit_generator.state,
            "best_epoch": self.best_epoch,
            "best_joint": self.best_joint,
            "steps": self.steps,
            "device": self.tensors.device.type,
        }
        save_tensors(path, tensors, about)

    def _resume(self, path: Path) -> None:
        tensors, about = load_tensors(path)
        self.network.load_state_dict(with_prefix(tensors, "network."))
        if self.average is not None:
            self.average.load_state_dict(with_prefix(tensors, "average."))
        self.best = with_prefix(tensors, "best.")
        for name, value in with_prefix(tensors, "optimizer.").items():
            index, part = name.split(".")
            self.optimizer.state.setdefault(int(index), {})[part] = value.to(self.tensors.device)
        torch.set_rng_state(tensors["random.cpu"])
        # Progress may come from another device, whose generator says nothing here.
        if "random.device" in tensors and about["device"] == self.tensors.device.type != "cpu":
            generator = torch.get_device_module(self.tensors.device)
            generator.set_rng_state(tensors["random.device"])
        self.order.bit_generator.state = about["order"]
        self.history = about["history"]
        self.best_epoch, self.best_joint = about["best_epoch"], about["best_joint"]
        self.steps = about["steps"]
