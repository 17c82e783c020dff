"""What `--force` removes: all that a notebook's stages wrote with the run's present settings.

Each stage says itself where that lies, so it does not matter who ran the notebook, nor where. What
other settings and other notebooks made stays, as do the user's own files, the copies to hand in and
the ledger. Imports `preprocessing`, `embeddings`, `recipes`, `reporting`, `run`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from os.path import lexists
from pathlib import Path
from tempfile import TemporaryDirectory

from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.embeddings.extract import store_folders
from meiju_utils.embeddings.tiny import TINY_CHECKPOINTS
from meiju_utils.errors import ConfigError, FeatureError, MissingStageError
from meiju_utils.files import PARTIAL
from meiju_utils.graphs import with_needs
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.reporting.results import NAME as RESULTS_NAME
from meiju_utils.reporting.summary import REPORT_NAME
from meiju_utils.run import TABLES, Run


def results_of(run: Run, notebook: str) -> list[Path]:
    """The files and folders that a notebook's stages wrote, as far as they are there.

    In order of removal: what says that a stage is done, and what is made from others, comes first.
    Nothing where an earlier notebook's part is missing, for then this one cannot run either, and
    says so. Raises ConfigError where a link leads out of the run folder.
    """
    try:
        found = made_by(run, notebook)
    except MissingStageError:
        return []
    there = [path for path in found if lexists(path)]
    for path in there:
        if not path.parent.resolve().is_relative_to(run.folder.resolve()):
            raise ConfigError(
                f"{path} leads out of the run folder by a link, where --force removes nothing. "
                "Delete it yourself, then run without --force."
            )
    return there


def made_by(run: Run, notebook: str) -> list[Path]:
    """Where a notebook's results lie, or will, with the run's settings.

    MissingStageError where that depends on an earlier notebook which has not run.
    """
    stages = _STAGES.get(notebook, _tables)
    return [*stages(run, notebook), *_experiments(run, notebook)]


def discard(paths: Sequence[Path]) -> None:
    """Remove files and folders in order, each at once: first it is moved aside, then deleted.

    So an interruption leaves it whole or gone, never in part. Of a link only itself is removed.
    Raises ConfigError where one cannot be moved.
    """
    try:
        with ExitStack() as stack:
            aside = {
                folder: Path(stack.enter_context(TemporaryDirectory(prefix=PARTIAL, dir=folder)))
                for folder in {path.parent for path in paths}
            }
            for path in paths:
                path.rename(aside[path.parent] / path.name)
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be removed: {error.strerror}. Run without --force, or delete "
            "by hand what is to be computed anew."
        ) from None


def _tables(run: Run, notebook: str) -> list[Path]:
    return [run.path(f"{name}.parquet") for name, writer in TABLES.items() if writer == notebook]


def _of_preprocessing(run: Run, notebook: str) -> list[Path]:
    from meiju_utils.preprocessing.pipeline import written_files  # it brings OpenCV

    done, *others = written_files(run)
    return [done, *_tables(run, notebook), *others, run.path("doctor")]


def _of_embeddings(run: Run, notebook: str) -> list[Path]:
    from meiju_utils.preprocessing.pipeline import open_preprocessed

    settings, source = run.config.embeddings, open_preprocessed(run)
    stores: list[Path] = []
    for modality, encoder in all_encoders(settings):
        with suppress(FeatureError):  # its checkpoint is not there, so its store cannot be told
            stores += store_folders(run, modality, encoder, source)
    tiny = TINY_CHECKPOINTS if settings.tiny_checkpoints else ()
    # Checkpoints last: by their contents the stores are found.
    return [*_tables(run, notebook), *stores, *(run.path("checkpoints", name) for name in tiny)]


def _of_submission(run: Run, notebook: str) -> list[Path]:
    return [run.path(REPORT_NAME), run.path(RESULTS_NAME), run.submission_files[0]]


_STAGES: dict[str, Callable[[Run, str], list[Path]]] = {
    "01_preprocessing": _of_preprocessing,
    "02_embedding_extraction": _of_embeddings,
    "06_submission_ensembling": _of_submission,
}


def _experiments(run: Run, notebook: str) -> list[Path]:
    """Experiments of a notebook's recipes, then the pseudo labels that no earlier one uses."""
    graph = RecipeGraph(run)
    notebooks = {name: recipe.notebook for name, recipe in graph.recipes.items()}
    listed = [name for name, its in notebooks.items() if its == notebook]
    # Without a pool to label, a recipe may go by another's results.
    own = [name for name in listed if graph.resolve(name) == name]
    made_last = [name for name in with_needs(own, graph.needs) if name in own][::-1]
    earlier = [name for name, its in notebooks.items() if own and its < notebook]
    labels, others = (
        {found.folder for name in names for found in graph.pool_labels(name)}
        for names in (made_last, earlier)
    )
    folders = [graph.experiment(name).folder for name in made_last]
    splits = {split.path for name in made_last if (split := graph.split(name))}
    splits -= {split.path for name in earlier if (split := graph.split(name))}
    return [*folders, *sorted(labels - others), *sorted(splits)]
