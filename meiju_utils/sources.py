"""What code makes a result: the source of modules as loaded, and their libraries' versions.

A key made with `code_key` changes with the code and not with comments, docstrings or layout, so
that no number has to be raised by hand. Imports `errors`, `files`.
"""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from meiju_utils.errors import ConfigError
from meiju_utils.files import fingerprint

# Third-party packages whose version shapes no result: they check settings and show progress.
_WITHOUT_EFFECT = {"pydantic", "tqdm"}
_PACKAGE = __name__.partition(".")[0]


def code_key(*made_of: type | ModuleType) -> str:
    """Changes with the code of modules, and of those that define classes and their bases.

    What they import is left out, but for the versions of the third-party packages among it. Raises
    ConfigError where a module's file says something else than what is loaded: it was edited, or
    part of it replaced, since it was imported.
    """
    found: dict[str, Any] = {}
    versions: dict[str, str] = {}
    for one in made_of:
        for part in one.__mro__[:-1] if isinstance(one, type) else [one]:
            name = part.__module__ if isinstance(part, type) else part.__name__
            module = sys.modules.get(name)
            if module is None or not _is_library(name, module):
                found[name] = _of_module(module) or _of_loaded(part)
                versions |= _versions(module)
    return fingerprint(found, versions)


def _of_module(module: ModuleType | None) -> str:
    """The code of a module's file; "" where there is none, as of a notebook's cells."""
    path = _file(module)
    if module is None or path is None:
        return ""
    source = importlib.util.decode_source(path.read_bytes())
    # Whoever loads a module in another way may have changed it on purpose, as pytest does.
    plain = isinstance(module.__loader__, SourceFileLoader)
    replaced = _unlike_loaded(module, source) if plain else ""
    if replaced:
        raise ConfigError(
            f"{path.name} says something else than what is loaded from it ({replaced}): it was "
            "edited, or part of it replaced, after it was imported. Restart the kernel, so that "
            "results are kept under the code that made them."
        )
    return _normalised(source)


def _file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name) if name and name.endswith(".py") and Path(name).is_file() else None


@lru_cache(maxsize=512)
def _normalised(source: str) -> str:
    """A module's source without comments, docstrings and layout."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _unlike_loaded(module: ModuleType, source: str) -> str:
    """The first function or constant of a module that is not what its source says; "" if none."""
    functions, constants = _defined(source)
    for name, codes in functions.items():
        loaded = _loaded_code(module, name)
        if loaded is not None and _plain(loaded) not in codes:
            return name
    for name, value in constants.items():
        if name in vars(module) and vars(module)[name] != value:
            return name
    return ""


@lru_cache(maxsize=512)
def _defined(source: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Functions by qualified name (several where a property has a setter), literal constants."""
    functions: dict[str, list[Any]] = {}
    for code in _codes(compile(source, "<source>", "exec")):
        functions.setdefault(code.co_qualname, []).append(_plain(code))
    constants = {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name):
            try:
                constants[target.id] = ast.literal_eval(node.value or ast.Constant(None))
            except (ValueError, TypeError):
                constants.pop(target.id, None)  # not a literal
    return functions, constants


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes, not those inside functions."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & inspect.CO_OPTIMIZED:
                yield inner
            else:  # the body of a class
                yield from _codes(inner)


def _loaded_code(module: ModuleType, qualified_name: str) -> CodeType | None:
    owner: Any = module
    for part in qualified_name.split("."):
        owner = getattr(owner, "__dict__", {}).get(part)
    for wrapper in ("__func__", "fget", "func"):
        owner = getattr(owner, wrapper, owner)
    code = getattr(inspect.unwrap(owner) if callable(owner) else owner, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _plain(code: CodeType) -> tuple[Any, ...]:
    """What a function does, wherever it stands: no lines, no docstring."""
    constants = [_plain(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts]
    if constants and isinstance(code.co_consts[0], str):
        constants[0] = (str, "")  # where a docstring stands
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, *names, tuple(constants))


def _of_loaded(part: Any) -> list[str]:
    """The code of a class that no file holds: its functions as they were compiled."""
    members = vars(part).items()
    codes = ((name, _loaded_code(part, name)) for name, _ in members)
    return [f"{name} {_plain(code)}" for name, code in codes if code is not None]


def _is_library(name: str, module: ModuleType) -> bool:
    if name.partition(".")[0] == _PACKAGE:
        return False
    path = getattr(module, "__file__", None) or ""
    builtin = name.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
    return builtin or "site-packages" in Path(path).parts or "dist-packages" in Path(path).parts


def _versions(module: ModuleType | None) -> dict[str, str]:
    """Versions of the third-party packages that a module's names come from."""
    path = _file(module)
    if path is None:
        return {}
    found = {}
    for name in _imported(importlib.util.decode_source(path.read_bytes())):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version.partition("+")[0]  # torch names its build behind the plus
    return found


@lru_cache(maxsize=512)
def _imported(source: str) -> list[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names - {_PACKAGE} - _WITHOUT_EFFECT - sys.stdlib_module_names)
