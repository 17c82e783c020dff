"""The last step on the command line: what it says and how it exits."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from meiju_utils.cli import app
from meiju_utils.corpus.demo import read_true_labels


def meiju(*arguments: Any) -> tuple[int, str]:
    made = CliRunner().invoke(app, [str(one) for one in arguments])
    return made.exit_code, made.output


@pytest.fixture
def answers(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The true labels of the test clips, as a submission."""
    truth = read_true_labels(tiny_corpus)
    assert truth is not None
    test = truth[truth["split"] == "test"]
    lines = [",".join(row) for row in test[["clip_id", "emotion", "intent"]].to_numpy()]
    path = tmp_path / "answers.csv"
    path.write_text("filename,emo_pred,int_pred\n" + "\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return path


def test_a_submission_is_valid_faulty_or_nothing_to_check(
    answers: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    where = ["--data-dir", tiny_corpus]
    code, told = meiju("check-submission", answers, *where)
    assert (code, "answers.csv: valid, 10 rows" in told) == (0, True)
    ids = tmp_path / "ids.txt"
    lines = answers.read_text().splitlines()
    ids.write_text("\n".join(line.split(",")[0] for line in lines))
    assert meiju("check-submission", answers, "--ids", ids)[0] == 0
    answers.write_text("\n".join(lines[:-1]))
    code, told = meiju("check-submission", answers, *where, "--json")
    found = json.loads(told)
    assert (code, found["valid"], found["rows"], found["expected"]) == (1, False, 9, 10)
    assert found["findings"][0]["kind"] == "missing"
    code, told = meiju("check-submission", tmp_path / "none.csv", *where, "--json")
    assert (code, "is not there" in json.loads(told)["error"]) == (2, True)
    assert meiju("check-submission", answers, "--data-dir", tmp_path / "none")[0] == 2
    assert meiju("check-submission")[0] == 2


def test_scores_and_comparisons_as_text_and_json(answers: Path, tiny_corpus: Path) -> None:
    labels = tiny_corpus.with_name(f"{tiny_corpus.name}-truth") / "labels.csv"
    code, told = meiju("score", answers, labels, "--json")
    scores = {row["score"]: row["value"] for row in json.loads(told)["scores"]}
    assert code == 0
    assert scores == {"emotion": 1.0, "intent": 1.0, "joint": pytest.approx(1.0, abs=1e-6)}
    other = answers.with_name("other.csv")
    rows = answers.read_text().splitlines()
    other.write_text(
        "\n".join([rows[0], *(f"{row.split(',')[0]},sad,wishing" for row in rows[1:])])
    )
    code, told = meiju("compare", other, answers, labels, "--track", 2)
    assert code == 0
    assert "answers.csv against other.csv: 10 clips" in told
    assert "mended" in told
    assert max(map(len, told.splitlines())) <= 80
    code, told = meiju("compare", other, answers, labels, "--json")
    assert all(flip["what"] == "mended" for flip in json.loads(told)["flips"])


def test_the_ledger_is_told_before_there_is_any(answers: Path) -> None:
    assert meiju("ledger") == (0, "No submission yet: notebook 06 writes the first line.\n")
