import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml

from meiju_utils.config import parse_overrides
from meiju_utils.errors import ConfigError, CorpusError, MissingStageError
from meiju_utils.opening import injected_names, open_run
from meiju_utils.references import project_root, resolve


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    return {"data_dir": str(tmp_path / "data"), "run_dir": str(tmp_path / "run")}


def test_opening_a_run_writes_the_effective_settings(folders: dict[str, str]) -> None:
    run = open_run("demo", **folders, overrides={"training.epochs": 7})
    written = yaml.safe_load(run.path("config.yaml").read_text())
    assert written["training"]["epochs"] == 7
    assert written["preprocessing"]["sample_rate"] == 16000


def test_a_run_shows_itself_in_a_line_and_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run = open_run("demo", run_dir="runs/a<b>&c")
    assert repr(run) == "<Run demo (track1-mandarin): data demo, folder a<b>&c>"
    shown = run._repr_html_()
    assert "runs/a&lt;b&gt;&amp;c" in shown
    assert "none yet" in shown
    assert str(tmp_path) not in shown  # an executed notebook is passed on
    run.save_table("clips", pd.DataFrame({"clip_id": ["a"]}))
    assert '<td style="text-align:left">clips</td>' in run._repr_html_()


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


def _hint(caught: pytest.ExceptionInfo[MissingStageError]) -> list[str]:
    return shlex.split(str(caught.value).partition("or: ")[2])


def test_the_command_that_is_named_opens_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meiju_utils.opening.check_profile", lambda *_: [])
    (tmp_path / "the data").mkdir()
    profile = tmp_path / "my profile.yaml"
    profile.write_text("seed: 3")
    overrides = {
        "training.learning_rate": 1e-5,
        "training.seeds": (4, 5),
        "preprocessing.speaker": "true",
        "embeddings.audio": {"name": "hf:some/model", "layers": [-1]},
        "embeddings.visual": None,
        "training.epochs": 2,
    }
    data, folder = str(tmp_path / "the data"), str(tmp_path / "run's")
    run = open_run(str(profile), data, folder, overrides)
    with pytest.raises(MissingStageError) as caught:
        run.table("media")
    command, verb, *options = _hint(caught)
    assert (command, verb) == ("meiju", "run")
    given: dict[str, list[str]] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        given.setdefault(option, []).append(value)
    assert given.pop("--only") == ["01"]
    again = open_run(
        *(given[name][0] for name in ("--profile", "--data-dir", "--run-dir")),
        overrides=parse_overrides(given["--set"]),
    )
    assert again == run


def test_the_command_that_is_named_leaves_defaults_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for data_dir, run_dir in (("", ""), (str(tmp_path / "data/demo"), "runs/../runs/demo")):
        with pytest.raises(MissingStageError) as caught:
            open_run("demo", data_dir, run_dir).table("clips")
        assert _hint(caught) == ["meiju", "run", "--profile", "demo", "--only", "01"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_run_folder_that_cannot_be_made_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file.* cannot be the run folder"):
        open_run("demo", str(tmp_path / "data"), str(tmp_path / place))


def test_making_the_demo_corpus_is_advised_only_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="meiju demo-corpus data/demo"):
        open_run("demo")
    with pytest.raises(CorpusError, match="nowhere; give the folder that holds Track1"):
        open_run("demo", str(tmp_path / "nowhere"))


def test_overrides_given_as_text_are_refused_with_the_option_to_use(
    folders: dict[str, str],
) -> None:
    with pytest.raises(ConfigError, match=r"-y '\{overrides: \{training.epochs: 5\}\}'"):
        open_run("demo", **folders, overrides="{'training.epochs': 5}")  # type: ignore[arg-type]


def test_an_override_without_its_section_is_refused_with_the_whole_key(
    folders: dict[str, str],
) -> None:
    with pytest.raises(ConfigError, match=r"'seeds': did you mean 'training\.seeds'\?"):
        open_run("demo", **folders, overrides={"seeds": [1, 2]})


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
    assert resolve(f"{tmp_path}/a/../b") == tmp_path / "b"


def test_a_link_to_a_run_folder_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)
    assert resolve(tmp_path / "run").name == "run"


def test_names_papermill_injects_are_found() -> None:
    assert injected_names('# Parameters\nprofil = "demo"\nrun_dir = "x"\n') == ["profil", "run_dir"]
