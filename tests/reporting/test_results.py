"""Results survive writing and reading; the summary says where all is and what it is worth."""

import json
from pathlib import Path

import pandas as pd
import pytest

from meiju_utils.config import Profile
from meiju_utils.errors import MissingStageError
from meiju_utils.metrics import Interval, ScoreIntervals
from meiju_utils.reporting.results import (
    LOGISTIC_REGRESSION,
    MAJORITY,
    SUBMISSION,
    read_results,
    write_results,
)
from meiju_utils.reporting.summary import final_summary
from meiju_utils.run import Run


def intervals(joint: float) -> ScoreIntervals:
    return ScoreIntervals(
        Interval(0.5, 0.45, 0.55),
        Interval(0.6, 0.5, 0.7),
        Interval(joint, joint - 0.1, joint + 0.1),
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    opened = Run(Profile(name="demo"), tmp_path / "data", tmp_path / "runs" / "mine")
    opened.folder.mkdir(parents=True)
    return opened


def test_results_read_back_as_written(run: Run) -> None:
    written = write_results(run, {"a": intervals(0.5)}, {SUBMISSION: intervals(0.6)}, 80, 160)
    assert read_results(run) == written
    values = json.loads(run.path("results.json").read_text())
    assert values["setting"] == "track1-mandarin"
    assert values["average"] == "weighted"
    assert values["test"]["submission"]["joint"] == {"value": 0.6, "low": 0.5, "high": 0.7}


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_results_not_written_whole_name_the_notebook(run: Run, content: str | None) -> None:
    if content is not None:
        run.path("results.json").write_text(content)
    with pytest.raises(MissingStageError, match="06_submission_ensembling"):
        read_results(run)
    assert "No scores yet" in final_summary(run)


def test_the_summary_of_a_whole_run_names_every_file_and_score(run: Run, tmp_path: Path) -> None:
    files = [
        "runs/mine/submission.csv",
        "submissions/mine.csv",
        "submissions/mine.zip",
        "runs/mine/notebooks/01_preprocessing.html",
        "runs/mine/report.html",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    test = {
        MAJORITY: intervals(0.1),
        SUBMISSION: intervals(0.6),
        LOGISTIC_REGRESSION: intervals(0.5),
    }
    write_results(run, {"baseline": intervals(0.4)}, test, 80, 160)
    summary = final_summary(run)
    for file in files:
        assert f" {file}" in summary
    lines = summary.splitlines()
    at = {
        name: next(i for i, line in enumerate(lines) if line.strip().startswith(name))
        for name in ("submission ", "logistic regression", "majority answer", "baseline")
    }
    assert list(at.values()) == sorted(at.values())
    assert "0.600 [0.500, 0.700]" in lines[at["submission "]]
    assert "160 test clips" in summary
    assert "80 validation clips" in summary


def test_scores_of_other_settings_are_not_passed_off_as_these(run: Run) -> None:
    assert "earlier run" not in final_summary(run, current=False)  # there is nothing yet
    write_results(run, {SUBMISSION: intervals(0.6)}, {}, 80, 160)
    assert "earlier run" not in final_summary(run)
    outdated = final_summary(run, current=False).splitlines()
    told = next(i for i, line in enumerate(outdated) if "from an earlier run" in line)
    assert outdated[told].endswith("meiju run --profile demo")
    assert told < next(i for i, line in enumerate(outdated) if "0.600" in line)


def test_the_summary_says_how_many_clips_had_problems_and_why(run: Run) -> None:
    assert "Problems" not in final_summary(run)
    names = ["clip_id", "stage", "problem", "reason"]
    kinds = {"a": "MediaError", "b": "no subtitle", "c": "no subtitle", "": "split not there"}
    rows = [(clip_id, "stage", kind, "reason") for clip_id, kind in kinds.items()]
    run.save_table("problems", pd.DataFrame(rows, columns=names))
    told = "Problems    of 3 clips: 2 no subtitle, 1 unreadable; split not there"
    assert told in final_summary(run)
    run.save_table("problems", pd.DataFrame(rows[-1:], columns=names))
    assert "Problems    split not there" in final_summary(run)
    run.save_table("problems", pd.DataFrame([], columns=names))
    assert "Problems    none" in final_summary(run)


def test_without_true_test_labels_the_summary_gives_the_validation_scores(run: Run) -> None:
    write_results(run, {SUBMISSION: intervals(0.6)}, {}, 80, 643)
    summary = final_summary(run)
    assert "not known" in summary
    assert "0.600 [0.500, 0.700]" in summary
    assert "643 test clips" not in summary


def test_a_run_that_has_only_begun_is_told_what_is_missing(run: Run) -> None:
    summary = final_summary(run)
    assert "Submission  none yet: notebook 06_submission_ensembling" in summary
    assert "none executed yet" in summary
