"""What is asked of clips of one's own: the tasks and labels that their table has.

Imports `listing`, `own_table`, `splits`, `videos`, `config`, `challenge`, `errors`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from meiju_utils.challenge import MODALITIES, TASKS, Modality, Task
from meiju_utils.config import Profile
from meiju_utils.corpus.listing import list_folder
from meiju_utils.corpus.own_table import OWN_TABLE, OwnTable, classes_of_table, read_own_table
from meiju_utils.corpus.splits import Findings
from meiju_utils.corpus.videos import is_video
from meiju_utils.errors import ConfigError, CorpusError


def is_own(folder: Path) -> bool:
    """Whether a folder holds clips of one's own."""
    return (folder / OWN_TABLE).is_file()


def settled(config: Profile, folder: Path, before: Profile | None = None) -> Profile:
    """The profile with the tasks and labels that a data folder's table has, without the encoders of
    modalities that no clip has by the table.

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
        return _with(config, off | classes, _absent(config, table, folder))
    if not folder.is_dir() and before is not None and before.labels is not None:
        absent = [m for m in MODALITIES if m not in before.embeddings.chosen()]
        return _with(config, before.labels, absent)
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


def _absent(config: Profile, table: OwnTable, folder: Path) -> list[Modality]:
    """Modalities that no clip has: no texts and no model to hear them, no videos."""
    absent: list[Modality] = []
    if "video" in table.columns:
        filmed = any(row["video"] for row in table.rows)
    else:
        filmed = any(map(is_video, list_folder(folder, config.follow_links).files))
    if not filmed:
        absent += ["audio", "visual"]
    heard = filmed and config.preprocessing.transcripts.asr
    if not (heard or any(row["text"] for row in table.rows)):
        absent.append("text")
    return absent


def _with(
    config: Profile, labels: Mapping[Task, list[str]], absent: Collection[Modality]
) -> Profile:
    """A profile with labels, and without encoders of what is absent, unless they are vectors made
    elsewhere. Where none would be left it keeps them, for the checks to say so."""
    embeddings = config.embeddings
    off: set[Modality] = {
        modality
        for modality, encoder in embeddings.chosen().items()
        if modality in absent and not encoder.name.startswith("npy:")
    }
    if off and off < embeddings.chosen().keys():
        compare = {m: encoders for m, encoders in embeddings.compare.items() if m not in off}
        embeddings = embeddings.model_copy(update={**dict.fromkeys(off), "compare": compare})
    return config.model_copy(update={"labels": dict(labels), "embeddings": embeddings})
