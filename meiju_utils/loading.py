"""The source of every module of the package and of the user's, as it was when it was loaded.

Imported first of all, so that nothing of the package is loaded before. Imports nothing of it.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

LOADED: dict[str, bytes] = {}  # module → its file's contents
_LIBRARIES = {"site-packages", "dist-packages"}


class _Remembering:
    """A finder that finds what Python's own does, and keeps the source of what is no library."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top != "meiju_utils" and (top in sys.stdlib_module_names or is_library(*path or ())):
            return None
        spec = PathFinder.find_spec(name, path, target)
        origin = spec.origin if spec else None
        if origin and origin.endswith(".py") and (top == "meiju_utils" or not is_library(origin)):
            LOADED[name] = Path(origin).read_bytes()
        return spec


def is_library(*places: str) -> bool:
    """Whether any of these files or folders belongs to an installed package."""
    return any(_LIBRARIES.intersection(Path(place).parts) for place in places)


def remember() -> None:
    """Keep sources from now on; of tests pytest's own finder, which comes before, loads modules."""
    if _Remembering not in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _Remembering)
