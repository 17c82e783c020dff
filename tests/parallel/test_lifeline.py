"""Leftovers of processes that were killed go with the next that posts a function."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meiju_utils.config import Parallel
from meiju_utils.parallel import map_items, processes


def test_what_a_killed_process_posted_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gettempdir", lambda: str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for number in (str(ended.pid), str(os.getpid()), "1", "nobody's"):
        (tmp_path / f"{processes.POSTED}{number}-x").mkdir()
    (tmp_path / f"{processes.POSTED}{ended.pid}-x" / "function").touch()
    assert map_items(abs, [-1, -2], ["a", "b"], Parallel(workers=2), "numbers").results == [1, 2]
    left = {path.name.removeprefix(processes.POSTED) for path in tmp_path.iterdir()}
    assert left == {f"{os.getpid()}-x", "1-x", "nobody's-x"}
