"""Processes are killed at any time: the next run goes on to the same bits, and nobody is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.files import PARTIAL
from meiju_utils.run import Run
from meiju_utils.run_folder import RECENT_S
from tests.conftest import Record
from tests.faults.conftest import FULL
from tests.faults.stages import bits, make, small_run

KILLS = 50 if FULL else 4
LONGEST_S = 300.0


def _of(folder: Path) -> list[int]:
    """Processes that were started for a run folder, whoever their parent is by now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MEIJU_TEST_RUN={folder}".encode() in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:  # it has ended
            continue
    return [number for number in found if number != os.getpid()]


def _start(data: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.stages", str(data), str(folder), "loky"],
        env=os.environ | {"MEIJU_TEST_RUN": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.timeout(3600 if FULL else 600)
def test_a_run_that_is_killed_at_any_time_comes_to_the_same_bits(
    finished: tuple[Run, dict[str, Any]], project: Path, tiny_corpus: Path, record: Record
) -> None:
    """The time of each kill is drawn anew; the last run is let through, in this process."""
    rng = np.random.default_rng(21)
    began = time.monotonic()
    whole = project / "runs" / "whole"
    assert _start(tiny_corpus, whole).wait(LONGEST_S) == 0
    needed = time.monotonic() - began  # from nothing to its end
    kills = rounds = 0
    while kills < KILLS:
        folder = project / "runs" / f"killed-{rounds}"
        rounds += 1
        for _ in range(8 if FULL else 4):
            process = _start(tiny_corpus, folder)
            try:
                process.wait(rng.uniform(0.1, 0.9) * needed)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            else:
                assert process.returncode == 0, process.stderr and process.stderr.read().decode()
                break  # it was done
            _wait_for_the_end(folder)
            if kills == KILLS:
                break
        time.sleep(RECENT_S)
        run = small_run(tiny_corpus, folder)
        make(run)
        assert bits(run) == finished[1]
        assert list(folder.rglob(f"{PARTIAL}*")) == []
    record("processes", "kill -9 at any time", "the next run goes on", "nothing finished", kills)


def _wait_for_the_end(folder: Path, seconds: float = 15.0) -> None:
    """AssertionError where processes of a run are there after so many seconds: workers look every
    second, on a busy machine it takes some until they have started to."""
    until = time.monotonic() + seconds
    while left := _of(folder):
        commands = [Path(f"/proc/{number}/cmdline") for number in left]
        assert time.monotonic() < until, [c.read_bytes() for c in commands if c.exists()]
        time.sleep(0.2)
