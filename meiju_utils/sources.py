"""What code makes a result: the source of modules as loaded, and their libraries' versions.

A key made with `code_key` changes with the code and not with comments, docstrings or layout, so
that no number has to be raised by hand. Imports `errors`, `files`, `loading`.
"""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from meiju_utils.errors import ConfigError
from meiju_utils.files import fingerprint
from meiju_utils.loading import LOADED, is_library

# Third-party packages whose version shapes no result: they check settings and show progress.
_WITHOUT_EFFECT = {"pydantic", "tqdm"}
_PACKAGE = __name__.partition(".")[0]


def code_key(*made_of: type | ModuleType) -> str:
    """Changes with the code of modules, and of those that define classes and their bases.

    What they import is left out, but for the versions of the third-party packages among it. Raises
    ConfigError where a module's file is no longer what was loaded from it or one of its functions
    was replaced, and for a class that no file holds.
    """
    found: dict[str, str] = {}
    versions: dict[str, str] = {}
    for one in made_of:
        for part in one.__mro__[:-1] if isinstance(one, type) else [one]:
            name = part.__module__ if isinstance(part, type) else part.__name__
            module = sys.modules.get(name)
            if module is not None and _is_library(name, module):
                continue
            source = _source(module)
            if module is None or source is None:
                raise ConfigError(
                    f"No file holds the code of {part.__name__}. Results are kept under the code "
                    "that made them: write it into a module, a .py file, and import it from there."
                )
            found[name] = _normalised(source)
            versions |= _versions(source)
    return fingerprint(found, versions)


def library_versions(*names: str) -> dict[str, str]:
    """Versions of libraries by the names they are installed under; "" of one that is not."""
    return {name: _version(name) for name in names}


@lru_cache(maxsize=128)
def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]  # torch names its build behind the plus
    except PackageNotFoundError:
        return ""


def _source(module: ModuleType | None) -> str | None:
    """The code of a module, checked to be what is loaded; None where no file holds it."""
    path = Path(getattr(module, "__file__", None) or "")
    if module is None or path.suffix != ".py" or not path.is_file():
        return None
    source = importlib.util.decode_source(path.read_bytes())
    loaded = LOADED.get(module.__name__)  # not of what pytest loads, which changes it on purpose
    if loaded is not None:
        known = importlib.util.decode_source(loaded)
        edited = known != source and _normalised(known) != _normalised(source)
        replaced = "" if edited else _replaced(module, source)
        if edited or replaced:
            what = f"its {replaced} was replaced" if replaced else "it was edited"
            raise ConfigError(
                f"{path.name} says something else than what is loaded from it: {what} after it was "
                "imported. Restart the kernel, so that results are kept under the code that made "
                "them."
            )
    return source


@lru_cache(maxsize=512)
def _normalised(source: str) -> str:
    """A module's source without comments, docstrings and layout; one that is no Python as it is."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # in the middle of an edit
        return source
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _replaced(module: ModuleType, source: str) -> str:
    """The first undecorated function that is not what the source says; "" if none is."""
    for name, codes in _functions(source).items():
        owner: Any = module
        for part in name.split("."):
            owner = getattr(owner, "__dict__", {}).get(part)
        loaded = getattr(owner, "__code__", None)
        if isinstance(loaded, CodeType) and _plain(loaded) not in codes:
            return name
    return ""


@lru_cache(maxsize=512)
def _functions(source: str) -> dict[str, list[Any]]:
    """Functions without decorators by qualified name, several where one stands in branches."""
    decorated = {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
    }
    found: dict[str, list[Any]] = {}
    for code in _codes(compile(source, "<source>", "exec")):
        if code.co_name not in decorated:
            found.setdefault(code.co_qualname, []).append(_plain(code))
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes, not those inside functions."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & inspect.CO_OPTIMIZED:
                yield inner
            else:  # the body of a class
                yield from _codes(inner)


def _plain(code: CodeType) -> tuple[Any, ...]:
    """What a function does, wherever it stands: no lines, no docstring."""
    constants = [_plain(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts]
    if constants and isinstance(code.co_consts[0], str):
        constants[0] = (str, "")  # where a docstring stands
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, *names, tuple(constants))


def _is_library(name: str, module: ModuleType) -> bool:
    if name.partition(".")[0] == _PACKAGE:
        return False
    builtin = name.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
    return builtin or is_library(getattr(module, "__file__", None) or "")


def _versions(source: str) -> dict[str, str]:
    """Versions of the third-party packages that a module's names come from."""
    found = {}
    for name in _imported(source):
        number = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(number, str):
            found[name] = number.partition("+")[0]
    return found


@lru_cache(maxsize=512)
def _imported(source: str) -> list[str]:
    """Top names of what a module imports when it is loaded. What its functions import later may be
    loaded or not: a key must not depend on that (see `library_versions`)."""
    names = set()
    for node in _executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names - {_PACKAGE} - _WITHOUT_EFFECT - sys.stdlib_module_names)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module but for those inside functions and those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        only_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not only_typing:
            yield node
            yield from _executed(node)
