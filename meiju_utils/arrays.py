"""Arrays by name in one safetensors file, written at once; damage is noticed when it is read.

Imports `errors`, `files`.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from meiju_utils.errors import DamagedError
from meiju_utils.files import CHECKSUM, atomic_path, fingerprint

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Any = None) -> None:
    """Write arrays, and what is to be known of them (JSON), with a checksum of both."""
    flat = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    record = {"about": about, CHECKSUM: _checksum(flat, about)}
    with atomic_path(path) as temporary:  # one entry, as several are written in any order
        save_file(flat, temporary, {"record": json.dumps(record)})


def read_arrays(path: Path) -> tuple[Arrays, Any]:
    """What `write_arrays` wrote; DamagedError where it is another, OSError where there is none."""
    path.open("rb").close()  # what cannot be opened is not damaged
    try:
        with safe_open(path, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            record = json.loads((opened.metadata() or {})["record"])
        about, checksum = record["about"], record[CHECKSUM]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's fault, not the file's
            raise
        raise DamagedError(f"{path} is damaged: no file of arrays with a checksum.") from error
    if checksum != _checksum(arrays, about):
        raise DamagedError(f"{path} is damaged: it is not what was written ({CHECKSUM}).")
    return arrays, about


def _checksum(arrays: Arrays, about: Any) -> str:
    sums = {
        name: [array.dtype.str, array.shape, zlib.crc32(array.tobytes())]
        for name, array in arrays.items()
    }
    return fingerprint(sorted(sums.items()), about)
