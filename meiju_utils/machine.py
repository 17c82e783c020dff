"""What a machine may lack, in words: room on a disk, permission, files at once, processes, sockets.

Imports `errors` only.
"""

import errno
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from meiju_utils.errors import MachineError

OPEN_FILES = 4096  # that a process asks for
LEAST_FILES = 200

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_MANY = (errno.EMFILE, errno.ENFILE)
_KEPT = "then start again: what is finished is kept."


def fault_of(error: BaseException, folder: Path | None = None) -> MachineError | None:
    """The machine's fault behind an error, with what to do; None where it is another's.

    `folder`: what was being written.
    """
    if isinstance(error, MachineError):
        return error
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    named = getattr(error, "filename", None)
    where = folder or named or "a file"
    if number in _FULL:
        where = named or where
        return MachineError(
            f"The disk is full: {where} could not be written. Free some room (`meiju clean RUN` "
            f"lists what no setting uses), {_KEPT}"
        )
    if number == errno.EROFS or (
        number in _REFUSED and folder
    ):  # what is read only is being written
        return MachineError(
            f"{where} cannot be written ({errno.errorcode[number]}): it is read-only, or another "
            "user's. Make it writable."
        )
    if number in _MANY:
        return MachineError(
            "This process may not open more files. Raise the limit, as by `ulimit -n "
            f"{OPEN_FILES}`, {_KEPT}"
        )
    return None


def _number_in(told: str) -> int:
    """The system's number of an error in a message of safetensors, which raises its own class."""
    return next((n for n in (*_FULL, *_MANY) if f"(os error {n})" in told), 0)


@contextmanager
def told_faults(folder: Path | None = None) -> Iterator[None]:
    """Errors that are the machine's become a MachineError."""
    try:
        yield
    except Exception as error:
        if told := fault_of(error, folder):
            raise told from error
        raise


def check_writable(folder: Path) -> None:
    """MachineError where no file can be written in a folder, which is made if it is not there."""
    with told_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def check_processes() -> None:
    """MachineError where processes cannot share semaphores, which lie in /dev/shm."""
    try:
        multiprocessing.get_context("spawn").Semaphore()
    except OSError as error:
        raise MachineError(
            f"Processes of this machine cannot work together ({error.strerror}): /dev/shm is not "
            "there or cannot be written. Mount it, or do without: parallel.backend=serial."
        ) from error


def check_loopback() -> None:
    """MachineError where no connection to this machine itself can be made: kernels need one."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        raise MachineError(
            f"Notebooks cannot run: this machine does not reach itself at 127.0.0.1 "
            f"({error.strerror or error}). Bring the loopback interface up: ip link set lo up"
        ) from error


def raise_limits() -> int:
    """Let this process, and those it starts, open as many files as the system allows, to 4096;
    returns how many these are."""
    try:
        import resource
    except ImportError:  # Windows knows no such limit
        return OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft


def check_open_files() -> None:
    """MachineError where a process may open fewer files than the kernel of a notebook needs."""
    if (most := raise_limits()) < LEAST_FILES:
        raise MachineError(
            f"This process may open no more than {most} files, and notebooks need {LEAST_FILES}. "
            f"Raise the limit, as by `ulimit -n {OPEN_FILES}`."
        )
