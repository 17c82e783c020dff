"""Reading all that a run has made: is each file what was written? What is made again may go.

Imports `embeddings`, `files`, `forcing`, `integrity`, `opening`, `preprocessing`, `run_folder`.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meiju_utils.challenge import SUBMISSION_NAME
from meiju_utils.config import Profile
from meiju_utils.corpus.opening import DEAL
from meiju_utils.embeddings.shards import OpenShard
from meiju_utils.embeddings.store import META
from meiju_utils.embeddings.tiny import MARKER, check_tiny
from meiju_utils.errors import ConfigError, DamagedError, MeijuError
from meiju_utils.files import DAMAGED, PARTIAL, read_record, read_table, set_aside
from meiju_utils.forcing import discard
from meiju_utils.integrity import READERS
from meiju_utils.opening import kept_profile
from meiju_utils.preprocessing.manifest import MEDIA, ROWS, SUSPECT, check_shard
from meiju_utils.reporting.results import NAME as RESULTS_NAME
from meiju_utils.run import CONFIG_NAME, TABLES, Run, data_folder
from meiju_utils.run_folder import FORM, KINDS, OWNER_NAME, writing
from meiju_utils.skipping import LISTING_FILE

Check = Callable[[Path], Any]
_NUMBERED = re.compile("[0-9]{5,}[.-]")  # shards of clips and of features


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

    Not looked at are pages and executed notebooks, which nothing reads, the user's own files, and
    what lies behind a link out of the folder. ConfigError where it is no run folder.
    """
    if not (folder / CONFIG_NAME).is_file() and not (folder / OWNER_NAME).is_file():
        raise ConfigError(f"{folder} is no run folder: it has no {CONFIG_NAME}.")
    with suppress(OSError, DamagedError):
        if (form := read_record(folder / OWNER_NAME).get("form")) != FORM:
            raise ConfigError(f"{folder} was written by another version (form {form}, not {FORM}).")
    found = Verified()
    with_data = _has_data(folder)
    for path, check in checks_of(folder):
        if left := _left(folder, path):
            found.left += [left] if left not in found.left else []
            continue
        if check is None:
            continue
        try:
            found.size += path.stat().st_size
            check(path)
        except FileNotFoundError:  # a stage is at work
            continue
        except OSError as error:
            found.damaged[path] = f"{path} cannot be read: {error.strerror}."
        except DamagedError as error:
            found.damaged[path] = str(error)
            if _is_made_again(folder, path, with_data):
                both = [path.with_name(path.name.partition(".")[0] + MEDIA)]
                found.made_again += [path, *(both if check is check_shard else [])]
        found.files += 1
    return found


def mend(folder: Path) -> tuple[Verified, list[Path]]:
    """Set aside what is damaged and made again, remove what was left; returns what was found, and
    what was set aside or removed.

    What was set aside of an experiment stays until it is made again: by it that is known to be due.
    BusyError where a stage is writing the folder.
    """
    with writing(folder, "mending"):
        found = verify(folder)
        gone = [path for path in found.left if not _is_due(folder, path)]
        aside = [path for path in found.made_again if set_aside(path)]
        discard(gone)
    return found, [*aside, *gone]


def checks_of(folder: Path) -> Iterator[tuple[Path, Check | None]]:
    """The files of a run folder, each with who reads it; None: nobody."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            yield path, _check_of(*path.relative_to(folder).parts)


def _check_of(kind: str, *below: str) -> Check | None:
    name = (kind, *below)[-1]
    suffix = Path(name).suffix
    if not below:
        if name.removesuffix(ROWS) in TABLES and suffix == ROWS:
            return read_table
        return _BESIDE.get(name)
    if kind == "checkpoints":
        return check_tiny if name == MARKER else None
    if kind == "notebooks":
        return read_record if suffix == ".json" else None
    if kind not in KINDS:
        return READERS.get(suffix) if kind == "doctor" else None
    if len(below) == 2 and _NUMBERED.match(name) and kind == "preprocessed":
        return check_shard if name.endswith((ROWS, ROWS + SUSPECT)) else None
    if len(below) == 2 and _NUMBERED.match(name) and kind == "features":
        return lambda path: OpenShard(path).check()
    return READERS.get(suffix)


def _left(folder: Path, path: Path) -> Path | None:
    """What was set aside or half written, the file or a folder that it is in."""
    if path.name.endswith(DAMAGED):
        return path
    for one in (path, *path.parents):
        if one == folder:
            break
        if one.name.startswith(PARTIAL):
            return one
    return None


def _is_due(folder: Path, aside: Path) -> bool:
    made = aside.with_name(aside.name.removesuffix(DAMAGED))
    return folder / "experiments" in aside.parents and made != aside and not made.is_file()


def _has_data(folder: Path) -> bool:
    """Whether the run's clips are here: in its profile's folder, or where 01 last found them."""
    places = []
    with suppress(OSError, MeijuError):
        places.append(data_folder(kept_profile(folder), "", folder))
    with suppress(OSError, MeijuError):
        places.append(Path(read_record(folder / "notebooks" / LISTING_FILE)["root"]))
    return any(place.is_dir() for place in places)


def _is_made_again(folder: Path, path: Path, with_data: bool) -> bool:
    """Not whose the folder is, not what was imported and, without the data, nothing of 01."""
    kind, *below = path.relative_to(folder).parts
    if kind in (OWNER_NAME, CONFIG_NAME, DEAL):
        return False
    if kind == "preprocessed" or TABLES.get(path.stem) == "01_preprocessing":
        return with_data
    if kind == "features" and path.name != META:
        try:
            return "stamp" in read_record(folder / kind / below[0] / META)
        except (OSError, DamagedError):
            return True
    return True


def _check_submission(path: Path) -> None:
    """DamagedError where the answers and their copies to hand in are not the same."""
    folder = path.parent.absolute()
    _, copy, archive = Run(Profile(name=folder.name), folder, folder).submission_files
    content = path.read_bytes()
    if copy.is_file() and copy.read_bytes() != content:
        raise DamagedError(f"{path} is not the same as {copy}.")
    try:
        with zipfile.ZipFile(archive) as opened:
            packed = opened.read(SUBMISSION_NAME)
    except FileNotFoundError:  # it may lie elsewhere by now
        return
    except Exception as error:  # a damaged archive raises almost anything
        raise DamagedError(f"{archive} is damaged ({error}).") from error
    if packed != content:
        raise DamagedError(f"{path} is not what was packed into {archive}.")


_BESIDE: dict[str, Check] = {
    OWNER_NAME: read_record,
    RESULTS_NAME: read_record,
    DEAL: read_record,
    CONFIG_NAME: lambda path: kept_profile(path.parent),
    SUBMISSION_NAME: _check_submission,
}
