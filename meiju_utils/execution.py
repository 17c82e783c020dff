"""Running the notebooks headless, in order, through papermill; skipping what is up to date.

A notebook is run again when its source, the settings, the data folder's files, the user's
corrections, a local model, the package's code or an earlier notebook's key changed, or when
something it wrote is gone. Imports the base modules only; what the notebooks do is their business.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from meiju_utils.config import Profile
from meiju_utils.errors import ConfigError, MeijuError, nearest
from meiju_utils.files import fingerprint, read_json, stamps, write_json, write_text
from meiju_utils.run import CORRECTIONS_NAME, Run, open_run, project_root, resolve

STATE_FILE = "state.json"


class NotebookError(MeijuError):
    """A notebook stopped; the message names notebook, cell and cause."""


@dataclass(frozen=True)
class Executed:
    """What became of one notebook: its name, whether it ran now, its executed copy."""

    name: str
    status: Literal["run", "up to date"]
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
    from there. `force` runs also what is up to date.
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
    state: dict[str, Any] = {}
    if (folder / STATE_FILE).is_file():
        state = read_json(folder / STATE_FILE)
    base = fingerprint(
        run.config.model_dump(mode="json"),
        [stamps(path) for path in (run.data_dir, run.path(CORRECTIONS_NAME))],
        _local_models(run.config),
        _code(),
    )
    executed = []
    for path in notebook_paths():
        # A notebook depends on all before it, by the key each was last run with.
        earlier = [state[p.stem]["key"] for p in notebook_paths() if p < path and p.stem in state]
        key = fingerprint(base, path.read_text(encoding="utf-8"), earlier)
        if path not in selected:
            continue
        result = Executed(path.stem, "up to date", folder / path.name, folder / f"{path.stem}.html")
        if force or not _is_current(run, state.get(path.stem), key, result):
            state.pop(path.stem, None)
            write_json(folder / STATE_FILE, state)
            _execute(path, result, parameters)
            state[path.stem] = {"key": key, "wrote": _artefacts(run)}
            write_json(folder / STATE_FILE, state)
            result = Executed(path.stem, "run", result.notebook, result.html)
        executed.append(result)
    return run, executed


def _execute(source: Path, result: Executed, parameters: dict[str, Any]) -> None:
    """Run one notebook; the executed copy and its HTML are kept also where it fails."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    result.notebook.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            source,
            result.notebook,
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
        _to_html(result)
        first = next((line for line in error.source.splitlines() if line.strip()), "")
        raise NotebookError(
            f"{source.name} stopped in cell {error.exec_count} ({first.strip()!r}):\n"
            f"  {error.ename}: {_plain(error.evalue)}\n"
            f"  The notebook as far as it came, with the traceback: {result.html}"
        ) from None
    _to_html(result)


def _to_html(result: Executed) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(result.notebook))  # type: ignore[no-untyped-call]
    write_text(result.html, body)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def _is_current(run: Run, state: dict[str, Any] | None, key: str, result: Executed) -> bool:
    if state is None or state["key"] != key:
        return False
    kept = all(run.path(name).exists() for name in state["wrote"])
    return kept and result.notebook.is_file() and result.html.is_file()


def _artefacts(run: Run) -> list[str]:
    """What lies in the run folder, two levels deep: if any of it goes, later runs notice."""
    found = [p for pattern in ("*", "*/*") for p in run.folder.glob(pattern)]
    names = (p.relative_to(run.folder).as_posix() for p in found)
    return sorted(n for n in names if not n.startswith("notebooks") and ".partial-" not in n)


def _local_models(config: Profile) -> list[Any]:
    """Stamps of the files and folders that settings name, as `talknet:<path>` or `npy:<folder>`."""
    dump = config.model_dump(mode="json", include={"preprocessing", "embeddings"})
    names = {text.partition(":")[2] or text for text in _texts(dump)} - {""}
    return [stamps(resolve(name)) for name in sorted(names)]


def _texts(value: Any) -> list[str]:
    """All texts in nested settings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def _code() -> str:
    """Changes with any source file of the package."""
    package = Path(__file__).parent
    sources = sorted([*package.rglob("*.py"), *package.rglob("*.yaml"), *package.rglob("*.csv")])
    return fingerprint([(p.relative_to(package).as_posix(), p.read_text("utf-8")) for p in sources])
