"""Would the challenge take this submission, and would it score what was meant?

One look finds every fault and not only the first: each comes with its line and what to do about
it. Imports `challenge`, `errors`, `submission.faults`, `submission.reading`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, SUBMISSION_COLUMNS, TASKS, Task
from meiju_utils.errors import SubmissionError, nearest
from meiju_utils.submission.faults import Fault, Findings, SubmissionCheck
from meiju_utils.submission.reading import (
    Row,
    csv_in_archive,
    decode,
    loose,
    read_rows,
    without_extension,
    without_folder,
)

_COLUMN: dict[Task, str] = {"emotion": SUBMISSION_COLUMNS[1], "intent": SUBMISSION_COLUMNS[2]}


def check_submission(path: Path, test_clip_ids: Sequence[str]) -> SubmissionCheck:
    """Compare a submission, `.csv` or `.zip`, with the list of test clips.

    Raises SubmissionError only where there is nothing to check: no such file, or no test clips.
    """
    if not path.is_file():
        raise SubmissionError(f"No submission file {path}. Give an existing .csv or .zip file.")
    data = path.read_bytes()
    findings = Findings()
    named_archive = path.suffix.lower() == ".zip"
    if not named_archive and not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _check(path.name, data, test_clip_ids, findings)
    if not named_archive:
        findings.fault("archive", f"{path.name} is a ZIP archive", "Name it .zip")
    return _check(path.name, csv_in_archive(data, findings), test_clip_ids, findings)


def check_bytes(name: str, data: bytes, test_clip_ids: Sequence[str]) -> SubmissionCheck:
    """The same check on a CSV's bytes, before they are written anywhere."""
    return _check(name, data, test_clip_ids, Findings())


def _check(
    name: str, data: bytes | None, test_clip_ids: Sequence[str], findings: Findings
) -> SubmissionCheck:
    expected = list(dict.fromkeys(without_extension(clip_id) for clip_id in test_clip_ids))
    if not expected:
        raise SubmissionError("The list of test clips is empty: nothing to compare with.")
    rows: list[Row] = []
    if data is not None:
        rows = read_rows(decode(data, findings), expected, findings)
    if rows:
        _check_clips(rows, expected, findings)
        _check_labels(rows, findings)
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


def _check_labels(rows: list[Row], findings: Findings) -> None:
    swapped = [row for row in rows if _is_swapped(row)]
    mostly_swapped = 2 * len(swapped) > len(rows)
    if mostly_swapped:
        findings.fault(
            "swapped",
            f"emo_pred holds intents and int_pred holds emotions in {len(swapped)} rows",
            "Swap the two columns",
        )
    skipped = {row.line for row in swapped} if mostly_swapped else set()
    for row in rows:
        if row.line in skipped:
            continue
        for task in TASKS:
            label = row.labels[task]
            if label is not None and label not in CLASSES[task]:
                message, remedy = _unknown_label(label, task)
                message = f"{_COLUMN[task]} of {row.filename[:80]} {message}"
                findings.fault("label", message, remedy, row.line)
    for task in TASKS:
        answers = {row.labels[task] for row in rows}
        if len(rows) > 1 and len(answers) == 1:
            findings.warn(
                "constant",
                f"every {task} answer is {answers.pop()!r}",
                "A constant answer scores about 0.1: look at the model's output first",
            )


def _is_swapped(row: Row) -> bool:
    """Each label belongs to the other task, "neutral" (of both tasks) in at most one place."""
    emotion, intent = ((row.labels[task] or "").strip().lower() for task in TASKS)
    fits_swapped = emotion in INTENTS and intent in EMOTIONS
    return fits_swapped and not (emotion in EMOTIONS and intent in INTENTS)


def _unknown_label(label: str, task: Task) -> tuple[str, str]:
    cleaned = label.strip().lower()
    other: Task = "intent" if task == "emotion" else "emotion"
    classes = CLASSES[task]
    if not cleaned:
        return "is empty", f"Valid: {', '.join(classes)}"
    if cleaned in classes:
        return f"is {label!r}", f"Write {cleaned!r}"
    if cleaned in CLASSES[other]:
        return f"is the {other} label {label!r}", f"Valid: {', '.join(classes)}"
    number = re.fullmatch(r"(\d)(\.0*)?", cleaned)
    if number and int(number[1]) < len(classes):
        return f"is the number {label}", f"Write the label, {classes[int(number[1])]!r}"
    hint = nearest(cleaned[:80], classes).rstrip(".")
    return f"is {label[:80]!r}, not a label", hint[0].upper() + hint[1:]
