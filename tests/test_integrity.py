"""A file that is there is not for that what was written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meiju_utils.arrays import write_arrays
from meiju_utils.files import write_record, write_sealed, write_table
from meiju_utils.integrity import intact

WRITERS = {
    "a.parquet": lambda path: write_table(path, pd.DataFrame({"a": [1, 2]})),
    "a.json": lambda path: write_record(path, {"a": 1}),
    "a.safetensors": lambda path: write_arrays(path, {"a": np.arange(4)}),
    "a.progress": lambda path: write_sealed(path, b"state"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_damaged_is_set_aside_with_a_warning(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert not intact(path)
    WRITERS[name](path)
    assert intact(path)
    content = bytearray(path.read_bytes())
    content[-1 - 3 * (path.suffix == ".json")] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{name} is damaged.*kept as {name}\.damaged"):
        assert not intact(path)
    assert not path.exists()
    assert path.with_name(f"{name}.damaged").read_bytes() == content
    WRITERS[name](path)
    assert intact(path)


def test_what_was_found_intact_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_record(path, {"a": 1})
    assert intact(path)
    monkeypatch.setattr("meiju_utils.integrity.READERS", {})
    assert intact(path)


def test_a_folder_that_cannot_be_written_keeps_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.warns(UserWarning, match="damaged"):
        assert not intact(path)
    assert path.is_file()
