"""Writing a submission: the CSV the challenge scores and the ZIP that is uploaded.

Nothing is written that the checker would not pass. Imports `challenge`, `errors`, `files`, `run`,
`submission.checker`.
"""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meiju_utils.challenge import SUBMISSION_NAME, Setting, Task
from meiju_utils.errors import SubmissionError
from meiju_utils.files import atomic_path, write_text
from meiju_utils.predictions import Answers, labelled
from meiju_utils.run import Run
from meiju_utils.submission.checker import OFFICIAL, check_bytes, check_submission
from meiju_utils.submission.faults import SubmissionCheck
from meiju_utils.submission.ledger import known_earlier


def write_submission(
    path: Path,
    clip_ids: Sequence[str],
    labels: Mapping[Task, Sequence[str]],
    setting: Setting = OFFICIAL,
) -> SubmissionCheck:
    """Write one row a test clip, in the order given.

    `clip_ids` is the whole test list, without file extensions; `labels` are those of each task of
    the setting. Raises SubmissionError listing all faults, and leaves an older file as it was.
    """
    text = _as_csv(clip_ids, labels, setting)
    check = check_bytes(path.name, text.encode(), clip_ids, setting)
    check.raise_if_invalid()
    write_text(path, text)
    return check


def _as_csv(clip_ids: Sequence[str], labels: Mapping[Task, Sequence[str]], setting: Setting) -> str:
    wrong = [task for task in setting.tasks if len(labels.get(task, ())) != len(clip_ids)]
    if wrong:
        raise SubmissionError(
            f"{len(clip_ids)} clips and {len(labels.get(wrong[0], ()))} labels of {wrong[0]}: give "
            f"one of {' and one of '.join(setting.tasks)} for every test clip."
        )
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(setting.submission_columns)
    writer.writerows(zip(clip_ids, *(labels[task] for task in setting.tasks), strict=True))
    return buffer.getvalue()


def zip_submission(csv_path: Path, zip_path: Path) -> Path:
    """Pack a CSV as `submission.csv` at the root of an archive; equal CSVs give equal bytes.

    Stored without compression and with a fixed date: compressed bytes differ between versions of
    zlib, and the largest submission has 0.4 MB.
    """
    member = zipfile.ZipInfo(SUBMISSION_NAME, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3  # Unix, whatever the machine
    member.external_attr = 0o644 << 16
    data = csv_path.read_bytes()
    with atomic_path(zip_path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(member, data)
    return zip_path


@dataclass(frozen=True)
class Published:
    """Where a run's submission lies: in the run folder, and as a CSV and ZIP to hand in."""

    in_run: Path
    csv: Path
    zip: Path
    check: SubmissionCheck


def publish_submission(run: Run, answers: Answers) -> Published:
    """Write `<run folder>/submission.csv`, and `submissions/<name of the run folder>.csv` + `.zip`,
    beside those of another run folder of that name.

    `answers` are to the run's test clips in any order, a label of every task each; other clips are
    a fault. Raises SubmissionError listing all faults, before anything is written.
    """
    clips = run.table("clips")
    test_clip_ids = clips.loc[clips["split"] == "test", "clip_id"].tolist()
    if not test_clip_ids:
        raise SubmissionError(f"{run.data_dir} lists no test clips: there is nothing to submit.")
    place = {clip_id: index for index, clip_id in enumerate(test_clip_ids)}
    unknown = len(place)  # goes to the end, where the check reports it
    lacking = [task for task in run.setting.tasks if task not in answers.tasks]
    if lacking:
        raise SubmissionError(
            f"The answers have no {lacking[0]}; wanted is {' and '.join(run.setting.tasks)} of "
            "every clip."
        )
    ordered = answers.table.sort_values("clip_id", key=lambda ids: ids.map(place).fillna(unknown))
    labels = {task: ordered[task].tolist() for task in run.setting.tasks}
    text = _as_csv(ordered["clip_id"].tolist(), labels, run.setting)
    check_bytes(SUBMISSION_NAME, text.encode(), test_clip_ids, run.setting).raise_if_invalid()
    in_run, copy, archive = run.submission_files
    run.own_copies()
    for path in (in_run, copy):
        write_text(path, text)
    zip_submission(copy, archive)
    # what is handed in, as it lies on disk
    known = labelled(clips, run.setting.tasks, "train")
    train = {task: known[task].tolist() for task in run.setting.tasks}
    before = known_earlier(but=run.folder.name)
    check = check_submission(archive, test_clip_ids, run.setting, train, before)
    check.raise_if_invalid()
    return Published(in_run, copy, archive, check)
