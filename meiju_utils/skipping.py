"""Is a notebook up to date? A key of all that it reads, and stamps of the files it wrote.

A notebook's key changes with the settings, the user's files and the package's code that it or an
earlier notebook reads, and with nothing else. Imports `corpus.listing`, `files` and `run`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meiju_utils.corpus.listing import FolderListing, hand_over, list_folder, read_listing
from meiju_utils.errors import DamagedError
from meiju_utils.files import fingerprint, listing, read_record
from meiju_utils.references import project_root, resolve
from meiju_utils.run import CONFIG_NAME, CORRECTIONS_NAME, Run
from meiju_utils.run_folder import LOCK_NAME, OWNER_NAME

STATE_FILE = "state.json"
LISTING_FILE = "data_folder.json"
PACKAGE = Path(__file__).parent
SOURCES = (".py", ".pyi", ".yaml", ".csv", ".j2")

Stamps = dict[str, list[int]]  # file → its size and time of change
# Notebook → `key` ("": not run to its end), `wrote` and how often it was `forced`.
State = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Reads:
    """Settings of the profile and sources of the package, by dotted name: sections and packages
    stand for all below them."""

    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


# What comes in with each notebook of the suite: it and all later ones read it, those before it do
# not. What stands nowhere here is read by all, a new setting or module for one.
COMES_WITH: dict[str, Reads] = {
    "01_preprocessing": Reads(),
    "02_embedding_extraction": Reads(
        ("seed", "embeddings"), ("arrays", "embeddings", "linear", "ngrams")
    ),
    "03_baseline": Reads(
        ("training", "recipes"),
        # `pool` as recipes import it: one of the user's own may have targets in any notebook.
        ("components", "decisions", "graphs", "modelling", "pool", "recipes"),
    ),
    "04_pseudo_labelling": Reads(),
    "05_head_variant_training": Reads(("submission",)),  # it has a row of what is handed in
    "06_submission_ensembling": Reads(
        (),
        (
            *(
                "reporting.gather",
                "reporting.mistakes",
                "reporting.report",
                "reporting.results",
                "reporting.sections",
            ),
            *("reporting.summary", "reporting.templates", "submission", "console"),
        ),
    ),
}

UNREAD = Reads(
    # Where work is done, and by how many, changes none of its results: stages find them whatever
    # these say, so a notebook would only show the same again. (Clips that failed for want of memory
    # are tried again where a notebook is run by hand.)
    ("parallel", "preprocessing.device", "embeddings.device", "training.device"),
    # They run notebooks; of profiles the settings count.
    (
        *("__main__", "asking", "bundle", "cleaning", "cli", "commands", "diagnosing"),
        *("estimate_text", "estimating", "execution", "forcing", "handing_in", "profiles"),
        *("skipping", "verifying", "watching"),
    ),
)


@dataclass(frozen=True)
class Inputs:
    """All that the notebooks of a run may read.

    settings: by dotted name, each with the stamps of the files it names. code: by dotted path, what
    changes with a source. files: stamps of the data folder and of the run folder's corrections.
    """

    settings: dict[str, Any]
    code: dict[str, str]
    files: list[Any]

    def key(self, notebook: str) -> str:
        """Changes with what a notebook or an earlier one reads; one that is not of the suite reads
        everything."""
        unread = _unread(notebook)
        settings, code = (
            {name: value for name, value in values.items() if not _within(name, left_out)}
            for values, left_out in ((self.settings, unread.settings), (self.code, unread.code))
        )
        return fingerprint(settings, code, self.files)


def inputs_of(run: Run) -> Inputs:
    """What the notebooks of a run may read, as it is now. Walks over the data folder, once."""
    return Inputs(
        settings={name: [value, _named_files(run, name, value)] for name, value in _settings(run)},
        code=_code(PACKAGE),
        files=[_data_folder(run), listing(run.path(CORRECTIONS_NAME))],
    )


def _data_folder(run: Run) -> list[Any]:
    """What lies in the data folder, which is written down: where it is gone, what lay there last.

    So a finished run that is passed on without its data stays up to date.
    """
    path, follow_links = run.path("notebooks", LISTING_FILE), run.config.follow_links
    seen: FolderListing | None
    if run.data_dir.is_dir():
        seen = list_folder(run.data_dir, follow_links, fresh=True)
        hand_over(seen, follow_links, path)
    else:
        seen = read_listing(path, follow_links)
    if seen is None:
        return []
    # A profile may lie beside the clips: of it the settings count.
    read = [item for item in seen.files.items() if not item[0].endswith((".yaml", ".yml"))]
    return [sorted(read), seen.outside, seen.unreadable]


def _unread(notebook: str) -> Reads:
    names = list(COMES_WITH)
    if notebook not in names:
        return Reads()
    parts = [UNREAD, *(COMES_WITH[name] for name in names[names.index(notebook) + 1 :])]
    return Reads(
        tuple(name for part in parts for name in part.settings),
        tuple(name for part in parts for name in part.code),
    )


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _settings(run: Run) -> Iterator[tuple[str, Any]]:
    root = json.dumps(f"{project_root()}/", ensure_ascii=False)[1:-1]
    text = json.dumps(run.config.model_dump(mode="json"), ensure_ascii=False)
    for section, value in json.loads(text.replace(root, "")).items():  # the project may move
        if isinstance(value, dict):
            yield from ((f"{section}.{key}", below) for key, below in value.items())
        else:
            yield section, value


def _named_files(run: Run, setting: str, value: Any) -> list[Any]:
    """Stamps of the user's files and folders that a setting names, plainly or after a kind
    (`npy:<folder>`).

    The profile's data folder is not meant: the run may have another. What lies in the run folder is
    left out: notebooks write there.
    """
    found = []
    for text in _strings(value) if setting not in ("name", "data_dir") else ():
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


def _code(package: Path) -> dict[str, str]:
    sources = sorted(path for path in package.rglob("*") if path.suffix in SOURCES)
    return {
        path.relative_to(package).as_posix().replace("/", "."): fingerprint(path.read_text("utf-8"))
        for path in sources
    }


def read_state(path: Path) -> State:
    """The notebooks' keys and files; nothing where there is no state, or none of this form."""
    try:
        return {
            name: {
                "key": entry["key"],
                "wrote": dict(entry["wrote"]),
                "forced": int(entry["forced"]),
            }
            for name, entry in read_record(path).items()
        }
    except (OSError, DamagedError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def is_current(entry: Mapping[str, Any], key: str, stamps: Stamps) -> bool:
    """Whether a notebook ran to its end with this key, and all it wrote is as it left it."""
    if entry["key"] != key:
        return False
    return all(stamps.get(name) == stamp for name, stamp in entry["wrote"].items())


def stamps_of(run: Run) -> Stamps:
    """Of all that notebooks write: the run folder's files and the submission's copies."""
    stamps = {name: [size, changed] for name, size, changed in listing(run.folder)}
    for copy in run.submission_files[1:]:
        if copy.is_file():
            [(_, size, changed)] = listing(copy)
            stamps[str(copy)] = [size, changed]
    # Written by whoever opens the run, looks at its corpus or writes it, not by a notebook.
    notebooks = (f"notebooks/{STATE_FILE}", f"notebooks/{LISTING_FILE}")
    others = (CONFIG_NAME, OWNER_NAME, LOCK_NAME, "doctor/", *notebooks)
    return {name: stamp for name, stamp in stamps.items() if not name.startswith(others)}


def claim(state: State, notebook: str, before: Stamps, after: Stamps) -> None:
    """Note what a notebook wrote, or wrote once and left as it is; a file has one writer, the last.

    `before` and `after` are the stamps around its execution.
    """
    names = {*before, *after}
    changed = {name for name in names if before.get(name) != after.get(name)}
    own = changed | set(state[notebook]["wrote"])
    for entry in state.values():
        entry["wrote"] = {n: stamp for n, stamp in entry["wrote"].items() if n not in changed}
    state[notebook]["wrote"] = {name: after[name] for name in sorted(own) if name in after}
