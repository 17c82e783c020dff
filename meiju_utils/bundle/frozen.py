"""A recipe frozen: what its members were made with, what was fitted, and answers by it.

What a run needs hours and its corpus for stands here as data, beside files of weights; a new clip
goes through the same code as the run's own. Imports `decisions`, `modelling`, `recipes`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from meiju_utils.arrays import Arrays
from meiju_utils.challenge import Average, Language, Modality, Task
from meiju_utils.components import Component, build
from meiju_utils.config import EncoderConfig, Preprocessing
from meiju_utils.decisions import CALIBRATIONS, DECODERS, ENSEMBLES
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.dataset import UNKNOWN, Dataset
from meiju_utils.modelling.fitting import FittedModel
from meiju_utils.modelling.sequences import Sequences
from meiju_utils.predictions import Answers, Predictions
from meiju_utils.recipes.deciding import decided

if TYPE_CHECKING:
    from meiju_utils.modelling.checkpoints import TrainedNetwork

    Model = FittedModel | TrainedNetwork

FILE = re.compile(r"\d{3,}\.safetensors")  # of weights
SPLIT = "test"  # what a new clip counts as: what was fitted for the test clips is for it


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FrozenEncoder(_Data):
    """An encoder of one modality; `settings` tell whether it is the same elsewhere, `fitted`
    whether its state lies beside."""

    modality: Modality
    config: EncoderConfig
    width: int
    settings: dict[str, Any]
    fitted: bool


class Weights(_Data):
    """One training's file of weights."""

    file: str
    seed: int
    fold: int


class Part(_Data):
    """A recipe that `Frozen` is made of: what it answers by, and (`recipe`) all of it for reading.

    `streams`: of a training the number of each modality's encoder. `made_of`: of an ensemble its
    members, as its recipe names them, and which parts they are; `fitted`: what it fitted.
    """

    kind: Literal["network", "model", "ensemble"]
    component: Component | None
    calibrate: Component | None
    decode: list[Component]
    recipe: dict[str, Any]
    streams: dict[Modality, int] = {}
    weights: list[Weights] = []
    made_of: dict[str, str] = {}
    fitted: dict[str, Any] = {}


class Frozen(_Data):
    """All but weights: parts, each after those it is made of, the last is the recipe itself; what
    was fitted on its predictions; how clips are read. `about` is for the model card."""

    name: str
    parts: dict[str, Part]
    decisions: dict[str, Any]
    classes: dict[Task, tuple[str, ...]]
    average: Average
    language: Language
    preprocessing: Preprocessing
    encoders: list[FrozenEncoder]
    batches: dict[str, float]
    about: dict[str, Any] = {}


@dataclass(frozen=True)
class Material:
    """What lies beside a frozen recipe: files of weights by name, states of fitted encoders by
    number, the folder that `{run_dir}` in an encoder's name stands for."""

    weights: dict[str, Path]
    states: dict[int, Arrays]
    folder: Path


@dataclass(frozen=True)
class Question:
    """One clip as it is asked about: its features [T, D] by the encoders' numbers (None: it has
    none), its words; with `only` as if it had no other modality."""

    arrays: Sequence[Any]
    text: str
    only: Modality | None = None


def dataset_of(frozen: Frozen, part: Part, asked: Sequence[Question]) -> Dataset:
    """What a part reads of some clips, whose ids are their places."""
    features: dict[str, Sequences] = {}
    for modality, number in part.streams.items():
        arrays = [one.arrays[number] if one.only in (None, modality) else None for one in asked]
        features[modality] = Sequences.of_list(arrays, frozen.encoders[number].width)
    reads = "text" in part.streams
    return Dataset(
        np.arange(len(asked)).astype(str),
        np.full(len(asked), SPLIT),
        features,
        {task: np.full(len(asked), UNKNOWN) for task in frozen.classes},
        frozen.classes,
        "",
        tuple(one.text if reads and one.only in (None, "text") else "" for one in asked),
    )


def answer(
    frozen: Frozen,
    models: Callable[[Weights], "Model"],
    asked: Sequence[Question],
    device: str = "auto",
) -> Answers:
    """What the frozen recipe says of new clips, in their order; their ids are their places."""
    found: dict[str, Predictions] = {}
    for name, part in frozen.parts.items():
        if part.kind == "ensemble":
            members = {member: found[other] for member, other in part.made_of.items()}
            found[name] = _combined(part, members, len(asked))
            continue
        dataset = dataset_of(frozen, part, asked)
        found[name] = Predictions.concatenated(
            [_predicted(models(one), one, dataset, device) for one in part.weights]
        )
    mean = found[frozen.name].mean()
    return decided(frozen.parts[frozen.name], mean, frozen.decisions, _no_fold(len(mean)))


def _combined(part: Part, members: Mapping[str, Predictions], clips: int) -> Predictions:
    component = part.component
    assert component is not None
    ensemble = build(component, ENSEMBLES)
    found: Predictions = (
        ensemble.apply(members, part.fitted, _no_fold(clips)) if part.fitted else ensemble(members)
    )
    return found


def _predicted(model: "Model", weights: Weights, dataset: Dataset, device: str) -> Predictions:
    clips, absent = len(dataset.clip_ids), None
    if isinstance(model, FittedModel):
        probabilities, absent = model.probabilities(dataset)
    else:
        probabilities = model.probabilities(dataset, np.arange(clips), device)
    return Predictions.of_arrays(
        dataset.clip_ids,
        dataset.split,
        probabilities,
        dataset.classes,
        fitted=np.zeros(clips, dtype=bool),
        seed=weights.seed,
        fold=weights.fold,
        absent=absent,
    )


def _no_fold(clips: int) -> Any:
    """No fold held a new clip out."""
    return np.full(clips, -1)


def faults(frozen: Frozen) -> list[str]:
    """What of a frozen recipe that was read from a file cannot be used here."""
    found: list[str] = []
    before: list[str] = []
    for name, part in frozen.parts.items():
        registry = {"model": MODELS, "ensemble": ENSEMBLES}.get(part.kind, {})
        known = [(part.component, registry), (part.calibrate, CALIBRATIONS)]
        known += [(decoder, DECODERS) for decoder in part.decode]
        for component, where in known:
            if component is not None and component.name not in where:
                found.append(f"{name} needs {component.name!r}, which this installation lacks.")
        if odd := [other for other in part.made_of.values() if other not in before]:
            found.append(f"{name} is made of {odd[0]!r}, which does not come before it.")
        if not all(0 <= number < len(frozen.encoders) for number in part.streams.values()):
            found.append(f"{name} reads an encoder that is not there.")
        if bool(part.weights) == (part.kind == "ensemble"):
            found.append(f"{name} has no weights, or is an ensemble with some.")
        if odd := [one.file for one in part.weights if not FILE.fullmatch(one.file)]:
            found.append(f"{name} names a file of weights {odd[0]!r}.")
        before.append(name)
        if part.kind == "ensemble" and part.component is None:
            found.append(f"{name} is an ensemble of no kind.")
    if set(frozen.decisions) != {"calibrate", "decode"}:
        found.append("what was decided on its predictions is not there.")
    if set(frozen.batches) != {"batch_images", "batch_seconds", "batch_tokens"}:
        found.append("its batches are others than those of an encoder.")
    if odd := [
        e.config.name for e in frozen.encoders if e.fitted and e.config.name != "char-ngram"
    ]:
        found.append(f"no encoder {odd[0]!r} is fitted on texts.")
    if not before or before[-1] != frozen.name:
        found.append("its last part is not the recipe itself.")
    return found
