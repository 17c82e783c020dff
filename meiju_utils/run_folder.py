"""Whose is a run folder? It belongs to one setting and is written by one process at a time.

Imports `errors` and `files`.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from meiju_utils.errors import BusyError, ConfigError, DamagedError
from meiju_utils.files import PARTIAL, read_record, write_record
from meiju_utils.machine import check_writable, told_faults

OWNER_NAME = "run.json"  # whose the folder is
LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.json"  # who holds the lock
KINDS = ("preprocessed", "features", "experiments", "pseudo_labels", "partitions")  # of stages
RECENT_S = 3.0
FORM = 3  # of the run folder; earlier ones have not a checksum in every file

# What folders of the first form hold: since then clips lie in shards, experiments in predictions.
_OLD = (
    "preprocessed/current.json",
    "yardsticks",
    "experiments/*/probabilities.parquet",
    "features/*/meta.json",
)


def refuse_foreign(folder: Path, setting: str) -> None:
    """ConfigError, in one line, for a folder of another setting or of the old form."""
    path = folder / OWNER_NAME
    if not path.is_file():
        if old := next(
            (found for name in _OLD for found in folder.glob(name) if _is_old(found)), None
        ):
            raise ConfigError(
                f"{folder} holds what an earlier version wrote ({old.relative_to(folder)}): give "
                "another run_dir, or delete it."
            )
        return
    try:
        owner = read_record(path)
    except DamagedError as error:
        raise DamagedError(
            f"{error} If {folder} is a run of {setting}, delete {OWNER_NAME}."
        ) from error
    if owner["form"] != FORM or owner["setting"] != setting:
        raise ConfigError(
            f"{folder} is a run of {owner['setting']} (form {owner['form']}), not of {setting} "
            f"(form {FORM}), whose clips bear the same names: give another run_dir."
        )


def _is_old(path: Path) -> bool:
    """Not what was written with a checksum: such a folder has but lost its owner's record."""
    with suppress(OSError, DamagedError):
        return not read_record(path)
    return True


def claim(folder: Path, setting: str) -> None:
    """Make the folder this setting's own, where it is nobody's yet; else as `refuse_foreign`."""
    refuse_foreign(folder, setting)
    if not (folder / OWNER_NAME).is_file():
        write_record(folder / OWNER_NAME, {"form": FORM, "setting": setting})


@contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Hold the folder's lock while a stage writes; BusyError names who holds it already.

    The lock is the operating system's, so it is gone with the process, however that ends. A stage
    may hold it within another of the same process. What a killed one left half written is removed.
    """
    check_writable(folder)
    lock = FileLock(folder / LOCK_NAME, is_singleton=True)
    holder = folder / HOLDER_NAME
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"{folder} is being written{_by(holder)}. Wait for it, or stop it."
        ) from None
    try:
        if lock.lock_counter == 1:
            before = _who(holder)  # left by one that did not come to its end
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            who = {"what": what, "process": os.getpid(), "machine": socket.gethostname()}
            holder.write_text(json.dumps({**who, "since": since}), encoding="utf-8")
            if before.get("machine") == socket.gethostname():
                _remove_leftovers(folder)
        with told_faults():
            yield
    finally:
        if lock.lock_counter == 1:
            holder.unlink(missing_ok=True)
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Delete what a killed writer left half written in the stages' folders, and whole folders
    beside them. What is only seconds old may be another's, who writes without the lock."""
    below = [
        path for kind in (*KINDS, "checkpoints") for path in (folder / kind).rglob(f"{PARTIAL}*")
    ]
    beside = [path for path in folder.glob(f"{PARTIAL}*") if path.is_dir()]
    for path in [*below, *beside]:
        with suppress(OSError):
            if path.stat().st_mtime > time.time() - RECENT_S:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _by(holder: Path) -> str:
    """Who holds the lock, as far as it is known."""
    with suppress(KeyError):
        who = _who(holder)
        return (
            f" by process {who['process']} on {who['machine']} ({who['what']}) since {who['since']}"
        )
    return ""


def _who(holder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads(holder.read_text(encoding="utf-8")))
    return {}
