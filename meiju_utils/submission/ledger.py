"""The ledger: one row a submission made, what it promised, and what the board said.

`submissions/ledger.csv` belongs to the user as much as to the suite: rows, notes and further
columns written by hand (or by a spreadsheet, in its own encoding and separator) are kept as they
are. Imports `challenge`, `errors`, `files`, `run`, `scoring`.
"""

import csv
import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from meiju_utils.challenge import SUBMISSIONS_IN_ALL, SUBMISSIONS_PER_DAY, Setting
from meiju_utils.errors import SubmissionError
from meiju_utils.files import atomic_path
from meiju_utils.references import project_root
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT

if TYPE_CHECKING:
    from meiju_utils.recipes.experiment import Experiment

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
    *(f"valid_{column}" for column in _SCORE_COLUMNS),
    *(f"test_{column}" for column in _SCORE_COLUMNS),
    "handed_in",
    "board_joint",
    "note",
]
_STALE = 30.0  # seconds after which a lock left by a killed process no longer counts


def ledger_path() -> Path:
    """Where the ledger lies: `submissions/ledger.csv` of the project."""
    return project_root() / "submissions" / "ledger.csv"


@dataclass(frozen=True)
class Recorded:
    """The ledger after a submission was recorded, what is used of the limits, and warnings.

    `appended` is False where a submission of the same content stood in it already.
    """

    ledger: pd.DataFrame
    appended: bool
    today: int
    in_all: int
    warnings: list[str]


def record_submission(
    run: Run,
    submission: Path,
    handed_in: "Experiment",
    members: Iterable["Experiment"] = (),
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> Recorded:
    """Append a submission to the ledger, unless one of the same content is there.

    `handed_in` is the experiment it was made from, `members` the trainings behind it, `scores` a
    tidy score table with what it is expected to score. What is made from clips of one's own, or has
    scores on test, as of a synthetic corpus, is marked as not handed in and does not count against
    the limits of the challenge. Raises SubmissionError where the ledger cannot be understood; it is
    left untouched.
    """
    path = ledger_path()
    now = _now()
    content = hashlib.sha256(submission.read_bytes()).hexdigest()
    cells = _score_cells(handed_in.name, scores)
    row = {
        "date_utc": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "setting": run.setting.name,
        "run": run.folder.name,
        "file": submission.name,
        "sha256": content,
        "recipe": handed_in.name,
        "key": handed_in.key,
        "members": "; ".join(f"{member.name} {member.key}" for member in members),
        **cells,
        "handed_in": "no" if "test_joint" in cells or not run.setting.is_official else "",
        "note": note,
    }
    with _locked(path.parent):
        ledger, form = _read(path)
        appended = content not in set(ledger["sha256"])
        if appended:
            ledger = _with_columns(ledger, row)
            new = pd.DataFrame([row], dtype="str").reindex(columns=ledger.columns, fill_value="")
            ledger = pd.concat([ledger, new], ignore_index=True)
            _write(path, ledger, form)
    today, in_all = limits_used(ledger, run.setting, now)
    return Recorded(ledger, appended, today, in_all, _limit_warnings(today, in_all, run.setting))


def read_ledger(path: Path | None = None) -> pd.DataFrame:
    """The ledger as strings ("" where empty), all of COLUMNS and the user's own."""
    return _read(path or ledger_path())[0]


def limits_used(ledger: pd.DataFrame, setting: Setting, now: datetime) -> tuple[int, int]:
    """Submissions of a setting on the day of `now` (UTC) and in all.

    What nobody marked counts as handed in; "no" in `handed_in` takes a row out. A date that cannot
    be read counts in all only.
    """
    marked = ledger["handed_in"].str.strip().str.lower()
    rows = ledger[(ledger["setting"].str.strip() == setting.name) & (marked != "no")]
    dates = pd.to_datetime(rows["date_utc"], utc=True, errors="coerce", format="mixed")
    today = dates.dt.date == now.date()
    return int(today.sum()), len(rows)


def _limit_warnings(today: int, in_all: int, setting: Setting) -> list[str]:
    return [
        f"{used} submissions of {setting.name} {when}, the challenge takes {limit}: mark files "
        "that were not handed in with 'no' in the ledger's column handed_in."
        for used, limit, when in (
            (today, SUBMISSIONS_PER_DAY, "today"),
            (in_all, SUBMISSIONS_IN_ALL, "in all"),
        )
        if used >= limit
    ]


def _now() -> datetime:
    return datetime.now(UTC)


def _score_cells(system: str, scores: pd.DataFrame | None) -> dict[str, str]:
    """A system's scores as cells: `valid_emotion`, `valid_joint_low`, `test_joint`, ...; bounds of
    the joint score alone."""
    if scores is None:
        return {}
    cells: dict[str, str] = {}
    for row in scores[scores["system"] == system].to_dict("records"):
        name = f"{row['split']}_{row['score']}"
        own = {name: row["value"]}
        if row["score"] == JOINT:
            own |= {f"{name}_low": row["low"], f"{name}_high": row["high"]}
        cells |= {column: f"{value:.4f}" for column, value in own.items()}
    return cells


def _with_columns(ledger: pd.DataFrame, row: Mapping[str, str]) -> pd.DataFrame:
    """The ledger with columns for scores of tasks that it has none for, before the user's own."""
    for column in row:
        if column not in ledger:
            ledger.insert(list(ledger.columns).index("handed_in"), column, "")
    return ledger


@dataclass(frozen=True)
class _Form:
    """How the file is written, kept so that the user's spreadsheet reads it as before."""

    encoding: str = "utf-8"
    separator: str = ","


def _read(path: Path) -> tuple[pd.DataFrame, _Form]:
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype="str"), _Form()
    data = path.read_bytes()
    text, encoding = _decode(data, path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = max((",", ";", "\t"), key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = [row for row in lines if any(cell.strip() for cell in row)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS, dtype="str"), _Form(encoding, separator)
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
    return ledger, _Form(encoding, separator)


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


def _write(path: Path, ledger: pd.DataFrame, form: _Form) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=form.separator, lineterminator="\n")
    writer.writerow(ledger.columns)
    writer.writerows(ledger.itertuples(index=False, name=None))
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue().encode(form.encoding))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock file, so that two runs that finish at once both find their row in the ledger."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".ledger.lock"
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            try:
                if time.time() - lock.stat().st_mtime > _STALE:
                    lock.unlink(missing_ok=True)
            except FileNotFoundError:
                continue  # released just now
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
