"""Bars keep to 80 columns wherever they are shown, and say little in a log."""

import io
import sys
from types import SimpleNamespace

import pytest
from tqdm.utils import disp_len

from meiju_utils.config import Parallel
from meiju_utils.parallel import map_items, progress
from meiju_utils.parallel.progress import Progress, in_notebook

LONG = "a training whose name does not fit beside the rest of what the line has to say"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, which stands still but for what a test adds."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.s)
    return now


def test_a_terminal_has_one_line_that_moves_within_80_columns(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(45_000, "Preprocessing clips", "clips") as bar:
        for _ in range(3):
            clock.s += 2
            bar.update(15_000, LONG)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert shown.count("\n") == 1
    states = shown.strip("\r\n").split("\r")
    assert all(len(state) <= 79 for state in states)
    assert states[0].split() == ["Preprocessing", "clips:", *states[0].split()[2:]]
    assert "0/45000" in states[0]
    assert "100%" in states[-1]
    assert "45000/45000 [00:06" in states[-1]
    assert "7500.00clips/s" in states[-1]


def test_a_log_has_a_line_a_minute(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(100, "Trainings", "trainings") as bar:
        for _ in range(100):
            clock.s += 5
            bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 8 + 1  # at first, in 500 s, at last
    assert not any("\r" in line for line in lines)
    assert "12/100 [01:00<07:20" in lines[1]


def test_a_notebook_has_it_in_its_output_and_no_red_box(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not in_notebook()
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    with Progress(2, "Probes", "probes") as bar:
        bar.update(2)
    printed = capsys.readouterr()
    assert printed.err == ""
    last = printed.out.split("\r")[-1]
    assert "2/2" in last
    assert len(last.strip()) <= 76


def test_a_line_of_wide_characters_or_in_a_narrow_terminal_does_not_break(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, widest in ((80, 79), (60, 59)):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stderr", Terminal())
        with Progress(9, "hf:" + "长名字" * 20, "clips") as bar:
            clock.s += 2
            bar.update(4, "训练" * 30)
        states = sys.stderr.getvalue().strip("\r\n").split("\r")  # type: ignore[attr-defined]
        assert all(disp_len(state) <= widest for state in states)
        assert "4/9" in states[-1]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("closed file")])
def test_a_lost_terminal_stops_no_work(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(Terminal):
        def write(self, text: str) -> int:
            raise error

    for stream in (Lost(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        settings = Parallel(backend="serial")
        assert map_items(len, ["ab"], ["a"], settings, "Letters").results == [2]


def test_without_blocks_in_the_encoding_the_bar_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(2, "Letters", "letters") as bar:
        bar.update(2)
    stream.seek(0)
    assert "100%|####" in stream.read()


def test_items_count_as_much_as_there_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Parallel(backend="serial")
    map_items(len, ["abc", "defgh"], ["a", "b"], settings, "Letters", sizes=[3, 5], unit="letters")
    told = capsys.readouterr().err
    assert "0/8" in told
    assert "8/8" in told
    map_items(len, [], [], settings, "Nothing")
    assert capsys.readouterr().err == ""
