"""Running the notebooks headless, in order, through papermill; skipping what is up to date.

A notebook is run again when its source, the settings, the user's files (the data folder's,
corrections, whatever else a setting names), the package's code or an earlier notebook's key
changed, or when something it wrote is changed or gone. What the notebooks do is their business.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from meiju_utils.errors import ConfigError, MeijuError, nearest
from meiju_utils.files import PARTIAL, fingerprint, listing, read_json, write_json, write_text
from meiju_utils.opening import open_run
from meiju_utils.run import CONFIG_NAME, CORRECTIONS_NAME, Run, project_root, resolve

STATE_FILE = "state.json"

Stamps = dict[str, list[int]]  # file → its size and time of change
State = dict[str, dict[str, Any]]  # notebook → `key` ("": not run to its end) and `wrote`


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
    from there. `force` runs also what is up to date. Returns what became of all notebooks, those
    that `only` leaves out among them.
    """
    selected = select_notebooks(only)
    run = open_run(profile, data_dir, run_dir, overrides)
    parameters = {
        "profile": profile,
        "data_dir": str(run.data_dir),
        "run_dir": str(run.folder),
        "overrides": overrides or {},
    }
    folder = run.path("notebooks")
    state = _read_state(folder / STATE_FILE)
    settings = run.config.model_dump(mode="json")
    base = fingerprint(settings, listing(run.data_dir), _named_files(run), _code())
    stamps = _stamps(run)
    earlier: list[str] = []
    executed = []
    for path in notebook_paths():
        key = fingerprint(base, path.read_text(encoding="utf-8"), earlier)
        current = _is_current(state.get(path.stem), key, stamps)
        status: Literal["run", "up to date", "outdated"] = "up to date" if current else "outdated"
        copy, html = folder / path.name, folder / f"{path.stem}.html"
        if path in selected and (force or not current):
            entry = state.setdefault(path.stem, {"wrote": {}})
            entry["key"] = ""
            write_json(folder / STATE_FILE, state)
            try:
                _execute(path, copy, html, parameters)
                entry["key"], status = key, "run"
            finally:
                before, stamps = stamps, _stamps(run)
                _claim(state, path.stem, before, stamps)
                write_json(folder / STATE_FILE, state)
        executed.append(Executed(path.stem, status, copy, html))
        # A notebook depends on all before it, by the key each was last run with.
        earlier.append(state.get(path.stem, {"key": ""})["key"])
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
    try:
        papermill.execute_notebook(
            source,
            growing,
            parameters,
            kernel_name="python3",
            cwd=project_root(),
            progress_bar={"desc": f"{source.stem:<28}"},
            # One text per stream: progress bars then show their last state, not every one.
            coalesce_streams=True,
            # ipykernel warns on every start that its local sockets are not encrypted.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    except PapermillExecutionError as error:
        cause = f"{error.ename}: {_plain(error.evalue)}"
        raise _stopped(source, html, error.exec_count, error.source, cause) from None
    except (DeadKernelError, CellTimeoutError) as error:
        number, cell = _last_started(growing)
        cause = "its Python process was killed or gave no answer"
        cause += " (out of memory? Try fewer parallel.workers or smaller batches)"
        raise _stopped(source, html, number, cell, f"{cause}: {_plain(str(error))}") from None
    finally:
        if growing.is_file():
            growing.replace(copy)
            _to_html(copy, html)


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


def _to_html(copy: Path, html: Path) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(copy))  # type: ignore[no-untyped-call]
    write_text(html, body)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def _read_state(path: Path) -> State:
    """The notebooks' keys and files; nothing where there is no state, or none of this form."""
    try:
        state = read_json(path)
        return {name: {"key": s["key"], "wrote": dict(s["wrote"])} for name, s in state.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _is_current(entry: dict[str, Any] | None, key: str, stamps: Stamps) -> bool:
    if entry is None or entry["key"] != key:
        return False
    return all(stamps.get(name) == stamp for name, stamp in entry["wrote"].items())


def _stamps(run: Run) -> Stamps:
    """Of all that notebooks write: the run folder's files and the submission's copies."""
    stamps = {name: [size, changed] for name, size, changed in listing(run.folder)}
    for copy in run.submission_files[1:]:
        if copy.is_file():
            [(_, size, changed)] = listing(copy)
            stamps[str(copy)] = [size, changed]
    # Written by whoever opens the run, not by a notebook.
    for name in (CONFIG_NAME, f"notebooks/{STATE_FILE}"):
        stamps.pop(name, None)
    return stamps


def _claim(state: State, notebook: str, before: Stamps, after: Stamps) -> None:
    """Note what a notebook wrote, or wrote once and left as it is; a file has one writer, the last.

    `before` and `after` are the stamps around its execution.
    """
    names = {*before, *after}
    changed = {name for name in names if before.get(name) != after.get(name)}
    own = changed | set(state[notebook]["wrote"])
    for entry in state.values():
        entry["wrote"] = {n: stamp for n, stamp in entry["wrote"].items() if n not in changed}
    state[notebook]["wrote"] = {name: after[name] for name in sorted(own) if name in after}


def _named_files(run: Run) -> list[Any]:
    """Stamps of the user's files outside the data folder.

    These are the run folder's corrections, and the files and folders that settings name, plainly or
    after a kind (`npy:<folder>`). What lies in the run folder is left out: notebooks write there.
    """
    found = [listing(run.path(CORRECTIONS_NAME))]
    for text in _strings(run.config.model_dump(mode="json", exclude={"name", "data_dir"})):
        for name in (text, text.partition(":")[2]):
            path = resolve(name)
            if name and run.folder not in (path, *path.parents) and path not in run.folder.parents:
                found.append(listing(path))
    return found


def _strings(value: Any) -> Iterator[str]:
    """All strings in nested settings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _code() -> str:
    """Changes with any source file of the package."""
    package = Path(__file__).parent
    sources = sorted([*package.rglob("*.py"), *package.rglob("*.yaml"), *package.rglob("*.csv")])
    return fingerprint([(p.relative_to(package).as_posix(), p.read_text("utf-8")) for p in sources])
