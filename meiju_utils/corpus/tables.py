"""What does a transcription table say? CSV files under every heading seen in the wild.

Imports `lists` and `errors` only.
"""

import csv
import io
import re
from collections.abc import Sequence

from meiju_utils.corpus.lists import VIDEO_SUFFIXES, Entry, Listing, build_listing, visible

# Column → the headings it goes by, compared without case, spaces and underscores.
HEADINGS = {
    "clip_id": ("filename", "name", "clipid"),
    "text": ("subtitle", "sentence", "text"),
    "emotion": ("emotion",),
    "intent": ("intent",),
}
MISSING = ("nan", "NaN")  # how pandas writes an absent value
OFFICIAL_ID = re.compile(r"Track\d_[A-Za-z]+_\d+$", re.IGNORECASE)


def parse_table(
    text: str, source: str, headless: bool = False, required: Sequence[str] = ()
) -> Listing:
    """Read a CSV of clips: names, subtitles and, where they are there, labels.

    Columns are found by their heading, so an extra index column does no harm. Without a heading
    the columns are name and subtitle; this is accepted where the first cell is plainly a clip's
    name, or anywhere if `headless` (the pool, whose clips may have any name). A missing or NaN
    subtitle is "". A table without one of the `required` columns is at fault.
    """
    rows, faults = csv_rows(text, source)
    if not rows:
        return Listing(source, {}, faults)
    line, first = rows[0]
    columns = _columns(first)
    if "clip_id" in columns:
        rows = rows[1:]
        width = len(first)
    elif "text" not in columns and (headless or _is_clip_name(first[0])):
        columns = {"clip_id": 0, "text": 1}
        width = 2
    else:
        faults.append(f"{source}:{line}: no column FileName or name among {_listed(first)}.")
        return Listing(source, {}, faults)
    for column in required:
        if column not in columns:
            faults.append(f"{source}:{line}: no column {column} among {_listed(first)}.")
            return Listing(source, {}, faults)
    named = []
    for line, cells in rows:
        if any(cell.strip() for cell in cells[width:]):
            faults.append(
                f"{source}:{line}: {len(cells)} fields, expected {width}; a text with a comma "
                f"must stand in double quotes: {','.join(cells)!r}"
            )
        value = {
            column: known(cells[index].strip())
            for column, index in columns.items()
            if index < len(cells)
        }
        named.append(
            Entry(
                value.get("clip_id", ""),
                line,
                value.get("text", ""),
                value.get("emotion", ""),
                value.get("intent", ""),
            )
        )
    return build_listing(source, named, faults)


def csv_rows(
    text: str, source: str, delimiter: str = ","
) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Non-empty rows with the line each starts on; a quote left open is a fault."""
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=delimiter
    )
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        # Strict, because a lenient reader swallows the rest of the file after an open quote.
        return rows, [f"{source}:{line}: not valid CSV from here on ({error}); mend the quotes."]
    return rows, []


def _columns(header: list[str]) -> dict[str, int]:
    """Column → its place in the header, for the columns that are there."""
    plain = [plain_heading(cell) for cell in header]
    return {
        column: next(plain.index(name) for name in names if name in plain)
        for column, names in HEADINGS.items()
        if any(name in plain for name in names)
    }


def plain_heading(cell: str) -> str:
    """A heading without case, spaces and underscores, so that spellings compare equal."""
    return re.sub(r"[\s_]", "", visible(cell)).casefold()


def _listed(header: list[str]) -> str:
    return ", ".join(map(repr, header))


def _is_clip_name(cell: str) -> bool:
    name = visible(cell)
    return name.lower().endswith(VIDEO_SUFFIXES) or bool(OFFICIAL_ID.match(name))


def known(cell: str) -> str:
    """A cell, "" where it stands for nothing."""
    return "" if cell in MISSING or not visible(cell) else cell
