"""What may go from a run folder: all that no present setting uses, with its size.

Imports `config`, `forcing`, `run`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meiju_utils.config import load_profile
from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.embeddings.extract import store_folders
from meiju_utils.errors import ConfigError, FeatureError, MissingStageError
from meiju_utils.files import PARTIAL
from meiju_utils.forcing import discard, made_by
from meiju_utils.preprocessing import open_preprocessed
from meiju_utils.preprocessing.manifest import DAMAGED
from meiju_utils.run import CONFIG_NAME, Run, data_folder
from meiju_utils.run_folder import writing

# What a kind of artefact lies in, and the notebooks that make it.
KINDS = {
    "preprocessed": ("01_preprocessing",),
    "features": ("02_embedding_extraction",),
    "experiments": ("03_baseline", "04_pseudo_labelling", "05_head_variant_training"),
}
KINDS |= dict.fromkeys(("pseudo_labels", "partitions"), KINDS["experiments"])


@dataclass(frozen=True)
class Unused:
    """What no present setting uses: path and bytes; `unknown` are folders of which it cannot be
    said, as an earlier stage has not run with the present settings."""

    paths: dict[Path, int]
    unknown: tuple[str, ...]


def open_folder(folder: Path) -> Run:
    """The run in a folder with the settings it was last opened with, its data or not.

    ConfigError where it is no run folder.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(f"{folder} is no run folder: it has no {CONFIG_NAME}.")
    config = load_profile(str(path.absolute()))
    return Run(config, data_folder(config, "", folder), folder.absolute())


def find_unused(run: Run) -> Unused:
    """Folders of clips, features and experiments of other settings or code, and what is damaged or
    half written."""
    used: dict[str, list[Path]] = {}
    for kind, notebooks in KINDS.items():
        with suppress(MissingStageError, ConfigError, FeatureError):
            if kind == "features":
                _require_checkpoints(run)
            used[kind] = [path for name in notebooks for path in made_by(run, name)]
    found = {
        path: _size(path)
        for kind, paths in used.items()
        for path in sorted(run.folder.glob(f"{kind}/*"))
        if path not in paths and path.name != "current.json"
    }
    for path in sorted(run.folder.rglob("*")):
        left = path.name.startswith(PARTIAL) or path.name.endswith(DAMAGED)
        if left and not set(path.parents) & found.keys():
            found[path] = _size(path)
    unknown = tuple(k for k in KINDS if k not in used and any(run.folder.glob(f"{k}/*")))
    return Unused(found, unknown)


def _require_checkpoints(run: Run) -> None:
    """FeatureError where a checkpoint is not there, whose store could not be told from others."""
    source = open_preprocessed(run)
    for modality, encoder in all_encoders(run.config.embeddings):
        store_folders(run, modality, encoder, source)


def remove(run: Run, paths: Sequence[Path]) -> None:
    """Remove what `find_unused` found; BusyError where a stage is writing the folder."""
    with writing(run.folder, "cleaning"):
        discard([path for path in paths if path.exists()])


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)
