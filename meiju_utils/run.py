"""The run: the one object a notebook opens. Where artefacts live, and what settings made them.

Stages meet only at files in the run folder. Imports `config`, `errors`, `files`, `html`,
`references`, `run_folder` only.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meiju_utils.challenge import SUBMISSION_NAME, Setting
from meiju_utils.config import Profile
from meiju_utils.errors import ConfigError, CorpusError, DamagedError, MissingStageError
from meiju_utils.files import DAMAGED, fingerprint, read_table, set_aside, write_table, write_text
from meiju_utils.html import definition_table
from meiju_utils.references import project_root, resolve
from meiju_utils.run_folder import OWNER_NAME

CORRECTIONS_NAME = "corrections.csv"  # the user's, in the run folder or beside the lists

CONFIG_NAME = "config.yaml"  # the effective settings, in the run folder

# Table in the run folder → the notebook that writes it.
TABLES = {
    "clips": "01_preprocessing",
    "manifest": "01_preprocessing",
    "transcripts": "01_preprocessing",
    "transcript_changes": "01_preprocessing",
    "transcript_suggestions": "01_preprocessing",
    "problems": "01_preprocessing",
    "copies": "01_preprocessing",
    "encoders": "02_embedding_extraction",
    "table_one": "05_head_variant_training",
}


def _below_root(path: Path) -> str:
    """For a page that is passed on: a path within the project, of any other its name alone."""
    root = project_root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


@dataclass(frozen=True, repr=False)
class Run:
    """A profile, the data it reads and the folder it writes.

    `options` of `meiju run` open it again; () where the profile's name is enough.
    """

    config: Profile
    data_dir: Path
    folder: Path
    options: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Run {self.config.name} ({self.setting.name}): data {self.data_dir.name}, "
            f"folder {self.folder.name}>"
        )

    def _repr_html_(self) -> str:
        written = [name for name in TABLES if self.path(f"{name}.parquet").is_file()]
        return definition_table(
            f"Run {self.folder.name}",
            {
                "profile": self.config.name,
                "setting": self.setting.name,
                "data": _below_root(self.data_dir),
                "folder": _below_root(self.folder),
                "tables": ", ".join(written) or "none yet",
            },
        )

    @property
    def setting(self) -> Setting:
        return self.config.setting

    @property
    def command(self) -> str:
        """The command line that runs the notebooks on this run."""
        return shlex.join(["meiju", "run", *(self.options or ("--profile", self.config.name))])

    @property
    def submission_files(self) -> tuple[Path, Path, Path]:
        """`submission.csv`, and its copies `submissions/<name of the run folder>.csv`, `.zip`.

        Where another run folder of that name has its copies there, a few digits follow the name.
        """
        copies, name = project_root() / "submissions", self.folder.name
        owner = self._owner_of_copies
        if owner and owner != self.folder and (owner / OWNER_NAME).is_file():
            name = f"{name}-{fingerprint(str(self.folder))[:4]}"
        return self.path(SUBMISSION_NAME), copies / f"{name}.csv", copies / f"{name}.zip"

    @property
    def _owner_note(self) -> Path:
        return project_root() / "submissions" / f".{self.folder.name}.run"

    @property
    def _owner_of_copies(self) -> Path | None:
        try:
            return Path(self._owner_note.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            return None

    def own_copies(self) -> None:
        """Note that the copies of this folder's plain name are this run's, unless they are not."""
        if self.submission_files[1].stem == self.folder.name:
            write_text(self._owner_note, f"{self.folder}\n")

    def path(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.folder.joinpath(*parts)

    def table(self, name: str) -> pd.DataFrame:
        """A table an earlier stage wrote; MissingStageError says which notebook to run.

        One that is damaged is set aside and counts as missing.
        """
        path = self.path(f"{name}.parquet")
        try:
            return read_table(path)
        except FileNotFoundError:
            raise self.missing(f"table {path.name}", TABLES[name]) from None
        except DamagedError as error:
            set_aside(path)
            raise self.missing(f"intact table {path.name}", TABLES[name]) from error

    def has(self, name: str) -> bool:
        """Whether a table was written; also where it was set aside as damaged, so that `table`
        says so rather than that it is gone without."""
        path = self.path(f"{name}.parquet")
        return path.is_file() or path.with_name(path.name + DAMAGED).is_file()

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a table of the run folder, atomically."""
        if name not in TABLES:
            raise KeyError(f"{name} is not a table of the run folder: {sorted(TABLES)}")
        path = self.path(f"{name}.parquet")
        write_table(path, table)
        return path

    def missing(self, what: str, notebook: str) -> MissingStageError:
        """The error for something an earlier notebook has not written yet."""
        return MissingStageError(
            f"{self.folder.name} has no {what}. Run notebooks/{notebook}.ipynb on this run folder "
            f"first, or: {self.command} --only {notebook[:2]}"
        )


def data_folder(config: Profile, data_dir: str = "", run_folder: Path | None = None) -> Path:
    """The challenge folder: `data_dir`, or else the profile's own.

    Raises ConfigError where neither is given, CorpusError where it is not there. With a
    `run_folder` in which 01 has run it need not be: then a path that is not there is returned.
    """
    what = f"holds Track{config.track}" if config.labels is None else "holds your clips.csv"
    passed_on = run_folder is not None and (run_folder / "manifest.parquet").is_file()
    if run_folder is not None and passed_on and not (data_dir or config.data_dir):
        return run_folder / "no data folder is known"
    if not (data_dir or config.data_dir):
        raise ConfigError(
            f"Profile {config.name} has no data folder of its own: give data_dir, the folder that "
            f"{what}."
        )
    data = resolve(data_dir or config.data_dir)
    if not data.is_dir() and not passed_on:
        hint = (
            f"make it with: meiju demo-corpus {config.data_dir}"
            if config.name == "demo" and data == resolve(config.data_dir)
            else f"give the folder that {what} as data_dir"
        )
        raise CorpusError(f"No data folder {data}; {hint}.")
    return data
