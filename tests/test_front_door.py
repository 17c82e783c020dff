"""`import meiju_utils` costs nothing and offers the names that a notebook starts with."""

import ast
import doctest
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import meiju_utils

STUB = Path(meiju_utils.__file__).with_suffix(".pyi")


def in_a_fresh_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy_and_takes_no_time() -> None:
    told = in_a_fresh_process(
        "import sys, time; started = time.process_time(); import meiju_utils; "
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'yaml', 'typer'} & set(sys.modules); "
        "print(time.process_time() - started, *heavy)"
    )
    seconds, *heavy = told.split()
    assert heavy == []
    assert float(seconds) < 0.2


def test_the_names_of_settings_and_errors_come_without_the_libraries_of_stages() -> None:
    told = in_a_fresh_process(
        "import sys; from meiju_utils import MeijuError, load_profile; load_profile('demo'); "
        "print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    )
    assert told == "set()"


@pytest.mark.parametrize("name", meiju_utils.__all__)
def test_each_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(meiju_utils, name).__doc__


def test_all_names_are_listed() -> None:
    nodes = ast.parse(STUB.read_text()).body
    promised = [name.name for n in nodes if isinstance(n, ast.ImportFrom) for name in n.names]
    assert sorted(promised) == dir(meiju_utils) == sorted(meiju_utils.__all__)
    shown = pydoc.plain(pydoc.render_doc(meiju_utils))
    assert all(name in shown for name in promised)
    with pytest.raises(ImportError, match="opn_run"):
        from meiju_utils import opn_run  # type: ignore[attr-defined]  # noqa: F401


def test_the_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    tried = doctest.testmod(meiju_utils)
    assert (tried.failed, tried.attempted > 3) == (0, True)
