"""Is a file what was written? Nothing is taken for done because a file of its name is there.

What is damaged is set aside, so that it counts as not there and whatever makes it makes it again.
Imports `arrays`, `errors`, `files`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meiju_utils.arrays import read_arrays
from meiju_utils.errors import DamagedError
from meiju_utils.files import DAMAGED, read_record, read_sealed, read_table, set_aside

# By suffix: who reads a file and notices damage.
READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": read_table,
    ".json": read_record,
    ".safetensors": read_arrays,
    ".progress": read_sealed,
}
_intact: set[tuple[Any, ...]] = set()  # files by what tells that they are as they were


def intact(path: Path) -> bool:
    """Whether a file is there and is what was written, by its checksum.

    One that is not is set aside (its name gets the suffix `.damaged`), with a warning. A file that
    was found intact is not read again as long as its size and time stay as they are. OSError where
    it cannot be read.
    """
    try:
        status = path.stat()
        seen = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if seen not in _intact:
            READERS[path.suffix](path)
            _intact.add(seen)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except DamagedError as error:
        kept = f" It is kept as {path.name}{DAMAGED}." if set_aside(path) else ""
        warnings.warn(f"{error}{kept} It counts as not there.", stacklevel=2)
        return False
    return True
