"""A trained network taken apart: what its parts read and give, where its gates open, what each
modality alone answers and what is lost without it. Imports `training`, `modelling`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from meiju_utils.modelling.batches import ClipTensors
from meiju_utils.modelling.checkpoints import TrainedNetwork, predict
from meiju_utils.modelling.dataset import Dataset, chosen_encoders, load_dataset
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.predictions import likeliest
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.run import Run
from meiju_utils.scoring import score

CLIPS = 32  # of a batch that shapes are told of
EVERYTHING = "all"
PARTS = ["task", "part", "stream", "is", "options", "reads", "gives", "parameters"]
GATES = ["clip_id", "task", "stream", "gate"]


def network_parts(run: Run, experiment: Experiment) -> pd.DataFrame:
    """A row a part of an experiment's network (of its first seed), in the order data pass them.

    task, part (encoder, fusion, interaction, head), stream (of an encoder, else ""), is (its kind),
    options, reads and gives (shapes of a batch of validation clips: clips × steps × width, or
    clips × tokens × width), parameters (their number).
    """
    if experiment.failure:
        return pd.DataFrame(columns=PARTS)
    trained, dataset = _opened(run, experiment)
    rows: list[dict[str, Any]] = []
    with ExitStack() as hooks:
        for about, module in _parts(trained.network):

            def note(
                module: nn.Module,
                inputs: tuple[Any, ...],
                output: Tensor,
                about: Mapping[str, str] = about,
            ) -> None:
                count = sum(parameter.numel() for parameter in module.parameters())
                shapes = {"reads": _shape(inputs[0]), "gives": _shape(output)}
                rows.append({**about, **shapes, "parameters": count})

            hooks.callback(module.register_forward_hook(note).remove)
        judged = dataset.labelled("valid")[:CLIPS]
        list(predict(trained.network, ClipTensors(dataset, trained.standardiser), judged))
    order = {part: place for place, part in enumerate(("encoder", "fusion", "interaction", "head"))}
    rows.sort(key=lambda row: (list(dataset.classes).index(row["task"]), order[row["part"]]))
    return pd.DataFrame(rows).drop_duplicates(["task", "part", "stream"], ignore_index=True)


def gate_openings(run: Run, experiment: Experiment, split: str = "valid") -> pd.DataFrame:
    """How far the gates open on each clip of a split: clip_id, task, stream, gate.

    `gate` is the mean over hidden units of σ(A + B), by which the task's token of a stream is let
    to take from the other task (section III of the paper; see `parts.interaction`): 0 nothing, 1
    all that is offered. No rows where the network has no gated interaction.
    """
    if experiment.failure:
        return pd.DataFrame(columns=GATES)
    trained, dataset = _opened(run, experiment)
    rows = dataset.rows(split)
    found: list[pd.DataFrame] = []
    with ExitStack() as hooks:
        seen: dict[str, list[Tensor]] = {}
        for task, interaction in trained.network.interactions.items():
            if hasattr(interaction, "gate"):
                kept = seen[task] = []
                hook = interaction.gate.register_forward_hook(
                    lambda *passed, kept=kept: kept.append(passed[-1])
                )
                hooks.callback(hook.remove)
        tensors = ClipTensors(dataset, trained.standardiser)
        batches = [some for some, _ in predict(trained.network, tensors, rows)]
    for task, gates in seen.items():
        for some, gate in zip(batches, gates, strict=True):
            opening = gate.mean(dim=2).numpy()  # [clips, tokens]
            wide = pd.DataFrame(opening, columns=list(trained.network.config.widths))
            wide = wide.assign(clip_id=dataset.clip_ids[some], task=task)
            found.append(wide.melt(["clip_id", "task"], var_name="stream", value_name="gate"))
    return pd.concat(found, ignore_index=True)[GATES] if found else pd.DataFrame(columns=GATES)


def modality_scores(run: Run, experiment: Experiment) -> pd.DataFrame:
    """Scores on the validation clips of what the network (mean of its seeds) answers with all
    modalities, with each alone, and without each: modality, with, each task's score, joint.

    A learned token stands for what is left out. With one modality there is but one row; of what
    failed there is none.
    """
    if experiment.failure:
        return pd.DataFrame(columns=["modality", "with"])
    networks = [
        experiment.network(member.seed, member.fold)
        for member in experiment.members
        if member.answers
    ]
    dataset = _dataset(run, experiment)
    rows = dataset.labelled("valid")
    truth = dataset.truth(rows)
    streams = list(dataset.features)
    kept: list[tuple[str, str, Sequence[str]]] = [(EVERYTHING, EVERYTHING, streams)]
    if len(streams) > 1:
        kept += [(stream, "alone", [stream]) for stream in streams]
        kept += [(s, "without", [other for other in streams if other != s]) for s in streams]
    found = []
    for stream, how, there in kept:
        part = _with_only(dataset, there)
        means = _mean([network.probabilities(part, rows, "cpu") for network in networks])
        answers = {task: likeliest(probabilities) for task, probabilities in means.items()}
        found.append(
            {"modality": stream, "with": how, **score(truth, answers, run.setting.average)}
        )
    return pd.DataFrame(found)


def _opened(run: Run, experiment: Experiment) -> tuple[TrainedNetwork, Dataset]:
    member = experiment.members[0]
    return experiment.network(member.seed, member.fold), _dataset(run, experiment)


def _dataset(run: Run, experiment: Experiment) -> Dataset:
    return load_dataset(run, chosen_encoders(run, experiment.recipe.encoders))


def _parts(network: JointNetwork) -> Iterator[tuple[dict[str, str], nn.Module]]:
    """Every part with what it is; auxiliary heads are like the heads."""
    architecture = network.config.architecture
    for task, branch in network.branches.items():
        spec = architecture.branches[task]
        for stream, encoder in branch.encoders.items():
            yield _about(task, "encoder", stream, spec.encoders[stream]), encoder
        yield _about(task, "fusion", "", spec.fusion), branch.fusion
        if task in network.interactions:
            told = _about(task, "interaction", "", architecture.interaction)
            yield told, network.interactions[task]
        yield _about(task, "head", "", spec.head), branch.head


def _about(task: str, part: str, stream: str, component: Any) -> dict[str, str]:
    told = [f"{name.replace('_', ' ')} {value}" for name, value in component.options.items()]
    options = ", ".join(told)
    return {"task": task, "part": part, "stream": stream, "is": component.name, "options": options}


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape))


def _with_only(dataset: Dataset, streams: Sequence[str]) -> Dataset:
    """The same clips with no frame of any other stream."""
    features = {
        stream: sequences
        if stream in streams
        else replace(
            sequences, frames=sequences.frames[:0], lengths=np.zeros_like(sequences.lengths)
        )
        for stream, sequences in dataset.features.items()
    }
    return replace(dataset, features=features)


def _mean(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[np.float64]]:
    return {task: np.mean([part[task] for part in parts], axis=0) for task in parts[0]}
