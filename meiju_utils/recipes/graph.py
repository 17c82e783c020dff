"""The recipes of a run: their settings, keys and folders, what each needs, what is wrong with them.

Imports `book`, `code`, `experiment`, `pool_labels`, `modelling`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig, Training, validate_profile
from meiju_utils.decisions import ENSEMBLES
from meiju_utils.errors import ConfigError, FeatureError, nearest
from meiju_utils.files import fingerprint, safe_name
from meiju_utils.graphs import with_needs
from meiju_utils.modelling.architecture import NetworkConfig, in_token_order
from meiju_utils.modelling.classical import alone, lacking
from meiju_utils.modelling.dataset import (
    Dataset,
    chosen_encoders,
    dataset_key,
    load_dataset,
)
from meiju_utils.modelling.partitions import Folds, FoldTable, fold_table
from meiju_utils.predictions import NO_SEED, labelled
from meiju_utils.recipes.book import load_recipes
from meiju_utils.recipes.code import code_of
from meiju_utils.recipes.experiment import Experiment, Member
from meiju_utils.recipes.pool_labels import PseudoLabelSet, has_pool, pseudo_label_set
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.references import resolve
from meiju_utils.run import Run

Recipes = Mapping[str, Recipe]


def recipes_of(run: Run) -> dict[str, Recipe]:
    """The built-in recipes and those of the profile's own file, for the tasks of the setting."""
    own = run.config.recipes
    return load_recipes(resolve(own) if own else None, run.setting.tasks)


class RecipeGraph:
    """Recipes on a run's data. A recipe is named by its key in the book; `resolve` comes first."""

    def __init__(self, run: Run, recipes: Recipes | None = None) -> None:
        self.run = run
        self.recipes = dict(recipes or recipes_of(run))
        self._experiments: dict[str, Experiment] = {}
        self._datasets: dict[str, Dataset] = {}
        self._dataset_keys: dict[str, str] = {}
        self._splits: dict[Folds, FoldTable] = {}
        self._codes: dict[str, str] = {}

    @cached_property
    def pool(self) -> bool:
        return has_pool(self.run.table("clips"))

    @cached_property
    def truth(self) -> pd.DataFrame:
        """The labelled clips of train and validation."""
        return labelled(self.run.table("clips"), self.run.setting.tasks)

    def resolve(self, name: str) -> str:
        """The recipe's own name or, without a pool to label, that of what it starts from."""
        if name not in self.recipes:
            raise ConfigError(f"No recipe {name!r}: {nearest(name, self.recipes)}")
        recipe = self.recipes[name]
        before = recipe.start if recipe.targets else recipe.teacher
        if before and not self.pool:
            return self.resolve(before)
        return name

    def needs(self, name: str) -> list[str]:
        """The (resolved) recipes that a recipe is made from."""
        recipe = self.recipes[name]
        without = recipe if self.pool else recipe.model_copy(update={"targets": None})
        there = self.there(name) if recipe.kind == "ensemble" else without.needs()
        return list(dict.fromkeys(self.resolve(other) for other in there))

    def behind(self, name: str) -> list[str]:
        """The recipes that a recipe is made from, where there is a pool; no clips are asked for."""
        recipe = self.recipes[name]
        return self.there(name) if recipe.kind == "ensemble" else recipe.needs()

    def tolerant(self, name: str) -> bool:
        """Whether an ensemble goes on without members that have no results or do not apply."""
        component = self.recipes[name].component
        kind = ENSEMBLES[component.name] if component and self.recipes[name].members else None
        return bool(getattr(kind, "tolerant", False))

    def there(self, name: str) -> list[str]:
        """An ensemble's members, less those that do not apply where it can do without."""
        members = self.recipes[name].needs()
        if not self.tolerant(name):
            return members
        found = [other for other in members if not self.lacks(other)]
        if not found:
            raise ConfigError(
                f"Recipe {name!r}: none of its members can be made with the encoders in use: "
                f"{', '.join(members)}."
            )
        return found

    def lacks(self, name: str) -> str:
        """What a model needs that is not in use, or why it would be another's double; "" if none.

        Of a recipe that is made from others, whether all of these lack it.
        """
        recipe = self.recipes[name]
        if recipe.kind == "ensemble":
            found = [self.lacks(other) for other in recipe.needs()]
            return found[0] if all(found) else ""
        if recipe.kind != "model" or recipe.component is None:
            return ""
        streams = list(self.encoders(name))
        if alone(recipe.component, streams):
            return f"a second modality beside {streams[0]}"
        return lacking(recipe.component, streams)

    def left_out(self, name: str) -> list[str]:
        """What an ensemble goes without, in sentences."""
        missing: dict[str, list[str]] = {}
        for other in self.recipes[name].needs() if self.tolerant(name) else []:
            if lacks := self.lacks(other):
                missing.setdefault(lacks, []).append(other)
        return [f"Without {what}: {', '.join(names)} left out." for what, names in missing.items()]

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """Of the (resolved) recipes and all they are made from those to be made, in order.

        What is behind one that is done may be gone; but what was damaged is made again.
        """
        done = {name: self.experiment(name).done for name in with_needs(names, self.needs)}
        needed = with_needs(names, lambda name: [] if done[name] else self.needs(name))
        return [
            name
            for name in done
            if not done[name] and (name in needed or self.experiment(name).damaged)
        ]

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

    def members(self, name: str) -> list[Member]:
        """The trainings of a recipe: seeds x folds; none of an ensemble."""
        recipe = self.recipes[name]
        if recipe.kind == "ensemble":
            return []
        seeds = self.seeds(name) or (NO_SEED,)
        folds, partition = self.folds(name), recipe.partition
        refit = partition.number if isinstance(partition, Folds) and partition.refit else None
        return [
            Member(seed, fold, len(folds) > 1, refit is None or fold == refit)
            for seed in seeds
            for fold in folds
        ]

    def folds(self, name: str) -> range:
        """The folds of a recipe's trainings, counted through repeats, a refit last; an ensemble
        has none."""
        partition = self.recipes[name].partition
        number = partition.number + partition.refit if isinstance(partition, Folds) else 1
        return range(0 if self.recipes[name].kind == "ensemble" else number)

    def folded(self, name: str) -> bool:
        """Whether it is kept what each fold's trainings alone think of other clips."""
        recipe = self.recipes[name]
        if recipe.kind == "ensemble":
            return all(self.folded(other) for other in self.needs(name))
        return isinstance(recipe.partition, Folds) and recipe.partition.refit

    def split(self, name: str) -> FoldTable | None:
        """The folds of a recipe with folds, written when first asked for."""
        partition = self.recipes[name].partition
        if self.recipes[name].kind == "ensemble" or not isinstance(partition, Folds):
            return None
        if partition not in self._splits:
            self._splits[partition] = fold_table(self.run, partition)
        return self._splits[partition]

    def all_seeds(self, name: str) -> tuple[int, ...]:
        """Seeds of a recipe's predictions: a network's, or those all members have."""
        if self.recipes[name].kind != "ensemble":
            return self.seeds(name)
        members = self.recipes[name].needs()
        found = [set(seeds) for other in members if (seeds := self.all_seeds(other))]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def code(self, name: str) -> str:
        """The key of the code that makes a recipe, as it was when first asked for."""
        if name not in self._codes:
            self._codes[name] = code_of(self.recipes[name])
        return self._codes[name]

    def experiment(self, name: str) -> Experiment:
        """The experiment of a (resolved) recipe, trained or not."""
        if name not in self._experiments:
            key = self._key(name)
            folder = self.run.path("experiments", f"{safe_name(name)}-{key}")
            network = self.recipes[name].kind == "network"
            weights = tuple(m for m in self.members(name) if network or m.answers)
            folded = self.folded(name)
            self._experiments[name] = Experiment(name, key, folder, weights, network, folded)
        return self._experiments[name]

    def _key(self, name: str) -> str:
        """Changes with all that shapes an experiment, and with what that is made from."""
        recipe = self.recipes[name]
        decided = [recipe.calibrate, *recipe.decode]
        basis: list[Any] = [self.code(name), self.run.setting.average]
        basis.append([one.model_dump() if one else None for one in decided])
        if recipe.component is not None:
            basis += [recipe.kind, recipe.component.model_dump()]
        if recipe.kind == "ensemble":
            basis += [[self.experiment(self.resolve(o)).key for o in self.there(name)]]
            return fingerprint(basis)
        split, targets = self.split(name), recipe.targets
        basis += [self.dataset_key(name), split.key if split else "validation"]
        if targets is not None:
            keys = [labels.key for labels in self.pool_labels(name)]
            basis += [keys, targets.model_dump(exclude={"rule", "teacher"})] if keys else []
        if recipe.architecture is not None:
            streams = recipe.architecture.of_streams(list(self.encoders(name)))
            start = self.experiment(self.resolve(recipe.start)).key if recipe.start else None
            training = self.training(name).model_dump(exclude={"device"})
            basis += [streams.model_dump(), recipe.objective.model_dump(), training, start]
        return fingerprint(basis)

    def teacher(self, name: str) -> Experiment:
        """Whoever labels the pool for a recipe."""
        targets = self.recipes[name].targets
        assert targets is not None
        return self.experiment(self.resolve(targets.teacher))

    def pool_labels(self, name: str) -> list[PseudoLabelSet]:
        """The pseudo labels that a recipe's trainings learn from, fold by fold, made or not."""
        targets = self.recipes[name].targets
        if targets is None or not self.pool:
            return []
        teacher, folds = self.teacher(name), self.folds(name)
        only = [self.only_fold(name, fold) for fold in folds]
        return [pseudo_label_set(self.run, teacher, targets.rule, fold) for fold in only]

    def only_fold(self, name: str, fold: int) -> int | None:
        """The fold of the teacher's trainings that alone may label the pool for a fold.

        So nobody behind a training has seen what it holds out. None where there are no folds.
        """
        partition = self.recipes[name].partition
        return fold if isinstance(partition, Folds) and fold < partition.number else None
