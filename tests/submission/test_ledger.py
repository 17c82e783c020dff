"""The ledger keeps every submission once, and what the user wrote into it."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from meiju_utils import __version__
from meiju_utils.config import Profile
from meiju_utils.errors import SubmissionError
from meiju_utils.run import Run
from meiju_utils.scoring.table import SCORE_COLUMNS, concatenated
from meiju_utils.submission import ledger
from meiju_utils.submission.ledger import (
    earlier,
    read_ledger,
    record_score,
    record_submission,
    remaining,
)
from meiju_utils.submission.ledger_file import COLUMNS

NOW = datetime(2025, 1, 3, 23, 30, tzinfo=UTC)
MEMBERS: Any = [
    SimpleNamespace(name=name, key=name * 3, members=[SimpleNamespace(seed=seed)])
    for name, seed in (("x", 1), ("y", 0), ("z", -1))
]
SCORES = pd.DataFrame(
    [
        ("ensemble", "valid", "emotion", 0.5, 0.4, 0.6, "mean", ""),
        ("ensemble", "valid", "intent", 0.6, 0.5, 0.7, "mean", ""),
        ("ensemble", "valid", "joint", 0.55, 0.45, 0.65, "mean", ""),
        ("majority", "valid", "joint", 0.1, 0.0, 0.2, "mean", ""),
    ],
    columns=SCORE_COLUMNS,
)
HELD_OUT = [("ensemble", "train", "joint", 0.52, 0.5, 0.54, "mean", "")]
HANDED_IN: Any = SimpleNamespace(
    name="ensemble", key="abc", scores=pd.DataFrame(HELD_OUT, columns=SCORE_COLUMNS)
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger, "_now", lambda: NOW)
    opened = Run(Profile(name="demo"), tmp_path / "data", tmp_path / "runs" / "mine")
    clips = {"clip_id": ["a"], "split": ["test"], "emotion": [""], "intent": [""]}
    opened.save_table("clips", pd.DataFrame(clips))
    return opened


def submission(run: Run, content: str = "a") -> Path:
    path = run.folder.parent / "mine.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / "submissions" / "ledger.csv"


def test_a_submission_is_recorded_with_its_scores_and_hash(run: Run, tmp_path: Path) -> None:
    recorded = record_submission(run, submission(run), HANDED_IN, MEMBERS, SCORES, note="first")
    assert recorded.appended
    row = read_ledger(ledger_file(tmp_path)).iloc[0]
    assert row["date_utc"] == "2025-01-03T23:30:00Z"
    assert (row["setting"], row["run"], row["file"]) == ("track1-mandarin", "mine", "mine.csv")
    assert row["sha256"].startswith("ca978112ca1bbdcafac231b39a23dc4d")  # SHA-256 of "a"
    assert (row["recipe"], row["key"], row["members"]) == ("ensemble", "abc", "x xxx; y yyy; z zzz")
    assert row["seeds"] == "0 1"
    assert row["package"] == __version__
    assert len(row["config"]) == len(row["data"]) > 0
    assert row["valid_joint"] == "0.5500"
    assert row["train_joint"] == "0.5200"
    assert row["valid_emotion"] == "0.5000"
    assert row["valid_joint_low"] == "0.4500"
    assert row["test_joint"] == row["board_joint"] == row["handed_in"] == ""
    assert row["note"] == "first"


def test_the_same_content_is_recorded_once(run: Run, tmp_path: Path) -> None:
    record_submission(run, submission(run), HANDED_IN, MEMBERS, SCORES)
    before = ledger_file(tmp_path).read_bytes()
    again = record_submission(run, submission(run), HANDED_IN, MEMBERS, SCORES)
    assert not again.appended
    assert ledger_file(tmp_path).read_bytes() == before
    assert record_submission(run, submission(run, "b"), HANDED_IN).appended
    assert len(read_ledger(ledger_file(tmp_path))) == 2


@pytest.mark.parametrize(
    ("encoding", "separator"),
    [("utf-8", ","), ("utf-8-sig", ";"), ("gb18030", "\t"), ("utf-16", ",")],
)
def test_what_the_user_wrote_survives_in_its_form(
    run: Run, tmp_path: Path, encoding: str, separator: str
) -> None:
    path = ledger_file(tmp_path)
    path.parent.mkdir()
    lines = [
        separator.join(["Date_UTC", " sha256", "setting", "board_joint", "我的", "note"]),
        separator.join(
            ["2025/1/3 10:00", "abc", "track1-mandarin", "0.51", "好", f"a{separator} b"]
        ),
        "",
        separator.join(["yesterday?", "def", "track1-mandarin"]),
    ]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    recorded = record_submission(run, submission(run), HANDED_IN)
    text = path.read_bytes().decode(encoding)
    assert text.startswith(separator.join(["date_utc", "sha256", "setting"]))
    kept = read_ledger(path)
    assert kept["我的"].tolist() == ["好", "", ""]
    assert kept["note"].tolist() == [f"a{separator} b", "", ""]
    assert kept["board_joint"].tolist() == ["0.51", "", ""]
    assert set(COLUMNS) <= set(kept.columns)
    assert (recorded.today, recorded.in_all) == (2, 3)  # an unreadable date counts in all


def test_a_header_only_ledger_is_an_empty_one(run: Run, tmp_path: Path) -> None:
    path = ledger_file(tmp_path)
    path.parent.mkdir()
    path.write_text(",".join(COLUMNS) + "\n")
    assert read_ledger(path).empty
    assert record_submission(run, submission(run), HANDED_IN).appended
    assert len(read_ledger(path)) == 1


@pytest.mark.parametrize("content", [b"no,ledger\n1,2\n", b"sha256,sha256\n", b"\xff\xff\x00\x81"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    path = ledger_file(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SubmissionError, match="move it away"):
        record_submission(run, submission(run), HANDED_IN)
    assert path.read_bytes() == content


def test_the_fifth_submission_of_a_day_warns_and_the_next_day_starts_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = [record_submission(run, submission(run, str(i)), HANDED_IN) for i in range(5)]
    assert [(r.today, r.in_all) for r in recorded] == [(i, i) for i in range(1, 6)]
    assert not recorded[3].warnings
    assert "5 submissions of track1-mandarin today" in recorded[4].warnings[0]
    monkeypatch.setattr(ledger, "_now", lambda: NOW + timedelta(hours=1))
    tomorrow = record_submission(run, submission(run, "5"), HANDED_IN)
    assert (tomorrow.today, tomorrow.in_all) == (1, 6)
    assert not tomorrow.warnings


def test_the_limit_in_all_warns(run: Run, tmp_path: Path) -> None:
    path = ledger_file(tmp_path)
    path.parent.mkdir()
    rows = "".join(f"2024-12-01,track1-mandarin,hash{i}\n" for i in range(78))
    path.write_text("date_utc,setting,sha256\n" + rows)
    assert not record_submission(run, submission(run, "a"), HANDED_IN).warnings
    last = record_submission(run, submission(run, "b"), HANDED_IN)
    assert "80 submissions of track1-mandarin in all" in last.warnings[0]


def test_rows_marked_no_and_other_settings_do_not_count(run: Run, tmp_path: Path) -> None:
    record_submission(run, submission(run), HANDED_IN)
    path = ledger_file(tmp_path)
    table = read_ledger(path)
    table.loc[0, "handed_in"] = " No "
    table.to_csv(path, index=False)
    english = Run(Profile(name="e", language="english"), run.data_dir, run.folder)
    record_submission(english, submission(run, "b"), HANDED_IN)
    assert record_submission(run, submission(run, "c"), HANDED_IN).in_all == 1


def test_a_synthetic_corpus_uses_up_no_submission(run: Run) -> None:
    recorded = record_submission(
        run,
        submission(run),
        HANDED_IN,
        MEMBERS,
        concatenated([SCORES, SCORES.assign(split="test")]),
    )
    assert (recorded.today, recorded.in_all) == (0, 0)
    assert recorded.ledger.loc[0, "test_joint"] == "0.5500"


def test_runs_that_finish_at_once_both_find_their_row(run: Run, tmp_path: Path) -> None:
    files = []
    for i in range(8):
        files.append(tmp_path / f"{i}.csv")
        files[-1].write_text(str(i))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: record_submission(run, file, HANDED_IN), files))
    assert sorted(read_ledger(ledger_file(tmp_path))["file"]) == [f"{i}.csv" for i in range(8)]
    assert {path.name for path in (tmp_path / "submissions").iterdir()} <= {
        "ledger.csv",
        ".ledger.lock",
    }


def test_the_lock_of_a_killed_run_ends_with_it(run: Run, tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; "
        "from meiju_utils.submission.ledger_file import locked; "
        f"lock = locked(Path({str(ledger_file(tmp_path))!r})); lock.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert record_submission(run, submission(run), HANDED_IN).appended


def test_what_the_board_said_is_written_to_the_row_of_the_hash(run: Run, tmp_path: Path) -> None:
    record_submission(run, submission(run), HANDED_IN, MEMBERS, SCORES)
    row = record_score("CA9781", 0.5123).iloc[0]
    assert (row["board_joint"], row["recipe"]) == ("0.5123", "ensemble")
    assert read_ledger(ledger_file(tmp_path)).loc[0, "board_joint"] == "0.5123"
    record_submission(run, submission(run, "b"), HANDED_IN)
    for digest, joint, why in (
        ("ffff", 0.5, "no submission begins with 'ffff'. The latest: ca978112"),
        ("", 0.5, "no submission begins"),
        ("ca", 55.0, "expected a number from 0 to 1"),
        ("ca", float("nan"), "expected a number from 0 to 1"),
    ):
        with pytest.raises(SubmissionError, match=re.escape(why)):
            record_score(digest, joint)


def test_what_is_left_of_the_limits_and_what_came_before(run: Run, tmp_path: Path) -> None:
    record_submission(run, submission(run), HANDED_IN, MEMBERS, SCORES)
    table = read_ledger(ledger_file(tmp_path))
    told = ["track1-mandarin: 4 of today's 5 and 79 of all 80 submissions are left"]
    assert remaining(table, NOW) == told
    assert remaining(table, NOW + timedelta(days=1)) == [told[0].replace("4 of", "5 of")]
    digest = table.loc[0, "sha256"]
    assert earlier(table) == {digest: "mine.csv of run mine, 2025-01-03"}
    assert earlier(table, but="mine") == {}
