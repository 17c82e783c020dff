"""How files are written (all at once or not at all), how damage is noticed when they are read, and
how what they were made from is hashed. Imports `errors`, `machine`.
"""

import hashlib
import io
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meiju_utils.errors import DamagedError
from meiju_utils.machine import told_faults

if TYPE_CHECKING:
    import pandas as pd

CHECKSUM = "checksum"  # the entry of a record that is made of all others
PARTIAL = ".partial-"  # begins the name of a file that is being written
MOST_TEXT = 256 * 2**20  # bytes; the lists and tables of 45 000 clips have some 10 MB
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
DAMAGED = ".damaged"  # ends the name of a file that was set aside


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success it is synced and takes its place.

    A reader, or a run after a crash, sees the old file or the whole new one, never a part.
    The temporary name keeps the suffix, since many writers choose the format by it. MachineError
    where the disk is full or the folder cannot be written.
    """
    with told_faults(path.parent):
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
    record = json.loads(json.dumps(record))  # as it is read: keys are strings
    write_json(path, {**record, CHECKSUM: fingerprint(record)})


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote; DamagedError where it is another, OSError where there is none."""
    try:
        record = read_json(path)
        checksum = record.pop(CHECKSUM)
        found = fingerprint(record)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is no record with a checksum.") from error
    if checksum != found:
        raise DamagedError(f"{path} is damaged: it is not what was written ({CHECKSUM}).")
    return dict(record)


def write_sealed(path: Path, data: bytes) -> None:
    """Write bytes and a checksum of them behind, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data + _crc(data))


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` wrote; DamagedError where it is another, OSError where there is none."""
    data = path.read_bytes()
    if len(data) <= 4 or _crc(data[:-4]) != data[-4:]:
        raise DamagedError(f"{path} is damaged: it is not what was written ({CHECKSUM}).")
    return data[:-4]


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as parquet, atomically, with checksums of its pages and one of the whole file.

    The latter stands before the file's footer, where readers of parquet look at nothing.
    """
    written = io.BytesIO()
    table.to_parquet(written, index=False, write_page_checksum=True)
    data = written.getvalue()
    footer = _footer(data)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data[:footer] + _crc(data) + data[footer:])


def read_table(path: Path, columns: "list[str] | None" = None) -> "pd.DataFrame":
    """What `write_table` wrote, or some of its columns.

    DamagedError where it is another, OSError where there is none.
    """
    import pandas as pd

    data = path.read_bytes()
    footer = _footer(data)
    if footer < 4 or _crc(data[: footer - 4], data[footer:]) != data[footer - 4 : footer]:
        raise DamagedError(f"{path} is damaged: it is not what was written ({CHECKSUM}).")
    return pd.read_parquet(io.BytesIO(data), columns=columns)


def _footer(parquet: bytes) -> int:
    """Where the footer begins; its length stands before the last four bytes."""
    return len(parquet) - 8 - int.from_bytes(parquet[-8:-4], "little")


def _crc(*parts: bytes) -> bytes:
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return found.to_bytes(4, "little")


def read_limited(path: Path, most: int = MOST_TEXT) -> bytes:
    """All bytes of a file of words that people write; ValueError for one of more than `most`."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path.name} holds more than {most / 1e6:.0f} MB, which no text here has")
    return data


def as_cell(text: str) -> str:
    """Text as a cell of a CSV that people open in a spreadsheet: there a `=`, `+`, `-` or `@` in
    front would begin a formula, so an apostrophe comes before it."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """The text behind `as_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


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


def set_aside(path: Path) -> bool:
    """Rename a damaged file, so that it counts as not there; whether that could be done."""
    with suppress(OSError):  # it is gone already, or its folder cannot be written
        path.rename(path.with_name(path.name + DAMAGED))
        return True
    return False


def safe_name(name: str) -> str:
    """`name` as one path component: for folders named after models or encoders."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"
