"""A classical model fitted for every task: what predicts from it, and its file.

The file is safetensors: no code is run by reading it. Imports `classical`, `dataset`, `views`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from meiju_utils.arrays import read_arrays, write_arrays
from meiju_utils.challenge import Average
from meiju_utils.components import Component, build
from meiju_utils.errors import DamagedError, TrainingError
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.views import Standardised, texts_of
from meiju_utils.predictions import Classes, Targets

Array = NDArray[Any]
JOINT = "columns"  # stands for the tasks where one state serves all


@dataclass(frozen=True)
class FittedModel:
    """Of each task (or of all, `columns`) the model's state; `shares` [C] of the classes in its
    targets, for clips that lack all it reads; `standardised`: what its view shows."""

    component: Component
    average: Average
    classes: Classes
    states: dict[str, dict[str, Array]]
    shares: dict[str, Array]
    standardised: Standardised | None = None

    @classmethod
    def fit(
        cls, component: Component, dataset: Dataset, targets: Targets, average: Average
    ) -> "FittedModel":
        """Fit on targets; clips that lack all the model reads have no part in it."""
        rows = np.array([dataset.place[clip_id] for clip_id in targets.table["clip_id"]])
        weights = {task: targets.weights(task) for task in dataset.classes}
        counted = np.any([own > 0 for own in weights.values()], axis=0)
        kind: Any = MODELS[component.name]
        standardised = None
        if _reads(kind) == "features":
            view = str(component.options["view"])
            standardised = Standardised.fit(dataset, view, rows[counted])
        x, there = _read(kind, standardised, dataset)
        shares = {
            task: np.average(targets.probabilities(task), axis=0, weights=weights[task])
            for task in dataset.classes
        }
        found = cls(component, average, dict(dataset.classes), {}, shares, standardised)
        together = getattr(kind, "columnwise", False) and _alike(list(weights.values()))
        for group in [list(weights)] if together else [[task] for task in weights]:
            own = weights[group[0]]
            use = (own > 0) & there[rows]
            if not use.any():
                continue
            model = found._model(group)
            wanted = np.concatenate([targets.probabilities(task) for task in group], axis=1)
            model.fit(x[rows[use]], wanted[use], own[use])
            # One of the user's own without a state stays in memory.
            state = getattr(model, "state", {"model": model})
            found.states[JOINT if together else group[0]] = state
        return found

    def probabilities(self, dataset: Dataset) -> tuple[dict[str, Array], NDArray[np.bool_]]:
        """Class probabilities [N, C] of each task, and which clips [N] lack all that is read."""
        x, there = _read(MODELS[self.component.name], self.standardised, dataset)
        found = {task: np.tile(share, (len(there), 1)) for task, share in self.shares.items()}
        if not there.any():
            return found, ~there
        columns = self.states.get(JOINT)
        if columns is not None:
            scores = self._restored(list(self.classes), columns).scores(x[there])
            start = 0
            for task, labels in self.classes.items():
                own = scores[:, start : start + len(labels)]
                found[task][there] = _softmax(own, self.shares[task])
                start += len(labels)
            return found, ~there
        for task, state in self.states.items():
            model = self._restored([task], state)
            if hasattr(model, "scores"):
                found[task][there] = _softmax(model.scores(x[there]), self.shares[task])
            else:
                found[task][there] = model.probabilities(x[there])
        return found, ~there

    def _model(self, tasks: list[str]) -> Any:
        classes = sum(len(self.classes[task]) for task in tasks)
        return build(self.component, MODELS, classes, self.average)

    def _restored(self, tasks: list[str], state: dict[str, Array]) -> Any:
        if "model" in state:
            return state["model"]
        model = self._model(tasks)
        model.state = state
        return model

    def save(self, path: Path) -> None:
        """Write everything needed to rebuild it, atomically; nothing of a model without `state`."""
        tensors = {f"share/{task}": share for task, share in self.shares.items()}
        for task, state in self.states.items():
            tensors |= {f"state/{task}/{k}": v for k, v in state.items() if k != "model"}
        about: dict[str, Any] = {
            "component": self.component.model_dump(),
            "average": self.average,
            "classes": {task: list(labels) for task, labels in self.classes.items()},
            "streams": None,
            "kept": not any("model" in state for state in self.states.values()),
        }
        if self.standardised is not None:
            about["streams"] = self.standardised.streams
            tensors |= {"mean": self.standardised.mean, "scale": self.standardised.scale}
        write_arrays(path, tensors, about)

    @classmethod
    def load(cls, path: Path) -> "FittedModel":
        """What `save` wrote. TrainingError for a file that is not one."""
        try:
            tensors, about = read_arrays(path)
            component = Component.model_validate(about["component"])
        except (DamagedError, OSError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{path.name} is not a fitted model of this package ({error}). Train anew."
            ) from None
        if not about["kept"]:
            raise TrainingError(
                f"The model {component.name!r} keeps no `state`, by which alone it could answer "
                "about other clips (see docs/extending.md)."
            )
        states: dict[str, dict[str, Array]] = {}
        for name, value in tensors.items():
            if name.startswith("state/"):
                _, task, key = name.split("/", 2)
                states.setdefault(task, {})[key] = value
        shares = {task: tensors[f"share/{task}"] for task in about["classes"]}
        standardised = None
        if about["streams"] is not None:
            standardised = Standardised(about["streams"], tensors["mean"], tensors["scale"])
        classes = {task: tuple(labels) for task, labels in about["classes"].items()}
        return cls(component, about["average"], classes, states, shares, standardised)


def _reads(kind: Any) -> str:
    return str(getattr(kind, "reads", "means"))


def _read(
    kind: Any, standardised: Standardised | None, dataset: Dataset
) -> tuple[Array, NDArray[np.bool_]]:
    """What a kind of model reads of every clip [N, ...], and which have any of it [N]."""
    if standardised is not None:
        return standardised.of(dataset)
    if _reads(kind) == "texts":
        return texts_of(dataset)
    x = np.concatenate([s.means() for s in dataset.features.values()], axis=1)
    return x.astype(np.float64), np.ones(len(x), dtype=bool)


def _softmax(scores: Array, share: Array) -> Array:
    """Probabilities of scores; none of a class that no target has."""
    return np.asarray(softmax(np.where(share > 0, scores.astype(np.float64), -np.inf), axis=1))


def _alike(weights: list[Array]) -> bool:
    return all(np.array_equal(own, weights[0]) for own in weights)
