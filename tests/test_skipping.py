"""What the suite's notebooks are declared to read, held against what they import and ask for."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import nbformat
import pytest

import meiju_utils
from meiju_utils.config import Profile, load_profile
from meiju_utils.run import Run
from meiju_utils.skipping import COMES_WITH, UNREAD, Inputs, inputs_of, stamps_of

PACKAGE = Path(meiju_utils.__file__).parent
NOTEBOOKS = PACKAGE.parent / "notebooks"
# A new module or setting is read by all notebooks. Does it come in with a later one? Then add it to
# `skipping.COMES_WITH`, else here.
CODE_OF_ALL = {
    *("integrity", "machine"),
    *(
        "__init__",
        "challenge",
        "checks",
        "columns",
        "completeness",
        "config",
        "corpus",
        "devices",
        "errors",
    ),
    *(
        "files",
        "folding",
        "html",
        "loading",
        "media",
        "opening",
        "parallel",
        "predictions",
        "preprocessing",
    ),
    *("references", "reporting", "run", "run_folder", "scoring", "sources", "stamping"),
    "strict_yaml",
}
SETTINGS_OF_ALL = {
    *("name", "track", "language", "data_dir", "follow_links", "labels", "metric", "split"),
    "preprocessing",
}


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): path for path in PACKAGE.rglob("*.py")}
# Package whose names are brought when they are used → name → the module it is from.
STUBS = {
    _module(stub.with_suffix(".py")): {
        alias.name: node.module or ""
        for node in ast.parse(stub.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for stub in PACKAGE.rglob("__init__.pyi")
}


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _run_time_nodes(node)


def _imported(tree: ast.AST) -> set[str]:
    """Modules of the package that code imports, at once or in a function."""
    found = set()
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                place = node.module
                while alias.name in STUBS.get(place, {}):
                    place = f"{place}.{STUBS[place][alias.name]}"
                whole = f"{place}.{alias.name}"
                found.add(whole if whole in SOURCES else place)
    return {module for module in found if module in SOURCES}


@cache
def _imports_of(module: str) -> set[str]:
    return _imported(ast.parse(SOURCES[module].read_text("utf-8")))


@cache
def _cells(notebook: str) -> ast.Module:
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


@cache
def _reached(notebook: str) -> set[str]:
    """Modules that a notebook's cells import, and what these import in turn.

    But for what opening a run brings in, which is only looked at for mistakes.
    """
    found: set[str] = set()
    waiting = _imported(_cells(notebook))
    while waiting:
        module = waiting.pop()
        found.add(module)
        packages = {module.rpartition(".")[0]} - {"", "meiju_utils"}
        further = set() if module == "meiju_utils.opening" else _imports_of(module)
        waiting |= (packages | further) - found
    return found


def _source(module: str) -> str:
    """As in `Inputs.code`."""
    return SOURCES[module].relative_to(PACKAGE).as_posix().replace("/", ".")


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return inputs_of(Run(load_profile("demo"), tmp_path, tmp_path))


@pytest.mark.parametrize("notebook", COMES_WITH)
def test_a_key_changes_with_every_module_that_the_notebook_imports(
    inputs: Inputs, notebook: str
) -> None:
    reached = _reached(notebook)
    assert len(reached) > 40
    unchanged = [
        module
        for module in reached
        if replace(inputs, code={**inputs.code, _source(module): "changed"}).key(notebook)
        == inputs.key(notebook)
    ]
    assert unchanged == []


def test_what_comes_with_a_notebook_is_imported_by_it_and_not_before() -> None:
    before: set[str] = set()
    for notebook, reads in COMES_WITH.items():
        names = {_source(module) for module in _reached(notebook)}
        for place in reads.code:
            assert any(name.startswith(f"{place}.") for name in before) is False, place
            has_modules = any(_source(module).startswith(f"{place}.") for module in SOURCES)
            reached = any(name.startswith(f"{place}.") for name in names)
            assert reached or not has_modules, place
        before |= names


def test_every_module_and_every_setting_is_accounted_for(inputs: Inputs) -> None:
    declared = [UNREAD, *COMES_WITH.values()]
    places = {place for reads in declared for place in reads.code}
    assert all(any(name.startswith(f"{place}.") for name in inputs.code) for place in places)
    tops = {name.split(".")[0] for name in inputs.code}
    assert tops - {place for place in places if "." not in place} == CODE_OF_ALL
    settings = {name for reads in declared for name in reads.settings if "." not in name}
    assert set(Profile.model_fields) - settings == SETTINGS_OF_ALL


def _settings_asked_for(notebook: str) -> set[str]:
    """`X` of every `....config.X` in a notebook's cells and the modules it reaches."""
    trees = [
        _cells(notebook),
        *(ast.parse(SOURCES[m].read_text("utf-8")) for m in _reached(notebook)),
    ]
    asked = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "config"
    }
    return asked & set(Profile.model_fields)


# The modules of later stages serve several notebooks, each with a part of the settings.
@pytest.mark.parametrize("notebook", ["01_preprocessing", "02_embedding_extraction"])
def test_a_key_changes_with_every_setting_that_the_notebook_asks_for(
    inputs: Inputs, notebook: str
) -> None:
    asked = _settings_asked_for(notebook) - {*UNREAD.settings}
    assert ("embeddings" in asked, "seed" in asked) == (notebook.startswith("02"),) * 2
    assert "preprocessing" in asked
    for setting in asked:
        changed = {
            name: "changed" if name.split(".")[0] == setting else value
            for name, value in inputs.settings.items()
        }
        assert replace(inputs, settings=changed).key(notebook) != inputs.key(notebook), setting


def test_what_the_doctor_keeps_is_no_notebooks(tmp_path: Path) -> None:
    run = Run(load_profile("demo"), tmp_path, tmp_path / "run-of-this-test")
    for name in ("doctor/seen.parquet", "clips.parquet"):
        run.path(name).parent.mkdir(parents=True, exist_ok=True)
        run.path(name).touch()
    assert list(stamps_of(run)) == ["clips.parquet"]
