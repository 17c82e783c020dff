"""A whole run's settings: which corpus, with which labels, and the sections of its stages.

Imports `sections`, `challenge` only.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from meiju_utils.challenge import (
    SETTINGS,
    Average,
    Language,
    Setting,
    Task,
    TrackNumber,
    own_setting,
)
from meiju_utils.config.sections import (
    Embeddings,
    Parallel,
    Preprocessing,
    Section,
    Seed,
    Training,
)


class Split(Section):
    """How a corpus of one's own is dealt into splits, where its `clips.csv` says nothing of them.

    Stratified by labels; clips of one `group` (or else one `speaker`) stay together.
    """

    valid: float = Field(default=0.15, gt=0, lt=0.5, description="share of the labelled clips")
    test: float = Field(default=0.15, gt=0, lt=0.5, description="share of the labelled clips")
    seed: Seed = 0


# Columns of the suite's tables; a task of that name could not be told from them.
_RESERVED = {
    *("clip_id", "track", "language", "split", "video", "text", "group", "speaker", "joint"),
    *("alone", "face", "seconds", "lacks", "remarks"),  # of what `meiju predict` says
    *("both", "start_s", "end_s", "duration_s", "face_choice", "face_score", "face_reason"),
    *("seed", "fold", "role", "chose", "name", "system", "interaction", "auxiliary", "masking"),
}
MOST_LABELS = 1000  # of a task


def _as_labels(value: Any) -> Any:
    """YAML reads 1 as a number, and yes as a truth, of which its label cannot be told."""
    if isinstance(value, list | tuple) and any(isinstance(one, bool) for one in value):
        raise ValueError("yes, no, on and off mean true and false in YAML: put them in quotes")
    return [str(one) if isinstance(one, int | float) else one for one in value or []]


Labels = Annotated[list[str], BeforeValidator(_as_labels), Field(max_length=MOST_LABELS)]


class Profile(Section):
    """A whole run."""

    name: str
    track: TrackNumber = 1
    language: Language = "mandarin"
    data_dir: str = ""
    labels: dict[Task, Labels] | None = Field(
        default=None,
        description="of clips of one's own: one or two tasks, each with its labels in order, or "
        "[] to take them from clips.csv; null: the tasks emotion and intent of clips.csv",
    )
    metric: Average | None = Field(
        default=None,
        description="of clips of one's own, how class-wise F1 scores are averaged; null: weighted",
    )
    split: Split = Split()
    follow_links: bool = Field(
        default=False, description="read files that links in the data folder lead to, out of it"
    )
    seed: int = 0
    preprocessing: Preprocessing = Preprocessing()
    embeddings: Embeddings = Embeddings()
    training: Training = Training()
    recipes: str = Field(
        default="", description="a YAML file of recipes of your own, as recipes/library.yaml"
    )
    submission: str = Field(default="best", description="the recipe that is handed in")
    parallel: Parallel = Parallel()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not name.strip() or name in (".", "..") or set(name) & set("/\\\0"):
            raise ValueError("must be able to name the run's folder, without / or \\")
        return name

    @field_validator("labels")
    @classmethod
    def _are_tasks(cls, labels: dict[Task, list[str]] | None) -> dict[Task, list[str]] | None:
        if labels is None:
            return None
        if not 1 <= len(labels) <= 2:
            raise ValueError(f"names {len(labels)} tasks; expected one or two, as emotion: [...]")
        for task, names in labels.items():
            if not task.isidentifier() or task in _RESERVED:
                raise ValueError(
                    f"{task!r} cannot name a task: expected letters, digits and underscores, and "
                    f"none of {', '.join(sorted(_RESERVED))}"
                )
            odd = [name for name in names if not name or name != " ".join(name.split())]
            twice = [name for name in names if names.count(name) > 1]
            if odd or twice:
                raise ValueError(
                    f"{task}: {(odd or twice)[0]!r} is no label, or stands there twice"
                )
            if len(names) == 1:
                raise ValueError(f"{task} has one label, {names[0]!r}: there is nothing to learn")
        return labels

    @property
    def setting(self) -> Setting:
        """What is asked of the corpus; of one's own once its labels are known (`corpus.own`): tasks
        without any are off."""
        if self.labels is None:
            return SETTINGS[self.track, self.language]
        classes = {task: tuple(names) for task, names in self.labels.items() if names}
        return own_setting(self.language, self.metric or "weighted", classes)
