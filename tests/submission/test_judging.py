"""Scores of submissions and what stands between two, against scikit-learn and by hand."""

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from meiju_utils.challenge import CLASSES, Average
from meiju_utils.errors import SubmissionError
from meiju_utils.submission.judging import comparison, flips, judged, read_labels, score_rows

CLIPS = [f"Track1_Testing_{i:05d}" for i in range(60)]
FIXTURE = [HealthCheck.function_scoped_fixture]  # each example writes the file anew


def labels(seed: int) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    return {task: rng.choice(names, len(CLIPS)).tolist() for task, names in CLASSES.items()}


def written(path: Path, own: dict[str, list[str]], header: str, suffix: str = "") -> Path:
    rows = zip(CLIPS, *own.values(), strict=True)
    lines = [header, *(f"{clip}{suffix},{e},{i}" for clip, e, i in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return written(tmp_path / "truth.csv", labels(0), "clip_id,emotion,intent", ".mp4")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return written(tmp_path / "first.csv", labels(1), "filename,emo_pred,int_pred")


def mixed(share: float) -> dict[str, list[str]]:
    """Right in so many clips, else as the first."""
    right, wrong = labels(0), labels(1)
    count = round(share * len(CLIPS))
    return {task: right[task][:count] + wrong[task][count:] for task in right}


@pytest.mark.parametrize("average", ["weighted", "micro", "macro"])
def test_scores_are_scikit_learns_and_the_official_formula(
    truth: Path, first: Path, average: Average
) -> None:
    table = score_rows(judged([first], truth), average).set_index("score")
    expected = {
        task: f1_score(labels(0)[task], own, average=average, zero_division=0)
        for task, own in labels(1).items()
    }
    for task, value in expected.items():
        assert table.loc[task, "value"] == pytest.approx(value, abs=1e-12)
    a, b = expected.values()
    # The organisers add 1e-6 to the denominator.
    assert table.loc["joint", "value"] == pytest.approx(2 * a * b / (a + b + 1e-6), abs=1e-6)
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_a_zip_scores_as_its_csv(truth: Path, first: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "first.zip", "w") as archive:
        archive.write(first, "submission.csv")
    zipped = score_rows(judged([tmp_path / "first.zip"], truth), "weighted")
    pd.testing.assert_frame_equal(zipped, score_rows(judged([first], truth), "weighted"))


def test_what_two_submissions_differ_in(truth: Path, first: Path, tmp_path: Path) -> None:
    second = written(tmp_path / "second.csv", mixed(0.5), "filename,emo_pred,int_pred")
    found = judged([first, second], truth)
    table = comparison(found, "weighted").set_index("score")
    assert (table["difference"] > 0.1).all()
    assert (table["p"] < 0.05).all()
    wrong = {task: np.array(labels(0)[task]) != np.array(own) for task, own in labels(1).items()}
    for task, own in wrong.items():
        assert table.loc[task, "mended"] == own[:30].sum()
        assert table.loc[task, "broken"] == 0
        assert table.loc[task, "mcnemar_p"] == pytest.approx(2 * 0.5 ** own[:30].sum())
    flipped = flips(found)
    assert len(flipped) == sum(own[:30].sum() for own in wrong.values())
    assert set(flipped["what"]) == {"mended"}
    assert (flipped["second"] == flipped["label"]).all()
    back = flips(judged([second, first], truth))
    assert set(back["what"]) == {"broken"}


def test_equal_submissions_do_not_differ(truth: Path, first: Path) -> None:
    found = judged([first, first], truth)
    table = comparison(found, "weighted")
    assert (table["difference"] == 0).all()
    assert (table["mcnemar_p"] == 1).all()
    assert flips(found).empty


def test_tasks_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "name,split,video,text,sentiment\na,test,v,t,good\nb,test,v,t,bad\n"
    )
    (tmp_path / "own.csv").write_text("clip_id,sentiment\nb,bad\na,bad\n")
    table = score_rows(judged([tmp_path / "own.csv"], tmp_path / "labels.csv"), "micro")
    assert table["score"].tolist() == ["sentiment", "joint"]
    assert table["value"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no column of clips"),
        ("clip_id\na\n", "has no column of labels"),
        ("clip_id,emotion,intent\na,sad\n", "too few fields"),
        ("clip_id,emotion\na,sad\na,sad\n", "a stands there twice"),
        ("x,y\n1,2\n", "has no column of clips"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(SubmissionError, match=why):
        read_labels(tmp_path / "odd.csv")


def test_clips_that_do_not_fit_are_named(truth: Path, first: Path, tmp_path: Path) -> None:
    lines = first.read_text("utf-8").splitlines()
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(lines[:-1]))
    with pytest.raises(SubmissionError, match="differ: clip Track1_Testing_00059"):
        judged([first, fewer], truth)
    with pytest.raises(SubmissionError, match="has no labels of 1 of 60 clips, the first"):
        judged([first], fewer.rename(tmp_path / "labels.csv"))
    odd = tmp_path / "odd.csv"
    odd.write_text(truth.read_text("utf-8").replace("clip_id,emotion", "clip_id,mood"))
    (tmp_path / "mood.csv").write_text("clip_id,joy\nx,1\n")
    with pytest.raises(SubmissionError, match="has none of the columns"):
        judged([first], tmp_path / "mood.csv")


@given(data=st.binary(max_size=400))
@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(data)
    with suppress(SubmissionError):
        assert len(read_labels(path).columns) > 1
