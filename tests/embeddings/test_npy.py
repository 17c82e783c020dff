"""Arrays made elsewhere are read within bounds."""

import io
from pathlib import Path

import numpy as np
import pytest

from meiju_utils.embeddings import npy
from meiju_utils.embeddings.base import Absent
from meiju_utils.embeddings.npy import read_npy


def header(shape: str, descr: str = "<f4") -> bytes:
    """The head of a .npy file, with no array behind it."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        text, {"descr": descr, "fortran_order": False, "shape": (1,)}
    )
    return text.getvalue().replace(b"(1,)", shape.encode())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (header("(100000000000000,)"), "no readable .npy file"),
        (header("(1000, 1000000000)"), "no readable .npy file"),
        (header("(1,)", "|O") + b"x" * 99, "no readable .npy file"),
        (b"", "no readable .npy file"),
        (b"\x93NUMPY\x01\x00\xff\xff", "no readable .npy file"),
    ],
    ids=["10^14 values", "4 TB", "a pickle", "empty", "a header that ends"],
)
def test_a_file_that_is_not_what_its_header_says_is_the_clips_fault(
    content: bytes, why: str, tmp_path: Path
) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    found = read_npy(tmp_path, "a")
    assert isinstance(found, Absent)
    assert found.failed
    assert why in found.reason


def test_so_many_values_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "MOST_VALUES", 12)
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float64))
    np.save(tmp_path / "b.npy", np.ones(13))
    kept = read_npy(tmp_path, "a")
    assert isinstance(kept, np.ndarray)
    assert (kept.shape, kept.dtype) == ((3, 4), np.float32)
    refused = read_npy(tmp_path, "b")
    assert isinstance(refused, Absent)
    assert "13 values" in refused.reason
