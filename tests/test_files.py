from pathlib import Path

import pytest

from meiju_utils.files import atomic_path, fingerprint, read_json, safe_name, write_json


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


def test_safe_name_is_one_path_component() -> None:
    assert safe_name("hf:org/model name") == "hf_org_model_name"
    assert safe_name("../..") == "_"
