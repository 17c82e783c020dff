"""Files of arrays: what is read is what was written, or an error."""

from pathlib import Path

import numpy as np
import pytest

from meiju_utils.arrays import read_arrays, write_arrays
from meiju_utils.errors import DamagedError


def test_arrays_come_back_as_they_were_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.empty(0, np.uint8)}
    for name in ("one", "two"):
        write_arrays(tmp_path / name, arrays, {"why": "here"})
    found, about = read_arrays(tmp_path / "one")
    assert about == {"why": "here"}
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["a"], arrays["a"])
    assert found["b"].dtype == np.uint8
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "arrays"
    write_arrays(path, {"a": np.arange(4, dtype=np.float64)}, "x")
    whole = path.read_bytes()
    for place in range(len(whole)):
        if whole[place : place + 1] in (b" ", b"\n"):  # blanks of the header mean nothing
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamagedError):
            read_arrays(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(DamagedError):
        read_arrays(path)
    with pytest.raises(OSError, match="none"):
        read_arrays(tmp_path / "none")
