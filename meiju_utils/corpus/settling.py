"""What is asked of clips of one's own: the tasks and labels that their table has.

Imports `own_table`, `splits`, `config`, `challenge`, `errors`.
"""

from pathlib import Path

from meiju_utils.challenge import TASKS, Task
from meiju_utils.config import Profile
from meiju_utils.corpus.own_table import OWN_TABLE, classes_of_table, read_own_table
from meiju_utils.corpus.splits import Findings
from meiju_utils.errors import ConfigError, CorpusError


def is_own(folder: Path) -> bool:
    """Whether a folder holds clips of one's own."""
    return (folder / OWN_TABLE).is_file()


def settled(config: Profile, folder: Path, before: Profile | None = None) -> Profile:
    """The profile with the tasks and labels that a data folder's table has.

    One of an official release, without such a table, is returned as it is. `before` is the profile
    as it was settled earlier, which counts where the folder is not there any more. Raises
    CorpusError where the table does not tell them, ConfigError for settings that are only for clips
    of one's own.
    """
    if is_own(folder):
        table = read_own_table(folder, config.labels, config.language)
        classes, faults = classes_of_table(table, config.labels)
        if table.faults or faults:
            found = Findings()
            found.fault_each([*table.faults, *faults], OWN_TABLE)
            raise CorpusError(
                f"The corpus in {folder} cannot be used:\n"
                + "\n".join(f"  - {fault}" for fault in found.faults)
            )
        off: dict[Task, list[str]] = {
            task: [] for task in (TASKS if config.labels is None else config.labels)
        }
        return config.model_copy(update={"labels": off | classes})
    if not folder.is_dir() and before is not None and before.labels is not None:
        return config.model_copy(update={"labels": before.labels})
    if config.labels is not None:
        raise CorpusError(
            f"The profile names labels of its own, but {folder} has no {OWN_TABLE}, the table of "
            f"your clips; `meiju init {folder}` writes a first one."
        )
    if config.language == "other":
        raise ConfigError(
            f"language: other is for clips of your own, but {folder} has no {OWN_TABLE}; the "
            "challenge's languages are mandarin and english."
        )
    if config.metric is not None:
        raise ConfigError(
            f"metric = {config.metric!r}: the metric of {config.setting.name} is the challenge's, "
            f"{config.setting.average}; one is chosen for clips of your own, with a {OWN_TABLE}."
        )
    return config
