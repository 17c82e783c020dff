"""The rules of MEIJU@2025 as data: vocabularies, tracks, sizes, metric, names, published scores.

Sources: the challenge website, the official baseline repository (AI-S2-Lab/MEIJU2025-baseline)
and the winners' paper (arXiv 2501.06215). Imports nothing of the package but its errors.
"""

from dataclasses import dataclass, field
from typing import Literal

Task = str  # of MEIJU: "emotion", "intent"
TrackNumber = Literal[1, 2]
Language = Literal["mandarin", "english", "other"]  # the last only of clips of one's own
Split = Literal["train", "valid", "test", "unlabeled"]
Modality = Literal["audio", "visual", "text"]
Average = Literal["weighted", "micro", "macro"]  # of class-wise F1 scores

METRICS: dict[Average, str] = {
    "weighted": "weighted F1 (classes count by their clips)",
    "micro": "micro F1 (all clips count alike)",
    "macro": "macro F1 (all classes count alike)",
}

# Official order: the index of a class is its position here.
EMOTIONS = ("happy", "surprise", "sad", "disgust", "anger", "fear", "neutral")
INTENTS = (
    "questioning",
    "agreeing",
    "acknowledging",
    "encouraging",
    "consoling",
    "suggesting",
    "wishing",
    "neutral",
)
TASKS: tuple[Task, ...] = ("emotion", "intent")
CLASSES: dict[Task, tuple[str, ...]] = {"emotion": EMOTIONS, "intent": INTENTS}
SPLITS: tuple[Split, ...] = ("train", "valid", "test", "unlabeled")
MODALITIES: tuple[Modality, ...] = ("audio", "visual", "text")

SUBMISSION_NAME = "submission.csv"
SUBMISSION_COLUMNS = ("filename", "emo_pred", "int_pred")
SUBMISSIONS_PER_DAY = 5
SUBMISSIONS_IN_ALL = 80


@dataclass(frozen=True)
class Scores:
    """Emotion F1, intent F1 and their joint score."""

    emotion: float
    intent: float
    joint: float


@dataclass(frozen=True)
class Setting:
    """What is asked of a corpus: one of the four of the challenge, or one of the user's own.

    `classes` has the tasks, one or two, with their labels in order; `average` is how class-wise F1
    scores are averaged. Of a track of the challenge `sizes` counts clips in train, valid and test,
    `official_baseline` is the organisers' result, a mean of three runs; a corpus of one's own has
    neither, and no track.
    """

    track: TrackNumber | None
    language: Language
    sizes: tuple[int, int, int] | None
    average: Average
    official_baseline: Scores | None
    classes: dict[Task, tuple[str, ...]] = field(default_factory=lambda: dict(CLASSES))

    @property
    def name(self) -> str:
        return f"track{self.track}-{self.language}" if self.is_official else f"own-{self.language}"

    @property
    def title(self) -> str:
        """The name for reading."""
        language = self.language.capitalize()
        if self.is_official:
            return f"MEIJU@2025 Track {self.track} {language}"
        return f"Own clips, {language}"

    @property
    def told(self) -> str:
        """What is asked of the clips, in a sentence: labels, metric and, of one task, what that
        changes."""
        names = [f"{len(labels)} {task}s" for task, labels in self.classes.items()]
        whose = "One emotion and one intent a clip" if self.is_official else "Clips of your own"
        told = f"{whose}: {' and '.join(names)}; the metric is {METRICS[self.average]}."
        if len(names) == 1:
            told += (
                f" One task, {self.tasks[0]}: there are no label pairs, the network has no "
                "interaction between tasks, and the joint score is that task's F1."
            )
        return told

    @property
    def is_official(self) -> bool:
        """Whether it is one of the challenge's, with its layout, vocabularies and limits."""
        return self.track is not None

    @property
    def tasks(self) -> list[Task]:
        return list(self.classes)

    @property
    def has_unlabeled(self) -> bool:
        return self.track != 2

    @property
    def submission_columns(self) -> tuple[str, ...]:
        """Header of what is handed in: of the clips' names, then of each task's labels."""
        return SUBMISSION_COLUMNS if self.is_official else ("clip_id", *self.tasks)


def own_setting(
    language: Language, average: Average, classes: dict[Task, tuple[str, ...]]
) -> Setting:
    """The setting of a corpus of one's own (`corpus.own`)."""
    return Setting(None, language, None, average, None, classes)


SETTINGS: dict[tuple[TrackNumber | None, Language], Setting] = {
    (s.track, s.language): s
    for s in (
        Setting(1, "mandarin", (2294, 324, 643), "weighted", Scores(0.4263, 0.4788, 0.4509)),
        Setting(1, "english", (3161, 449, 895), "weighted", Scores(0.3174, 0.3944, 0.3516)),
        Setting(2, "mandarin", (7581, 1083, 2166), "micro", Scores(0.6016, 0.6215, 0.6115)),
        Setting(2, "english", (31320, 4474, 8950), "micro", Scores(0.5342, 0.5412, 0.5377)),
    )
}

# The first five joint scores of the Track 1 Mandarin leaderboard.
LEADERBOARD_TRACK1_MANDARIN = (0.5532, 0.5478, 0.5468, 0.4810, 0.0599)

# Table I of the winners' paper, by recipe. The published row "+ one + two attention heads" prints
# three intent scores (two heads, one head, fused); its fused intent is the only figure comparable.
PAPER_TABLE_I: dict[str, Scores] = {
    "baseline": Scores(0.5265, 0.5051, 0.5156),
    "+pseudo-label": Scores(0.5305, 0.5114, 0.5208),
    "+1textcnn": Scores(0.5725, 0.4831, 0.5240),
    "+one-head": Scores(0.5134, 0.5132, 0.5133),
    "one+two-heads": Scores(float("nan"), 0.5353, float("nan")),
    "ensemble": Scores(0.5725, 0.5353, 0.5532),
}


def class_index(task: Task) -> dict[str, int]:
    """Label → official index of a task."""
    return {label: index for index, label in enumerate(CLASSES[task])}
