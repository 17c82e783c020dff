from pathlib import Path

import pandas as pd
import pytest

from meiju_utils.errors import DamagedError
from meiju_utils.files import (
    atomic_path,
    fingerprint,
    read_json,
    read_limited,
    read_record,
    read_table,
    safe_name,
    write_json,
    write_record,
    write_table,
)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "table.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError), atomic_path(target) as temporary:
        temporary.write_text(3)  # type: ignore[arg-type]
    assert read_json(target) == {"a": 1}
    assert [p.name for p in target.parent.iterdir()] == ["table.json"]


def test_the_temporary_file_lies_beside_the_target_and_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        assert not (tmp_path / "a.npz").exists()


def test_fingerprint_ignores_key_order_and_sees_every_value() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert fingerprint("a", "b") != fingerprint("ab")


def test_a_flipped_bit_anywhere_in_a_table_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table = pd.DataFrame({"a": ["x", "y"], "b": [1.5, 2.5]})
    table.attrs = {"told": "so"}
    write_table(path, table)
    pd.testing.assert_frame_equal(read_table(path), table)
    assert read_table(path, columns=["b"]).columns.tolist() == ["b"]
    assert read_table(path).attrs == pd.read_parquet(path).attrs == {"told": "so"}  # any reader's
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedError):
            read_table(path)
    for length in (0, 3, 11, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_table(path)


def test_a_record_is_noticed_to_be_another(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, {"a": {3: "x"}, "b": (1, 2)})
    assert read_record(path) == {"a": {"3": "x"}, "b": [1, 2]}
    for text in ("", "[]", "{", '{"a": 1}', path.read_text().replace("x", "y"), "[" * 10**5):
        path.write_text(text)
        with pytest.raises(DamagedError):
            read_record(path)


def test_no_more_is_read_of_a_file_than_a_text_may_have(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"x" * 11)
    assert read_limited(path, 11) == b"x" * 11
    with pytest.raises(ValueError, match=r"list\.txt holds more"):
        read_limited(path, 10)


def test_safe_name_is_one_path_component() -> None:
    assert safe_name("hf:org/model name") == "hf_org_model_name"
    assert safe_name("../..") == "_"
