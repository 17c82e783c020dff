"""What `meiju run` prints at the end: where everything lies, and what it is worth.

Imports `console`, `reporting.results`, `run`, `scoring`.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from meiju_utils.console import wrapped
from meiju_utils.errors import MissingStageError
from meiju_utils.reporting.palette import score_title
from meiju_utils.reporting.results import Results, read_results
from meiju_utils.run import Run
from meiju_utils.scoring import MARK_MEANS, marked, scores_in, wide

REPORT_NAME = "report.html"
_SIXTH = "06_submission_ensembling"


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
        scores = _scores(run, read_results(run))
    except MissingStageError:
        scores = [f"No scores yet: notebook {_SIXTH} writes them."]
    else:
        if not current:
            scores = [
                wrapped(
                    "Submission, report and scores are from an earlier run, with other settings "
                    f"or data. To renew them: {run.command}"
                ),
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
    return [wrapped(f"{'Problems':<11} " + ("; ".join(told) or "none"), hanging=12)]


def _place(title: str, paths: Iterable[Path], otherwise: str) -> str:
    found = [_short(path) for path in paths if path.is_file()] or [otherwise]
    return "\n".join(
        f"{title if i == 0 else '':<11} {path}".rstrip() for i, path in enumerate(found)
    )


def _short(path: Path) -> str:
    """Relative to where the user stands, where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _scores(run: Run, results: Results) -> list[str]:
    if results.test_clips:
        title = f"Scores on the {results.test_clips} test clips, whose true labels are known here"
        lines = _table(title, results.on("test"))
    else:
        board = ": the leaderboard will tell" if run.setting.is_official else ""
        lines = [f"The true labels of the test clips are not known{board}."]
    valid = results.on("valid")
    if len(valid):
        lines += ["", *_table(f"Scores on the {results.valid_clips} validation clips", valid)]
    return [f"Handed in: {results.recipe} ({results.key})", *lines]


def _table(title: str, scores: pd.DataFrame) -> list[str]:
    """In 80 columns: each score as `0.554 [.495, .608]`."""
    table = wide(scores)
    names = scores_in(table)
    labels = marked(table)
    width = min(max(map(len, labels)), 80 - 19 * len(names))
    titles = " ".join(f"{score_title(name)[:18]:<18}" for name in names)
    rows = [f"{'':<{width}} {titles}".rstrip()]
    for label, row in zip(labels, table.to_dict("records"), strict=True):
        cells = []
        for name in names:
            low, high = (f"{row[f'{name}_{end}']:.3f}".removeprefix("0") for end in ("low", "high"))
            cells.append(f"{row[name]:.3f} [{low}, {high}]")
        short = label if len(label) <= width else f"{label[: width - 1]}…"
        rows.append(f"{short:<{width}} {' '.join(cells)}")
    note = [MARK_MEANS] if labels != table["name"].tolist() else []
    return [f"{title} [95 % interval]:", *rows, *note]
