import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from meiju_utils.embeddings import FeatureStore, import_folder, stores_in, stores_table
from meiju_utils.embeddings.shards import (
    DAMAGED,
    OpenShard,
    next_shard_number,
    set_damaged_aside,
    write_shard,
)
from meiju_utils.embeddings.store import FAILED, create_store
from meiju_utils.errors import DamagedError, FeatureError
from meiju_utils.files import read_record, write_record

META = {"encoder": "toy", "modality": "audio", "key": "k1", "dtype": "float32", "settings": {}}
A, B, C = "Track1_Training_00001", "片段 01", "a.b'c\"{}"


def arrays(*ids: str, width: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {c: rng.standard_normal((1 + i, width)).astype("float32") for i, c in enumerate(ids)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", META)
    return tmp_path / "store"


def test_what_was_written_is_read_back_by_clip(folder: Path) -> None:
    written = arrays(A, B, C)
    write_shard(folder, 0, written, {"无脸": "no face"}, seconds=2.5)
    store = FeatureStore(folder)
    assert store.clip_ids == sorted(written)
    assert (store.key, store.width, store.seconds) == ("k1", 4, 2.5)
    assert store.missing == {"无脸": "no face"}
    assert all(np.array_equal(store.get(c), written[c]) for c in written)
    means, present = store.means([B, "无脸", A, "never seen"])
    np.testing.assert_allclose(means[[0, 2]], [written[B].mean(0), written[A].mean(0)], rtol=1e-6)
    assert present.tolist() == [True, False, True, False]
    assert not means[[1, 3]].any()
    with pytest.raises(FeatureError, match="无脸: no face"):
        store.get("无脸")


def test_a_store_shows_itself_in_a_line_and_in_a_notebook(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s", META | {"encoder": "hf:<i>x</i>"})
    assert repr(store) == "<FeatureStore hf:<i>x</i>: 0 clips, 0 wide, 0.0 MB>"
    write_shard(tmp_path / "s", 0, arrays(A, B, width=500), {C: "no face"})
    store = FeatureStore(tmp_path / "s")
    assert repr(store).endswith(": 2 clips, 500 wide, 0.0 MB>")
    shown = store._repr_html_()
    assert "hf:&lt;i&gt;x&lt;/i&gt;" in shown
    assert "2 (1 absent)" in shown
    assert "color" not in shown  # it is read on light and on dark pages


def test_half_precision_is_stored_as_such_and_read_as_float32(folder: Path) -> None:
    written = arrays(A)
    write_shard(folder, 0, written, {}, dtype="float16")
    read = FeatureStore(folder).get(A)
    assert read.dtype == np.float32
    assert np.array_equal(read, written[A].astype("float16").astype("float32"))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1),
        min_size=1,
        max_size=5,
        unique=True,
    ).filter(lambda ids: not {".", "..", "__metadata__"} & set(ids))
)
def test_any_file_stem_can_be_a_clip_id(tmp_path: Path, ids: list[str]) -> None:
    folder = tmp_path / str(time.perf_counter_ns())
    create_store(folder, META)
    write_shard(folder, 0, arrays(*ids), {})
    FeatureStore(folder).save_index()
    store = FeatureStore(folder)
    assert store.clip_ids == sorted(ids)
    assert all(store.get(c).shape[1] == 4 for c in ids)


@pytest.mark.parametrize("clip_id", ["../outside", "/x", "a/b", "__metadata__", "..", ""])
def test_ids_that_are_no_file_names_are_refused(folder: Path, clip_id: str) -> None:
    with pytest.raises(FeatureError, match="clip id"):
        write_shard(folder, 0, arrays(clip_id), {})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.full((1, 4), np.nan), "not finite"),
        (np.zeros((1, 5)), "5 features"),
    ],
)
def test_a_bad_array_leaves_no_shard(folder: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        write_shard(folder, 0, {**arrays(A), "bad": array}, {})
    assert not list(folder.glob("*.safetensors"))


def test_a_later_shard_replaces_what_an_earlier_one_said_of_a_clip(folder: Path) -> None:
    write_shard(folder, 0, arrays(A), {B: FAILED + "OSError: disk"})
    assert FeatureStore(folder).unsettled({A: "", B: "", C: ""}) == [B, C]
    write_shard(folder, next_shard_number(folder), arrays(B, seed=1), {})
    store = FeatureStore(folder)
    assert store.clip_ids == sorted([A, B])
    assert store.missing == {}


def test_a_clip_is_stale_where_it_was_made_from_something_else(folder: Path) -> None:
    stamps = {A: "1", B: "1", C: "1"}
    write_shard(folder, 0, arrays(A, C), {B: "no face"}, stamps=stamps)
    store = FeatureStore(folder)
    assert store.stale(stamps) == []
    assert store.stale({**stamps, B: "2", C: "2"}) == [B, C]
    assert store.stamps([C, "unknown"]) == ["1", None]
    write_shard(folder, 1, arrays(C, seed=1), {}, stamps={C: "2"})
    changed = FeatureStore(folder)
    changed.save_index()
    assert changed.stale({**stamps, C: "2"}) == []
    assert FeatureStore(folder).state == changed.state != store.state


@pytest.mark.parametrize("text", ["", "[]", '{"00000-x.safetensors": {"what": 1}}'])
def test_an_index_that_cannot_be_read_is_made_anew(folder: Path, text: str) -> None:
    write_shard(folder, 0, arrays(A), {})
    (folder / "index.json").write_text(text)
    store = FeatureStore(folder)
    assert store.clip_ids == [A]
    store.save_index()
    assert "what" not in (folder / "index.json").read_text()
    assert FeatureStore(folder)._indexed


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_store_whose_description_is_damaged_says_so(folder: Path, text: str) -> None:
    (folder / "meta.json").write_text(text)
    with pytest.raises(DamagedError, match=r"meta\.json is damaged.*Delete this one file"):
        FeatureStore(folder)


def test_the_index_only_saves_reading_headers(folder: Path) -> None:
    write_shard(folder, 0, arrays(A), {B: "no face"})
    FeatureStore(folder).save_index()
    write_shard(folder, 1, arrays(C), {})  # not in the index yet, as after a crash
    assert FeatureStore(folder).clip_ids == sorted([A, C])
    (folder / "index.json").unlink()
    assert FeatureStore(folder).clip_ids == sorted([A, C])
    next(folder.glob("00000-*")).unlink()
    store = FeatureStore(folder)
    assert (store.clip_ids, store.missing) == ([C], {})


def test_a_damaged_shard_is_named(folder: Path) -> None:
    path = write_shard(folder, 0, arrays(A), {})
    FeatureStore(folder).save_index()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DamagedError, match=rf"{path.name}.*Run notebook 02 again"):
        FeatureStore(folder).get(A)
    assert FeatureStore(folder).verify()["problem"].tolist() == ["unreadable"]
    (folder / "index.json").unlink()
    with pytest.raises(DamagedError, match=path.name):
        FeatureStore(folder)


def test_a_flipped_bit_anywhere_in_a_shard_is_noticed(folder: Path) -> None:
    written = arrays(A, B)
    path = write_shard(folder, 0, written, {C: "no face"}, stamps={A: "1"})
    whole = path.read_bytes()
    FeatureStore(folder).save_index()  # says what the header says, so that nobody need look at it
    unnoticed = []
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            OpenShard(path).check()
            unnoticed.append(bit)
        except DamagedError:
            pass
        if bit % 97 == 0 and FeatureStore(folder).verify().empty:
            unnoticed.append(bit)
    assert unnoticed == []
    assert set_damaged_aside(folder) == [path.with_name(path.name + DAMAGED)]
    assert len(FeatureStore(folder)) == 0
    assert next_shard_number(folder) == 1  # so that the index never speaks of another shard


def test_a_flipped_bit_in_the_index_or_the_description_is_noticed(folder: Path) -> None:
    write_shard(folder, 0, arrays(A, B), {C: "no face"})
    sound = FeatureStore(folder)
    sound.save_index()
    for name in ("index.json", "meta.json"):
        path = folder / name
        whole = path.read_bytes()
        for position in range(0, len(whole), 7):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << position % 7
            path.write_bytes(flipped)
            try:
                store = FeatureStore(folder)
            except DamagedError:
                assert name == "meta.json"
            else:
                assert (store.clip_ids, store.missing) == (sound.clip_ids, sound.missing)
                assert store.meta == sound.meta
        path.write_bytes(whole)


@pytest.mark.parametrize("clip_id", ["../x", "/x", "__metadata__", ".."])
@pytest.mark.parametrize("place", ["header", "index"])
def test_ids_that_lead_out_of_a_folder_are_refused_where_another_wrote_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_id: str, place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("meiju_utils.embeddings.shards.check_ids", lambda _: None)
        path = write_shard(folder, 0, arrays(A) if "_" in clip_id else arrays(clip_id), {})
        if place == "index":
            FeatureStore(folder).save_index()
            entries = read_record(folder / "index.json")
            entries[path.name]["frames"] = {clip_id: 1}
            write_record(folder / "index.json", entries)
        elif "_" in clip_id:
            return  # the format itself has no such tensor
    with pytest.raises(FeatureError, match="cannot be a clip id"):
        FeatureStore(folder).export(tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_verify_needs_no_more_memory_than_a_clip(folder: Path) -> None:
    big = np.random.default_rng(0).standard_normal((8, 100, 500)).astype(np.float32)
    for number, array in enumerate(big):
        write_shard(folder, number, {f"clip {number}": array}, {})
    store = FeatureStore(folder)
    tracemalloc.start()
    assert store.verify().empty
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * big.nbytes  # some copies of one clip, not all eight


def test_settings_and_widths_never_mix(folder: Path) -> None:
    with pytest.raises(FeatureError, match="other settings"):
        create_store(folder, META | {"key": "k2"})
    write_shard(folder, 0, arrays(A), {})
    write_shard(folder, 1, arrays(B, width=5), {})
    with pytest.raises(FeatureError, match="mixes widths"):
        FeatureStore(folder)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"no meta\.json"):
        FeatureStore(tmp_path)


def test_twenty_thousand_clips_open_in_under_two_seconds(folder: Path) -> None:
    row = np.ones((1, 8), np.float32)
    for shard in range(79):
        clips = {f"{shard:03d}_{i:05d}": row for i in range(254)}
        write_shard(folder, shard, clips, {}, stamps=dict.fromkeys(clips, "0123456789ab"))
    FeatureStore(folder).save_index()
    started = time.perf_counter()
    store = FeatureStore(folder)
    assert len(store) == 20066
    assert store.get("078_00253").shape == (1, 8)
    assert time.perf_counter() - started < 2


def test_verify_finds_each_fault(folder: Path) -> None:
    twin = arrays("twin")["twin"]
    write_shard(folder, 0, {**arrays(A, B), "x": twin, "y": twin}, {})
    store = FeatureStore(folder)
    faults = store.verify()
    assert faults[["clip_id", "problem"]].to_numpy().tolist() == [
        ["x", "duplicate"],
        ["y", "duplicate"],
    ]
    assert faults.columns.tolist() == ["clip_id", "stage", "problem", "reason"]


def test_verify_finds_what_another_program_wrote_wrongly(folder: Path) -> None:
    path = write_shard(folder, 0, arrays(A, B, C), {})
    with safe_open(path, framework="numpy") as shard:
        about, tensors = shard.metadata(), {c: shard.get_tensor(c) for c in (A, B, C)}
    tensors[A][0, 0] = np.nan
    tensors[B] = tensors[B][:, :2]
    save_file(tensors, path, about)
    faults = FeatureStore(folder).verify().set_index("clip_id")["problem"]
    assert faults.to_dict() == dict.fromkeys((A, B), "unreadable")


def test_verify_calls_a_store_of_one_value_constant(folder: Path) -> None:
    write_shard(folder, 0, {c: np.ones((1, 4), np.float32) for c in (A, B, C)}, {})
    assert "constant" in FeatureStore(folder).verify()["problem"].tolist()


def test_export_and_import_keep_every_array(folder: Path, tmp_path: Path) -> None:
    written = arrays(A, B, C)
    write_shard(folder, 0, written, {})
    assert FeatureStore(folder).export(tmp_path / "official") == 3
    assert np.load(tmp_path / "official" / f"{B}.npy").shape == written[B].shape
    store = import_folder(tmp_path / "official", tmp_path / "again", "audio", shard_size=2)
    assert len(list((tmp_path / "again").glob("*.safetensors"))) == 2
    assert all(np.array_equal(store.get(c), written[c]) for c in written)
    assert json.loads((tmp_path / "again" / "meta.json").read_text())["width"] == 4


def test_stores_of_a_run_folder_are_listed_and_a_folder_without_any_is_refused(
    tmp_path: Path,
) -> None:
    for name, key in (("hog-1", "k1"), ("prosody-2", "k2")):
        made = tmp_path / "run" / "features" / name
        create_store(made, {"key": key, "modality": "audio", "encoder": name, "dtype": "float32"})
    write_shard(made, 0, arrays(A, B), {C: "no audio"})
    table = stores_table(stores_in(tmp_path / "run"))
    assert table[["store", "clips", "absent", "width"]].to_numpy().tolist() == [
        ["hog-1", 0, 0, 0],
        ["prosody-2", 2, 1, 4],
    ]
    assert [found.key for found in stores_in(made)] == ["k2"]
    with pytest.raises(FeatureError, match="No feature store"):
        stores_in(tmp_path)


def test_import_lists_files_it_cannot_use(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    np.save(files / "good.npy", np.ones(4))
    np.save(files / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(files / "nan.npy", np.full((2, 4), np.nan))
    (files / "torn.npy").write_bytes(b"\x93NUMPY")
    store = import_folder(files, tmp_path / "store", "text")
    assert store.get("good").shape == (1, 4)
    assert sorted(store.missing) == ["nan", "pickled", "torn"]
    with pytest.raises(FeatureError, match=r"no \.npy file"):
        import_folder(tmp_path, tmp_path / "other", "text")
