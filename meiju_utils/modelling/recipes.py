"""Training recipes: what depends on what, what is there already, all the rest in parallel.

Every experiment is keyed by all that shapes it, so nothing is trained twice: recipes that start
from the same stage one share it, and a second call returns at once. Imports `experiments`, `pool`,
`recipe_book`, `run`, `parallel`.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from meiju_utils.challenge import TASKS, Modality, Task
from meiju_utils.config import EncoderConfig, Training, validate_profile
from meiju_utils.errors import ConfigError, nearest
from meiju_utils.files import fingerprint, safe_name, write_json
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.dataset import (
    Dataset,
    chosen_encoders,
    dataset_key,
    dataset_notes,
    load_dataset,
)
from meiju_utils.modelling.experiments import (
    Experiment,
    SeedJob,
    checkpoint_path,
    finish_training,
    train_seed,
    write_results,
)
from meiju_utils.modelling.pool import has_pool, make_pseudo_labels, pseudo_label_set
from meiju_utils.modelling.probabilities import combine
from meiju_utils.modelling.recipe_book import Recipe, load_recipes
from meiju_utils.parallel import map_items
from meiju_utils.run import Run, resolve

VERSION = 2  # raise it when the same recipe would give other results
TABLE_ONE = (
    "baseline",
    "+pseudo-label",
    "+1textcnn",
    "+one-head",
    "one+two-heads",
    "ensemble",
)

Recipes = Mapping[str, Recipe]


def rows_of(run: Run) -> list[str]:
    """The recipes that notebook 05 compares: Table I and those of the profile's own file."""
    own = run.config.recipes
    names = load_recipes(resolve(own)).keys() - load_recipes().keys() if own else []
    return [*TABLE_ONE, *sorted(names)]


def train_recipe(run: Run, name: str, recipes: Recipes | None = None) -> Experiment:
    """The experiment of a recipe, trained (with whatever it builds on) where it is not there yet.

    Raises ConfigError for an unknown recipe, MissingStageError where features are missing,
    FeatureError and TrainingError where training cannot start or diverges.
    """
    return train_recipes(run, [name], recipes)[name]


def train_recipes(
    run: Run, names: Sequence[str] = TABLE_ONE, recipes: Recipes | None = None
) -> dict[str, Experiment]:
    """Experiments by recipe; missing ones are trained, recipes × seeds side by side.

    Without an unlabelled pool a recipe with pseudo labels is the one it starts from.
    """
    book = _Book(run, recipes)
    resolved = {name: book.resolve(name) for name in names}
    waves = book.waves(list(resolved.values()))
    for wave in waves:
        for name in wave:
            book.check(name)
    for wave in waves:
        todo = [name for name in wave if not book.experiment(name).done]
        trained = [name for name in todo if not book.recipes[name].combine]
        jobs_of = {name: [job for job in book.jobs(name) if not job.done] for name in trained}
        jobs = [job for name in trained for job in jobs_of[name]]
        labels = [f"{name} seed {job.seed}" for name in trained for job in jobs_of[name]]
        map_items(
            train_seed,
            jobs,
            labels,
            run.config.parallel,
            "trainings",
            tolerant=False,
            show=lambda joint: f"joint {joint:.3f}",
        )
        for name in todo:
            book.finish(name)
    return {name: book.experiment(other) for name, other in resolved.items()}


def load_experiment(run: Run, name: str, recipes: Recipes | None = None) -> Experiment:
    """The experiment of a recipe with the run's present settings.

    MissingStageError names the notebook that trains it; ConfigError for an unknown recipe.
    """
    book = _Book(run, recipes)
    resolved = book.resolve(name)
    experiment = book.experiment(resolved)
    if not experiment.done:
        what = f"experiment {name!r} with the present settings"
        raise run.missing(what, book.recipes[resolved].notebook)
    return experiment


class _Book:
    """The recipes of a run: their settings, keys, folders, jobs."""

    def __init__(self, run: Run, recipes: Recipes | None) -> None:
        self.run = run
        own = run.config.recipes
        self.recipes = dict(recipes or load_recipes(resolve(own) if own else None))
        self.clips = run.table("clips")
        self.pool = has_pool(self.clips)
        self._experiments: dict[str, Experiment] = {}
        self._datasets: dict[str, Dataset] = {}
        self._dataset_keys: dict[str, str] = {}

    def resolve(self, name: str) -> str:
        """The recipe's own name or, without a pool to label, that of what it starts from."""
        if name not in self.recipes:
            raise ConfigError(f"No recipe {name!r}: {nearest(name, self.recipes)}")
        recipe = self.recipes[name]
        if recipe.pseudo_labels and recipe.start and not self.pool:
            return self.resolve(recipe.start)
        return name

    def waves(self, names: Sequence[str]) -> list[list[str]]:
        """The recipes and all they are made from, each wave after those it needs."""
        depths: dict[str, int] = {}

        def depth(name: str) -> int:
            if name not in depths:
                needs = [self.resolve(other) for other in self.recipes[name].needs()]
                depths[name] = 1 + max(map(depth, needs), default=-1)
            return depths[name]

        deepest = max(map(depth, names), default=-1)
        return [[name for name, at in depths.items() if at == d] for d in range(deepest + 1)]

    def encoders(self, name: str) -> dict[Modality, EncoderConfig]:
        return chosen_encoders(self.run, self.recipes[name].encoders)

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

    def training(self, name: str) -> Training:
        """The profile's settings of training with the recipe's over them."""
        recipe = self.recipes[name]
        values = self.run.config.model_dump(mode="json")
        values["training"] |= recipe.training
        training = validate_profile(values, source=f"Recipe {name!r}").training
        if recipe.pseudo_labels and recipe.start:
            rate = training.learning_rate * training.stage_two_factor
            training = training.model_copy(update={"learning_rate": rate})
        return training

    def check(self, name: str) -> None:
        """Raise now what would be wrong with a recipe once its turn to train has come."""
        recipe = self.recipes[name]
        if recipe.combine:
            return
        self.network(name, dict.fromkeys(self.encoders(name), 1))
        if recipe.start:
            lacking = set(self.training(name).seeds) - set(
                self.training(self.resolve(recipe.start)).seeds
            )
            if lacking:
                raise ConfigError(
                    f"Recipe {name!r} trains seeds {sorted(lacking)}, which {recipe.start!r}, its "
                    "start, does not. Give both the same training.seeds."
                )

    def network(self, name: str, widths: dict[Modality, int]) -> NetworkConfig:
        spec, training = self.recipes[name].network, self.training(name)
        heads = spec.fusion_heads
        return NetworkConfig(
            widths=widths,
            fusion_heads=dict.fromkeys(TASKS, heads) if isinstance(heads, int) else heads,
            kernel_heights=tuple(spec.kernel_heights),
            stage=spec.stage,
            masking=training.masking,
            dropout=training.dropout,
        )

    def experiment(self, name: str) -> Experiment:
        """The experiment of a (resolved) recipe, trained or not."""
        if name not in self._experiments:
            key = self._key(name)
            folder = self.run.path("experiments", f"{safe_name(name)}-{key}")
            self._experiments[name] = Experiment(name, key, folder)
        return self._experiments[name]

    def _key(self, name: str) -> str:
        recipe = self.recipes[name]
        average = self.run.setting.average
        if recipe.combine:
            keys = {t: [self._member(other).key for other in recipe.combine[t]] for t in TASKS}
            return fingerprint(VERSION, average, keys)
        labels = None
        if recipe.pseudo_labels:
            teacher = self._member(recipe.pseudo_labels)
            labels = pseudo_label_set(self.run, teacher.name, teacher.key).key
        return fingerprint(
            VERSION,
            average,
            self.dataset_key(name),
            recipe.network.model_dump(),
            self.training(name).model_dump(exclude={"device"}),
            self._member(recipe.start).key if recipe.start else None,
            labels,
        )

    def _member(self, name: str) -> Experiment:
        return self.experiment(self.resolve(name))

    def jobs(self, name: str) -> list[SeedJob]:
        """One training a seed; what they need must be done. Writes the experiment's config."""
        recipe, training, dataset = self.recipes[name], self.training(name), self.dataset(name)
        experiment = self.experiment(name)
        notes = dataset_notes(dataset)
        labels = None
        if recipe.pseudo_labels:
            found = make_pseudo_labels(self.run, self._member(recipe.pseudo_labels))
            labels = found.labels(dataset)
            notes += found.notes
        network = self.network(name, dataset.widths)
        start = self._member(recipe.start) if recipe.start else None
        self._write_config(name, notes, network)
        serial = self.run.config.parallel.backend == "serial"
        return [
            SeedJob(
                folder=experiment.folder,
                dataset=dataset,
                network=network,
                training=training,
                average=self.run.setting.average,
                seed=seed,
                start=checkpoint_path(start.folder, seed) if start else None,
                pseudo_labels=labels,
                show=f"{name} seed {seed}" if serial else "",
            )
            for seed in training.seeds
        ]

    def finish(self, name: str) -> None:
        """Write what the experiment's parts amount to."""
        recipe, experiment = self.recipes[name], self.experiment(name)
        average = self.run.setting.average
        known = (self.clips["emotion"] != "") & (self.clips["intent"] != "")
        truth = self.clips.loc[known & (self.clips["split"] == "valid"), ["clip_id", *TASKS]]
        if recipe.combine:
            members: dict[Task, list[pd.DataFrame]] = {
                task: [self._member(other).probabilities for other in recipe.combine[task]]
                for task in TASKS
            }
            self._write_config(name, [], None)
            write_results(experiment, combine(members), pd.DataFrame(), truth, average)
        else:
            before = self._member(recipe.start).history if recipe.start else None
            finish_training(experiment, self.training(name).seeds, truth, average, before)

    def _write_config(self, name: str, notes: list[str], network: NetworkConfig | None) -> None:
        recipe = self.recipes[name]
        config = {
            "name": name,
            "key": self.experiment(name).key,
            "recipe": recipe.model_dump(mode="json"),
            "made from": {other: self._member(other).key for other in recipe.needs()},
            "notes": notes,
        }
        if recipe.pseudo_labels:
            config["pseudo_labels"] = self.run.config.pseudo_labels.model_dump(mode="json")
        if network is not None:
            encoders = self.encoders(name).items()
            config |= {
                "setting": self.run.setting.name,
                "dataset": self.dataset(name).key,
                "encoders": {m: encoder.model_dump(mode="json") for m, encoder in encoders},
                "network": network.to_json(),
                "training": self.training(name).model_dump(mode="json"),
            }
        write_json(self.experiment(name).folder / "config.json", config)
