"""How files are written (all at once or not at all) and how what they were made from is hashed.

Imports nothing of the package but its errors.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success it is synced and takes its place.

    A reader, or a run after a crash, sees the old file or the whole new one, never a part.
    The temporary name keeps the suffix, since many writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private; artefacts are shared
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and modification times of a file, or of all files below a folder."""
    listing = []
    for found in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if found.is_file():
            status = found.stat()
            name = found.relative_to(path).as_posix()
            listing.append((name, status.st_size, status.st_mtime_ns))
    return listing


def fingerprint(*parts: Any) -> str:
    """Twelve hexadecimal digits that change when any JSON-able part changes.

    Used to key an artefact by what it was made from.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def safe_name(name: str) -> str:
    """`name` as one path component: for folders named after models or encoders."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"
