"""Would the challenge take this submission, and would it score what was meant?

One look finds every fault and not only the first: each comes with its line and what to do about
it. Answers on clips of one's own are checked in the same way, against their own labels. Imports
`challenge`, `errors`, and its neighbours.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from meiju_utils.challenge import SETTINGS, Setting, Task
from meiju_utils.errors import SubmissionError, nearest
from meiju_utils.submission.faults import Fault, Findings, SubmissionCheck
from meiju_utils.submission.plausibility import Columns, as_before, implausible
from meiju_utils.submission.reading import (
    LARGEST,
    Row,
    csv_in_archive,
    decode,
    loose,
    read_rows,
    without_extension,
    without_folder,
)

OFFICIAL = SETTINGS[1, "mandarin"]  # all four settings have one form


def check_submission(
    path: Path,
    test_clip_ids: Sequence[str],
    setting: Setting = OFFICIAL,
    train: Columns | None = None,
    earlier: Mapping[str, str] | None = None,
) -> SubmissionCheck:
    """Compare a submission, `.csv` or `.zip`, with the list of test clips and a setting's labels.

    With `train` (labels by task) also with the training labels, with `earlier` (SHA-256 of a CSV →
    what it is called) with submissions before: what looks absurd is warned of. Raises
    SubmissionError only where there is nothing to check: no such file, or no test clips.
    """
    data, named_archive = read_bounded(path), path.suffix.lower() == ".zip"
    findings = Findings()
    if data is None:
        size = f"{path.name} is larger than {LARGEST / 1e6:.0f} MB"
        findings.fault("size", size, "A submission has less than 1 MB: give another file")
        return _check(path.name, None, test_clip_ids, setting, findings)
    if not named_archive and not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _check(path.name, data, test_clip_ids, setting, findings, train, earlier)
    if not named_archive:
        findings.fault("archive", f"{path.name} is a ZIP archive", "Name it .zip")
    table = csv_in_archive(data, findings)
    return _check(path.name, table, test_clip_ids, setting, findings, train, earlier)


def read_bounded(path: Path) -> bytes | None:
    """A file's bytes; None where they are more than any submission has.

    SubmissionError where there is no such file, or what is there is none (a pipe, a folder).
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "is not there"
        raise SubmissionError(f"{path} {what}. Give an existing .csv or .zip file.")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    return data if len(data) <= LARGEST else None


def check_bytes(
    name: str, data: bytes, test_clip_ids: Sequence[str], setting: Setting = OFFICIAL
) -> SubmissionCheck:
    """The same check on a CSV's bytes, before they are written anywhere."""
    return _check(name, data, test_clip_ids, setting, Findings())


def _check(
    name: str,
    data: bytes | None,
    test_clip_ids: Sequence[str],
    setting: Setting,
    findings: Findings,
    train: Columns | None = None,
    earlier: Mapping[str, str] | None = None,
) -> SubmissionCheck:
    expected = list(dict.fromkeys(without_extension(clip_id) for clip_id in test_clip_ids))
    if not expected:
        raise SubmissionError("The list of test clips is empty: nothing to compare with.")
    rows: list[Row] = []
    if data is not None:
        rows = read_rows(decode(data, findings), expected, setting, findings)
    if rows:
        _check_clips(rows, expected, findings)
        _check_labels(rows, setting, findings)
        if not findings.faults:
            answers = {task: [row.labels[task] or "" for row in rows] for task in setting.tasks}
            findings.warnings += implausible(answers, train)
        digest = hashlib.sha256(data or b"").hexdigest()
        findings.warnings += as_before(digest, earlier or {})
    elif not findings.faults:
        findings.fault("missing", "there is no row below the header", "Answer every test clip")
    faults = sorted(findings.faults, key=lambda fault: fault.line or 0)
    return SubmissionCheck(name, len(rows), len(expected), tuple(faults), tuple(findings.warnings))


def _check_clips(rows: list[Row], expected: list[str], findings: Findings) -> None:
    known = set(expected)
    by_loose: dict[str, str | None] = {}
    for clip_id in expected:
        key = loose(clip_id)
        by_loose[key] = None if key in by_loose else clip_id  # None: two clips are that alike
    first_line: dict[str, int] = {}
    for row in rows:
        meant: str | None = row.filename
        if meant not in known:
            meant = by_loose.get(loose(row.filename))
            findings.faults.append(_misnamed(row, meant))
        if meant in first_line:
            message = f"{meant} is answered on line {first_line[meant]} already"
            findings.fault("doubled", message, "Keep one row", row.line)
        elif meant is not None:
            first_line[meant] = row.line
    for clip_id in expected:
        if clip_id not in first_line:
            findings.fault("missing", f"{clip_id} has no row", "Answer every test clip")
    if list(first_line) != [clip_id for clip_id in expected if clip_id in first_line]:
        findings.warn(
            "order", "the rows are not in the order of the test list", "Sort them to be safe"
        )


def _misnamed(row: Row, clip_id: str | None) -> Fault:
    name = row.filename
    if clip_id is None:
        return Fault("unknown clip", f"{name!r} is not a test clip", "Delete the row", row.line)
    bare = without_folder(name.strip())
    if bare == name.strip() and without_extension(bare) != bare:
        message = f"{name!r} has a file extension"
        return Fault("extension", message, f"Write {clip_id}", row.line)
    return Fault(
        "file name", f"{name!r} is not how the clip is named", f"Write {clip_id}", row.line
    )


def _check_labels(rows: list[Row], setting: Setting, findings: Findings) -> None:
    columns = dict(zip(setting.tasks, setting.submission_columns[1:], strict=True))
    swapped = [row for row in rows if _is_swapped(row, setting)]
    mostly_swapped = 2 * len(swapped) > len(rows)
    if mostly_swapped:
        held = " and ".join(
            f"{columns[task]} holds labels of {other}"
            for task, other in zip(setting.tasks, setting.tasks[::-1], strict=True)
        )
        findings.fault("swapped", f"{held} in {len(swapped)} rows", "Swap the two columns")
    skipped = {row.line for row in swapped} if mostly_swapped else set()
    for row in rows:
        if row.line in skipped:
            continue
        for task, classes in setting.classes.items():
            label = row.labels[task]
            if label is not None and label not in classes:
                message, remedy = _unknown_label(label, task, setting)
                message = f"{columns[task]} of {row.filename[:80]} {message}"
                findings.fault("label", message, remedy, row.line)
    for task in setting.tasks:
        answers = {row.labels[task] for row in rows}
        if len(rows) > 1 and len(answers) == 1:
            findings.warn(
                "constant",
                f"every {task} answer is {answers.pop()!r}",
                "A constant answer scores about 0.1: look at the model's output first"
                if setting.is_official
                else "A constant answer scores little: look at the model's output first",
            )


def _is_swapped(row: Row, setting: Setting) -> bool:
    """Each label belongs to the other task; one of both tasks ("neutral") in at most one place."""
    if len(setting.tasks) < 2:
        return False
    (one, first), (other, second) = setting.classes.items()
    here, there = (_cleaned(row.labels[task]) for task in (one, other))
    mine, theirs = ({_cleaned(label) for label in classes} for classes in (first, second))
    return here in theirs and there in mine and not (here in mine and there in theirs)


def _cleaned(label: str | None) -> str:
    return (label or "").strip().lower()


def _unknown_label(label: str, task: Task, setting: Setting) -> tuple[str, str]:
    cleaned, classes = _cleaned(label), setting.classes[task]
    listed = ", ".join(classes[:40]) + (", …" if len(classes) > 40 else "")
    if not cleaned:
        return "is empty", f"Valid: {listed}"
    alike = [name for name in classes if _cleaned(name) == cleaned]
    if alike:
        return f"is {label!r}", f"Write {alike[0]!r}"
    for other in setting.tasks:
        if cleaned in map(_cleaned, setting.classes[other]):
            return f"is the {other} label {label!r}", f"Valid: {listed}"
    number = re.fullmatch(r"(\d{1,4})(\.0*)?", cleaned)
    if number and int(number[1]) < len(classes):
        return f"is the number {label}", f"Write the label, {classes[int(number[1])]!r}"
    hint = nearest(cleaned[:80], classes).rstrip(".")
    return f"is {label[:80]!r}, not a label", hint[0].upper() + hint[1:]
