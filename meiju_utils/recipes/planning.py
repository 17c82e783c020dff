"""What is to be done for a recipe: its jobs, what they read beside the data, what is noted.

Imports `graph`, `jobs`, `pool_labels`.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.decisions import Known
from meiju_utils.errors import ConfigError
from meiju_utils.files import write_record
from meiju_utils.integrity import intact
from meiju_utils.modelling.dataset import dataset_notes
from meiju_utils.modelling.partitions import Part, validation_part
from meiju_utils.recipes.code import code_of
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.recipes.jobs import Job, ModelJob, NetworkJob
from meiju_utils.recipes.pool_labels import PseudoLabelSet, make_pseudo_labels


def jobs_of(graph: RecipeGraph, name: str) -> list[Job]:
    """One training a member of a (resolved) recipe; none of an ensemble."""
    recipe, folder = graph.recipes[name], graph.experiment(name).folder
    if recipe.kind == "ensemble":
        return []
    parts = _parts(graph, name)
    start = graph.experiment(graph.resolve(recipe.start)).folder if recipe.start else None
    jobs: list[Job] = []
    for member in graph.members(name):
        common: dict[str, Any] = {
            "recipe": recipe,
            "code": graph.code(name),
            "folder": folder,
            "dataset": graph.dataset(name),
            "part": parts[member.fold],
            "average": graph.run.setting.average,
            "member": member,
            "pool_targets": pool_targets(graph, name, member.fold),
        }
        if recipe.kind == "model":
            jobs.append(ModelJob(**common))
        else:
            jobs.append(
                NetworkJob(
                    **common,
                    network=graph.network(name),
                    training=graph.training(name),
                    start=member.weights(start) if start else None,
                )
            )
    return jobs


def _parts(graph: RecipeGraph, name: str) -> list[Part]:
    split = graph.split(name)
    return split.parts() if split else [validation_part(graph.dataset(name))]


def pool_targets(graph: RecipeGraph, name: str, fold: int) -> Path | None:
    """The file of targets of the pool for a fold's trainings; None where there are none."""
    if graph.recipes[name].targets is None or not graph.pool:
        return None
    suffix = "" if graph.only_fold(name, fold) is None else f"-fold-{fold}"
    return graph.experiment(name).folder / f"pool_targets{suffix}.parquet"


def inputs_of(graph: RecipeGraph, name: str) -> list[Path]:
    """Files that the jobs of a recipe read beside their data."""
    files = [graph.experiment(name).folder / "config.json"]
    return files + [path for fold in graph.folds(name) if (path := pool_targets(graph, name, fold))]


def write_inputs(graph: RecipeGraph, name: str) -> None:
    """Write them; pseudo labels are made where they are not there yet.

    Raises TrainingError where the teacher has no results.
    """
    targets = graph.recipes[name].targets
    for fold in graph.folds(name):
        path = pool_targets(graph, name, fold)
        if path is not None and targets is not None and not intact(path):
            labels = made_labels(graph, name, fold)
            labels.targets(graph.teacher(name), targets, known_of_fold(graph, name, fold)).save(
                path
            )
    write_config(graph, name)


def made_labels(graph: RecipeGraph, name: str, fold: int) -> PseudoLabelSet:
    """The pseudo labels that a recipe's trainings of a fold learn from, made where they are not.

    Of a recipe with `targets`. In a fold nothing is known of the clips it holds out.
    """
    targets = graph.recipes[name].targets
    assert targets is not None
    only, known = graph.only_fold(name, fold), known_of_fold(graph, name, fold)
    return make_pseudo_labels(graph.run, graph.teacher(name), targets.rule, only, known)


def known_of_fold(graph: RecipeGraph, name: str, fold: int) -> pd.DataFrame:
    """The labelled train clips that a fold does not hold out."""
    known, split = graph.truth[graph.truth["split"] == "train"], graph.split(name)
    if split is None:
        return known
    return known[~known["clip_id"].isin(split.parts()[fold].held_out)]


def write_config(graph: RecipeGraph, name: str) -> None:
    """Write the effective settings into an experiment's folder."""
    write_record(graph.experiment(name).folder / "config.json", config_of(graph, name))


def check_code(graph: RecipeGraph, name: str) -> None:
    """ConfigError where the code of a recipe is no longer what it was planned with."""
    if code_of(graph.recipes[name]) != graph.code(name):
        raise ConfigError(
            f"The code of recipe {name!r} was loaded anew while it was made: its results are not "
            "written. Run it again."
        )


def config_of(graph: RecipeGraph, name: str) -> dict[str, Any]:
    """What is written beside an experiment's results."""
    recipe = graph.recipes[name]
    split = graph.split(name)
    notes = [] if recipe.kind == "ensemble" else dataset_notes(graph.dataset(name))
    notes += [*(split.notes if split else []), *graph.left_out(name)]
    remarks = [r for labels in graph.pool_labels(name) if labels.done for r in labels.remarks]
    notes += dict.fromkeys(remarks)
    config: dict[str, Any] = {
        "name": name,
        "key": graph.experiment(name).key,
        "recipe": recipe.model_dump(mode="json"),
        "setting": graph.run.setting.name,
        "classes": graph.run.setting.classes,
        "made from": {other: graph.experiment(other).key for other in graph.needs(name)},
        "notes": notes,
    }
    if recipe.kind != "ensemble":
        encoders = graph.encoders(name).items()
        config |= {
            "dataset": graph.dataset_key(name),
            "partition": {"is": str(recipe.partition), "key": split.key if split else ""},
            "encoders": {m: encoder.model_dump(mode="json") for m, encoder in encoders},
        }
    if recipe.kind == "network":
        config |= {
            "network": graph.network(name).model_dump(mode="json"),
            "training": graph.training(name).model_dump(mode="json"),
        }
    return config


def known_of(graph: RecipeGraph) -> Known:
    """What decisions may be fitted on, whatever the recipe."""
    unlike = {}
    if graph.pool:
        unlike["unlabeled"] = "nobody knows which label pairs the unlabelled pool has"
    if graph.run.setting.track == 2:
        unlike[""] = "in Track 2 nothing says that test clips have train's label pairs"
    labels = graph.truth[graph.truth["split"] == "train"]
    return Known(labels, graph.run.setting.average, unlike=unlike)
