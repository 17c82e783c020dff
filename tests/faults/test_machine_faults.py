"""The machine lacks something while a run is made: one message, and then the run goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meiju_utils.run import Run
from tests.conftest import Record
from tests.faults.conftest import FULL
from tests.faults.stages import bits, make, small_run


def _may(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not FULL, reason="of the full campaign: make faults")
needs_mounts = pytest.mark.skipif(
    not FULL or not _may("unshare", "-m", "true"), reason="mounts of one's own are not allowed"
)
STAGES = f"{sys.executable} -m tests.faults.stages"
MEIJU = f"{Path(sys.executable).with_name('meiju')} run --profile demo"


def _told(command: str, *unshared: str, **environment: str) -> tuple[int, str]:
    """Exit code and words of a shell's command, in name spaces of its own."""
    isolated = ["unshare", *unshared] if unshared else []
    done = subprocess.run(
        [*isolated, "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout + done.stderr


@needs_mounts
@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_at_any_stage(
    finished: tuple[Run, dict[str, Any]], project: Path, tiny_corpus: Path, record: Record
) -> None:
    """The disk grows from try to try, so that each finds room for a little more."""
    run = project / "runs" / "room"
    kept = project / "runs" / "kept"
    size = sum(path.stat().st_size for path in finished[0].folder.rglob("*") if path.is_file())
    tries = told = 0
    kept.mkdir(parents=True)
    for share in (0.2, 0.5, 0.75, 0.9, 0.97, 1.02, 1.1):
        run.mkdir(exist_ok=True)
        code, words = _told(
            f"mount -t tmpfs -o size={int(share * size)} t {run} && cp -a {kept}/. {run}/ "
            f"&& {STAGES} {tiny_corpus} {run} loky; code=$?; cp -a {run}/. {kept}/; exit $code",
            "-m",
        )
        tries += 1
        if code:
            told += 1
            last = " ".join(words.split())[-600:]
            assert "The disk is full" in last or "Make room" in last, words
    assert told > 2
    shutil.copytree(kept, run, dirs_exist_ok=True)
    opened = small_run(tiny_corpus, run)
    make(opened)
    assert bits(opened) == finished[1]
    happens = "one message with what to do; with room the run goes on"
    record("machine", "a full disk, at several stages", happens, "nothing finished", tries)


@needs_mounts
@pytest.mark.parametrize(
    ("fault", "prepare", "command", "told"),
    [
        (
            "no /dev/shm",
            "umount -l /dev/shm; mount -t tmpfs -o ro t /dev/shm",
            f"{STAGES} DATA runs/shm loky",
            "parallel.backend=serial",
        ),
        (
            "a run folder that is read-only",
            "mkdir -p runs/ro; mount -t tmpfs -o ro t runs/ro",
            f"{MEIJU} --data-dir DATA --run-dir runs/ro",
            "cannot be the run folder",
        ),
        (
            "submissions/ read-only",
            "mkdir -p submissions; mount -t tmpfs -o ro t submissions",
            f"{MEIJU} --data-dir DATA --run-dir runs/other",
            "submissions cannot be written",
        ),
        (
            "few open files",
            "ulimit -n 40",
            f"{MEIJU} --data-dir DATA --run-dir runs/other",
            "ulimit -n 4096",
        ),
        (
            "no loopback",
            "true",
            f"{MEIJU} --data-dir DATA --run-dir runs/other",
            "ip link set lo up",
        ),
    ],
)
def test_what_is_missing_is_told_before_work(
    project: Path,
    tiny_corpus: Path,
    fault: str,
    prepare: str,
    command: str,
    told: str,
    record: Record,
) -> None:
    spaces = ["-m", *(["-n"] if fault == "no loopback" else [])]
    code, words = _told(f"{prepare}; {command.replace('DATA', str(tiny_corpus))}", *spaces)
    assert code == 1
    assert told in " ".join(words.split())
    if command.startswith(MEIJU):
        assert "Traceback" not in words
    record("machine", fault, "one message, before work", "nothing", 1)


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_without_a_home_a_run_runs(
    project: Path, tiny_corpus: Path, home: str | None, record: Record
) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")}
    environment = kept | ({"HOME": home} if home else {})
    done = subprocess.run(
        [*MEIJU.split(), "--data-dir", str(tiny_corpus), "--run-dir", "runs/home", "--only", "01"],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    record("machine", "no HOME" if home is None else "a HOME that is not there", "it runs", "–", 1)
