"""Headless execution, on two toy notebooks in a project of their own."""

from pathlib import Path

import nbformat
import pytest

from meiju_utils import execution
from meiju_utils.errors import ConfigError
from meiju_utils.execution import Executed, NotebookError, run_notebooks, select_notebooks

PARAMETERS = 'profile = "demo"\ndata_dir = ""\nrun_dir = ""\noverrides = {}\n'
OPEN = "from meiju_utils.run import open_run\nrun = open_run(profile, data_dir, run_dir, overrides)"


def _write_notebook(path: Path, *cells: str) -> None:
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, *(nbformat.v4.new_code_cell(source) for source in (OPEN, *cells))],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("notebooks", "meiju_utils", "data"):
        (tmp_path / name).mkdir()
    _write_notebook(
        tmp_path / "notebooks" / "01_first.ipynb", "(run.folder / 'first.txt').write_text('1')"
    )
    _write_notebook(
        tmp_path / "notebooks" / "02_second.ipynb",
        "(run.folder / 'second.txt').write_text((run.folder / 'first.txt').read_text())",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(project: Path, **options: object) -> dict[str, str]:
    executed: list[Executed]
    _, executed = run_notebooks("demo", str(project / "data"), str(project / "r"), **options)  # type: ignore[arg-type]
    for one in executed:
        assert one.notebook.is_file()
        assert one.html.is_file()
    return {one.name: one.status for one in executed}


def test_notebooks_run_in_order_and_again_only_where_something_changed(project: Path) -> None:
    assert _run(project) == {"01_first": "run", "02_second": "run"}
    assert (project / "r" / "second.txt").read_text() == "1"
    assert _run(project) == {"01_first": "up to date", "02_second": "up to date"}

    (project / "r" / "second.txt").unlink()
    assert _run(project, only=["2"]) == {"02_second": "run"}

    (project / "data" / "new clip.mp4").touch()
    assert _run(project, only=["01"]) == {"01_first": "run"}
    # The second read what the first has written anew: it is no longer current.
    assert _run(project) == {"01_first": "up to date", "02_second": "run"}


def test_corrections_and_local_models_make_notebooks_run_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(_: Path, result: Executed, __: object) -> None:
        result.notebook.parent.mkdir(parents=True, exist_ok=True)
        result.notebook.touch()
        result.html.touch()

    monkeypatch.setattr(execution, "_execute", execute)
    model = project / "talknet.model"
    overrides = {"preprocessing.speaker": f"talknet:{model}"}

    def run() -> str:
        return _run(project, overrides=overrides, only=["01"])["01_first"]

    assert [run(), run()] == ["run", "up to date"]
    for path in (project / "r" / "corrections.csv", model):
        for content in ("one", "another"):
            path.write_text(content)
            assert [run(), run()] == ["run", "up to date"]


def test_a_failure_names_notebook_cell_and_cause_and_keeps_what_ran(project: Path) -> None:
    _write_notebook(project / "notebooks" / "02_second.ipynb", "x = 1", "1 / 0  # the fault")
    with pytest.raises(NotebookError) as caught:
        _run(project)
    message = str(caught.value)
    assert "02_second.ipynb" in message
    assert "cell 5 ('1 / 0  # the fault')" in message
    assert "ZeroDivisionError: division by zero" in message
    assert (project / "r" / "notebooks" / "02_second.html").is_file()
    assert _run(project, only=["1"]) == {"01_first": "up to date"}


def test_an_unknown_papermill_parameter_is_refused(project: Path) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    with pytest.raises(PapermillExecutionError, match="did you mean 'profile'"):
        papermill.execute_notebook(
            project / "notebooks" / "01_first.ipynb",
            project / "out.ipynb",
            {"profil": "demo"},
            progress_bar=False,
        )


@pytest.mark.parametrize("name", ["7", "third"])
def test_an_unknown_notebook_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Valid: 01, 01_first"):
        select_notebooks([name])


def test_outside_a_checkout_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="checkout"):
        select_notebooks([])
