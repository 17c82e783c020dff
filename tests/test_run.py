from pathlib import Path

import pandas as pd
import pytest
import yaml

from meiju_utils.errors import ConfigError, CorpusError, MissingStageError
from meiju_utils.run import injected_names, open_run, project_root, resolve


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    return {"data_dir": str(tmp_path / "data"), "run_dir": str(tmp_path / "run")}


def test_opening_a_run_writes_the_effective_settings(folders: dict[str, str]) -> None:
    run = open_run("demo", **folders, overrides={"training.epochs": 7})
    written = yaml.safe_load(run.path("config.yaml").read_text())
    assert written["training"]["epochs"] == 7
    assert written["preprocessing"]["sample_rate"] == 16000


def test_tables_survive_a_round_trip_and_only_known_ones_are_written(
    folders: dict[str, str],
) -> None:
    run = open_run("demo", **folders)
    table = pd.DataFrame({"clip_id": ["a"], "text": ["真的？！"]})
    run.save_table("clips", table)
    pd.testing.assert_frame_equal(run.table("clips"), table)
    with pytest.raises(KeyError):
        run.save_table("clipz", table)


def test_a_stage_not_run_yet_names_the_notebook_and_the_command(folders: dict[str, str]) -> None:
    with pytest.raises(MissingStageError) as caught:
        open_run("demo", **folders).table("clips")
    assert "01_preprocessing.ipynb" in str(caught.value)
    assert "--only 01" in str(caught.value)


def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere"):
        open_run("demo", str(tmp_path / "nowhere"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "bad", [{"profile": 3}, {"run_dir": None}, {"overrides": ["training.epochs=5"]}]
)
def test_a_parameter_of_the_wrong_type_is_refused(
    folders: dict[str, str], bad: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        open_run(**(folders | bad))  # type: ignore[arg-type]


def test_relative_paths_are_meant_from_the_projects_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("notebooks", "meiju_utils"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_root() == tmp_path
    assert resolve("runs/demo") == tmp_path / "runs" / "demo"
    assert resolve("/elsewhere") == Path("/elsewhere")


def test_names_papermill_injects_are_found() -> None:
    assert injected_names('# Parameters\nprofil = "demo"\nrun_dir = "x"\n') == ["profil", "run_dir"]
