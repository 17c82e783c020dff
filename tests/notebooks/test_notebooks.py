"""The six notebooks, end to end, on the tiny corpus."""

import ast
import re
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from meiju_utils.challenge import MODALITIES
from meiju_utils.corpus.demo import read_true_labels
from meiju_utils.execution import notebook_paths, run_notebooks
from meiju_utils.forcing import results_of
from meiju_utils.opening import PARAMETERS
from meiju_utils.recipes import load_experiment
from meiju_utils.references import project_root
from meiju_utils.reporting.results import read_results
from meiju_utils.reporting.summary import final_summary
from meiju_utils.run import Run
from meiju_utils.scoring import YARDSTICKS
from meiju_utils.submission.ledger import read_ledger

ROOT = Path(__file__).parents[2]
# Enough to pass through every branch; what is learned in so few epochs does not matter here. In
# one process, since with so few clips workers spend their time on importing.
QUICK = {"training.seeds": [0], "training.epochs": 2, "parallel.backend": "serial"}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_notebook_declares_the_four_parameters_as_literals(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    values = {
        statement.target.id: ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        for statement in ast.parse(tagged[0].source).body
    }
    assert tuple(values) == PARAMETERS
    assert values == {"profile": "demo", "data_dir": "", "run_dir": "", "overrides": {}}


def test_notebook_cells_are_short() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert len(cell.source.splitlines()) <= 14, f"{path.name}:\n{cell.source}"


@pytest.fixture(scope="module")
def quick(quick_recipes: str) -> dict[str, Any]:
    return {**QUICK, "recipes": quick_recipes}


@pytest.fixture(scope="module")
def finished(project: Path, tiny_corpus: Path, quick: dict[str, Any]) -> Run:
    run, executed = run_notebooks("demo", str(tiny_corpus), "runs/tiny", quick)
    assert [one.status for one in executed] == ["run"] * 6
    return run


# The suite's promise for the tiny corpus is three minutes on two idle cores; slow machines that run
# other things beside have taken six.
@pytest.mark.timeout(900)
def test_a_run_leaves_a_valid_submission_in_both_places(finished: Run, tiny_corpus: Path) -> None:
    submission = pd.read_csv(finished.path("submission.csv"))
    truth = read_true_labels(tiny_corpus)
    assert truth is not None
    assert list(submission.columns) == ["filename", "emo_pred", "int_pred"]
    assert submission["filename"].tolist() == sorted(truth.loc[truth.split == "test", "clip_id"])
    copies = project_root() / "submissions"
    assert (copies / "tiny.csv").read_bytes() == finished.path("submission.csv").read_bytes()
    with zipfile.ZipFile(copies / "tiny.zip") as archive:
        assert archive.namelist() == ["submission.csv"]
        assert archive.read("submission.csv") == finished.path("submission.csv").read_bytes()
    (row,) = read_ledger().to_dict("records")
    assert (row["run"], row["recipe"]) == ("tiny", "best")
    members = [member.split(" ")[0] for member in row["members"].split("; ")]
    assert members[:3] == ["logistic-audio", "svm-text", "nb-svm"]


def test_a_run_leaves_results_a_report_and_executed_notebooks(finished: Run) -> None:
    results = read_results(finished)
    assert set(results.on("test")["system"]) == {"best", "ensemble", *YARDSTICKS}
    assert results.recipe == "best"
    assert results.test_clips == 10
    report = finished.path("report.html").read_text(encoding="utf-8")
    assert "not available" not in report.lower()
    fourth = finished.path("notebooks", "04_pseudo_labelling.html").read_text(encoding="utf-8")
    for page in (report, fourth):
        assert re.search(r"None of \d+ clips reaches 0\.99: the surest has 0\.\d\d", page)
        assert "In truth" in page  # it is known of the tiny corpus
    for path in notebook_paths():
        assert finished.path("notebooks", path.name).is_file()
        html = finished.path("notebooks", f"{path.stem}.html").read_text(encoding="utf-8")
        assert "Traceback" not in html
    summary = final_summary(finished)
    assert "submission" in summary.lower()
    assert "majority" in summary.lower()


def test_02_compares_both_sets_of_encoders_with_intervals(finished: Run) -> None:
    probes = finished.table("encoders")
    single = probes[probes["modality"].isin(MODALITIES)]
    assert single["encoder"].tolist() == [
        *("prosody", "hf:tiny-hubert", "hog", "timm:tiny-vit", "char-ngram", "hf:tiny-bert")
    ]
    assert (probes["joint_low"] <= probes["joint"]).all()
    assert (probes["joint"] <= probes["joint_high"]).all()
    assert (probes["seconds"] > 0).all()
    html = finished.path("notebooks", "02_embedding_extraction.html").read_text(encoding="utf-8")
    assert html.count("data:image/png") >= 3
    assert "Clips without an embedding, and why" in html


def test_a_second_run_recomputes_nothing(
    finished: Run, tiny_corpus: Path, quick: dict[str, Any]
) -> None:
    _, executed = run_notebooks("demo", str(tiny_corpus), str(finished.folder), quick)
    assert [one.status for one in executed] == ["up to date"] * 6


def test_what_other_settings_change_is_outdated_and_no_more(
    finished: Run, tiny_corpus: Path, quick: dict[str, Any]
) -> None:
    changes = {**quick, "training.epochs": 3, "parallel.workers": 1}
    _, executed = run_notebooks(
        "demo", str(tiny_corpus), str(finished.folder), changes, only=["01", "02"]
    )
    assert [one.status for one in executed] == ["up to date"] * 2 + ["outdated"] * 4


def test_every_file_of_a_run_is_the_result_of_one_notebook(finished: Run) -> None:
    found = [path for one in notebook_paths() for path in results_of(finished, one.stem)]
    assert len(set(found)) == len(found)
    owners = {
        file.relative_to(finished.folder): sum(path in (file, *file.parents) for path in found)
        for file in finished.folder.rglob("*")
        if file.is_file()
    }
    others = {file for file, count in owners.items() if count != 1}
    assert {f.parts[0] for f in others} == {"config.yaml", "notebooks", "run.json", ".lock"}


def test_force_computes_anew_the_notebooks_own_results_and_no_others(
    here: None, finished: Run, tiny_corpus: Path, quick: dict[str, Any]
) -> None:
    fourth = results_of(finished, "04_pseudo_labelling")
    kinds = {path.parent.name for path in fourth}
    assert kinds == {"experiments", "pseudo_labels", "partitions"}
    weights = next(file for path in fourth for file in path.rglob("seed-*.safetensors"))
    before = _times(finished.folder), weights.read_bytes()
    run_notebooks("demo", str(tiny_corpus), str(finished.folder), quick, only=["04"], force=True)
    after = _times(finished.folder), weights.read_bytes()
    assert after[1] == before[1]
    assert after[0].keys() == before[0].keys()
    anew = {file for file, time in after[0].items() if before[0][file] != time}
    of_fourth = {path for path in fourth if path.is_file()}
    of_fourth |= {file for path in fourth if path.is_dir() for file in path.iterdir()}
    assert {file for file in anew if file.parent.name != "notebooks"} == of_fourth


def _times(folder: Path) -> dict[Path, int]:
    """When each result below a run folder was last written."""
    files = {file for file in folder.rglob("*") if file.is_file()} - {folder / "config.yaml"}
    return {file: file.stat().st_mtime_ns for file in files}


def test_what_the_profile_names_is_handed_in(
    here: None, finished: Run, tiny_corpus: Path, quick: dict[str, Any]
) -> None:
    changes = {**quick, "submission": "logistic-regression"}
    run_notebooks("demo", str(tiny_corpus), str(finished.folder), changes, only=["06"])
    results = read_results(finished)
    assert results.recipe == "logistic-regression"
    row = read_ledger().iloc[-1]
    assert row["recipe"] == "logistic-regression"
    assert row["key"] == results.key
    answers = load_experiment(finished, "logistic-regression").answers.of_split("test").table
    submitted = pd.read_csv(finished.path("submission.csv"))
    assert submitted["emo_pred"].tolist() == answers["emotion"].tolist()
    report = finished.path("report.html").read_text(encoding="utf-8")
    assert "Handed in: logistic-regression" in report
