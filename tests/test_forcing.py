"""What `--force` finds to remove, and how it is removed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meiju_utils.config import load_profile
from meiju_utils.embeddings import all_encoders
from meiju_utils.embeddings.planning import plan_store
from meiju_utils.embeddings.tiny import TINY_CHECKPOINTS
from meiju_utils.errors import ConfigError
from meiju_utils.forcing import discard, results_of
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.partitions import Folds, fold_table
from meiju_utils.preprocessing import pipeline
from meiju_utils.recipes.graph import RecipeGraph
from meiju_utils.run import Run

THIRD, FOURTH, FIFTH = "03_baseline", "04_pseudo_labelling", "05_head_variant_training"


def _fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "scores.parquet").touch()
    return folder


def _experiments(run: Run) -> dict[str, Path]:
    """Stand-ins of all experiments and pseudo labels with the run's settings, by recipe."""
    graph = RecipeGraph(run)
    made = {name: graph.experiment(name).folder for name in graph.recipes}
    labels = {f"labels of {n}": s.folder for n in graph.recipes for s in graph.pool_labels(n)}
    for folder in {*made.values(), *labels.values()}:
        if not folder.exists():
            _fill(folder)
    splits = {"folds": fold_table(run, Folds(folds=5)).path}
    splits["refit"] = fold_table(run, Folds(folds=5, refit=True)).path
    return {**made, **labels, **splits}


def _names(found: list[Path], made: dict[str, Path]) -> list[str]:
    return [next(name for name, folder in made.items() if folder == path) for path in found]


def test_a_notebook_has_its_recipes_experiments_with_the_present_settings(
    make_run: Callable[..., Run],
) -> None:
    _experiments(make_run(training={"epochs": 9}))  # these stay
    run = make_run()
    made = _experiments(run)
    third = _names(results_of(run, THIRD), made)
    assert {"majority", "baseline-folds", "official-baseline", "folds"} <= set(third)
    assert third.index("official-baseline") < third.index("official-pretrain")
    fourth = _names(results_of(run, FOURTH), made)
    assert {"+pseudo-label-paper", "+pseudo-label", "opinions", "refit"} <= set(fourth)
    assert fourth.index("opinions") < fourth.index("rbf-ridge-audio")
    labels = {name for name in fourth if name.startswith("labels of")}
    assert labels == {"labels of +pseudo-label", "labels of +pseudo-label-paper"}
    fifth = _names(results_of(run, FIFTH), made)
    order = ["best", "students", "students-2", "students-2:rbf-ridge-all", "students-1"]
    for chain in (order, ["ensemble", "one+two-heads", "+one-head", "one-head-clean"]):
        places = [fifth.index(name) for name in chain]
        assert places == sorted(places)
    assert set(third) & set(fourth) == set(fourth) & set(fifth) == set()


def test_pseudo_labels_go_with_the_first_notebook_that_uses_them(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("mine: {start: baseline, targets: {teacher: baseline, rule: everything}}")
    run = make_run(recipes=str(own))
    made = _experiments(run)
    assert "labels of mine" in _names(results_of(run, FIFTH), made)
    assert made["labels of +1textcnn"] == made["labels of +pseudo-label"]
    assert made["labels of +1textcnn"] not in results_of(run, FIFTH)


def test_without_a_pool_the_baseline_stays_the_third_notebooks(
    make_run: Callable[..., Run], make_toy: Callable[..., Dataset]
) -> None:
    run = make_run(make_toy(sizes={"train": 60, "valid": 24, "test": 20}))
    graph = RecipeGraph(run)
    baseline = _fill(graph.experiment("baseline").folder)
    assert results_of(run, FOURTH) == [fold_table(run, Folds(folds=5, refit=True)).path]
    folds = fold_table(run, Folds(folds=5)).path  # of the yardsticks
    assert results_of(run, THIRD) == [baseline, folds]


def test_nothing_is_found_where_an_earlier_stage_is_missing(tmp_path: Path) -> None:
    run = Run(load_profile("demo"), tmp_path, tmp_path)
    (tmp_path / "encoders.parquet").touch()
    (tmp_path / "table_one.parquet").touch()
    for notebook in ("02_embedding_extraction", FIFTH, "07_of_ones_own"):
        assert results_of(run, notebook) == []


def test_stores_are_found_by_the_checkpoints_that_go_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(load_profile("demo"), tmp_path, tmp_path)
    source = pipeline.Preprocessed("key", tmp_path, {"clip": "你好"})
    monkeypatch.setattr(pipeline, "open_preprocessed", lambda _: source)
    run.save_table("clips", pd.DataFrame({"clip_id": ["clip"], "split": ["train"]}))
    for name in (*TINY_CHECKPOINTS, "one of the user's own"):
        _fill(run.path("checkpoints", name))
    _fill(run.path("features", "hog-0123"))  # of other settings
    encoders = all_encoders(run.config.embeddings)
    stores = [plan_store(run, modality, e, source).folder for modality, e in encoders]
    prosody = next(folder for folder in stores if folder.name.startswith("prosody"))
    folders = {*stores, prosody.with_name(prosody.name + "-2")}  # of other code
    for folder in folders:
        _fill(folder)
    found = results_of(run, "02_embedding_extraction")
    assert len(folders) == 7
    assert set(found[:7]) == folders
    assert found[7:] == [run.path("checkpoints", name) for name in TINY_CHECKPOINTS]
    discard([run.path("checkpoints", "tiny-vit")])
    assert len(results_of(run, "02_embedding_extraction")) == 8


def test_a_link_is_removed_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    elsewhere = _fill(tmp_path / "elsewhere")
    run = Run(load_profile("demo"), tmp_path, tmp_path / "run")
    run.folder.mkdir()
    run.path("doctor").symlink_to(elsewhere)
    run.path("manifest.parquet").symlink_to(tmp_path / "gone")
    found = results_of(run, "01_preprocessing")
    assert found == [run.path("manifest.parquet"), run.path("doctor")]
    discard(found)
    assert list(run.folder.iterdir()) == []
    assert (elsewhere / "scores.parquet").is_file()


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    run = Run(load_profile("demo"), tmp_path, tmp_path / "run")
    run.folder.mkdir()
    run.path("preprocessed").symlink_to(_fill(tmp_path / "elsewhere"))
    run.path("preprocessed", "current.json").touch()
    with pytest.raises(ConfigError, match=r"current\.json leads out of the run folder"):
        results_of(run, "01_preprocessing")


def test_a_run_folder_that_is_a_link_is_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(_fill(tmp_path / "elsewhere"))
    run = Run(load_profile("demo"), tmp_path, tmp_path / "run")
    run.path("submission.csv").touch()
    discard(results_of(run, "06_submission_ensembling"))
    assert [path.name for path in run.folder.iterdir()] == ["scores.parquet"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), PermissionError(13, "Permission denied")])
def test_what_is_interrupted_leaves_each_whole_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    paths = [_fill(tmp_path / "features" / name) for name in ("a", "b", "c")]
    rename = Path.rename

    def fail_at_b(path: Path, target: Any) -> Path:
        if path.name == "b":
            raise fault
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_at_b)
    expected = ConfigError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        discard(paths)
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == ["b", "c"]
    assert all((path / "scores.parquet").is_file() for path in paths[1:])
