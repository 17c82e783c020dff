"""What does a `clips.csv` say? One row a clip of one's own, read as spreadsheets leave it.

Separated by commas, semicolons or tabs, in any encoding of `encodings`, with headings in any case.
Faults name the row's line in the file. Imports `encodings`, `lists`, `tables`, `challenge`,
`errors`.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meiju_utils.challenge import TASKS, Language, Split, Task
from meiju_utils.config.profile import MOST_LABELS
from meiju_utils.corpus.encodings import decode_file
from meiju_utils.corpus.lists import visible
from meiju_utils.corpus.tables import csv_rows, known, plain_heading
from meiju_utils.errors import CorpusError, nearest

OWN_TABLE = "clips.csv"
COLUMNS = ("clip_id", "video", "text", "split", "group", "speaker", "start_s", "end_s")
DELIMITERS = (",", ";", "\t")
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("unlabeled", "unlabelled", "pool"), "unlabeled"),
}
LIKE = 0.8  # of two headings: one is taken for the other misspelt
LONGEST = 60  # characters of a cell that a message shows


@dataclass(frozen=True)
class OwnRow:
    """A row with the line it starts on; a column that is missing or empty is ""."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class OwnTable:
    """A `clips.csv` as read: which columns and tasks it has, its rows, what is wrong, what is not
    read."""

    columns: list[str]
    tasks: list[Task]
    rows: list[OwnRow]
    faults: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read_own_table(
    folder: Path, labels: Mapping[Task, Sequence[str]] | None, language: Language
) -> OwnTable:
    """Read the table of a folder. `labels` are the profile's tasks; None: those of MEIJU."""
    try:
        text = decode_file(folder / OWN_TABLE, OWN_TABLE, language)
    except CorpusError as error:
        return OwnTable([], [], [], [str(error)])
    except OSError as error:
        return OwnTable([], [], [], [f"{OWN_TABLE} cannot be read: {error.strerror}."])
    return parse_own_table(text, list(TASKS if labels is None else labels))


def parse_own_table(text: str, tasks: Sequence[Task]) -> OwnTable:
    """The rows of a table; of `tasks` those that it has a column for."""
    first, _, rest = text.lstrip("\ufeff").partition("\n")
    skipped = 0
    if re.fullmatch(r"sep=.\s*", first, re.IGNORECASE):  # Excel's own first line
        text, skipped = rest, 1
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=header_line.count)
    raw, faults = csv_rows(text, OWN_TABLE, delimiter)
    if not raw:
        return OwnTable([], [], [], faults or [f"{OWN_TABLE} is empty: it has no row."])
    columns, unused, wrong = _columns(raw[0][1], tasks)
    rows = []
    for line, cells in raw[1:]:
        if any(cell.strip() for cell in cells[len(raw[0][1]) :]):
            wrong.append(
                f"{OWN_TABLE}:{line + skipped}: {len(cells)} fields, the heading has "
                f"{len(raw[0][1])}; put a text with a {_NAMES[delimiter]} in double quotes."
            )
        values = {c: known(visible(cells[i])) for c, i in columns.items() if i < len(cells)}
        rows.append(OwnRow(line + skipped, values))
    if not rows:
        wrong.append(f"{OWN_TABLE} has a heading and no row.")
    found = [task for task in tasks if task in columns]
    if not found and not wrong:
        others = f" It has {', '.join(map(repr, unused))}." if unused else ""
        wrong.append(
            f"{OWN_TABLE} has no column of labels: expected {' or '.join(tasks)}.{others} Name "
            "your own in the profile, as labels: {sentiment: []}."
        )
    return OwnTable(list(columns), found, rows, [*faults, *wrong], unused)


_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def _columns(
    header: Sequence[str], tasks: Sequence[Task]
) -> tuple[dict[str, int], list[str], list[str]]:
    """Column → its place, headings that are not read, and faults."""
    known_columns = {plain_heading(name): name for name in (*COLUMNS, *tasks)}
    found: dict[str, int] = {}
    unused, faults = [], []
    for place, cell in enumerate(header):
        heading = plain_heading(cell)
        if name := known_columns.get(heading):
            if name in found:
                faults.append(f"{OWN_TABLE}: two columns {name}; keep one.")
            found[name] = place
        elif heading:
            like = difflib.get_close_matches(heading, known_columns, n=1, cutoff=LIKE)
            if like:
                faults.append(
                    f"{OWN_TABLE}: unknown column {cell.strip()!r}: did you mean "
                    f"{known_columns[like[0]]!r}? Known: {', '.join(known_columns.values())}."
                )
            unused.append(cell.strip())
    return found, unused, faults


def classes_of_table(
    table: OwnTable, labels: Mapping[Task, Sequence[str]] | None
) -> tuple[dict[Task, list[str]], list[str]]:
    """Labels of each of the table's tasks, in order, and faults.

    Those that the profile names, or else those that stand in the table: in order of their numbers
    where all are numbers, else of the alphabet.
    """
    found, faults = {}, []
    for task in table.tasks:
        named = list((labels or {}).get(task, []))
        if not named:
            named, wrong = _labels_in(table.rows, task)
            faults += wrong
        found[task] = named
    return found, faults


def _labels_in(rows: Iterable[OwnRow], task: Task) -> tuple[list[str], list[str]]:
    lines: dict[str, int] = {}
    for row in rows:
        if label := " ".join(row[task].split()):
            lines.setdefault(label, row.line)
    faults = []
    if len(lines) < 2:
        only = f"only {shown(next(iter(lines)))}" if lines else "none"
        faults.append(
            f"{OWN_TABLE}: the column {task} has {only}: two labels at least are needed to learn "
            "from. Label more clips, or take the column away."
        )
    if len(lines) > MOST_LABELS:
        faults.append(
            f"{OWN_TABLE}: the column {task} has {len(lines)} different labels, more than "
            f"{MOST_LABELS}: it seems to hold something else, as {shown(next(iter(lines)))}."
        )
    spelt: dict[str, str] = {}
    for label, line in lines.items():
        other = spelt.setdefault(label.casefold(), label)
        if other != label:
            faults.append(
                f"{OWN_TABLE}:{line}: {task} {shown(label)} and, in line {lines[other]}, "
                f"{shown(other)} differ in case alone: write them alike."
            )
    return sorted(lines, key=_order), faults


def _order(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def match_label(value: str, classes: Sequence[str]) -> str | None:
    """The label that a cell means, in whatever case and spaces; None for none of them."""
    label = " ".join(value.split())
    if label in classes:
        return label
    folded = [name for name in classes if name.casefold() == label.casefold()]
    return folded[0] if len(folded) == 1 else None


def unknown_label(row: OwnRow, task: Task, classes: Sequence[str]) -> str:
    """The fault of a label that is none."""
    hint = nearest(row[task][:LONGEST], classes)
    return (
        f"{OWN_TABLE}:{row.line}: unknown {task} {shown(row[task])}: {hint} Mend the row, or "
        "add it to the profile's labels."
    )


def seconds(value: str) -> float | None:
    """A time in seconds of `12.5`, `12,5` or `1:02:03.5`; NaN of "", None of anything else."""
    if not value:
        return float("nan")
    if not re.fullmatch(r"(\d+:){0,2}\d+([.,]\d*)?", value, re.ASCII):
        return None
    total = 0.0
    for part in value.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def shown(value: str) -> str:
    """A cell in a message."""
    return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")


def like_a_date(name: str) -> str:
    """What is to be said of a name that a spreadsheet made into a date; "" of any other."""
    months = "jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
    date = rf"\d{{1,4}}[-/. ](\d{{1,2}}|({months})\w*)([-/. ]\d{{2,4}})?( \d\d?:\d\d(:\d\d)?)?"
    if not re.fullmatch(date, name, re.IGNORECASE | re.ASCII):
        return ""
    return (
        " It looks like a date, which spreadsheets make of names like 3-4: format the column as "
        "text and write the names anew."
    )
