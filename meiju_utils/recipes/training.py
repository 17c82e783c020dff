"""Training recipes: what is there already, all the rest in parallel, each when its needs are met.

Every experiment is keyed by all that shapes it, so nothing is trained twice: recipes that start
from the same stage share it, and a second call returns at once. A training that diverges fails its
recipe and those built on it, and no other; so does one that meets any other fault, which the next
call tries again, unless too many do (see `parallel.faults`). Imports `graph`, `parallel`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory

import pandas as pd

from meiju_utils.errors import MeijuError, TrainingError
from meiju_utils.files import PARTIAL
from meiju_utils.graphs import with_needs
from meiju_utils.integrity import intact
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.partitions import Folds, own_predictions
from meiju_utils.parallel import failure_of, map_items, model_places
from meiju_utils.parallel.faults import is_of_the_run
from meiju_utils.predictions import NO_SEED
from meiju_utils.recipes.book import load_recipes
from meiju_utils.recipes.checking import check
from meiju_utils.recipes.code import run_job
from meiju_utils.recipes.combining import combined
from meiju_utils.recipes.experiment import FAILURE, Experiment
from meiju_utils.recipes.graph import RecipeGraph, Recipes, recipes_of
from meiju_utils.recipes.jobs import Job, NetworkJob, read_records, remove_parts
from meiju_utils.recipes.planning import (
    check_code,
    inputs_of,
    jobs_of,
    known_of,
    write_config,
    write_inputs,
)
from meiju_utils.recipes.writing import write_failure, write_results, write_scores
from meiju_utils.run import Run
from meiju_utils.run_folder import writing

TABLE_ONE = (
    "baseline",
    "+pseudo-label",
    "+1textcnn",
    "+one-head",
    "one+two-heads",
    "ensemble",
)


def rows_of(run: Run) -> list[str]:
    """The recipes that notebook 05 compares: Table I, those of one's own, what is handed in."""
    recipes = recipes_of(run)
    own = recipes.keys() - load_recipes(tasks=run.setting.tasks).keys()
    own = {name for name in own if not recipes[name].chain}  # students stand behind their chain
    return list(dict.fromkeys([*TABLE_ONE, *sorted(own), run.config.submission]))


def train_recipe(run: Run, name: str, recipes: Recipes | None = None) -> Experiment:
    """The experiment of a recipe, trained (with whatever it builds on) where it is not there yet.

    Raises ConfigError for an unknown recipe, MissingStageError where features are missing,
    FeatureError and TrainingError where training cannot start or diverges, and what nobody foresaw
    as it is.
    """
    found, errors = _train(run, [name], recipes)
    if found[name].failure:
        told = f"Recipe {name!r} has no results: {found[name].failure}"
        for error in errors:
            if not isinstance(error, MeijuError):
                error.add_note(told)
                raise error
        raise TrainingError(told)
    return found[name]


def train_recipes(
    run: Run, names: Sequence[str] = TABLE_ONE, recipes: Recipes | None = None
) -> dict[str, Experiment]:
    """Experiments by recipe; missing ones are trained, recipes × seeds side by side.

    One that diverges has no results but a `failure` that says why, as has what is built on it; one
    that fails for another reason too, but is tried again by the next call. Raises SystemicError
    where that strikes many trainings, and at once what the others would meet as well. Without an
    unlabelled pool a recipe with pseudo labels is the one it starts from.
    """
    return _train(run, names, recipes)[0]


def _train(
    run: Run, names: Sequence[str], recipes: Recipes | None
) -> tuple[dict[str, Experiment], list[Exception]]:
    """Experiments by recipe, and the errors that some trainings met in this call."""
    graph = RecipeGraph(run, recipes)
    resolved = {name: graph.resolve(name) for name in names}
    todo = graph.unfinished(list(resolved.values()))
    for name in todo:
        check(graph, name)
    plan = with_needs(resolved.values(), graph.needs)
    for experiment in map(graph.experiment, plan):
        if experiment.has_predictions:  # joined, whatever a killed process did not come to remove
            for member in graph.members(experiment.name):
                remove_parts(experiment.folder, member)
    errors: list[Exception] = []
    if todo:  # only who trains holds the lock
        with writing(graph.run.folder, "trainings"):
            training = _Training(graph, todo)
            training.run(of=sum(len(graph.members(name)) for name in plan))
            errors = training.errors
    return {name: graph.experiment(other) for name, other in resolved.items()}, errors


def load_experiment(run: Run, name: str, recipes: Recipes | None = None) -> Experiment:
    """The experiment of a recipe with the run's present settings.

    MissingStageError names the notebook that trains it; ConfigError for an unknown recipe.
    """
    return load_of(RecipeGraph(run, recipes), name)


def load_of(graph: RecipeGraph, name: str) -> Experiment:
    """`load_experiment` in a graph that is there."""
    resolved = graph.resolve(name)
    experiment = graph.experiment(resolved)
    if not experiment.done and not experiment.failure:
        what = f"experiment {name!r} with the present settings"
        raise graph.run.missing(what, graph.recipes[resolved].notebook)
    return experiment


def members_of(run: Run, name: str, recipes: Recipes | None = None) -> dict[str, Experiment]:
    """The trainings behind a recipe, by the names they were trained as: its own, or of an ensemble
    those of all its members. MissingStageError where one is not there."""
    graph = RecipeGraph(run, recipes)
    found: dict[str, Experiment] = {}
    waiting = [graph.resolve(name)]
    while waiting:
        one = waiting.pop(0)
        if graph.recipes[one].kind == "ensemble":
            waiting += graph.needs(one)
        else:
            found[one] = load_of(graph, one)
    return found


class _Training:
    """The jobs of the recipes that are to be made, and what becomes of them."""

    def __init__(self, graph: RecipeGraph, names: list[str]) -> None:
        self.graph = graph
        self.open = list(names)  # recipes whose results are still to be written, in order
        self.jobs: list[Job] = []
        self.left: dict[str, set[int]] = {}  # recipe → places of its jobs that are not done
        self.only_tables: set[str] = set()  # recipes whose predictions are there already
        self.errors: list[Exception] = []
        for experiment in [one for name in names if (one := graph.experiment(name)).failure]:
            (experiment.folder / FAILURE).unlink()  # not settled, else it were not among the names
        for name in names:
            self.left[name] = set()
            if self._fail_with_others(name):
                continue
            if graph.experiment(name).has_predictions:
                self.only_tables.add(name)
                continue
            missing = [job for job in jobs_of(graph, name) if not job.done]
            self.left[name] = set(range(len(self.jobs), len(self.jobs) + len(missing)))
            self.jobs += missing

    def run(self, of: int) -> None:
        """Do the jobs; `of` counts all trainings of the plan, those done before among them."""
        self._finish_what_is_complete()
        run = self.graph.run.config
        settings = run.parallel
        if any(isinstance(job, NetworkJob) for job in self.jobs):  # what else is fitted has no GPU
            settings = model_places(settings, run.training.device, "training.device")
        with _shared(self.graph, self.jobs) as jobs:
            map_items(
                run_job,
                jobs,
                [_shown(job) for job in jobs],
                settings,
                "Trainings",
                unit="trainings",
                show=lambda joint: f"joint {joint:.3f}" if joint >= 0 else "fitted",
                needs={place: self._needs(job) for place, job in enumerate(jobs)},
                then=self._finished,
                of=of,
            )

    def _needs(self, job: Job) -> set[int]:
        """Places of the jobs that must be done before: those of all its recipe is made from.

        Of a start the job of the same seed and fold is enough.
        """
        recipe = self.graph.recipes[job.name]
        found: set[int] = set()
        for other in self.graph.needs(job.name):
            places = self._all_left(other)
            if recipe.start and other == self.graph.resolve(recipe.start):
                teacher = recipe.targets and self.graph.resolve(recipe.targets.teacher) == other
                if not teacher:
                    places = {p for p in places if self.jobs[p].member == job.member}
            found |= places
        return found

    def _all_left(self, name: str) -> set[int]:
        """Jobs not done that a recipe's results wait for: its own, or those of its members."""
        own = self.left.get(name, set())
        if self.graph.recipes[name].kind != "ensemble" or name not in self.left:
            return set(own)
        return set().union(*(self._all_left(other) for other in self.graph.needs(name)))

    def _finished(self, place: int, result: float | None, error: Exception | None) -> None:
        job = self.jobs[place]
        experiment = self.graph.experiment(job.name)
        if error is None:
            self.left[job.name].discard(place)
        elif is_of_the_run(error):
            return  # it ends the map
        elif not experiment.failure:  # else another seed has failed before
            failure = failure_of(job.name, error)
            reason = failure.reason if failure.own else f"{failure.error}: {failure.reason}"
            write_failure(experiment, reason, settled=failure.own)
            self.errors.append(error)
        self._finish_what_is_complete()

    def _finish_what_is_complete(self) -> None:
        """Write the results of recipes whose parts are all there, and what the next ones need."""
        for name in list(self.open):
            experiment = self.graph.experiment(name)
            if experiment.failure or self._fail_with_others(name):
                self.open.remove(name)
                continue
            self._prepare(name)
            if not self.left[name] and not set(self.graph.needs(name)) & set(self.open):
                self._finish(name)
                self.open.remove(name)

    def _fail_with_others(self, name: str) -> bool:
        """Whether something that a recipe is made from failed, which is then noted as its own.

        An ensemble that can do without some members fails with the last.
        """
        needs = self.graph.needs(name)
        if self.graph.tolerant(name) and not all(self.graph.experiment(o).failure for o in needs):
            return False
        for other in needs:
            failed = self.graph.experiment(other)
            if failed.failure:
                write_config(self.graph, name)
                reason = f"{other}, which it is made from, failed."
                write_failure(self.graph.experiment(name), reason, failed)
                return True
        return False

    def _prepare(self, name: str) -> None:
        """Write what a recipe's jobs read beside their data, as soon as its teacher is done."""
        graph = self.graph
        if all(intact(path) for path in inputs_of(graph, name)):
            return
        targets = graph.recipes[name].targets if graph.pool else None
        if targets is None or graph.resolve(targets.teacher) not in self.open:
            write_inputs(graph, name)

    def _finish(self, name: str) -> None:
        graph, experiment = self.graph, self.graph.experiment(name)
        check_code(graph, name)
        recipe, known = graph.recipes[name], known_of(graph)
        if name in self.only_tables:
            write_scores(experiment, experiment.predictions, graph.truth, known)
            return
        if recipe.kind == "ensemble":
            members = {
                other: member
                for other in graph.there(name)
                if not (member := graph.experiment(graph.resolve(other))).failure
            }
            found, of_folds, fitted = combined(recipe, members, known, graph.folded(name))
            lost = [other for other in graph.there(name) if other not in members]
            notes = [f"Without results, left out: {', '.join(lost)}."] if lost else []
            write_results(
                experiment,
                found,
                graph.truth,
                known,
                of_folds=of_folds,
                combination={**fitted, "notes": notes},
            )
            return
        jobs = jobs_of(graph, name)
        found, rows = read_records(jobs)
        history = None
        if rows:
            history = pd.DataFrame(rows).assign(stage=name).astype({"stage": "str"})
            if recipe.start:
                before = graph.experiment(graph.resolve(recipe.start)).history
                history = pd.concat([before, history], ignore_index=True)
        of_folds = None
        if graph.folded(name) and isinstance(recipe.partition, Folds):
            found, of_folds = own_predictions(found, recipe.partition)
        write_results(experiment, found, graph.truth, known, history, of_folds)
        for job in jobs:
            remove_parts(job.folder, job.member)


def _shown(job: Job) -> str:
    """A training as its progress names it."""
    chance = [f"seed {job.seed}"] if job.seed != NO_SEED else []
    folds = [f"fold {job.member.fold}"] if job.member.folds else []
    return " ".join([job.name, *chance, *folds])


@contextmanager
def _shared(graph: RecipeGraph, jobs: list[Job]) -> Iterator[list[Job]]:
    """The jobs with features that processes of this machine read from one file, not a copy each."""
    if graph.run.config.parallel.backend != "loky" or not jobs:
        yield jobs
        return
    with TemporaryDirectory(prefix=PARTIAL, dir=graph.run.folder) as folder:
        made: dict[str, Dataset] = {}
        for job in jobs:
            if job.dataset.key not in made:
                made[job.dataset.key] = job.dataset.on_disk(folder)
        yield [replace(job, dataset=made[job.dataset.key]) for job in jobs]
