"""From a run to its frozen recipe. Imports `frozen`, `recipes`, `embeddings`, `run`."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.bundle.frozen import Frozen, FrozenEncoder, Material, Part, Weights
from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig
from meiju_utils.decisions import ENSEMBLES
from meiju_utils.embeddings.fitted import FittedEncoder, fitted_encoder
from meiju_utils.errors import MissingStageError, TrainingError
from meiju_utils.integrity import intact
from meiju_utils.predictions import FITTED
from meiju_utils.preprocessing import open_preprocessed
from meiju_utils.preprocessing.state import held
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.graph import RecipeGraph, Recipes
from meiju_utils.recipes.labels import label_shift
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.recipes.training import load_of
from meiju_utils.run import Run


def freeze(
    run: Run, name: str = "", recipes: Recipes | None = None
) -> tuple[Frozen, Material, Experiment]:
    """A recipe of a run (default: what it hands in), as it was trained.

    MissingStageError where it was not, TrainingError where it has no results, ConfigError where
    its features were imported.
    """
    name = name or run.config.submission
    graph = RecipeGraph(run, recipes)
    experiment = load_of(graph, name)
    if experiment.failure:
        raise TrainingError(f"Recipe {name!r} has no results: {experiment.failure}")
    freezing = _Freezing(graph)
    freezing.add(experiment.name)
    settings = run.config.embeddings
    frozen = Frozen(
        name=experiment.name,
        parts=freezing.parts,
        decisions={key: experiment.decisions[key] for key in ("calibrate", "decode")},
        classes=run.setting.classes,
        average=run.setting.average,
        language=run.setting.language,
        preprocessing=held(run).config.preprocessing,
        encoders=[
            FrozenEncoder(
                modality=modality,
                config=one.config,
                width=one.width,
                settings=one.encoder.settings,
                fitted=one.state is not None,
            )
            for modality, one in freezing.encoders
        ],
        batches=settings.model_dump(include={"batch_images", "batch_seconds", "batch_tokens"}),
    )
    states = {i: one.state for i, (_, one) in enumerate(freezing.encoders) if one.state is not None}
    return frozen, Material(freezing.files, states, run.folder), experiment


class _Freezing:
    """The parts found so far, each after those it is made of."""

    def __init__(self, graph: RecipeGraph) -> None:
        self.graph = graph
        self.parts: dict[str, Part] = {}
        self.files: dict[str, Path] = {}
        self.encoders: list[tuple[Modality, FittedEncoder]] = []
        self._clips = open_preprocessed(graph.run)
        self._known: dict[str, int] = {}

    def add(self, name: str) -> None:
        if name in self.parts:
            return
        recipe, experiment = self.graph.recipes[name], self.graph.experiment(name)
        if recipe.kind != "ensemble":
            self.parts[name] = Part(
                **_frozen(recipe),
                streams={m: self._encoder(m, e) for m, e in self.graph.encoders(name).items()},
                weights=self._weights(experiment),
            )
            return
        fitted = experiment.decisions["ensemble"]
        made_of = {other: self.graph.resolve(other) for other in self.graph.there(name)}
        made_of = {o: r for o, r in made_of.items() if not self.graph.experiment(r).failure}
        if "taken" in fitted:  # of rounds the others have no say
            made_of = {fitted["taken"]: made_of[fitted["taken"]]}
        for other in made_of.values():
            self.add(other)
        learns = recipe.component and hasattr(ENSEMBLES[recipe.component.name], "fit")
        self.parts[name] = Part(**_frozen(recipe), made_of=made_of, fitted=fitted if learns else {})

    def _weights(self, experiment: Experiment) -> list[Weights]:
        found = []
        for member in experiment.members:
            if member.answers:
                path = member.weights(experiment.folder)
                if not intact(path):  # what an ensemble combined of it was kept
                    run, recipe = self.graph.run, self.graph.recipes[experiment.name]
                    raise MissingStageError(
                        f"{run.folder.name} has no intact {path.name} of recipe {recipe.name!r}. "
                        f"Train it again: {run.command} --only {recipe.notebook[:2]} --force"
                    )
                file = f"{len(self.files):03d}.safetensors"
                self.files[file] = path
                found.append(Weights(file=file, seed=member.seed, fold=member.fold))
        return found

    def _encoder(self, modality: Modality, config: EncoderConfig) -> int:
        key = f"{modality} {config.model_dump_json()}"
        if key not in self._known:
            self._known[key] = len(self.encoders)
            found = fitted_encoder(self.graph.run, modality, config, self._clips)
            self.encoders.append((modality, found))
        return self._known[key]


def _frozen(recipe: Recipe) -> dict[str, Any]:
    by = {"component": recipe.component, "calibrate": recipe.calibrate, "decode": recipe.decode}
    return {"kind": recipe.kind, **by, "recipe": recipe.model_dump(mode="json")}


def described(experiment: Experiment, run: Run) -> dict[str, Any]:
    """What a model card says of a run, beside what the frozen recipe says of itself."""
    clips = run.table("clips")
    counts = {str(split): int(count) for split, count in clips["split"].value_counts().items()}
    return {
        "run": run.folder.name,
        "profile": run.config.name,
        "setting": run.setting.title,
        "official": run.setting.is_official,
        "experiment": experiment.key,
        "clips": counts,
        "notes": list(experiment.notes),
        "scores": _plain(experiment.scores),
        "label shift": _label_shift(run, experiment),
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON has them."""
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return found


def _label_shift(run: Run, experiment: Experiment) -> list[str]:
    """What can be told of it, a sentence a task."""
    predicted = experiment.answers.table
    judged = experiment.predictions.of_split("train").table
    if (predicted["split"] != "unlabeled").all() or (judged["role"] == FITTED).any():
        return []
    return [found.told() for found in label_shift(run, experiment).values()]
