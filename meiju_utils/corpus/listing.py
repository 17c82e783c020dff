"""What lies in a data folder? One walk over it answers every later question.

On a network disk a walk over 45 000 clips takes minutes, so it is made rarely: see `list_folder`.
Imports `files` and `errors` only.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from meiju_utils.errors import DamagedError
from meiju_utils.files import read_record, write_record

HANDED_OVER = "MEIJU_LISTING"  # environment: a file in which another process says what it saw
KEPT = 20  # times as long as a walk took its result is taken for the present state

Stamp = tuple[int, int]  # of a file: size in bytes, time of change in ns


@dataclass(frozen=True)
class FolderListing:
    """The files below a folder, without hidden ones and those that are being written.

    files: relative path with slashes → its stamp. folders: relative path ("" is the folder itself)
    → the names in it. outside: folder → links in it that lead out of `root` and are not followed.
    unreadable: what is there and cannot be read → why.
    """

    root: Path
    files: dict[str, Stamp]
    folders: dict[str, list[str]]
    outside: dict[str, list[str]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def names(self, folder: str) -> list[str]:
        """What a folder holds, in order; nothing where there is no such folder."""
        return self.folders.get(folder, [])


_seen: dict[tuple[Path, bool], tuple[float, FolderListing]] = {}


def list_folder(root: Path, follow_links: bool = False, fresh: bool = False) -> FolderListing:
    """The listing of a folder: what this process saw lately, else by a walk.

    A walk's result is kept for `KEPT` times as long as the walk took: a small folder is looked at
    anew almost at once, a network disk is not walked over and over. `meiju run` walks once and
    hands the result to its notebooks (`handed_over`). `fresh`: walk now, and hand on what is seen:
    later notebooks then see the same as the one that read the corpus. Raises OSError where there is
    no such folder.
    """
    key = (root.resolve(), follow_links)
    until, known = _seen.get(key, (0.0, None))
    if known is not None and not fresh and time.monotonic() < until:
        return replace(known, root=root)  # as spelled now: paths are told from it
    if not fresh and (handed := _handed_over(key[0], follow_links)):
        return replace(handed, root=root)
    began = time.monotonic()
    found = _walk(root, follow_links)
    _seen[key] = time.monotonic() + KEPT * (time.monotonic() - began), found
    if fresh and _handed_over(key[0], follow_links):
        hand_over(found, follow_links, Path(os.environ[HANDED_OVER]))
    return found


@contextmanager
def handed_over(path: Path) -> Iterator[None]:
    """Processes that are started meanwhile take what `hand_over` wrote there for the present
    state of its folder."""
    before = os.environ.get(HANDED_OVER)
    os.environ[HANDED_OVER] = str(path)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(HANDED_OVER, None)
        else:
            os.environ[HANDED_OVER] = before


def is_headless() -> bool:
    """Whether this process was started by one that hands over what it saw, as `meiju run` does."""
    return HANDED_OVER in os.environ


def hand_over(listing: FolderListing, follow_links: bool, path: Path) -> dict[str, str]:
    """Write a listing to a file; returns the environment in which other processes obey it."""
    record = {
        "root": str(listing.root.resolve()),
        "follow_links": follow_links,
        "files": listing.files,
        "folders": listing.folders,
        "outside": listing.outside,
        "unreadable": listing.unreadable,
    }
    write_record(path, record)
    return {HANDED_OVER: str(path)}


def read_listing(path: Path, follow_links: bool) -> FolderListing | None:
    """What `hand_over` wrote; None where there is none, or another, or it is damaged."""
    try:
        record = read_record(path)
    except (OSError, DamagedError):
        return None
    if record["follow_links"] != follow_links:
        return None
    files = {name: (size, changed) for name, (size, changed) in record["files"].items()}
    return FolderListing(
        Path(record["root"]),
        files,
        record["folders"],
        record["outside"],
        record["unreadable"],
    )


def _handed_over(root: Path, follow_links: bool) -> FolderListing | None:
    name = os.environ.get(HANDED_OVER, "")
    if not name:
        return None
    path = Path(name)
    try:
        modified_ns = path.stat().st_mtime_ns
    except OSError:
        return None
    found = _read_once(path, follow_links, modified_ns)
    return found if found and found.root == root else None


@lru_cache(maxsize=1)
def _read_once(path: Path, follow_links: bool, modified_ns: int) -> FolderListing | None:
    return read_listing(path, follow_links)


def _walk(root: Path, follow_links: bool) -> FolderListing:
    real_root = root.resolve()
    listing = FolderListing(root, {}, {})
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (str(real_root),))]
    while waiting:
        folder, above = waiting.pop()
        try:
            with os.scandir(root / folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise
            if not isinstance(error, FileNotFoundError):  # that one went meanwhile
                listing.unreadable[folder] = error.strerror or str(error)
            continue
        names = listing.folders[folder] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_text(path):
                listing.unreadable[ascii(path)] = "its name is not in UTF-8"
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else ""
            if real and not follow_links and not Path(real).is_relative_to(real_root):
                listing.outside.setdefault(folder, []).append(entry.name)
                continue
            try:
                if entry.is_dir():
                    real = real or f"{above[-1]}/{entry.name}"
                    if real in above:  # a link back to a folder it lies in
                        continue
                    waiting.append((path, (*above, real)))
                else:
                    status = entry.stat()
                    if not stat.S_ISREG(status.st_mode):  # to open a pipe would never end
                        continue
                    listing.files[path] = (status.st_size, status.st_mtime_ns)
            except OSError:  # a link to nothing, or a file that went meanwhile
                continue
            names.append(entry.name)
    return listing


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, smuggled in by the operating system
        return False
    return True
