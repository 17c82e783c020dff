"""A trained network is taken apart by what passes through it, not by what is said of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meiju_utils.modelling.dataset import Dataset
from meiju_utils.recipes import (
    Experiment,
    Recipe,
    gate_openings,
    make_recipes,
    modality_scores,
    network_parts,
    train_recipe,
)
from meiju_utils.reporting import plots
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT

MakeRun = Callable[..., Run]
Trained = tuple[Run, Experiment]


@pytest.fixture
def trained(make_run: MakeRun) -> Callable[..., Trained]:
    def train(dataset: Dataset | None = None, **network: Any) -> Trained:
        recipes: dict[str, Recipe] = make_recipes({"net": {"network": network}})
        run = make_run(dataset, training={"epochs": 12, "patience": 12})
        return run, train_recipe(run, "net", recipes)

    return train


def test_parts_are_told_with_the_shapes_that_a_real_batch_has(
    trained: Callable[..., Trained], make_toy: Callable[..., Dataset]
) -> None:
    run, experiment = trained(emotion={"hidden": 12, "fusion": {"heads": 3}}, intent={"hidden": 8})
    parts = network_parts(run, experiment)
    network = experiment.network(0).network
    own = parts[parts["task"] == "emotion"].set_index(["part", "stream"])
    clips = min(32, len(make_toy().labelled("valid")))
    assert own.loc[("encoder", "audio"), "gives"] == f"{clips} × 12"
    assert own.loc[("fusion", ""), "reads"] == f"{clips} × 3 × 12"
    assert own.loc[("fusion", ""), "options"].startswith("heads 3")
    assert own.loc[("head", ""), "gives"] == f"{clips} × 7"
    kinds = ["encoder"] * 3 + ["fusion", "interaction", "head"]
    assert parts["part"].tolist() == kinds * 2
    heads = sum(p.numel() for b in network.branches.values() for p in b.auxiliary.parameters())
    missing = sum(p.numel() for b in network.branches.values() for p in b.missing.values())
    whole = sum(p.numel() for p in network.parameters())
    assert parts["parameters"].sum() == whole - heads - missing
    assert "12 parts of 2 branches" in plots.alt_text(plots.architecture(parts))


def test_without_an_interaction_no_gate_opens(trained: Callable[..., Trained]) -> None:
    run, experiment = trained(interaction=None)
    assert "interaction" not in set(network_parts(run, experiment)["part"])
    openings = gate_openings(run, experiment)
    assert openings.empty
    assert "no gated interaction" in plots.alt_text(plots.gates(openings))


def test_gates_are_told_of_every_clip_and_stream(trained: Callable[..., Trained]) -> None:
    run, experiment = trained()
    openings = gate_openings(run, experiment)
    clips = run.table("clips").query("split == 'valid'")["clip_id"]
    assert len(openings) == len(clips) * 2 * 3
    assert set(openings["clip_id"]) == set(clips)
    assert openings["gate"].between(0, 1).all()
    assert openings["gate"].nunique() > len(clips)
    with torch.no_grad():  # with attentions of nothing, σ(0)
        for interaction in (network := experiment.network(0)).network.interactions.values():
            for parameter in interaction.parameters():
                parameter.zero_()
    network.save(experiment.members[0].weights(experiment.folder))
    assert gate_openings(run, experiment)["gate"].tolist() == [0.5] * len(openings)
    figure = plots.gates(openings, clips.iloc[0])
    assert plots.png(figure)
    assert "Widest on average" in plots.alt_text(figure)


def test_what_is_lost_without_the_modality_that_tells_the_labels(
    trained: Callable[..., Trained], make_toy: Callable[..., Dataset]
) -> None:
    toy = make_toy()
    rng = np.random.default_rng(0)
    noise = {
        stream: replace(
            sequences, frames=rng.standard_normal(sequences.frames.shape).astype(np.float32)
        )
        for stream, sequences in toy.features.items()
        if stream != "text"
    }
    run, experiment = trained(replace(toy, features={**toy.features, **noise}))
    scores = modality_scores(run, experiment).set_index(["modality", "with"])[JOINT]
    assert scores["all", "all"] == pytest.approx(experiment.score())  # of the mean of its seeds
    assert len(scores) == 7
    told = [scores["text", "alone"], scores["audio", "without"], scores["visual", "without"]]
    untold = [scores["text", "without"], scores["audio", "alone"], scores["visual", "alone"]]
    assert min(told) > max(untold)


def test_one_modality_has_nothing_to_be_left_out(
    trained: Callable[..., Trained], make_toy: Callable[..., Dataset]
) -> None:
    toy = make_toy(widths={"text": 5})
    run, experiment = trained(toy)
    assert modality_scores(run, experiment)["with"].tolist() == ["all"]
    assert isinstance(network_parts(run, experiment), pd.DataFrame)
