"""The ledger: one row a submission made, what it promised, and what the board said.

`submissions/ledger.csv` belongs to the user as much as to the suite: rows, notes and further
columns written by hand (or by a spreadsheet, in its own encoding and separator) are kept as they
are. Imports `challenge`, `errors`, `files`, `run`, `scoring`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from meiju_utils import __version__
from meiju_utils.challenge import SETTINGS, SUBMISSIONS_IN_ALL, SUBMISSIONS_PER_DAY, Setting
from meiju_utils.errors import SubmissionError
from meiju_utils.files import fingerprint
from meiju_utils.predictions import NO_SEED
from meiju_utils.references import project_root, revision
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, MEAN
from meiju_utils.submission.ledger_file import locked, read_file, write_file

if TYPE_CHECKING:
    from meiju_utils.recipes.experiment import Experiment


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

    `handed_in` is the experiment it was made from, whose held-out scores are noted, `members` the
    trainings behind it, `scores` a tidy score table with what it is expected to score beside. What
    is made from clips of one's own, or has scores on test, as of a synthetic corpus, is marked as
    not handed in and does not count against the limits of the challenge. Raises
    SubmissionError where the ledger cannot be understood; it is left untouched.
    """
    path = ledger_path()
    now, members = _now(), list(members)
    content = hashlib.sha256(submission.read_bytes()).hexdigest()
    held_out = handed_in.scores
    held_out = held_out[(held_out["split"] == "train") & (held_out["kind"] == MEAN)]
    cells = _score_cells(handed_in.name, held_out) | _score_cells(handed_in.name, scores)
    row = {
        "date_utc": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "setting": run.setting.name,
        "run": run.folder.name,
        "file": submission.name,
        "sha256": content,
        "recipe": handed_in.name,
        "key": handed_in.key,
        "members": "; ".join(f"{member.name} {member.key}" for member in members),
        "seeds": _seeds(members),
        "config": fingerprint(run.config.model_dump(mode="json")),
        "data": _data_of(run),
        "package": __version__,
        "revision": revision(),
        **cells,
        "handed_in": "no" if "test_joint" in cells or not run.setting.is_official else "",
        "note": note,
    }
    with locked(path):
        ledger, form = read_file(path)
        appended = content not in set(ledger["sha256"])
        if appended:
            ledger = _with_columns(ledger, row)
            new = pd.DataFrame([row], dtype="str").reindex(columns=ledger.columns, fill_value="")
            ledger = pd.concat([ledger, new], ignore_index=True)
            write_file(path, ledger, form)
    today, in_all = limits_used(ledger, run.setting, now)
    return Recorded(ledger, appended, today, in_all, _limit_warnings(today, in_all, run.setting))


def record_score(digest: str, joint: float, path: Path | None = None) -> pd.DataFrame:
    """Write what the board said of a submission, by the beginning of its hash; its row(s).

    SubmissionError for a score out of range, and where no row or several submissions begin so.
    """
    if not 0 <= joint <= 1:
        raise SubmissionError(
            f"A joint score of {joint}: expected a number from 0 to 1, as 0.4712."
        )
    path = path or ledger_path()
    with locked(path):
        ledger, form = read_file(path)
        wanted = digest.strip().lower()
        rows = ledger["sha256"].str.lower().str.startswith(wanted) if wanted else None
        found = sorted(set(ledger.loc[rows, "sha256"])) if rows is not None else []
        if rows is None or len(found) != 1:
            listed = ", ".join(one[:8] for one in ledger["sha256"].tail(8)) or "none yet"
            many = f"{len(found)} submissions begin" if found else "no submission begins"
            raise SubmissionError(f"In {path.name} {many} with {digest!r}. The latest: {listed}.")
        ledger.loc[rows, "board_joint"] = f"{joint:.4f}"
        marked = ledger["handed_in"].str.strip().str.lower() == "no"
        ledger.loc[rows & marked, "handed_in"] = "yes"  # the board has seen it
        write_file(path, ledger, form)
        return ledger[rows]


def known_earlier(but: str = "") -> dict[str, str]:
    """`earlier` of the ledger as it lies; of one that cannot be read nothing is known."""
    try:
        return earlier(read_ledger(), but)
    except SubmissionError:
        return {}


def earlier(ledger: pd.DataFrame, but: str = "") -> dict[str, str]:
    """SHA-256 of the submissions in a ledger → which they are; not those of the run `but`."""
    rows = ledger[(ledger["sha256"] != "") & (ledger["run"] != but)]
    told = rows["file"] + " of run " + rows["run"] + ", " + rows["date_utc"].str[:10]
    return dict(zip(rows["sha256"], told, strict=True))


def _seeds(members: Iterable["Experiment"]) -> str:
    found = {member.seed for one in members for member in one.members} - {NO_SEED}
    return " ".join(map(str, sorted(found)))


def _data_of(run: Run) -> str:
    """Changes with the clips a run knows, their labels and their videos."""
    clips = run.table("clips")
    known = clips[["clip_id", "split", *run.setting.tasks]].to_numpy(dtype=object).tolist()
    digests: list[str] = []
    if run.path("manifest.parquet").is_file():
        digests = run.table("manifest")["source_digest"].tolist()
    return fingerprint(known, digests)


def read_ledger(path: Path | None = None) -> pd.DataFrame:
    """The ledger as strings ("" where empty), all of COLUMNS and the user's own."""
    return read_file(path or ledger_path())[0]


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


def remaining(ledger: pd.DataFrame, now: datetime | None = None) -> list[str]:
    """Of each of the challenge's settings that was handed in, how many submissions are left."""
    told = []
    for setting in SETTINGS.values():
        today, in_all = limits_used(ledger, setting, now or _now())
        if in_all:
            left = max(SUBMISSIONS_PER_DAY - today, 0), max(SUBMISSIONS_IN_ALL - in_all, 0)
            told.append(
                f"{setting.name}: {left[0]} of today's {SUBMISSIONS_PER_DAY} and {left[1]} of all "
                f"{SUBMISSIONS_IN_ALL} submissions are left"
            )
    return told


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
