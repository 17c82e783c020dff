"""What `meiju run` prints at the end: where everything lies, and what it is worth.

Imports `metrics`, `reporting.results`, `run`.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from meiju_utils.errors import MissingStageError
from meiju_utils.metrics import ScoreIntervals
from meiju_utils.reporting.results import (
    LOGISTIC_REGRESSION,
    MAJORITY,
    SUBMISSION,
    Results,
    read_results,
)
from meiju_utils.run import Run

REPORT_NAME = "report.html"
_SIXTH = "06_submission_ensembling"
_FIRST = (SUBMISSION, LOGISTIC_REGRESSION, MAJORITY)
_TITLES = {MAJORITY: "majority answer"}


def final_summary(run: Run, current: bool = True) -> str:
    """Where the submission, the executed notebooks and the report are, problems, and the scores.

    What is not there yet is said to be missing, with the notebook that makes it. `current` is
    whether the sixth notebook has run with these settings and data: where it has not, what it left
    is said to be older.
    """
    notebooks = sorted(run.path("notebooks").glob("*.html"))
    lines = [
        _place("Submission", run.submission_files, f"none yet: notebook {_SIXTH} writes it"),
        _place("Notebooks", notebooks, "none executed yet"),
        _place("Report", [run.path(REPORT_NAME)], f"none yet: notebook {_SIXTH} writes it"),
        *_problems(run),
        "",
    ]
    try:
        scores = _scores(read_results(run))
    except MissingStageError:
        scores = [f"No scores yet: notebook {_SIXTH} writes them."]
    else:
        if not current:
            scores = [
                "Submission, report and scores are from an earlier run, with other settings or "
                f"data. To renew them: {run.command}",
                *scores,
            ]
    return "\n".join(lines + scores)


def _problems(run: Run) -> list[str]:
    """How many clips had problems, and which; nothing before the first notebook has run."""
    try:
        problems = run.table("problems")
    except MissingStageError:
        return []
    kinds = problems["problem"].replace("MediaError", "unreadable")
    whole = problems["clip_id"] == ""
    told = []
    if not whole.all():
        clips = problems.loc[~whole, "clip_id"].nunique()
        counts = ", ".join(
            f"{count} {kind}" for kind, count in kinds[~whole].value_counts().items()
        )
        told.append(f"of {clips} clip{'s' * (clips > 1)}: {counts}")
    told.extend(kinds[whole].unique())  # of the corpus, or of a split
    return [f"{'Problems':<11} " + ("; ".join(told) or "none")]


def _place(title: str, paths: Iterable[Path], otherwise: str) -> str:
    found = [_short(path) for path in paths if path.is_file()] or [otherwise]
    return "\n".join(
        f"{title if i == 0 else '':<11} {path}".rstrip() for i, path in enumerate(found)
    )


def _short(path: Path) -> str:
    """Relative to where the user stands, where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _scores(results: Results) -> list[str]:
    if results.test:
        title = f"Scores on the {results.test_clips} test clips, whose true labels are known here"
        lines = _table(title, results.test)
    else:
        lines = ["The true labels of the test clips are not known: the leaderboard will tell."]
    if results.validation:
        lines += [
            "",
            *_table(f"Scores on the {results.valid_clips} validation clips", results.validation),
        ]
    return lines


def _table(title: str, scores: dict[str, ScoreIntervals]) -> list[str]:
    names = [name for name in _FIRST if name in scores]
    names += [name for name in scores if name not in _FIRST]
    width = max(len(_TITLES.get(name, name)) for name in names)
    header = f"  {'':<{width}}  {'emotion F1':<20}  {'intent F1':<20}  joint score"
    rows = [
        f"  {_TITLES.get(name, name):<{width}}  "
        f"{scores[name].emotion!s:<20}  {scores[name].intent!s:<20}  {scores[name].joint}"
        for name in names
    ]
    return [f"{title} [95 % interval]:", header, *rows]
