"""Is a file what was written? Nothing is taken for done because a file of its name is there.

What is damaged is set aside, so that it counts as not there and whatever makes it makes it again.
Imports `arrays`, `errors`, `files`.
"""

import warnings
from collections.abc import Callable
from functools import cache
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


def intact(path: Path) -> bool:
    """Whether a file is there and is what was written, by its checksum.

    One that is not is set aside (its name gets the suffix `.damaged`), with a warning. A file that
    was found intact is not read again as long as its size and time stay as they are.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return _as_written(path, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _as_written(path: Path, number: int, size: int, modified_ns: int) -> bool:
    try:
        READERS[path.suffix](path)
    except FileNotFoundError:
        return False
    except DamagedError as error:
        set_aside(path)
        warnings.warn(f"{error} It is kept as {path.name}{DAMAGED} and made again.", stacklevel=4)
        return False
    return True
