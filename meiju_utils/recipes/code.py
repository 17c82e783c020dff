"""The code that makes an experiment, and doing its work under that code alone.

It is that of its components and of the stages they pass through. Imports `jobs`, `sources`.
"""

from types import ModuleType

from meiju_utils import arrays, linear, ngrams, predictions
from meiju_utils.decisions import CALIBRATIONS, DECODERS, ENSEMBLES, aligned, calibration
from meiju_utils.decisions import fitting as decision_fitting
from meiju_utils.errors import ConfigError
from meiju_utils.modelling import (
    batches,
    checkpoints,
    classical,
    dataset,
    fitting,
    network,
    optimisation,
    partitions,
    sequences,
    starting,
    streams,
    targets,
    training,
    views,
)
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.objectives import OBJECTIVES
from meiju_utils.modelling.parts import ENCODERS, FUSIONS, HEADS, INTERACTIONS
from meiju_utils.pool import label_shift
from meiju_utils.recipes import combining, deciding, jobs
from meiju_utils.recipes.jobs import Job
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.scoring import f1
from meiju_utils.sources import code_key

# Of whatever is trained: who fits and is predicted, on what; F1 chooses epochs and strengths.
FITTING: list[ModuleType] = [dataset, f1, jobs, partitions, sequences]
TRAINING: list[ModuleType] = [
    targets,
    batches,
    streams,
    network,
    starting,
    optimisation,
    checkpoints,
    training,
]


def code_of(recipe: Recipe) -> str:
    """Changes with the source of a recipe's components and of what trains and answers with them.

    ConfigError where some of it was edited after it was loaded.
    """
    made_of: list[type | ModuleType] = [predictions]
    made_of += [DECODERS[decoder.name] for decoder in recipe.decode]
    decides = [decoder for decoder in recipe.decode if hasattr(DECODERS[decoder.name], "fit")]
    made_of += [decision_fitting, deciding] if decides or recipe.calibrate else []
    made_of += [CALIBRATIONS[recipe.calibrate.name]] if recipe.calibrate else []
    made_of += [label_shift] if recipe.targets and recipe.targets.shift else []
    if recipe.kind == "ensemble":
        kind = ENSEMBLES[recipe.component.name] if recipe.component else None
        made_of += [kind] if kind else []
        made_of += (
            [aligned, calibration, combining, decision_fitting] if hasattr(kind, "fit") else []
        )
    elif recipe.kind == "model":
        made_of += [*FITTING, classical, fitting, arrays, linear, ngrams, views]
        made_of += [MODELS[recipe.component.name]] if recipe.component else []
    elif recipe.architecture is not None:
        architecture = recipe.architecture
        made_of += [*FITTING, *TRAINING, OBJECTIVES[recipe.objective.name]]
        for branch in architecture.branches.values():
            made_of += [ENCODERS[encoder.name] for encoder in branch.encoders.values()]
            made_of += [FUSIONS[branch.fusion.name], HEADS[branch.head.name]]
        if architecture.interaction is not None:
            made_of.append(INTERACTIONS[architecture.interaction.name])
    return code_key(*made_of)


def run_job(job: Job) -> float:
    """`job.run()`, as a function that a worker can be sent.

    Raises ConfigError where the worker's code is not that of the process that planned the work.
    """
    if code_of(job.recipe) != job.code:
        raise ConfigError(
            f"A worker has other code of recipe {job.name!r} than the process that sent the work: "
            "a file was edited meanwhile, or versions of the package differ. Restart the kernel "
            "(and the cluster's workers); what is finished is kept."
        )
    return job.run()
