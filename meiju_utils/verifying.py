"""Reading all that a run has made: is each file what was written? What is made again may go.

Imports `embeddings`, `files`, `forcing`, `integrity`, `opening`, `preprocessing`, `run_folder`.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meiju_utils.challenge import SUBMISSION_NAME
from meiju_utils.config import Profile
from meiju_utils.embeddings.shards import OpenShard
from meiju_utils.embeddings.store import META
from meiju_utils.embeddings.tiny import MARKER, check_tiny
from meiju_utils.errors import ConfigError, DamagedError
from meiju_utils.files import DAMAGED, PARTIAL, read_record, set_aside
from meiju_utils.forcing import discard
from meiju_utils.integrity import READERS
from meiju_utils.opening import kept_profile
from meiju_utils.preprocessing.manifest import MEDIA, check_shard
from meiju_utils.run import CONFIG_NAME, Run
from meiju_utils.run_folder import FORM, OWNER_NAME, writing

Check = Callable[[Path], Any]


@dataclass
class Verified:
    """How many files and bytes were read, and which are not what was written, with the reason.

    `made_again`: of these what the next run makes again once it is gone. `left`: what was set
    aside, or half written by a killed process.
    """

    files: int = 0
    size: int = 0
    damaged: dict[Path, str] = field(default_factory=dict)
    made_again: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)


def verify(folder: Path) -> Verified:
    """Read every file of a run folder that a later stage reads.

    Not looked at are pages and executed notebooks, which nothing reads, and what lies behind a link
    out of the folder. ConfigError where it is no run folder.
    """
    if not (folder / CONFIG_NAME).is_file() and not (folder / OWNER_NAME).is_file():
        raise ConfigError(f"{folder} is no run folder: it has no {CONFIG_NAME}.")
    with suppress(OSError, DamagedError):
        if (form := read_record(folder / OWNER_NAME).get("form")) != FORM:
            raise ConfigError(f"{folder} was written by another version (form {form}, not {FORM}).")
    found = Verified()
    for path, check in checks_of(folder):
        if left := _left(path):
            found.left += [left] if left not in found.left else []
            continue
        if check is None:
            continue
        found.files += 1
        found.size += path.stat().st_size
        try:
            check(path)
        except DamagedError as error:
            found.damaged[path] = str(error)
            if _is_made_again(folder, path):
                found.made_again += (
                    [path, path.with_suffix(MEDIA)] if check is check_shard else [path]
                )
    return found


def mend(folder: Path, found: Verified) -> list[Path]:
    """Set aside what is damaged and made again, remove what was left; returns both.

    What was set aside of an experiment stays until it is made again: by it that is known to be due.
    BusyError where a stage is writing the folder.
    """
    gone = [path for path in found.left if not _is_due(folder, path)]
    with writing(folder, "mending"):
        for path in found.made_again:
            set_aside(path)
        discard(gone)
    return [*found.made_again, *gone]


def _is_due(folder: Path, aside: Path) -> bool:
    made = aside.with_name(aside.name.removesuffix(DAMAGED))
    return folder / "experiments" in aside.parents and made != aside and not made.is_file()


def checks_of(folder: Path) -> Iterator[tuple[Path, Check | None]]:
    """The files of a run folder, each with who reads it; None: nobody."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            yield path, _check_of(folder, path)


def _check_of(folder: Path, path: Path) -> Check | None:
    kind, *below = path.relative_to(folder).parts
    if kind == "checkpoints":
        return check_tiny if path.name == MARKER else None
    if not below:
        special: dict[str, Check] = {
            CONFIG_NAME: lambda path: kept_profile(path.parent),
            SUBMISSION_NAME: _check_submission,
        }
        if path.name in special:
            return special[path.name]
    numbered = path.name[:1].isdigit()
    if kind == "preprocessed" and numbered:
        return None if path.suffix == MEDIA else check_shard
    if kind == "features" and numbered:
        return lambda path: OpenShard(path).check()
    return READERS.get(path.suffix)


def _left(path: Path) -> Path | None:
    """What was set aside or half written, the file or a folder that it is in."""
    if path.name.endswith(DAMAGED):
        return path
    return next((one for one in (path, *path.parents) if one.name.startswith(PARTIAL)), None)


def _is_made_again(folder: Path, path: Path) -> bool:
    """Not what was imported, and not whose the folder is."""
    kind, *below = path.relative_to(folder).parts
    if kind in (OWNER_NAME, CONFIG_NAME):
        return False
    if kind == "features" and path.name != META:
        try:
            return "stamp" in read_record(folder / kind / below[0] / META)
        except (OSError, DamagedError):
            return True
    return True


def _check_submission(path: Path) -> None:
    """DamagedError where the answers are not those in the archive that was made of them."""
    folder = path.parent.absolute()
    archive = Run(Profile(name=folder.name), folder, folder).submission_files[2]
    try:
        with zipfile.ZipFile(archive) as opened:
            packed = opened.read(SUBMISSION_NAME)
    except (OSError, KeyError, zipfile.BadZipFile):  # it may lie elsewhere by now
        return
    if path.read_bytes() != packed:
        raise DamagedError(f"{path} is not what was packed into {archive}.")
