"""Headless execution, on toy notebooks in a project of their own."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from meiju_utils import execution, skipping
from meiju_utils.config import load_profile
from meiju_utils.corpus import listing
from meiju_utils.errors import ConfigError
from meiju_utils.execution import Executed, NotebookError, run_notebooks, select_notebooks
from meiju_utils.run import Run
from tests.conftest import Record

PARAMETERS = 'profile = "demo"\ndata_dir = ""\nrun_dir = ""\noverrides = {}\n'
OPEN = "from meiju_utils import open_run\nrun = open_run(profile, data_dir, run_dir, overrides)"


def _write_notebook(path: Path, *cells: str, opening: str = OPEN) -> None:
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, *(nbformat.v4.new_code_cell(source) for source in (opening, *cells))],
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


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebooks' cells run in this process: a kernel takes seconds to start."""

    def execute(source: Path, copy: Path, html: Path, parameters: dict[str, Any]) -> None:
        names = dict(parameters)
        for cell in nbformat.read(source, as_version=4).cells[1:]:
            exec(cell.source, names)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
        html.touch()

    monkeypatch.setattr(execution, "_execute", execute)


def _run(
    project: Path, profile: str = "demo", data: str = "data", folder: str = "r", **options: object
) -> dict[str, str]:
    executed: list[Executed]
    places = str(project / data), str(project / folder)
    _, executed = run_notebooks(profile, *places, **options)  # type: ignore[arg-type]
    for one in executed:
        if one.status != "outdated":
            assert one.notebook.is_file()
            assert one.html.is_file()
    return {one.name: one.status for one in executed}


@pytest.mark.usefixtures("without_kernels")
def test_notebooks_run_in_order_and_again_only_where_something_changed(project: Path) -> None:
    assert _run(project) == {"01_first": "run", "02_second": "run"}
    assert (project / "r" / "second.txt").read_text() == "1"
    assert _run(project) == {"01_first": "up to date", "02_second": "up to date"}

    (project / "r" / "second.txt").unlink()
    assert _run(project, only=["2"]) == {"01_first": "up to date", "02_second": "run"}

    (project / "data" / "new clip.mp4").touch()
    assert _run(project, only=["01"]) == {"01_first": "run", "02_second": "outdated"}
    # The second read what the first has written anew: it is no longer current.
    assert _run(project) == {"01_first": "up to date", "02_second": "run"}


@pytest.mark.usefixtures("without_kernels")
def test_a_notebook_runs_again_where_a_file_it_wrote_is_changed(project: Path) -> None:
    _run(project)
    (project / "r" / "second.txt").write_text("")
    assert _run(project) == {"01_first": "up to date", "02_second": "run"}
    assert (project / "r" / "second.txt").read_text() == "1"
    assert _run(project) == {"01_first": "up to date", "02_second": "up to date"}


@pytest.mark.usefixtures("without_kernels")
def test_a_file_belongs_to_the_notebook_that_wrote_it_last(project: Path) -> None:
    _write_notebook(
        project / "notebooks" / "02_second.ipynb", "(run.folder / 'first.txt').write_text('two')"
    )
    _run(project)
    assert _run(project) == {"01_first": "up to date", "02_second": "up to date"}
    (project / "r" / "first.txt").unlink()
    assert _run(project) == {"01_first": "up to date", "02_second": "run"}


@pytest.mark.usefixtures("without_kernels")
def test_a_notebook_that_finds_its_work_done_still_owns_it(project: Path) -> None:
    _write_notebook(
        project / "notebooks" / "01_first.ipynb",
        "path = run.folder / 'first.txt'",
        "path.exists() or path.write_text('1')",
    )
    _run(project)
    assert _run(project, force=True) == {"01_first": "run", "02_second": "run"}
    (project / "r" / "first.txt").unlink()
    assert _run(project, only=["01"])["01_first"] == "run"


@pytest.mark.usefixtures("without_kernels")
@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_a_lost_copy_of_the_submission_is_made_again(project: Path, suffix: str) -> None:
    copies = "for path in run.submission_files: path.parent.mkdir(exist_ok=True); path.touch()"
    _write_notebook(project / "notebooks" / "02_second.ipynb", copies)
    _run(project)
    (project / "submissions" / f"r.{suffix}").unlink()
    assert _run(project) == {"01_first": "up to date", "02_second": "run"}
    assert (project / "submissions" / f"r.{suffix}").is_file()


@pytest.mark.usefixtures("without_kernels")
def test_the_users_files_outside_the_data_folder_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meiju_utils.opening.check_profile", lambda *_: [])  # what they name
    features = project / "my features"
    features.mkdir()
    (features / "a.npy").write_text("1")
    overrides = {
        "embeddings.audio": f"npy:{features}",
        "preprocessing.speaker": "talknet:talknet.model",  # relative to the project
    }
    both = {"01_first": "run", "02_second": "run"}
    assert _run(project, overrides=overrides) == both
    assert set(_run(project, overrides=overrides).values()) == {"up to date"}
    for path in (features / "a.npy", project / "talknet.model", project / "r" / "corrections.csv"):
        path.write_text("changed")
        assert _run(project, overrides=overrides) == both, path
    assert set(_run(project, overrides=overrides).values()) == {"up to date"}


@pytest.mark.usefixtures("without_kernels")
def test_what_other_settings_made_is_outdated_until_the_old_ones_return(project: Path) -> None:
    _run(project)
    other = _run(project, only=["01"], overrides={"training.epochs": 1})
    assert other == {"01_first": "run", "02_second": "outdated"}
    assert _run(project) == {"01_first": "run", "02_second": "up to date"}


@pytest.fixture
def walks(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each look into the data folder itself."""
    looks = []
    scandir = os.scandir

    def count(path: str | os.PathLike[str] = ".") -> Any:
        if Path(path) == project / "data":
            looks.append("look")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    return looks


# What a process of its own would do: it has seen nothing yet.
LOOK = """from meiju_utils.corpus import listing
listing._seen.clear()
seen = listing.list_folder(run.data_dir, fresh={fresh})
(run.folder / "{name}").write_text(str(sorted(seen.files)))"""


@pytest.mark.usefixtures("without_kernels")
def test_a_run_walks_over_the_data_folder_once_and_the_reader_of_the_corpus_once_more(
    project: Path, walks: list[str]
) -> None:
    add = "late = run.data_dir / 'late.mp4'\nlate.exists() or late.touch()"
    read = LOOK.format(fresh=True, name="first.txt")
    later = LOOK.format(fresh=False, name="second.txt")
    _write_notebook(project / "notebooks" / "01_first.ipynb", add, read)
    _write_notebook(project / "notebooks" / "02_second.ipynb", later)
    _run(project)
    assert len(walks) == 2
    # The later one sees what the first has read, not what the run saw before it.
    for name in ("first.txt", "second.txt"):
        assert (project / "r" / name).read_text() == "['late.mp4']", name
    assert listing.HANDED_OVER not in os.environ
    assert _run(project) == {"01_first": "run", "02_second": "run"}  # the clip is new to them
    walks.clear()
    assert set(_run(project).values()) == {"up to date"}
    assert len(walks) == 1


def test_a_run_passed_on_without_its_data_knows_what_its_data_were(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "clip.mp4").touch()
    run = Run(load_profile("demo"), data, tmp_path / "r")
    files = skipping.inputs_of(run).files
    (data / "clip.mp4").unlink()
    assert skipping.inputs_of(run).files != files
    (data / "clip.mp4").touch()
    files = skipping.inputs_of(run).files
    copy = Run(run.config, tmp_path / "not here", run.folder.rename(tmp_path / "copy"))
    assert skipping.inputs_of(copy).files == files
    (copy.folder / "notebooks" / skipping.LISTING_FILE).write_text("damaged")
    assert skipping.inputs_of(copy).files != files


@pytest.mark.usefixtures("without_kernels")
@pytest.mark.parametrize("state", ["", "[]", '{"01_first": {"key": "", "wrote": ["first.txt"]}}'])
def test_a_state_that_cannot_be_read_means_to_run_all(project: Path, state: str) -> None:
    _run(project)
    (project / "r" / "notebooks" / "state.json").write_text(state)
    assert _run(project) == {"01_first": "run", "02_second": "run"}


ALL = ["01", "02", "03", "04", "05", "06"]
WRITTEN = {
    "01_preprocessing": "manifest.parquet",
    "02_embedding_extraction": "features.txt",
    "03_baseline": "baseline.txt",
    "04_pseudo_labelling": "pseudo.txt",
    "05_head_variant_training": "table.txt",
    "06_submission_ensembling": "results.json",
}


@pytest.fixture
def suite(project: Path, without_kernels: None) -> Path:
    """The project with toys named as the real notebooks, which find their work done as they do."""
    for path in (project / "notebooks").iterdir():
        path.unlink()
    for stem, name in WRITTEN.items():
        _write_notebook(
            project / "notebooks" / f"{stem}.ipynb",
            f"path = pathlib.Path(run_dir, {name!r})",
            "path.exists() or path.write_text(str(time.time_ns()))",
            opening="import pathlib, time",
        )
    return project


def _outdated(suite: Path, **options: object) -> list[str]:
    """Numbers of the notebooks that are not up to date; none but the first is run."""
    found = _run(suite, only=["01"], **options)
    return [name[:2] for name, status in found.items() if status != "up to date"]


def test_a_setting_concerns_only_the_notebooks_that_read_it(suite: Path) -> None:
    assert set(_run(suite).values()) == {"run"}
    for setting, value, first in (
        ("submission", "baseline", 5),
        ("training.epochs", 5, 3),
        ("training.seeds", [4], 3),
        ("embeddings.audio", None, 2),
        ("seed", 7, 2),
        ("preprocessing.frame_stride", 7, 1),
        ("follow_links", True, 1),
    ):
        assert _outdated(suite, overrides={setting: value}) == ALL[first - 1 :], setting


def test_where_work_is_done_concerns_no_notebook(suite: Path) -> None:
    _run(suite)
    elsewhere = {
        "parallel.backend": "dask",
        "parallel.address": "tcp://host:8786",
        "training.device": "cpu",
        "embeddings.device": "cpu",
    }
    assert _outdated(suite, overrides=elsewhere) == []


def test_a_file_concerns_only_the_notebooks_that_read_the_setting_which_names_it(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meiju_utils.opening.check_profile", lambda *_: [])
    files = {"mine.yaml": 3, "features": 2, "talknet.model": 1}  # so each outdates more
    for name in files:
        (suite / name).write_text("mine: {like: baseline}")
    overrides = {
        "preprocessing.speaker": "talknet:talknet.model",
        "embeddings.text": "npy:features",
        "recipes": "mine.yaml",
    }
    _run(suite, overrides=overrides)
    for name, first in files.items():
        (suite / name).write_text("mine: {like: +pseudo-label}")
        assert _outdated(suite, overrides=overrides) == ALL[first - 1 :], name
    (suite / "r" / "corrections.csv").write_text("clip_id,text,note")
    assert _outdated(suite, overrides=overrides) == ALL


def test_code_concerns_only_the_notebooks_that_read_it(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skipping, "PACKAGE", tmp_path / "package")
    sources = {  # so that each outdates no less than those before
        "cli.py": 7,
        "profiles/demo.yaml": 7,
        "submission/writer.py": 6,
        "reporting/templates/report.html.j2": 6,
        "recipes/library.yaml": 3,
        "modelling/parts/heads.py": 3,
        "embeddings/__init__.py": 2,
        "corpus/demo/counts.csv": 1,
        "new.py": 1,
    }
    for name in sources:
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    _run(suite)
    for name, first in sources.items():
        (tmp_path / "package" / name).write_text("changed")
        assert _outdated(suite) == ALL[first - 1 :], name


def test_one_of_the_users_own_notebooks_reads_everything(suite: Path) -> None:
    _write_notebook(suite / "notebooks" / "07_mine.ipynb", opening="")
    _run(suite)
    assert _outdated(suite, overrides={"parallel.workers": 5}) == ["07"]
    (suite / "notebooks" / "07_mine.ipynb").rename(suite / "notebooks" / "00_mine.ipynb")
    _run(suite)
    assert _outdated(suite, overrides={"training.epochs": 5}) == ["00", *ALL[2:]]


def test_forced_notebooks_compute_anew_what_they_find(suite: Path) -> None:
    users = ["r/corrections.csv", "submissions/r.csv", "submissions/ledger.csv"]
    for name in users:
        (suite / name).parent.mkdir(exist_ok=True)
        (suite / name).write_text("mine")
    _run(suite)
    before = {name: (suite / "r" / name).read_text() for name in WRITTEN.values()}
    statuses = _run(suite, force=True, only=["06"])
    assert set(statuses.values()) == {"up to date", "run"}
    _run(suite, force=True, only=["01"])
    after = {name: (suite / "r" / name).read_text() for name in WRITTEN.values()}
    anew = {name for name in before if after[name] != before[name]}
    assert anew == {"manifest.parquet", "results.json"}
    assert {(suite / name).read_text() for name in users} == {"mine"}


def test_what_a_forced_notebook_computed_anew_outdates_the_later_ones(suite: Path) -> None:
    _run(suite)
    statuses = _run(suite, force=True, only=["03"])
    assert list(statuses.values()) == [*["up to date"] * 2, "run", *["outdated"] * 3]
    assert list(_run(suite).values()) == [*["up to date"] * 3, *["run"] * 3]
    assert set(_run(suite).values()) == {"up to date"}


def test_force_needs_no_state(suite: Path) -> None:
    run = suite / "r"
    run.mkdir()
    for name in ("results.json", "corrections.csv"):
        (run / name).write_text("by hand, in JupyterLab")
    _run(suite, only=["06"])
    assert "by hand" in (run / "results.json").read_text()
    (run / "notebooks" / "state.json").unlink()
    _run(suite, force=True, only=["06"])
    assert "by hand" not in (run / "results.json").read_text()
    assert "by hand" in (run / "corrections.csv").read_text()


def test_a_force_that_is_interrupted_goes_on_without_force(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(suite)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("discard", "_execute"):
        with monkeypatch.context() as patch:
            patch.setattr(execution, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                _run(suite, force=True, only=["06"])
        assert list(_run(suite).values()) == [*["up to date"] * 5, "run"]
        assert (suite / "r" / "results.json").is_file()


def test_a_force_that_is_refused_changes_nothing(suite: Path) -> None:
    _run(suite)
    (suite / "elsewhere").mkdir()
    (suite / "r" / "preprocessed").symlink_to(suite / "elsewhere")
    (suite / "elsewhere" / "current.json").touch()
    with pytest.raises(ConfigError, match="by a link"):
        _run(suite, force=True)
    assert (suite / "elsewhere" / "current.json").is_file()
    assert set(_run(suite).values()) == {"up to date"}


def test_a_failure_names_notebook_cell_and_cause_and_keeps_what_ran(project: Path) -> None:
    """Under names in which papermill, shells, YAML, pages and formulas see signs of theirs."""
    odd = "-{x} {profile} #%41 $x^$ '\"`& 数据"
    (project / f"{odd}.yaml").write_text("track: 1\nlanguage: mandarin\n")
    (project / odd).mkdir()
    names = {"profile": str(project / f"{odd}.yaml"), "data": odd, "folder": f"r{odd}"}
    _write_notebook(
        project / "notebooks" / "02_second.ipynb",
        "import shlex\nprint(shlex.split(run.command))",
        "1 / 0  # the fault",
    )
    with pytest.raises(NotebookError) as caught:
        _run(project, **names)
    message = str(caught.value)
    assert "02_second.ipynb" in message
    assert "cell 5 ('1 / 0  # the fault')" in message
    assert "ZeroDivisionError: division by zero" in message
    executed = project / f"r{odd}" / "notebooks"
    assert (executed / "02_second.html").is_file()
    command = ["meiju", "run", "--profile", names["profile"], "--data-dir", str(project / odd)]
    cells = nbformat.read(executed / "02_second.ipynb", as_version=4).cells
    shown = next(cell for cell in cells if "shlex" in cell.source).outputs[0].text
    assert ast.literal_eval(shown) == [*command, "--run-dir", str(project / f"r{odd}")]
    assert _run(project, only=["1"], **names) == {"01_first": "up to date", "02_second": "outdated"}


def _interrupted_run(project: Path, cell: str) -> "subprocess.Popen[str]":
    """`meiju run` as a process, once its first notebook's cell has made a file `begun`."""
    begun = project / "begun"
    cell = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\n{cell}"
    _write_notebook(project / "notebooks" / "01_first.ipynb", cell)
    process = subprocess.Popen(
        [sys.executable, "-m", "meiju_utils", "run", "--data-dir", "data", "--run-dir", "r"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(skipping.PACKAGE.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_in_one_line(
    project: Path, number: int, code: int, record: Record
) -> None:
    with _interrupted_run(project, "time.sleep(60)") as process:
        os.killpg(process.pid, number)  # as a terminal does
        shown, told = process.communicate(timeout=150)
    assert (process.returncode, shown) == (code, "")
    lines = [
        line for line in re.split(r"[\r\n]+", told) if line and not re.search("cell/s|s/cell", line)
    ]
    assert lines == ["Interrupted; the same command goes on from there."]
    copy = nbformat.read(project / "r" / "notebooks" / "01_first.ipynb", as_version=4)
    assert copy.cells[-1].outputs[-1].ename == "KeyboardInterrupt"
    name = signal.Signals(number).name
    record("processes", name, f"one line, exit code {code}", "–", 1)


def test_kernel_and_workers_end_with_a_command_that_is_killed(
    project: Path, record: Record
) -> None:
    cell = """
from meiju_utils.config import Parallel
from meiju_utils.parallel import map_items
def work(place):
    import os, pathlib, time
    pathlib.Path(place, f"pid-{os.getpid()}").touch()
    time.sleep(100)
pathlib.Path(HERE, f"pid-{__import__('os').getpid()}").touch()
map_items(work, [HERE] * 4, list("abcd"), Parallel(workers=2), "sleeping")
""".replace("HERE", repr(str(project)))
    with _interrupted_run(project, cell) as process:
        while len(numbers := [int(p.name[4:]) for p in project.glob("pid-*")]) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        _, told = process.communicate(timeout=150)
    assert "01 sleeping:   0%|" in told  # the stage's bar, as a log has it
    waited = time.monotonic() + 15  # two looks, of kernel and workers, a second apart; and a margin
    while [n for n in numbers if _runs(n)] and time.monotonic() < waited:
        time.sleep(0.1)
    assert not [n for n in numbers if _runs(n)]
    happens = "kernel and workers end within seconds"
    record("processes", "kill -9 of `meiju run`", happens, "–", 1)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, but nobody has asked yet how


def test_a_kernel_that_dies_is_named_with_its_cell_and_what_it_had_shown(project: Path) -> None:
    cells = ("print('so far')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "2")
    _write_notebook(project / "notebooks" / "02_second.ipynb", *cells)
    with pytest.raises(NotebookError) as caught:
        _run(project)
    message = str(caught.value)
    assert "02_second.ipynb stopped in cell 5 ('import os, signal')" in message
    assert "memory" in message
    folder = project / "r" / "notebooks"
    assert "so far" in (folder / "02_second.html").read_text()
    assert not list(folder.glob(".partial-*"))
    assert _run(project, only=["1"])["01_first"] == "up to date"


def test_an_unknown_papermill_parameter_is_refused(project: Path) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    with pytest.raises(PapermillExecutionError, match="did you mean 'profile'") as caught:
        papermill.execute_notebook(
            project / "notebooks" / "01_first.ipynb",
            project / "out.ipynb",
            {"profil": "demo"},
            progress_bar=False,
        )
    assert caught.value.ename == "ConfigError"
    assert caught.value.evalue.startswith("Unknown notebook parameter 'profil'")
    assert "meiju_utils/" not in str(caught.value)  # the message alone


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
