"""What the names in a profile stand for: a file or folder here, a model on the hub, or neither.

Every `kind:target` (and every plain path or hub id) is parsed here and nowhere else. Relative paths
are meant from the project's root. Imports `config`, `errors`, `files`; the hub's client only for
where its cache lies.
"""

import hashlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from meiju_utils.config import Profile
from meiju_utils.files import fingerprint

RUN_DIR = "{run_dir}"  # in a target: the run's folder, wherever it lies at that time
# Kinds whose target is a path whatever it looks like; of the others it may be a hub id.
_PATHS = {"npy", "talknet"}
_FILES = {".bin", ".model", ".onnx", ".pt", ".pth", ".safetensors", ".yaml", ".yml"}


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (default: here) that holds the suite, else `start`.

    Relative paths in parameters are meant from there, so that a notebook opened in JupyterLab
    (working folder `notebooks/`) and papermill (working folder the project) agree.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "meiju_utils").is_dir():
            return folder
    return here


def revision() -> str:
    """The commit of the checkout, "+" behind it where files differ; "" where git knows none."""
    git = ["git", "-C", str(project_root())]
    try:
        commit, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, timeout=20, check=True)
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def resolve(path: str | Path) -> Path:
    """`path` with `~` expanded; relative ones are meant from the project's root.

    `..` is followed, but a link keeps its name: the name of a run's folder is that of the run.
    """
    expanded = project_root() / Path(path).expanduser()
    return expanded.resolve() if ".." in expanded.parts else expanded


@dataclass(frozen=True)
class Reference:
    """A name of a profile, parsed.

    kind: what stands before the colon, or the whole name without one; "" for a plain path or hub
    id. target: what stands after it. path: the file or folder it stands for, there or not; None
    where it is the name of a model on a hub, or of nothing outside the package. revision: of a hub;
    in a target it stands behind an `@`.
    """

    kind: str
    target: str
    path: Path | None = None
    revision: str = "main"

    @property
    def identity(self) -> str:
        """What the target holds, wherever it lies: of a file or folder its contents, of a hub model
        its id and commit (its revision while no commit is in the cache); "" of a mere kind."""
        if self.path:
            return content_of(self.path)
        return f"{self.target}@{self.commit or self.revision}" if self.target else ""

    @property
    def name(self) -> str:
        """What it is called on any machine: its kind, and the name of its file or hub model."""
        return f"{self.kind}:{self.path.name if self.path else self.target}"

    @property
    def is_here(self) -> bool:
        """Whether its identity can be told here: a mere kind's always can."""
        if self.path:
            return self.path.exists()
        return bool(self.commit) or not self.target

    @property
    def commit(self) -> str:
        """The commit of a hub model in the cache; "" where it is not there."""
        return "" if self.path else cached_commit(self.target, self.revision)


def parse_reference(name: str, run_dir: Path | None = None, revision: str = "main") -> Reference:
    """The reference of a name `kind` or `kind:target`; `run_dir` stands in for `{run_dir}`."""
    kind, _, target = name.partition(":")
    return parse_target(target, kind, run_dir, revision)


def parse_target(
    target: str, kind: str = "", run_dir: Path | None = None, revision: str = "main"
) -> Reference:
    """The reference of a plain path or hub id, or of what stands after a kind's colon."""
    target = target.strip()
    if run_dir is not None:
        target = target.replace(RUN_DIR, str(run_dir))
    path = resolve(target) if target else None
    if path and not (kind in _PATHS or _is_path(target) or path.exists()):
        path = None
    if path is None and "@" in target and kind in ("", "yunet"):  # encoders have `revision`
        target, _, revision = target.partition("@")
    return Reference(kind, target, path, revision)


def pinned(name: str, identity: str) -> str:
    """A name (`kind:id`, or an id) of a hub model at the commit in its `identity`; as it is where
    that has none, and where the name says a revision itself."""
    model, _, commit = identity.partition("@")
    if re.fullmatch("[0-9a-f]{40}", commit) and name.rpartition(":")[2] == model:
        return f"{name}@{commit}"
    return name


def _is_path(target: str) -> bool:
    """Whether it can be nothing but a path: a hub id is `owner/name` or `name`."""
    return (
        target.startswith(("/", ".", "~", RUN_DIR))
        or "\\" in target
        or target.count("/") > 1
        or Path(target).suffix in _FILES
    )


def is_hub_id(target: str) -> bool:
    """Whether it has the form of a model's id on the hub: `owner/name` or `name`."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", target, re.ASCII) is not None


def absolute_name(name: str) -> str:
    """`kind:target` with the target absolute where it is a path; `{run_dir}` stays."""
    kind, colon, target = name.partition(":")
    return f"{kind}{colon}{_absolute(target, kind)}" if colon else name


def _absolute(target: str, kind: str = "") -> str:
    path = None if RUN_DIR in target else parse_target(target, kind).path
    return str(path) if path else target


def with_absolute_paths(config: Profile) -> Profile:
    """A profile that means the same files in any working folder, on any worker."""
    values = config.model_dump()
    embeddings, preprocessing = values["embeddings"], values["preprocessing"]
    chosen = [embeddings["audio"], embeddings["visual"], embeddings["text"]]
    for encoders in (chosen, *embeddings["compare"].values()):
        for encoder in filter(None, encoders):
            _change(encoder, "name", absolute_name)
    _change(preprocessing["faces"], "detector", absolute_name)
    _change(preprocessing, "speaker", absolute_name)
    _change(preprocessing["transcripts"], "asr", _absolute)
    for key in ("recipes", "data_dir"):
        _change(values, key, lambda path: str(resolve(path)) if path else "")
    return Profile.model_validate(values)


def _change(values: dict[str, Any], key: str, function: Callable[[str], str]) -> None:
    values[key] = function(values[key])


def content_of(path: Path) -> str:
    """A digest of a file, or of all files below a folder with their names; "" of nothing.

    Hidden files are left out: a download leaves some behind.
    """
    if path.is_file():
        return _digest(path)
    files = [found for found in sorted(path.rglob("*")) if found.is_file()]
    names = [found.relative_to(path) for found in files]
    seen = [(n, f) for n, f in zip(names, files, strict=True) if not _is_hidden(n)]
    return fingerprint([(name.as_posix(), _digest(file)) for name, file in seen]) if seen else ""


def _is_hidden(name: Path) -> bool:
    return any(part[0] == "." for part in name.parts)


def _digest(path: Path) -> str:
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _file_digest(path: Path, size: int, changed_ns: int) -> str:
    """SHA-256 of a file, read once a process unless its size or time of change differ."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_commit(hub_id: str, revision: str = "main") -> str:
    """The commit that a revision of a hub model is at in this machine's cache; "" where unknown."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    try:
        return (_hub_folder(hub_id) / "refs" / revision).read_text("utf-8").strip()
    except OSError:
        return ""


def cached_snapshot(hub_id: str, revision: str = "main") -> Path | None:
    """The folder of a hub model's files in this machine's cache."""
    folder = _hub_folder(hub_id) / "snapshots" / (cached_commit(hub_id, revision) or "none")
    return folder if folder.is_dir() else None


def _hub_folder(hub_id: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
