"""The checker finds every fault of a submission, with its line and what to do."""

import os
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.errors import SubmissionError
from meiju_utils.submission.checker import check_bytes, check_submission
from meiju_utils.submission.faults import SubmissionCheck

IDS = [f"Track1_Testing_{i:05d}" for i in range(1, 9)]
HEADER = "filename,emo_pred,int_pred"
ROWS = [f"{clip},{EMOTIONS[i % 7]},{INTENTS[i % 8]}" for i, clip in enumerate(IDS)]
LINES = [HEADER, *ROWS]


def check(lines: list[str] | str | bytes) -> SubmissionCheck:
    if isinstance(lines, list):
        lines = "\n".join(lines) + "\n"
    data = lines if isinstance(lines, bytes) else lines.encode()
    return check_bytes("submission.csv", data, IDS)


def replaced(line: int, text: str) -> list[str]:
    """The valid lines with line number `line` (from 1) replaced."""
    return [*LINES[: line - 1], text, *LINES[line:]]


def test_a_valid_submission_has_no_faults_and_no_warnings() -> None:
    result = check(LINES)
    assert result.ok
    assert result.table().empty
    assert result.rows == 8
    assert str(result) == "submission.csv: valid, 8 rows"


@pytest.mark.parametrize(
    ("lines", "kind", "line", "words"),
    [
        (replaced(1, "filename,emotion,intent"), "header", 1, "Write exactly filename,emo_pred"),
        (replaced(1, "FileName,emo_pred,int_pred"), "header", 1, "Write exactly"),
        (ROWS, "header", 1, "missing"),
        (replaced(3, f"{IDS[1]}.mp4,sad,wishing"), "extension", 3, f"Write {IDS[1]}"),
        (replaced(3, f"{IDS[1]}.MP4,sad,wishing"), "extension", 3, f"Write {IDS[1]}"),
        (replaced(3, f"Testing/{IDS[1]}.mp4,sad,wishing"), "file name", 3, f"Write {IDS[1]}"),
        (replaced(3, "track1_testing_2,sad,wishing"), "file name", 3, f"Write {IDS[1]}"),
        (replaced(3, f" {IDS[1]},sad,wishing"), "file name", 3, f"Write {IDS[1]}"),
        (replaced(4, f"{IDS[2]},hapy,wishing"), "label", 4, "Did you mean 'happy'"),
        (replaced(4, f"{IDS[2]},Happy,wishing"), "label", 4, "Write 'happy'"),
        (replaced(4, f"{IDS[2]},sad ,wishing"), "label", 4, "Write 'sad'"),
        (replaced(4, f"{IDS[2]},,wishing"), "label", 4, "is empty"),
        (replaced(4, f"{IDS[2]},3,wishing"), "label", 4, "'disgust'"),
        (replaced(4, f"{IDS[2]},sad,5.0"), "label", 4, "'suggesting'"),
        (replaced(4, f"{IDS[2]},wishing,sad"), "label", 4, "intent label"),
        (replaced(5, f"{IDS[3]},sad"), "fields", 5, "2 fields, expected 3"),
        (replaced(5, f"{IDS[3]},sad,wishing,0.9"), "fields", 5, "4 fields, expected 3"),
        ([*LINES, ROWS[2]], "doubled", 10, "on line 4 already"),
        ([*LINES, "Track1_Testing_00099,sad,wishing"], "unknown clip", 10, "not a test clip"),
        (LINES[:-1], "missing", None, f"{IDS[7]} has no row"),
        ([line.replace(",", ";") for line in LINES], "separator", 1, "Use commas"),
        ([line.replace(",", "\t") for line in LINES], "separator", 1, "tabs"),
        ([line.replace(",", "，") for line in LINES], "separator", 1, "'，'"),
        ([f"{i}," + line for i, line in enumerate(LINES)], "header", 1, "index=False"),
        ("", "header", None, "empty"),
        (HEADER, "missing", None, "no row below the header"),
        ("filename;emo_pred", "header", 1, "Write exactly"),
    ],
)
def test_each_fault_is_found_on_its_line_with_a_remedy(
    lines: list[str] | str, kind: str, line: int | None, words: str
) -> None:
    result = check(lines)
    found = [(fault.kind, fault.line, str(fault)) for fault in result.faults]
    assert any(f[0] == kind and f[1] == line and words in f[2] for f in found), found
    assert not result.ok


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf" + "\n".join(LINES).encode(), "byte order mark"),
        ("\n".join(LINES).encode("utf-16"), "UTF-16"),
        ("\n".join(LINES).encode("utf-16-le"), "zero bytes"),
        ("\n".join(LINES).encode("utf-16-be"), "zero bytes"),
    ],
)
def test_a_wrong_encoding_is_the_only_fault_where_all_else_is_right(
    data: bytes, words: str
) -> None:
    result = check(data)
    assert len(result.faults) == 1
    assert words in str(result.faults[0])
    assert result.rows == 8


def test_another_encoding_is_reported_on_the_line_where_it_shows() -> None:
    result = check("\n".join(replaced(4, f"{IDS[2]},高兴,wishing")).encode("gb18030"))
    assert [(fault.kind, fault.line) for fault in result.faults] == [("encoding", 4), ("label", 4)]
    assert "高兴" in str(result)


def test_all_faults_of_a_file_are_listed_at_once() -> None:
    lines = replaced(2, f"{IDS[0]}.mp4,hapy,wishin")
    lines[4] = ROWS[1]  # clip 2 twice, clip 4 never
    result = check("\ufeff" + "\n".join(lines))
    kinds = [fault.kind for fault in result.faults]
    assert sorted(kinds) == ["doubled", "encoding", "extension", "label", "label", "missing"]
    with pytest.raises(SubmissionError, match="6 faults") as caught:
        result.raise_if_invalid()
    for word in ("byte order mark", "extension", "'happy'", "'wishing'", "line 3 already", IDS[3]):
        assert word in str(caught.value)


def test_swapped_columns_are_one_fault_and_not_one_a_row() -> None:
    lines = [HEADER, *(f"{c},{INTENTS[i % 8]},{EMOTIONS[i % 7]}" for i, c in enumerate(IDS))]
    result = check(lines)
    assert [fault.kind for fault in result.faults] == ["swapped"]
    assert "Swap the two columns" in str(result)


def test_columns_in_another_order_are_found_by_name() -> None:
    lines = ["filename,int_pred,emo_pred"]
    lines += [f"{c},{INTENTS[i % 8]},{EMOTIONS[i % 7]}" for i, c in enumerate(IDS)]
    assert [fault.kind for fault in check(lines).faults] == ["header"]


def test_a_repeated_column_name_does_not_stop_the_check() -> None:
    result = check(["filename,filename,emo_pred", *ROWS])
    assert "header" in [fault.kind for fault in result.faults]


def test_doubtful_but_scorable_files_get_warnings() -> None:
    constant = [HEADER, *(f"{clip},happy,{INTENTS[i]}" for i, clip in enumerate(IDS))]
    backwards = [HEADER, *reversed(ROWS)]
    blank = [*LINES[:4], "", *LINES[4:]]
    for lines, kind in ((constant, "constant"), (backwards, "order"), (blank, "blank")):
        result = check(lines)
        assert result.ok
        assert [warning.kind for warning in result.warnings] == [kind]
        assert "warning" in str(result)


def test_windows_line_ends_are_the_only_fault_and_quoted_fields_are_none() -> None:
    for ends in ("\r\n", "\r"):
        assert [fault.kind for fault in check(ends.join(LINES)).faults] == ["line ends"]
    assert check([",".join(f'"{cell}"' for cell in line.split(",")) for line in LINES]).ok


def test_many_faults_of_one_kind_are_told_in_few_lines_and_kept_in_the_table() -> None:
    ids = [f"Track1_Testing_{i:05d}" for i in range(300)]
    lines = [HEADER, *(f"{clip}.mp4,{EMOTIONS[i % 7]},wishing" for i, clip in enumerate(ids))]
    result = check_bytes("x.csv", "\n".join(lines).encode(), ids)
    assert len(result.faults) == len(result.table().query("severity == 'fault'")) == 300
    assert "and 296 more like it (extension) on lines 6–301" in str(result)
    assert len(str(result).splitlines()) < 10


def test_ids_are_compared_without_the_extension_a_test_list_may_carry() -> None:
    assert check_bytes("x.csv", "\n".join(LINES).encode(), [f"{clip}.mp4" for clip in IDS]).ok


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_archives_are_checked_inside(tmp_path: Path) -> None:
    data = ("\n".join(LINES) + "\n").encode()
    good = check_submission(make_zip(tmp_path / "good.zip", {"submission.csv": data}), IDS)
    assert good.ok
    assert good.rows == 8

    broken = data.replace(b"happy", b"hapy")
    result = check_submission(make_zip(tmp_path / "b.zip", {"submission.csv": broken}), IDS)
    assert {fault.kind for fault in result.faults} == {"label"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"demo/submission.csv": True}, "'demo/submission.csv', expected 'submission.csv'"),
        ({"demo.csv": True}, "'demo.csv', expected 'submission.csv'"),
        ({"readme.txt": True}, "no CSV"),
        ({}, "holds nothing"),
        ({"a/submission.csv": True, "__MACOSX/a/._submission.csv": False}, "'a/submission.csv'"),
    ],
)
def test_an_archive_without_the_csv_at_its_root_is_invalid(
    tmp_path: Path, members: dict[str, bool], words: str
) -> None:
    data = ("\n".join(LINES) + "\n").encode()
    contents = {name: data if real else b"\0\1" for name, real in members.items()}
    result = check_submission(make_zip(tmp_path / "s.zip", contents), IDS)
    assert {fault.kind for fault in result.faults} == {"archive"}
    assert words in str(result)


def test_other_files_in_the_archive_are_a_fault(tmp_path: Path) -> None:
    data = "\n".join(LINES).encode()
    members = {"notes.txt": b"x", "submission.csv": data}
    result = check_submission(make_zip(tmp_path / "s.zip", members), IDS)
    assert [fault.kind for fault in result.faults] == ["archive"]
    assert "notes.txt" in str(result)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_torn_archive_is_a_fault_and_not_a_crash(tmp_path: Path, keep: float) -> None:
    whole = make_zip(tmp_path / "s.zip", {"submission.csv": "\n".join(LINES).encode()}).read_bytes()
    (tmp_path / "s.zip").write_bytes(whole[: int(len(whole) * keep)])
    result = check_submission(tmp_path / "s.zip", IDS)
    assert "cannot be read" in str(result)


def test_an_archive_named_csv_is_looked_into(tmp_path: Path) -> None:
    make_zip(tmp_path / "s.csv", {"submission.csv": "\n".join(LINES).encode()})
    assert "Name it .zip" in str(check_submission(tmp_path / "s.csv", IDS))


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"is not there\. Give"):
        check_submission(tmp_path / "none.csv", IDS)
    with pytest.raises(SubmissionError, match="empty"):
        check_bytes("s.csv", "\n".join(LINES).encode(), [])


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_without_a_crash(data: bytes) -> None:
    assert not check(data).ok


@given(st.text(max_size=200), st.integers(0, 8))
def test_any_text_in_place_of_a_line_is_judged_without_a_crash(text: str, line: int) -> None:
    result = check(replaced(line + 1, text))
    assert str(result).startswith("submission.csv: ")


def drop(lines: list[str], i: int) -> None:
    del lines[i]


def double(lines: list[str], i: int) -> None:
    lines.insert(i, lines[i])


def truncate(lines: list[str], i: int) -> None:
    lines[i] = lines[i][:-1]


def extend(lines: list[str], i: int) -> None:
    lines[i] += ","


def rename(lines: list[str], i: int) -> None:
    lines[i] = "x" + lines[i]


@given(
    st.sampled_from([drop, double, truncate, extend, rename]),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_every_damage_to_a_row_is_found(
    damage: Callable[[list[str], int], None], line: int, rng: random.Random
) -> None:
    lines = LINES.copy()
    body = lines[1:]
    rng.shuffle(body)
    lines[1:] = body
    damage(lines, line)
    assert not check(lines).ok


def test_noise_of_any_size_is_told_in_bounded_memory_and_time(tmp_path: Path) -> None:
    noise = tmp_path / "noise.csv"
    with noise.open("wb") as file:
        file.truncate(100_000_000)
    assert "larger than 10 MB" in str(check_submission(noise, IDS))
    noise.write_bytes(b"\n,\n" * 3_000_000)
    began = time.perf_counter()
    found = check_submission(noise, IDS)
    assert time.perf_counter() - began < 20  # it takes one; without a bound, minutes
    assert any(fault.kind == "rows" for fault in found.faults)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submission.csv", b"\0" * 60_000_000)
    assert "60 MB large" in str(check_submission(bomb, IDS))
    noise.write_text(f"{HEADER}\n{IDS[0]},{'9' * 6000},wishing\n")  # no number of any label
    assert not check_submission(noise, IDS).ok


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path):
        with pytest.raises(SubmissionError, match="is no regular file"):
            check_submission(path, IDS)
