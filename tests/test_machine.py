"""What the machine lacks is told in words, before work where it can be."""

import errno
import multiprocessing
import socket
from pathlib import Path

import pytest
from safetensors import SafetensorError

from meiju_utils import machine
from meiju_utils.errors import ConfigError, MachineError
from meiju_utils.files import write_json
from meiju_utils.machine import (
    check_loopback,
    check_open_files,
    check_processes,
    check_writable,
    fault_of,
)
from meiju_utils.parallel.faults import is_of_the_run


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "The disk is full"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n 4096"),
    ],
)
def test_a_fault_of_the_machine_stops_a_stage_at_once_and_says_what_to_do(
    error: Exception, told: str
) -> None:
    found = fault_of(error)
    assert found is not None
    assert told in str(found)
    assert "what is finished is kept" in str(found)
    assert is_of_the_run(error)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ValueError("os error 28"), KeyError(28)]
)
def test_other_faults_stay_what_they_are(error: Exception) -> None:
    assert fault_of(error) is None
    assert not is_of_the_run(error)


def test_what_is_read_only_stops_a_stage_wherever_it_is_met() -> None:
    error = OSError(errno.EROFS, "Read-only file system", "/run/features.npy")
    assert is_of_the_run(error)
    assert "/run/features.npy cannot be written (EROFS)" in str(fault_of(error))


def test_who_may_not_write_a_folder_is_told(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied")
    assert fault_of(error) is None  # reading: the clip's own
    assert "cannot be written (EACCES)" in str(fault_of(error, tmp_path))
    check_writable(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file")


def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", 1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match=rf"disk is full: {tmp_path}"):
        write_json(tmp_path / "a.json", 2)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "1\n")]


def test_without_shared_memory_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes()

    def refused(_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(multiprocessing.context.SpawnContext, "Semaphore", refused)
    with pytest.raises(MachineError, match=r"/dev/shm.*parallel\.backend=serial"):
        check_processes()


def test_without_loopback_no_notebook_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    check_loopback()

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(MachineError, match="ip link set lo up"):
        check_loopback()


def test_few_open_files_are_told_before_a_kernel_dies_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_open_files()
    monkeypatch.setattr(machine, "raise_limits", lambda: 40)
    with pytest.raises(MachineError, match=r"no more than 40 files.*ulimit -n"):
        check_open_files()


def test_a_run_folder_that_cannot_be_written_is_told_at_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meiju_utils.opening import open_run

    (tmp_path / "data").mkdir()

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(ConfigError, match=r"cannot be the run folder.*read-only.*as run_dir"):
        open_run("demo", str(tmp_path / "data"), str(tmp_path / "run"))
