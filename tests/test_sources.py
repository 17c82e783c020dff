"""Keys that see code: what changes them, what does not, what is refused."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from meiju_utils import graphs, predictions
from meiju_utils.errors import ConfigError
from meiju_utils.sources import code_key

BASE = '''"""A base."""

class Base:
    """Docs."""
    def step(self): return 1
'''
PART = '''"""A part."""
import numpy as np
from math import sqrt
from tqdm import tqdm
from extension_base import Base

LIMIT = 0.5
ROOT = sqrt(2)

class Part(Base):
    rate = 0.1

    def shown(self): return 1

    def forward(self, x, *, scale=1.0):
        """Docs."""
        return [np.add(y, LIMIT) for y in x]

    @property
    def name(self):
        return "part"

    @name.setter
    def name(self, value):
        self.other = value

    @staticmethod
    def still(): return lambda x: x in {"a", "b", "c"}
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes a module and loads it (anew)."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(name: str, source: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield load
    for name in ("extension_base", "extension_part"):
        sys.modules.pop(name, None)


def key_of(module: Callable[..., ModuleType], part: str = PART, base: str = BASE) -> str:
    module("extension_base", base)
    return code_key(module("extension_part", part).Part)


def test_a_key_changes_with_the_code_of_a_class_and_its_bases(
    module: Callable[..., ModuleType],
) -> None:
    before = key_of(module)
    assert key_of(module) == before
    assert key_of(module, PART.replace("np.add", "np.subtract")) != before
    assert key_of(module, PART.replace("0.5", "0.6")) != before
    assert key_of(module, base=BASE.replace("return 1", "return 2")) != before


def test_comments_docstrings_and_layout_change_nothing(module: Callable[..., ModuleType]) -> None:
    before = key_of(module)
    part = PART.replace("LIMIT = 0.5", "# one half\n\nLIMIT = (\n    0.5\n)")
    assert key_of(module, part.replace('"""Docs."""', '"""Other words."""')) == before
    assert key_of(module, part.replace('"""A part."""\n', "")) == before


def test_versions_of_what_shapes_results_count(
    module: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(module)
    monkeypatch.setattr(sys.modules["tqdm"], "__version__", "0.0")
    assert key_of(module) == before
    monkeypatch.setattr(np, "__version__", "0.0")
    assert key_of(module) != before


EDITS = {
    "body of a function": ("np.add", "np.subtract"),
    "constant": ("LIMIT = 0.5", "LIMIT = 0.6"),
    "constant that is computed": ("sqrt(2)", "sqrt(3)"),
    "set in a function": ('"b"', '"d"'),
    "attribute of a class": ("rate = 0.1", "rate = 0.2"),
    "default": ("scale=1.0", "scale=2.0"),
    "base": ("class Part(Base)", "class Part"),
    "what a name is imported from": ("import sqrt", "import exp as sqrt"),
    "added method": ("    @property", "    def step(self): return 2\n\n    @property"),
    "removed method": ("    def shown(self): return 1\n", ""),
}


@pytest.mark.parametrize("change", list(EDITS.values()), ids=list(EDITS))
def test_a_file_that_was_edited_since_its_import_is_refused(
    module: Callable[..., ModuleType], change: tuple[str, str]
) -> None:
    module("extension_base", BASE)
    part = module("extension_part", PART)
    path = Path(str(part.__file__))
    path.write_text(PART.replace("class Part", "# a comment\nclass Part").replace("Docs", "D"))
    code_key(part.Part)
    assert PART.replace(*change) != PART
    path.write_text(PART.replace(*change))
    with pytest.raises(ConfigError, match=r"extension_part\.py says something else.*Restart"):
        code_key(part.Part)
    importlib.reload(part)  # as %autoreload does
    code_key(part.Part)


def test_a_file_in_the_middle_of_an_edit_is_refused(module: Callable[..., ModuleType]) -> None:
    module("extension_base", BASE)
    part = module("extension_part", PART)
    Path(str(part.__file__)).write_text(PART + "\ndef half(")
    with pytest.raises(ConfigError, match="Restart"):
        code_key(part.Part)


def test_what_a_module_does_to_itself_is_no_edit(module: Callable[..., ModuleType]) -> None:
    module("extension_base", BASE)
    odd = """
    KNOWN = {}
    KNOWN["a"] = 1
    N = 1
    N += 1
    FAST = False
    try:
        import math
        FAST = True
    except ImportError:
        pass
    def once(function): return lambda self: function(self)
    """
    source = PART.replace(
        "class Part", "\n".join(line[4:] for line in odd.split("\n")) + "\nclass Part"
    )
    source = source.replace(
        "    @property\n", "    @once\n    def twice(self): return 2\n\n    @property\n"
    )
    part = module("extension_part", source)
    part.KNOWN["b"] = 2
    code_key(part.Part)


def test_a_method_that_was_replaced_is_refused(
    module: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module("extension_base", BASE)
    part = module("extension_part", PART).Part
    monkeypatch.setattr(part, "forward", lambda self, x: 0)
    with pytest.raises(ConfigError, match=r"its Part\.forward was replaced"):
        code_key(part)


def test_a_class_of_a_notebooks_cell_is_refused() -> None:
    cell = ModuleType("cell")
    exec("class Part:\n def forward(self, x): return x", vars(cell))
    with pytest.raises(
        ConfigError, match=r"No file holds the code of Part.*write it into a module"
    ):
        code_key(vars(cell)["Part"])


def test_our_own_modules_are_as_loaded() -> None:
    assert code_key(predictions) != code_key(graphs)
