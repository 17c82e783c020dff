"""Shards of clips: when they are written, what is read back, what is left of what was damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.preprocessing import manifest
from meiju_utils.preprocessing.manifest import (
    ROW,
    ShardWriter,
    checksum,
    empty_rows,
    is_whole,
    read_rows,
)
from meiju_utils.preprocessing.store import serve


def _add(writer: ShardWriter, *clip_ids: str, samples: int = 10, **row: Any) -> None:
    for clip_id in clip_ids:
        audio = np.arange(samples, dtype=np.int16)
        writer.add({"clip_id": clip_id, "flags": "[]", **row}, {"audio": audio})


def test_a_row_has_every_column_and_says_what_is_not_known(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        _add(writer, "a", duration_s=1.5)
    rows = read_rows(tmp_path)
    assert rows.dtypes.to_dict() == empty_rows().dtypes.to_dict()
    assert list(rows.columns) == list(ROW)
    row = rows.iloc[0]
    assert row[["clip_id", "shard", "problem", "duration_s", "width"]].tolist() == [
        *("a", "00000", "", 1.5, 0)
    ]
    assert np.isnan(row["face_score"])


def test_a_shard_is_written_when_it_holds_so_many_clips_or_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MOST_CLIPS", 3)
    monkeypatch.setattr(manifest, "MOST_BYTES", 100)
    with ShardWriter(tmp_path) as writer:
        _add(writer, "a", "b")
        assert read_rows(tmp_path).empty
        _add(writer, "c")
        assert len(read_rows(tmp_path)) == 3
        _add(writer, "d", samples=51)
        assert read_rows(tmp_path)["shard"].tolist() == ["00000"] * 3 + ["00001"]


def test_a_shard_is_written_when_a_killed_run_would_lose_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(manifest.time, "monotonic", lambda: now[0])
    writer = ShardWriter(tmp_path)
    shards = []
    for number in range(400):  # one clip in 15 s
        now[0] += 15
        _add(writer, f"clip{number}")
        shards.append(len(list(tmp_path.glob("*.parquet"))))
    assert shards[0] == 0
    assert shards[1] == 1  # 20 s are over
    assert shards[-1] < 170  # 100 in the first 3000 s, then one in a hundredth of the whole


def test_what_was_gathered_is_kept_when_the_work_is_interrupted(tmp_path: Path) -> None:
    def interrupted(writer: ShardWriter) -> None:
        with writer:
            _add(writer, "a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(ShardWriter(tmp_path))
    assert read_rows(tmp_path)["clip_id"].tolist() == ["a"]


def test_of_a_clip_that_was_made_again_the_last_row_counts(tmp_path: Path) -> None:
    for samples in (5, 7):
        with ShardWriter(tmp_path) as writer:
            _add(writer, "a", samples=samples)
    rows = read_rows(tmp_path)
    assert rows["shard"].tolist() == ["00001"]
    assert serve("k", tmp_path, {"a": ""}, rows).samples("a").size == 7


def test_numbers_of_shards_set_aside_are_not_used_again(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        _add(writer, "a")
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 and no more")
    assert read_rows(tmp_path).empty
    with ShardWriter(tmp_path) as writer:
        _add(writer, "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("00000.parquet.damaged", "00000.safetensors.damaged"),
        *("00001.parquet", "00001.safetensors"),
    ]


def test_a_file_of_media_is_whole_or_not_without_reading_it(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        _add(writer, "a", samples=1000)
    path = tmp_path / "00000.safetensors"
    data = path.read_bytes()
    assert is_whole(path)
    for length in (0, 4, 8, 40, len(data) - 1, len(data) + 1):
        path.write_bytes((data + b"x")[:length])
        assert not is_whole(path)


def test_checksums_tell_arrays_apart() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    assert checksum(array) == checksum(array.copy())
    assert checksum(array) == checksum(np.asfortranarray(array))
    assert checksum(array) != checksum(array[:, ::-1])
    assert checksum(array) != checksum(array.view(np.uint16))
    assert checksum(array) != checksum(array.reshape(4, 3))
    assert checksum(np.empty(0)) == checksum(np.empty(0))
