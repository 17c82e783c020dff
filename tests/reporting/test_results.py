"""Results survive writing and reading; the summary says where all is and what it is worth."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES
from meiju_utils.config import Profile
from meiju_utils.errors import MissingStageError
from meiju_utils.files import write_record
from meiju_utils.predictions import Answers
from meiju_utils.reporting.results import Results, read_results, write_results
from meiju_utils.reporting.summary import final_summary
from meiju_utils.run import Run
from meiju_utils.scoring import MEAN, concatenated

Tidy = Callable[..., pd.DataFrame]


def write(run: Run, scores: pd.DataFrame, recipe: str = "mine", test_clips: int = 160) -> Results:
    """Results as notebook 06 leaves them."""
    values = {
        "profile": "demo",
        "setting": "track1-mandarin",
        "average": "weighted",
        "recipe": recipe,
        "key": "abc",
        "valid_clips": 80,
        "test_clips": test_clips,
    }
    scores = scores[scores["kind"] == MEAN]
    write_record(
        run.path("results.json"), {"schema": 2, **values, "scores": scores.to_dict("records")}
    )
    return read_results(run)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    opened = Run(Profile(name="demo"), tmp_path / "data", tmp_path / "runs" / "mine")
    opened.folder.mkdir(parents=True)
    return opened


def test_results_read_back_as_written(run: Run) -> None:
    clips = pd.DataFrame(
        {
            "clip_id": ["a", "b", "c"],
            "split": ["valid", "valid", "test"],
            "emotion": ["sad", "fear", ""],
            "intent": ["wishing", "neutral", ""],
        }
    )
    run.save_table("clips", clips)
    truth = clips.tail(1).assign(emotion="sad", intent="wishing")
    answers = pd.DataFrame({"clip_id": ["a", "b", "c"], "split": ["valid", "valid", "test"]})
    for task, labels in CLASSES.items():
        answers[task] = ["sad", "sad", "sad"] if task == "emotion" else "wishing"
        for label in labels:
            answers[f"{task}:{label}"] = (answers[task] == label).astype(float)
    experiment: Any = SimpleNamespace(
        name="mine", key="k", failure="", answers=Answers(answers), chose=lambda split: ""
    )
    failed: Any = SimpleNamespace(name="linear-svm", key="l", failure="it diverged")
    written = write_results(run, experiment, [failed, experiment], truth)
    read = read_results(run)
    pd.testing.assert_frame_equal(read.scores, written.scores)
    assert (read.recipe, read.key, read.valid_clips, read.test_clips) == ("mine", "k", 2, 1)
    assert set(read.scores["system"]) == {"mine"}
    on_test = read.on("test").set_index("score")["value"]
    assert on_test["joint"] == pytest.approx(1, abs=1e-5)  # the official 1e-6 in the denominator
    unknown = write_results(run, experiment, [], None)
    assert unknown.test_clips == 0
    assert unknown.on("test").empty
    values = json.loads(run.path("results.json").read_text())
    assert values["setting"] == "track1-mandarin"
    assert values["average"] == "weighted"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_results_not_written_whole_name_the_notebook(run: Run, content: str | None) -> None:
    if content is not None:
        run.path("results.json").write_text(content)
    with pytest.raises(MissingStageError, match="06_submission_ensembling"):
        read_results(run)
    assert "No scores yet" in final_summary(run)


def test_the_summary_of_a_whole_run_names_every_file_and_score(
    run: Run, tidy: Tidy, tmp_path: Path
) -> None:
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
    joint = {"mine": 0.6, "majority": 0.1, "logistic_regression": 0.5}
    write(run, concatenated([tidy("valid", baseline=0.4), tidy("test", **joint)]))
    summary = final_summary(run)
    for file in files:
        assert f" {file}" in summary
    lines = summary.splitlines()
    rows = [line for line in lines if "[." in line]
    assert [row.split()[0] for row in rows] == [
        "mine",
        "majority",
        "logistic-regression",
        "baseline",
    ]
    assert "0.600 [.500, .700]" in rows[0]
    assert "Handed in: mine (abc)" in lines
    assert "160 test clips" in summary
    assert "80 validation clips" in summary
    table = lines[lines.index("Handed in: mine (abc)") :]
    assert max(map(len, table)) <= 80


def test_scores_of_other_settings_are_not_passed_off_as_these(run: Run, tidy: Tidy) -> None:
    assert "earlier run" not in final_summary(run, current=False)  # there is nothing yet
    write(run, tidy(mine=0.6), test_clips=0)
    assert "earlier run" not in final_summary(run)
    outdated = final_summary(run, current=False).splitlines()
    told = next(i for i, line in enumerate(outdated) if "from an earlier run" in line)
    assert outdated[told + 1] == "data. To renew them: meiju run --profile demo"
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


def test_without_true_test_labels_the_summary_gives_the_validation_scores(
    run: Run, tidy: Tidy
) -> None:
    write(run, tidy(mine=0.6), test_clips=0)
    summary = final_summary(run)
    assert "not known" in summary
    assert "0.600 [.500, .700]" in summary


def test_a_run_that_has_only_begun_is_told_what_is_missing(run: Run) -> None:
    summary = final_summary(run)
    assert "Submission  none yet: notebook 06_submission_ensembling" in summary
    assert "none executed yet" in summary
