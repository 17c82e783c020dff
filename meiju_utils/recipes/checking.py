"""What is wrong with recipes, told before any stage runs. Imports `graph`."""

from meiju_utils.errors import ConfigError, FeatureError, MeijuError, TrainingError, nearest
from meiju_utils.graphs import with_needs
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.classical import lacking
from meiju_utils.modelling.starting import check_start
from meiju_utils.recipes.book import load_recipes
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.run import Run


def check_recipes(run: Run) -> None:
    """Raise what is wrong with a profile's recipes, before any stage has run.

    ConfigError where `submission` names none, and for what cannot be followed; FeatureError for an
    encoder that the profile lacks; TrainingError for a network that cannot be built.
    """
    graph = RecipeGraph(run)
    if run.config.submission not in graph.recipes:
        raise ConfigError(
            f"submission = {run.config.submission!r} names no recipe: "
            f"{nearest(run.config.submission, graph.recipes)}"
        )
    built_in = load_recipes(tasks=run.setting.tasks)
    own = [
        name
        for name, recipe in graph.recipes.items()
        if recipe != built_in.get(name)
        and not (name in built_in and graph.lacks(name))  # as members of ensembles: left out
    ]
    for name in with_needs([run.config.submission, *own], graph.behind):
        check_settings(graph, name)


def check(graph: RecipeGraph, name: str) -> None:
    """Raise now what would be wrong with a recipe once its turn to train has come."""
    check_settings(graph, name)
    recipe = graph.recipes[name]
    if recipe.kind != "ensemble":
        graph.dataset(name)
        graph.split(name)
    if recipe.kind == "network":
        start = graph.resolve(recipe.start) if recipe.start else name
        _check_start(name, graph.network(name), graph.network(start))


def check_settings(graph: RecipeGraph, name: str) -> None:
    """Raise what is wrong with a recipe whatever the clips are."""
    recipe = graph.recipes[name]
    if recipe.kind == "ensemble":
        graph.there(name)
        _check_common_seed(graph, name)
        return
    encoders = graph.encoders(name)
    if recipe.kind != "network":
        if recipe.component and (what := lacking(recipe.component, list(encoders))):
            raise FeatureError(
                f"Recipe {name!r} looks at {what}, which profile {graph.run.config.name} does "
                f"not extract. Give embeddings.{what} an encoder."
            )
        return
    start = recipe.start or name
    untrained = set(graph.seeds(name)) - set(graph.seeds(start))
    if untrained:
        raise ConfigError(
            f"Recipe {name!r} trains seeds {sorted(untrained)}, which {start!r}, its start, "
            "does not. Give both the same training.seeds."
        )
    one_wide = [
        graph.network(n, dict.fromkeys(e, 1))
        for n, e in ((name, encoders), (start, graph.encoders(start)))
    ]
    _check_start(name, *one_wide)


def _check_start(name: str, network: NetworkConfig, start: NetworkConfig) -> None:
    try:
        check_start(network, start)
    except TrainingError as error:
        raise TrainingError(f"Recipe {name!r}: {error}") from None
    except MeijuError:
        raise
    except Exception as error:  # whatever a part of one's own raises where it cannot be made
        raise TrainingError(
            f"Recipe {name!r}: its network cannot be built: {type(error).__name__}: {error}"
        ) from error


def _check_common_seed(graph: RecipeGraph, name: str) -> None:
    found = {other: graph.all_seeds(other) for other in graph.recipes[name].needs()}
    chancy = {other: seeds for other, seeds in found.items() if seeds}
    if chancy and not set.intersection(*map(set, chancy.values())):
        listed = "; ".join(f"{other} {sorted(seeds)}" for other, seeds in chancy.items())
        raise ConfigError(f"Recipe {name!r} combines recipes without a common seed: {listed}.")
