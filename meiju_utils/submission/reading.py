"""Reading a submission as forgivingly as possible, noting each thing that is not as it must be.

A wrong separator, encoding or header is noted and worked around, so that the rows behind it are
checked as well. Imports `challenge`, `submission.faults`.
"""

import csv
import io
import re
import zipfile
from dataclasses import dataclass

from meiju_utils.challenge import SUBMISSION_NAME, Setting, Task
from meiju_utils.submission.faults import Findings

# The largest setting needs 0.4 MB; more than this, packed or not, is no submission and not read.
LARGEST = 10_000_000  # bytes
MANY = 4  # times the rows expected, and 1000 more, are looked at
_NAMED = 5  # file names a message lists
_LOOKED_AT = 200  # bytes that tell UTF-16 without a mark
_EXTENSIONS = ("mp4", "avi", "mkv", "mov", "webm", "wav", "npy", "csv", "txt")


@dataclass(frozen=True)
class Row:
    """A row as found: `line` counts from 1; a label is None where the row is too short."""

    line: int
    filename: str
    labels: dict[Task, str | None]


def without_folder(name: str) -> str:
    """The last component of a path of either kind."""
    return name.replace("\\", "/").rpartition("/")[2]


def without_extension(name: str) -> str:
    """The name without a media or table extension; other dots belong to the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.strip().lower() in _EXTENSIONS else name


def loose(name: str) -> str:
    """The name without folder, extension, case, spaces around it and leading zeros of numbers."""
    bare = without_extension(without_folder(name.strip())).strip().lower()
    return re.sub(r"(?<!\d)0+(?=\d)", "", bare)


def csv_in_archive(data: bytes, findings: Findings) -> bytes | None:
    """The CSV's bytes; None where the archive holds none that can be read."""
    remedy = f"Zip {SUBMISSION_NAME} alone, without a folder around it"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            chosen = _choose_table(files, findings, remedy)
            if chosen is None:
                return None
            if chosen.flag_bits & 1:
                findings.fault("archive", "the archive is encrypted", "Zip without a password")
                return None
            if chosen.file_size > LARGEST:
                size = f"{chosen.file_size / 1e6:.0f} MB"
                findings.fault("archive", f"{chosen.filename} is {size} large", remedy)
                return None
            if chosen.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                findings.fault("archive", "it is packed in an unusual way", remedy)
                return None
            with archive.open(chosen) as file:  # what the archive says of its size may be a lie
                data = file.read(LARGEST + 1)
            if len(data) > LARGEST:
                findings.fault("archive", f"{chosen.filename} is larger than it says", remedy)
                return None
            return data
    except Exception as error:  # a damaged archive raises almost anything
        findings.fault("archive", f"the archive cannot be read ({error})", remedy)
        return None


def _choose_table(
    files: list[zipfile.ZipInfo], findings: Findings, remedy: str
) -> zipfile.ZipInfo | None:
    """The submission among an archive's files, or what most looks like it."""
    tables = [info for info in files if info.filename.lower().endswith(".csv")]
    if not tables:
        found = ", ".join(info.filename for info in files[:_NAMED]) or "nothing"
        findings.fault("archive", f"the archive has no CSV; it holds {found}", remedy)
        return None
    # macOS adds "__MACOSX/._submission.csv" beside the real one.
    chosen = min(
        tables,
        key=lambda info: (
            info.filename != SUBMISSION_NAME,
            without_folder(info.filename).startswith("."),
        ),
    )
    if chosen.filename != SUBMISSION_NAME:
        findings.fault(
            "archive",
            f"the CSV stands in the archive as {chosen.filename!r}, expected {SUBMISSION_NAME!r} "
            "at its root",
            remedy,
        )
    others = [info.filename for info in files if info is not chosen]
    if SUBMISSION_NAME in others:
        findings.fault("archive", f"{SUBMISSION_NAME} is in the archive twice", remedy)
    elif others:
        names = ", ".join(others[:_NAMED])
        findings.fault("archive", f"the archive also holds {names}", remedy)
    return chosen


def decode(data: bytes, findings: Findings) -> str:
    """The text, whatever its encoding; anything but plain UTF-8 is a fault."""
    remedy = "Save it as UTF-8 without a byte order mark"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        findings.fault("encoding", "the file is UTF-16", remedy, 1)
        return data.decode("utf-16", errors="replace")
    if data.startswith(b"\xef\xbb\xbf"):
        findings.fault("encoding", "the file begins with a byte order mark (BOM)", remedy, 1)
        data = data[3:]
    if b"\0" in data[:_LOOKED_AT]:
        findings.fault("encoding", "the file holds zero bytes, as UTF-16 does", remedy, 1)
        even, odd = (data[start:_LOOKED_AT:2].count(0) for start in (0, 1))
        return data.decode("utf-16-be" if even > odd else "utf-16-le", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        findings.fault("encoding", "the file is not UTF-8", remedy, line)
        return data.decode("gb18030", errors="replace")


def read_rows(text: str, expected: list[str], setting: Setting, findings: Findings) -> list[Row]:
    """The rows below the header, as far as they can be made out; `expected` are the test clips."""
    if "\r" in text:
        told = "lines end as Windows or old Macs have it (CR), not with \\n alone"
        findings.fault("line ends", told, "Save it with Unix line ends")
    asked = setting.submission_columns
    header_line = next((line for line in re.split(r"[\r\n]+", text) if line.strip()), "")
    if not header_line:
        findings.fault("header", "the file is empty", f"Begin it with {','.join(asked)}")
        return []
    separator = _separator(header_line, len(asked))
    if separator != ",":
        name = {"\t": "tabs", " ": "spaces"}.get(separator, repr(separator))
        findings.fault("separator", f"the columns are separated by {name}", "Use commas", 1)
    cells: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    start, most = 1, MANY * len(expected) + 1000
    try:
        for row in reader:
            if reader.line_num > most:
                told = f"there are more than {most} lines, {len(expected)} rows are expected"
                findings.fault("rows", told, "Write one row a test clip")
                break
            if any(cell.strip() for cell in row):
                cells.append((start, row))
            else:
                findings.warn("blank", "the line is blank", "Delete it", start)
            start = reader.line_num + 1
    except csv.Error as error:
        findings.fault("format", f"not readable as CSV ({error})", "Write the file anew", start)
    if not cells:
        return []
    columns = _find_columns(*cells[0], expected, setting, findings)
    if columns is None:
        return []
    rows = []
    for line, row in cells if columns.headless else cells[1:]:
        if len(row) != columns.width:
            fields = f"{len(row)} field{'s' if len(row) != 1 else ''}"
            remedy = f"Write {','.join(asked)}, in this order, separated by commas"
            findings.fault("fields", f"{fields}, expected {columns.width}", remedy, line)
        filename, *labels = (row[place] if place < len(row) else None for place in columns.places)
        rows.append(Row(line, filename or "", dict(zip(setting.tasks, labels, strict=True))))
    return rows


def _separator(header: str, columns: int) -> str:
    """The comma, unless the header has none and another separator makes enough columns of it."""
    others = (";", "\t", "|", "，", " ")
    found = [other for other in others if header.strip().count(other) >= columns - 1]
    return found[0] if found and "," not in header else ","


@dataclass(frozen=True)
class _Columns:
    """Where the columns that are asked for stand, and how many there are in all."""

    places: list[int]
    width: int
    headless: bool = False


def _find_columns(
    line: int, header: list[str], expected: list[str], setting: Setting, findings: Findings
) -> _Columns | None:
    """The columns by name, else by position; None where there are too few."""
    asked = setting.submission_columns
    exactly, number = ",".join(asked), len(asked)
    if tuple(header) == asked:
        return _Columns([*range(number)], number)
    names = [cell.strip().lower() for cell in header]
    labels = {label.lower() for classes in setting.classes.values() for label in classes}
    if not labels.isdisjoint(names) or loose(names[0]) in {loose(one) for one in expected}:
        findings.fault("header", "the header is missing", f"Begin the file with {exactly}", line)
        return _Columns([*range(number)], number, headless=True)
    remedy = f"Write exactly {exactly}"
    if len(header) > number:
        remedy += ", no other column (pandas: to_csv(..., index=False))"
    findings.fault("header", f"the header is {','.join(header)[:200]!r}", remedy, line)
    if len(header) < number:
        return None
    found = {column: names.index(column) for column in asked if column in names}
    free = [place for place in range(len(names)) if place not in found.values()]
    free.sort(key=lambda place: not names[place])  # an unnamed column is an index: taken last
    places = [found[c] if c in found else free.pop(0) for c in asked]
    return _Columns(places, len(header))
