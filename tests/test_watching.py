"""What is seen of a kernel's bars while a notebook runs headless."""

import io
import sys
from types import SimpleNamespace

import pytest

from meiju_utils import watching
from meiju_utils.parallel.progress import Progress
from meiju_utils.watching import Watch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def states_of(description: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a bar writes in a kernel."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Terminal())
        with Progress(3, description, "clips") as bar:
            bar.update(3)
        return sys.stderr.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_terminal_shows_the_stages_bar_and_nothing_else_that_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = states_of("Preprocessing clips", monkeypatch)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Watch("01_preprocessing") as watch:
        assert not watch.bar_of_cells()["disable"]
        watch.write("Track 1, Mandarin: 100% of it\n")
        watch.write(bars)
        watch.cell_begins()
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "Preprocessing clips: 100%|" in shown
    assert "3/3 [" in shown
    assert "Mandarin" not in shown


def test_a_log_has_a_line_a_minute_and_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = states_of("hf:tiny-hubert", monkeypatch)
    now = SimpleNamespace(s=0)
    monkeypatch.setattr(watching.time, "monotonic", lambda: now.s)
    with Watch("02_embedding_extraction") as watch:
        assert watch.bar_of_cells()["disable"]
        for now.s in range(0, 130, 10):
            watch.write(bars)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("02 hf:tiny-hubert: 100%|") for line in lines[:3])
    assert lines[3] == "02_embedding_extraction     : done in 120 s"
    assert all(len(line) < 80 for line in lines)
