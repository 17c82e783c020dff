"""A bundle on disk: written whole or not at all, and looked through before anything of it is used.

    bundle.json             the frozen recipe, and the SHA-256 of every other file
    model-card.md           what it is, on which clips it was judged, what it cannot do
    weights/NNN.safetensors one training each
    encoders/N.safetensors  what an encoder was fitted to
    checkpoints/...         copies of encoders, where they were asked for

No file holds code; none is a pickle but TalkNet's, where its file was asked for, which is read by
torch's safe reader. Imports `card`, `carrying`, `freezing`, `frozen`.
"""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from meiju_utils import __version__
from meiju_utils.arrays import read_arrays, write_arrays
from meiju_utils.bundle.card import model_card
from meiju_utils.bundle.carrying import carried, placed
from meiju_utils.bundle.frozen import Frozen, Material, faults
from meiju_utils.errors import BundleError, DamagedError
from meiju_utils.files import PARTIAL, read_record, write_record, write_text

BUNDLE, CARD, WEIGHTS, ENCODERS = "bundle.json", "model-card.md", "weights", "encoders"
FORMAT = 1
LARGEST = 64_000_000  # bytes of bundle.json: that of a hundred members has one


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    package: str
    files: dict[str, str]
    frozen: Frozen


def save_bundle(folder: Path, frozen: Frozen, material: Material, with_encoders: bool) -> Path:
    """Write a bundle; an older one in its place goes once the new one is whole.

    BundleError where the folder holds anything else, or a checkpoint to copy is not here.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder / BUNDLE).is_file() and not _is_empty(folder):
        raise BundleError(f"{folder} is there and is no bundle: name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PARTIAL, dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        (made / WEIGHTS).mkdir(parents=True)
        for name, path in material.weights.items():
            shutil.copyfile(path, made / WEIGHTS / name)
        for number, state in material.states.items():
            write_arrays(made / ENCODERS / f"{number}.safetensors", state)
        frozen = carried(frozen, material.folder, made, with_encoders)
        sizes = {path: path.stat().st_size for path in made.rglob("*") if path.is_file()}
        megabytes = {p.relative_to(made).as_posix(): size / 1e6 for p, size in sizes.items()}
        write_text(made / CARD, model_card(frozen, megabytes, __version__))
        files = {
            path.relative_to(made).as_posix(): _digest(path)
            for path in sorted(made.rglob("*"))
            if path.is_file()
        }
        written = _Written(format=FORMAT, package=__version__, files=files, frozen=frozen)
        write_record(made / BUNDLE, written.model_dump(mode="json"))
        if folder.exists():
            folder.replace(Path(temporary) / "before")
        made.replace(folder)
    return folder


def load_bundle(folder: Path) -> tuple[Frozen, Material]:
    """What `save_bundle` wrote, every file compared with its digest.

    BundleError for anything else, naming what is wrong.
    """
    folder = folder.absolute()
    written = _written(folder)
    for name, digest in written.files.items():
        _compare(folder, name, digest)
    _refuse_others(folder, {*written.files, BUNDLE})
    frozen = written.frozen
    weights = {
        one.file: folder / WEIGHTS / one.file
        for part in frozen.parts.values()
        for one in part.weights
    }
    states: dict[int, Any] = {}
    for number, encoder in enumerate(frozen.encoders):
        if encoder.fitted:
            states[number] = folder / ENCODERS / f"{number}.safetensors"
    for path in [*weights.values(), *states.values()]:
        if path.relative_to(folder).as_posix() not in written.files:
            raise BundleError(
                f"{folder.name} lacks {path.name}, which it is made of. Export again."
            )
    try:
        states = {number: read_arrays(path)[0] for number, path in states.items()}
    except DamagedError as error:
        raise BundleError(f"{error} Export the bundle again.") from error
    return placed(frozen, folder), Material(weights, states, folder)


def _written(folder: Path) -> _Written:
    path = folder / BUNDLE
    if not path.is_file():
        raise BundleError(
            f"{folder} is no bundle: it has no {BUNDLE}. Make one: meiju export RUN {folder.name}"
        )
    if path.stat().st_size > LARGEST:
        raise BundleError(f"{path} is larger than {LARGEST / 1e6:.0f} MB: it is no bundle's.")
    try:
        record = read_record(path)
    except (DamagedError, OSError, RecursionError) as error:
        raise BundleError(
            f"{path} is damaged or was changed by hand ({error}). Copy the bundle anew, or export "
            "it again."
        ) from error
    made_by, number = record.get("package"), record.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise BundleError(
            f"{folder.name} was made by meiju {made_by}, in a newer form than this version "
            f"({__version__}) reads. Install that version."
        )
    try:
        written = _Written.model_validate(record)
    except (ValidationError, RecursionError) as error:
        raise BundleError(
            f"{path} is not what this version ({__version__}) writes: {error}"
        ) from None
    if found := faults(written.frozen):
        raise BundleError(f"{folder.name} cannot be used: {found[0]}")
    return written


def _compare(folder: Path, name: str, digest: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or {"..", "."} & set(parts) or "\0" in name:
        raise BundleError(f"{folder.name} names a file outside its folder: {name!r}.")
    path = folder.joinpath(*parts)
    if not path.is_file():
        raise BundleError(
            f"{folder.name} is not whole: {name} is missing. Copy or export it again."
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder.name} leads out of its folder by the link {name}.")
    if _digest(path) != digest:
        raise BundleError(
            f"{folder.name} is damaged or was changed: {name} is not what was exported. Copy or "
            "export it again."
        )


def _refuse_others(folder: Path, known: set[str]) -> None:
    """BundleError for a file that was put in; hidden ones, as systems leave them, are passed by."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not path.is_dir() and not hidden and name.as_posix() not in known:
            raise BundleError(f"{folder.name} was changed: {name} was not exported. Take it out.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
