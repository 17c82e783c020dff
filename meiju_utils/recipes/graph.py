"""The recipes of a run: their settings, keys and folders, what each needs, what is wrong with them.

Imports `book`, `experiment`, `jobs`, `pool_labels`, `modelling`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig, Training, validate_profile
from meiju_utils.errors import ConfigError, FeatureError, MeijuError, TrainingError, nearest
from meiju_utils.files import fingerprint, safe_name
from meiju_utils.graphs import with_needs
from meiju_utils.modelling.architecture import NetworkConfig, in_token_order
from meiju_utils.modelling.dataset import (
    Dataset,
    chosen_encoders,
    dataset_key,
    dataset_notes,
    load_dataset,
)
from meiju_utils.modelling.starting import check_start
from meiju_utils.predictions import labelled
from meiju_utils.recipes.book import Recipe, load_recipes
from meiju_utils.recipes.experiment import Experiment, checkpoint_path
from meiju_utils.recipes.jobs import POOL_TARGETS, Job, ModelJob, NetworkJob
from meiju_utils.recipes.pool_labels import PseudoLabelSet, has_pool, pseudo_label_set
from meiju_utils.run import Run, resolve

VERSION = 3  # raise it when the same recipe would give other results

Recipes = Mapping[str, Recipe]


def recipes_of(run: Run) -> dict[str, Recipe]:
    """The built-in recipes and those of the profile's own file, for the tasks of the setting."""
    own = run.config.recipes
    return load_recipes(resolve(own) if own else None, run.setting.tasks)


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
    own = [name for name, recipe in graph.recipes.items() if recipe != built_in.get(name)]
    for name in with_needs([run.config.submission, *own], lambda n: graph.recipes[n].needs()):
        graph.check_settings(name)


class RecipeGraph:
    """Recipes on a run's data. A recipe is named by its key in the book; `resolve` comes first."""

    def __init__(self, run: Run, recipes: Recipes | None = None) -> None:
        self.run = run
        self.recipes = dict(recipes or recipes_of(run))
        self._experiments: dict[str, Experiment] = {}
        self._datasets: dict[str, Dataset] = {}
        self._dataset_keys: dict[str, str] = {}

    @cached_property
    def pool(self) -> bool:
        return has_pool(self.run.table("clips"))

    @cached_property
    def truth(self) -> pd.DataFrame:
        """The validation clips and their labels."""
        return labelled(self.run.table("clips"), self.run.setting.tasks, "valid")

    def resolve(self, name: str) -> str:
        """The recipe's own name or, without a pool to label, that of what it starts from."""
        if name not in self.recipes:
            raise ConfigError(f"No recipe {name!r}: {nearest(name, self.recipes)}")
        recipe = self.recipes[name]
        if recipe.targets and recipe.start and not self.pool:
            return self.resolve(recipe.start)
        return name

    def needs(self, name: str) -> list[str]:
        """The (resolved) recipes that a recipe is made from."""
        recipe = self.recipes[name]
        without = recipe if self.pool else recipe.model_copy(update={"targets": None})
        return list(dict.fromkeys(self.resolve(other) for other in without.needs()))

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """Of the (resolved) recipes and all they are made from those to be made, in order."""
        order = with_needs(names, lambda n: [] if self.experiment(n).done else self.needs(n))
        return [name for name in order if not self.experiment(name).done]

    def encoders(self, name: str) -> dict[Modality, EncoderConfig]:
        try:
            return chosen_encoders(self.run, self.recipes[name].encoders)
        except FeatureError as error:
            raise FeatureError(f"Recipe {name!r}: {error}") from None

    def dataset(self, name: str) -> Dataset:
        key = self.dataset_key(name)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(self.run, self.encoders(name))
        return self._datasets[key]

    def dataset_key(self, name: str) -> str:
        encoders = self.encoders(name)
        settings = fingerprint({m: encoder.model_dump() for m, encoder in encoders.items()})
        if settings not in self._dataset_keys:
            self._dataset_keys[settings] = dataset_key(self.run, encoders)
        return self._dataset_keys[settings]

    @cached_property
    def _profile(self) -> dict[str, Any]:
        return self.run.config.model_dump(mode="json")

    def training(self, name: str) -> Training:
        """The profile's settings of training with the recipe's over them."""
        recipe = self.recipes[name]
        values = {**self._profile, "training": {**self._profile["training"], **recipe.training}}
        training = validate_profile(values, source=f"Recipe {name!r}").training
        if recipe.targets and recipe.start:
            rate = training.learning_rate * training.stage_two_factor
            training = training.model_copy(update={"learning_rate": rate})
        return training

    def network(self, name: str, widths: Mapping[str, int] | None = None) -> NetworkConfig:
        """The network of a recipe; `widths` of its features are the dataset's by default."""
        architecture = self.recipes[name].architecture
        assert architecture is not None
        widths = self.dataset(name).widths if widths is None else widths
        return NetworkConfig(
            architecture=architecture.of_streams(list(widths)),
            widths=in_token_order(widths),
            classes={task: len(labels) for task, labels in self.run.setting.classes.items()},
        )

    def seeds(self, name: str) -> tuple[int, ...]:
        """Of a network; nothing else has any."""
        network = self.recipes[name].kind == "network"
        return tuple(self.training(name).seeds) if network else ()

    def check(self, name: str) -> None:
        """Raise now what would be wrong with a recipe once its turn to train has come."""
        self.check_settings(name)
        recipe = self.recipes[name]
        if recipe.kind != "ensemble":
            self.dataset(name)
        if recipe.kind == "network":
            start = self.resolve(recipe.start) if recipe.start else name
            self._check_start(name, self.network(name), self.network(start))

    def check_settings(self, name: str) -> None:
        """Raise what is wrong with a recipe whatever the clips are."""
        recipe = self.recipes[name]
        if recipe.kind == "ensemble":
            self._check_common_seed(name)
            return
        encoders = self.encoders(name)
        if recipe.kind != "network":
            return
        start = recipe.start or name
        lacking = set(self.seeds(name)) - set(self.seeds(start))
        if lacking:
            raise ConfigError(
                f"Recipe {name!r} trains seeds {sorted(lacking)}, which {start!r}, its start, does "
                "not. Give both the same training.seeds."
            )
        one_wide = [
            self.network(n, dict.fromkeys(e, 1))
            for n, e in ((name, encoders), (start, self.encoders(start)))
        ]
        self._check_start(name, *one_wide)

    def _check_start(self, name: str, network: NetworkConfig, start: NetworkConfig) -> None:
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

    def _check_common_seed(self, name: str) -> None:
        found = {other: self.all_seeds(other) for other in self.recipes[name].needs()}
        chancy = {other: seeds for other, seeds in found.items() if seeds}
        if chancy and not set.intersection(*map(set, chancy.values())):
            listed = "; ".join(f"{other} {sorted(seeds)}" for other, seeds in chancy.items())
            raise ConfigError(f"Recipe {name!r} combines recipes without a common seed: {listed}.")

    def all_seeds(self, name: str) -> tuple[int, ...]:
        """Seeds of a recipe's predictions: a network's, or those all members have."""
        if self.recipes[name].kind != "ensemble":
            return self.seeds(name)
        members = self.recipes[name].needs()
        found = [set(seeds) for other in members if (seeds := self.all_seeds(other))]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def experiment(self, name: str) -> Experiment:
        """The experiment of a (resolved) recipe, trained or not."""
        if name not in self._experiments:
            key = self._key(name)
            folder = self.run.path("experiments", f"{safe_name(name)}-{key}")
            self._experiments[name] = Experiment(name, key, folder, self.seeds(name))
        return self._experiments[name]

    def _key(self, name: str) -> str:
        """Changes with all that shapes an experiment, and with what that is made from."""
        recipe = self.recipes[name]
        basis: list[Any] = [VERSION, self.run.setting.average, recipe.decode.model_dump()]
        if recipe.component is not None:
            basis += [recipe.kind, recipe.component.model_dump()]
        if recipe.kind == "ensemble":
            basis += [[self.experiment(self.resolve(o)).key for o in recipe.needs()]]
            return fingerprint(basis)
        labels, targets = self.pool_labels(name), recipe.targets
        if labels is not None and targets is not None:
            basis += [labels.key, targets.soft, targets.weight]
        basis.append(self.dataset_key(name))
        if recipe.architecture is not None:
            streams = recipe.architecture.of_streams(list(self.encoders(name)))
            start = self.experiment(self.resolve(recipe.start)).key if recipe.start else None
            training = self.training(name).model_dump(exclude={"device"})
            basis += [streams.model_dump(), recipe.objective.model_dump(), training, start]
        return fingerprint(basis)

    def pool_labels(self, name: str) -> PseudoLabelSet | None:
        """The pseudo labels a recipe is trained on, made or not; None where it uses none."""
        targets = self.recipes[name].targets
        if targets is None or not self.pool:
            return None
        teacher = self.experiment(self.resolve(targets.teacher))
        return pseudo_label_set(self.run, teacher, targets.rule)

    def jobs(self, name: str) -> list[Job]:
        """One training a seed, or the fitting of a model; none of an ensemble."""
        recipe = self.recipes[name]
        if recipe.kind == "ensemble":
            return []
        common: dict[str, Any] = {
            "name": name,
            "folder": self.experiment(name).folder,
            "dataset": self.dataset(name),
            "average": self.run.setting.average,
        }
        if self.pool_labels(name) is not None:
            common["pool_targets"] = self.experiment(name).folder / POOL_TARGETS
        if recipe.kind == "model":
            assert recipe.component is not None
            return [ModelJob(**common, model=recipe.component)]
        start = self.experiment(self.resolve(recipe.start)).folder if recipe.start else None
        serial = self.run.config.parallel.backend == "serial"
        return [
            NetworkJob(
                **common,
                seed=seed,
                network=self.network(name),
                training=self.training(name),
                objective=recipe.objective,
                start=checkpoint_path(start, seed) if start else None,
                show=f"{name} seed {seed}" if serial else "",
            )
            for seed in self.seeds(name)
        ]

    def config(self, name: str) -> dict[str, Any]:
        """What is written beside an experiment's results."""
        recipe = self.recipes[name]
        labels = self.pool_labels(name)
        notes = [] if recipe.kind == "ensemble" else dataset_notes(self.dataset(name))
        if labels is not None and labels.done:
            notes += labels.remarks
        config: dict[str, Any] = {
            "name": name,
            "key": self.experiment(name).key,
            "recipe": recipe.model_dump(mode="json"),
            "setting": self.run.setting.name,
            "classes": self.run.setting.classes,
            "made from": {other: self.experiment(other).key for other in self.needs(name)},
            "notes": notes,
        }
        if recipe.kind != "ensemble":
            encoders = self.encoders(name).items()
            config |= {
                "dataset": self.dataset_key(name),
                "encoders": {m: encoder.model_dump(mode="json") for m, encoder in encoders},
            }
        if recipe.kind == "network":
            config |= {
                "network": self.network(name).model_dump(mode="json"),
                "training": self.training(name).model_dump(mode="json"),
            }
        return config
