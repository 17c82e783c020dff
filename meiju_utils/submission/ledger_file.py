"""The ledger's file, which belongs to the user as much as to the suite: read and written as it is.

Rows, notes and further columns written by hand (or by a spreadsheet, in its own encoding and
separator) are kept. Imports `errors`, `files`.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock

from meiju_utils.errors import SubmissionError
from meiju_utils.files import atomic_path

_SCORE_COLUMNS = ["emotion", "intent", "joint", "joint_low", "joint_high"]
# handed_in and board_joint are the user's to fill in; note comes last, commas in it do no harm.
COLUMNS = [
    "date_utc",
    "setting",
    "run",
    "file",
    "sha256",
    "recipe",
    "key",
    "members",
    "seeds",
    "config",
    "data",
    "package",
    "revision",
    *(f"train_{column}" for column in _SCORE_COLUMNS),
    *(f"valid_{column}" for column in _SCORE_COLUMNS),
    *(f"test_{column}" for column in _SCORE_COLUMNS),
    "handed_in",
    "board_joint",
    "note",
]


@dataclass(frozen=True)
class Form:
    """How the file is written, kept so that the user's spreadsheet reads it as before."""

    encoding: str = "utf-8"
    separator: str = ","


def read_file(path: Path) -> tuple[pd.DataFrame, Form]:
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype="str"), Form()
    data = path.read_bytes()
    text, encoding = _decode(data, path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = max((",", ";", "\t"), key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [row for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise SubmissionError(
            f"{path} is no CSV ({error}). Repair it, or move it away to begin a new one."
        ) from None
    if not rows:
        return pd.DataFrame(columns=COLUMNS, dtype="str"), Form(encoding, separator)
    names = [name.strip() for name in rows[0]]
    known = [name.lower() if name.lower() in COLUMNS else name for name in names]
    if "sha256" not in known or len(set(known)) < len(known):
        raise SubmissionError(
            f"{path} is not a ledger: its first line must name each column once, sha256 among "
            f"them, and is {header[:120]!r}. Repair it, or move it away to begin a new one with: "
            f"{','.join(COLUMNS)}"
        )
    width = len(known)
    cells = [
        # A comma typed into the last column without quotes splits it: join it again.
        [*row[: width - 1], separator.join(row[width - 1 :])] + [""] * (width - len(row))
        for row in rows[1:]
    ]
    ledger = pd.DataFrame([row[:width] for row in cells], columns=known, dtype="str")
    for column in COLUMNS:
        if column not in ledger:
            ledger[column] = ""
    return ledger, Form(encoding, separator)


def _decode(data: bytes, path: Path) -> tuple[str, str]:
    encodings = ["utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8", "gb18030"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    for encoding in encodings:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise SubmissionError(
        f"{path} is neither UTF-8 nor GB18030. Save it as UTF-8, or move it away to begin a new "
        "one."
    )


def write_file(path: Path, ledger: pd.DataFrame, form: Form) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=form.separator, lineterminator="\n")
    writer.writerow(ledger.columns)
    writer.writerows(ledger.itertuples(index=False, name=None))
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue().encode(form.encoding))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the ledger's lock, which ends with the process: two that write at once lose nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".ledger.lock")):
        yield
