"""The code that makes an experiment: that of its components and of the stages they pass through.

Imports `book`, `modelling`, `sources`.
"""

from types import ModuleType

from meiju_utils import predictions
from meiju_utils.decisions import DECODERS, ENSEMBLES
from meiju_utils.modelling import (
    batches,
    checkpoints,
    network,
    optimisation,
    sequences,
    starting,
    streams,
    targets,
    training,
)
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.objectives import OBJECTIVES
from meiju_utils.modelling.parts import ENCODERS, FUSIONS, HEADS, INTERACTIONS
from meiju_utils.recipes.book import Recipe
from meiju_utils.sources import code_key

TRAINING: list[ModuleType] = [
    sequences,
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
    made_of: list[type | ModuleType] = [predictions, DECODERS[recipe.decode.name]]
    if recipe.kind == "ensemble":
        made_of += [ENSEMBLES[recipe.component.name]] if recipe.component else []
    elif recipe.kind == "model":
        made_of += [sequences, *([MODELS[recipe.component.name]] if recipe.component else [])]
    elif recipe.architecture is not None:
        architecture = recipe.architecture
        made_of += [*TRAINING, OBJECTIVES[recipe.objective.name]]
        for branch in architecture.branches.values():
            made_of += [ENCODERS[encoder.name] for encoder in branch.encoders.values()]
            made_of += [FUSIONS[branch.fusion.name], HEADS[branch.head.name]]
        if architecture.interaction is not None:
            made_of.append(INTERACTIONS[architecture.interaction.name])
    return code_key(*made_of)
