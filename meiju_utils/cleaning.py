"""What may go from a run folder: all that no present setting uses, with its size.

Imports `config`, `forcing`, `run`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.embeddings.extract import store_folders
from meiju_utils.embeddings.store import META
from meiju_utils.errors import ConfigError, DamagedError, FeatureError, MissingStageError
from meiju_utils.files import DAMAGED, PARTIAL, read_record
from meiju_utils.forcing import discard, made_by
from meiju_utils.opening import kept_profile
from meiju_utils.preprocessing import open_preprocessed
from meiju_utils.recipes.graph import recipes_of
from meiju_utils.references import parse_reference
from meiju_utils.run import Run, data_folder
from meiju_utils.run_folder import KINDS, writing


@dataclass(frozen=True)
class Unused:
    """What no present setting uses: path and bytes; `unknown` are folders of which it cannot be
    said, as an earlier stage has not run with the present settings."""

    paths: dict[Path, int]
    unknown: tuple[str, ...]


def open_folder(folder: Path) -> Run:
    """The run in a folder with the settings it was last opened with, its data or not.

    ConfigError where it is no run folder, DamagedError where what it says of that is damaged.
    """
    config = kept_profile(folder)
    return Run(config, data_folder(config, "", folder), folder.absolute())


def find_unused(run: Run) -> Unused:
    """Folders of clips, features and experiments of other settings, and what is damaged or half
    written.

    What other code made with the present settings stays, as do stores that were imported and what
    lies outside the run folder behind a link.
    """
    used: dict[str, list[Path]] = {}
    for kind in KINDS:
        with suppress(MissingStageError, ConfigError, FeatureError):
            if _is_inside(run, run.path(kind)):
                used[kind] = _used(run, kind)
    found = {
        path: _size(path)
        for kind, paths in used.items()
        for path in sorted(run.folder.glob(f"{kind}/*"))
        if path not in paths and path.name != "current.json" and _is_made_here(path, kind)
    }
    for path in sorted(run.folder.rglob("*")):
        left = path.name.startswith(PARTIAL) or path.name.endswith(DAMAGED)
        if left and _is_inside(run, path) and not set(path.parents) & found.keys():
            found[path] = _size(path)
    unknown = tuple(k for k in KINDS if k not in used and any(run.folder.glob(f"{k}/*")))
    return Unused(found, unknown)


def _used(run: Run, kind: str) -> list[Path]:
    """What the present settings use of a kind; raises where that cannot be told."""
    if kind == "preprocessed":
        return made_by(run, "01_preprocessing")
    if kind == "features":
        return [*_require_checkpoints(run), *made_by(run, "02_embedding_extraction")]
    notebooks = {recipe.notebook for recipe in recipes_of(run).values()}
    return [path for name in sorted(notebooks) for path in made_by(run, name)]


def _require_checkpoints(run: Run) -> list[Path]:
    """Folders that encoders name, with those above them.

    FeatureError where a checkpoint is not there, whose store could not be told from others.
    """
    source, named = open_preprocessed(run), []
    for modality, encoder in all_encoders(run.config.embeddings):
        store_folders(run, modality, encoder, source)
        if path := parse_reference(encoder.name, run.folder).path:
            named += [path, *path.parents]
    return named


def _is_inside(run: Run, path: Path) -> bool:
    return path.parent.resolve().is_relative_to(run.folder.resolve()) and not path.is_symlink()


def _is_made_here(path: Path, kind: str) -> bool:
    """Whether a run made it: a store that was imported has no stamp of settings and code."""
    if path.is_symlink():
        return False
    if kind != "features":
        return True
    try:
        return "stamp" in read_record(path / META)
    except (OSError, DamagedError):
        return False


def remove(run: Run, paths: Sequence[Path]) -> None:
    """Remove what `find_unused` found; BusyError where a stage is writing the folder."""
    with writing(run.folder, "cleaning"):
        discard([path for path in paths if path.exists()])


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)
