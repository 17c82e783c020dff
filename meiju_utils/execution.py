"""Running the notebooks headless, in order, through papermill; skipping what is up to date.

A notebook is run again when its source or what it or an earlier one reads changed (see `skipping`),
when an earlier one was run with other inputs or forced, or when something it wrote is changed or
gone. What the notebooks do is their business. Imports `forcing`, `skipping`, `opening`.
"""

import re
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from meiju_utils.console import ENDING, Interrupted
from meiju_utils.corpus.listing import handed_over
from meiju_utils.errors import ConfigError, MeijuError, nearest
from meiju_utils.files import PARTIAL, fingerprint, read_json, write_record
from meiju_utils.forcing import discard, results_of
from meiju_utils.machine import check_loopback, check_open_files, check_writable
from meiju_utils.opening import open_run
from meiju_utils.references import project_root
from meiju_utils.reporting.pages import write_page
from meiju_utils.run import Run
from meiju_utils.skipping import (
    LISTING_FILE,
    STATE_FILE,
    claim,
    inputs_of,
    is_current,
    read_state,
    stamps_of,
)
from meiju_utils.watching import Watch


class NotebookError(MeijuError):
    """A notebook stopped; the message names notebook, cell and cause."""


@dataclass(frozen=True)
class Executed:
    """What became of one notebook: its name, whether it ran now, its executed copy.

    `outdated` is one that was not asked for and has not run with these settings and data.
    """

    name: str
    status: Literal["run", "up to date", "outdated"]
    notebook: Path
    html: Path


def notebook_paths() -> list[Path]:
    """The suite's notebooks in order."""
    folder = project_root() / "notebooks"
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise ConfigError(f"No notebooks in {folder}. Run this inside a checkout of the project.")
    return paths


def select_notebooks(only: Sequence[str]) -> list[Path]:
    """Notebooks by number or name (`["03", "04_pseudo_labelling"]`); all where `only` is empty."""
    paths = notebook_paths()
    by_name = {alias: path for path in paths for alias in (path.stem, path.stem[:2])}
    chosen = set()
    for name in only:
        key = name.strip().removesuffix(".ipynb")
        key = key.zfill(2) if key.isdigit() else key
        if key not in by_name:
            raise ConfigError(f"No notebook {name!r}: {nearest(name, by_name)}")
        chosen.add(by_name[key])
    return [path for path in paths if path in chosen or not only]


def run_notebooks(
    profile: str,
    data_dir: str = "",
    run_dir: str = "",
    overrides: dict[str, Any] | None = None,
    only: Sequence[str] = (),
    force: bool = False,
) -> tuple[Run, list[Executed]]:
    """Execute the notebooks into `<run_dir>/notebooks`, each as .ipynb and .html.

    Stops at the first failure with NotebookError; what ran before stays, and the next call goes on
    from there. `force` also runs what is up to date, and first removes what the selected notebooks
    wrote with these settings, so that it is computed anew (see `forcing`); ConfigError where that
    cannot be removed. Returns what became of all notebooks, those that `only` leaves out among
    them.
    """
    selected = select_notebooks(only)
    check_open_files()
    check_loopback()
    if any(path.stem == "06_submission_ensembling" for path in selected):
        check_writable(project_root() / "submissions")
    run = open_run(profile, data_dir, run_dir, overrides)
    parameters = {
        "profile": profile,
        "data_dir": str(run.data_dir),
        "run_dir": str(run.folder),
        "overrides": overrides or {},
    }
    folder = run.path("notebooks")
    state = read_state(folder / STATE_FILE)
    inputs, stamps = inputs_of(run), stamps_of(run)
    earlier: list[Any] = []
    executed = []
    for path in notebook_paths():
        key = fingerprint(inputs.key(path.stem), path.read_text(encoding="utf-8"), earlier)
        entry = state.get(path.stem, {"key": "", "wrote": {}, "forced": 0})
        current = is_current(entry, key, stamps)
        status: Literal["run", "up to date", "outdated"] = "up to date" if current else "outdated"
        copy, html = folder / path.name, folder / f"{path.stem}.html"
        if path in selected and (force or not current):
            old = results_of(run, path.stem) if force else []
            entry["key"], entry["forced"] = "", entry["forced"] + force
            state[path.stem] = entry
            write_record(folder / STATE_FILE, state)  # before anything is gone
            try:
                discard(old)
                with handed_over(folder / LISTING_FILE):
                    _execute(path, copy, html, parameters)
                entry["key"], status = key, "run"
            finally:
                before, stamps = stamps, stamps_of(run)
                claim(state, path.stem, before, stamps)
                write_record(folder / STATE_FILE, state)
        executed.append(Executed(path.stem, status, copy, html))
        # A notebook depends on all before it: by the key each was last run with, and by how often
        # it was forced, for then its results are new under the same key.
        earlier.append([entry["key"], entry["forced"]])
    return run, executed


def _execute(source: Path, copy: Path, html: Path, parameters: dict[str, Any]) -> None:
    """Run one notebook; the executed copy and its HTML are kept also where it fails.

    papermill writes after every cell: into a file beside the copy, which then takes its place.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    copy.parent.mkdir(parents=True, exist_ok=True)
    growing = copy.with_name(f"{PARTIAL}{copy.name}")
    growing.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as said, Watch(source.stem) as watch:
        kernel = _Kernel(said, watch)
        try:
            with kernel.interrupted_in_order():
                papermill.execute_notebook(
                    # papermill takes braces in a path for the names of parameters.
                    *(
                        str(path).replace("{", "{{").replace("}", "}}")
                        for path in (source, growing)
                    ),
                    parameters,
                    kernel_name="python3",
                    cwd=project_root(),
                    progress_bar=watch.bar_of_cells(),
                    stdout_file=watch,
                    # One text per stream: progress bars then show their last state, not every one.
                    coalesce_streams=True,
                    **kernel.options(),
                )
        except PapermillExecutionError as error:
            cause = f"{error.ename}: {_plain(error.evalue)}"
            raise _stopped(source, html, error.exec_count, error.source, cause) from None
        except (DeadKernelError, CellTimeoutError) as error:
            number, cell = _last_started(growing)
            cause = "its Python process was killed or gave no answer"
            cause += " (out of memory? Try fewer parallel.workers or smaller batches)"
            cause += f": {_plain(str(error))}{kernel.last_words()}"
            raise _stopped(source, html, number, cell, cause) from None
        finally:
            if growing.is_file():
                growing.replace(copy)
                write_page(copy, html, [path.stem for path in notebook_paths()])


class _Kernel:
    """The Python process of a notebook: where its own words go, and how it is interrupted.

    `said` takes what the process writes beside the cells' outputs. In the terminal it would only
    confuse: a warning of unencrypted local sockets at each start, and where it is asked to end (it
    is interrupted first) tracebacks of its sockets.
    """

    def __init__(self, said: IO[bytes], watch: Watch) -> None:
        self._said = said
        self._watch = watch
        self._manager: Any = None
        self._interrupted = 0  # by which signal

    def options(self) -> dict[str, Any]:
        """For papermill, which hands them on to nbclient."""
        from jupyter_client.manager import AsyncKernelManager

        kernel = self

        class Manager(AsyncKernelManager):
            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                kernel._manager = self
                await super().start_kernel(stderr=kernel._said, **options)

        return {"kernel_manager_class": Manager, "on_cell_execute": self._before_a_cell}

    @contextmanager
    def interrupted_in_order(self) -> Iterator[None]:
        """The first Ctrl-C, SIGTERM or SIGHUP interrupts the cell that runs, so that all ends in
        order: the workers, the process, the executed copy. The second interrupts whatever this
        process does. One that is ignored, as under nohup, stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        numbers = [n for n in ENDING if signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._interrupt) for number in numbers}
        try:
            yield
        except Exception:
            if not self._interrupted:
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._interrupted:
            raise Interrupted(self._interrupted)

    def _interrupt(self, number: int, frame: Any) -> None:
        process = getattr(getattr(self._manager, "provisioner", None), "process", None)
        if self._interrupted or process is None:
            raise Interrupted(number)
        self._interrupted = number
        process.send_signal(signal.SIGINT)

    def _before_a_cell(self, **_: Any) -> None:
        if self._interrupted:  # between two cells, where the process heeds no signal
            raise Interrupted(self._interrupted)
        self._watch.cell_begins()

    def last_words(self, lines: int = 20) -> str:
        """The end of what the process said, such as where a library crashed."""
        self._said.seek(0)
        text = self._said.read().decode("utf-8", "replace").strip()
        return "".join(f"\n    {line}" for line in text.splitlines()[-lines:])


def _stopped(source: Path, html: Path, number: int, cell: str, cause: str) -> NotebookError:
    first = next((line.strip() for line in cell.splitlines() if line.strip()), "")
    return NotebookError(
        f"{source.name} stopped in cell {number} ({first!r}):\n  {cause}\n"
        f"  The notebook as far as it came: {html}"
    )


def _last_started(copy: Path) -> tuple[int, str]:
    """Number and source of the last code cell that papermill began in an executed copy."""
    started = [
        cell["source"]
        for cell in read_json(copy)["cells"]
        if cell["cell_type"] == "code" and cell["metadata"]["papermill"]["start_time"]
    ]
    return len(started), "".join(started[-1]) if started else ""


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
