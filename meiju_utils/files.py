"""How files are written (all at once or not at all), how damage is noticed when they are read, and
how what they were made from is hashed. Imports `errors`.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meiju_utils.errors import DamagedError

if TYPE_CHECKING:
    import pandas as pd

CHECKSUM = "checksum"  # the entry of a record that is made of all others
PARTIAL = ".partial-"  # begins the name of a file that is being written


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success it is synced and takes its place.

    A reader, or a run after a crash, sees the old file or the whole new one, never a part.
    The temporary name keeps the suffix, since many writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
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


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write JSON with a checksum, atomically."""
    write_json(path, {**record, CHECKSUM: fingerprint(record)})


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote; DamagedError where it is another, OSError where there is none."""
    try:
        record = read_json(path)
        checksum = record.pop(CHECKSUM)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path} is damaged: it is no record with a checksum.") from error
    if checksum != fingerprint(record):
        raise DamagedError(f"{path} is damaged: it is not what was written ({CHECKSUM}).")
    return dict(record)


def write_table(path: Path, table: "pd.DataFrame", **options: Any) -> None:
    """Write a table as parquet with checksums of its pages, atomically."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True, **options)


def read_table(path: Path, columns: "list[str] | None" = None) -> "pd.DataFrame":
    """What `write_table` wrote, or some of its columns; DamagedError where a checksum is wrong."""
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        return pd.read_parquet(path, columns=columns, page_checksum_verification=True)
    except MemoryError:
        raise
    except Exception as error:  # of a damaged header pyarrow and pandas raise anything
        if isinstance(error, OSError) and error.errno:  # the disk's fault, not the file's
            raise
        raise DamagedError(f"{path} is damaged and cannot be read ({error}).") from error


def fingerprint(*parts: Any) -> str:
    """Twelve hexadecimal digits that change when any JSON-able part changes.

    Used to key an artefact by what it was made from.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def listing(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of a file, or of all files below a folder, in order.

    Nothing where there is no such path. Files that are being written are left out.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    stats = ((p.relative_to(path).as_posix(), p.stat()) for p in files if PARTIAL not in p.name)
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def safe_name(name: str) -> str:
    """`name` as one path component: for folders named after models or encoders."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"
