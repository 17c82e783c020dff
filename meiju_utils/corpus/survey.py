"""A corpus as it was read: its clips, what was amiss, what forbids using it.

Imports `layout`, `schema`, `challenge`, `errors` only.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meiju_utils.challenge import Setting
from meiju_utils.corpus.layout import Layout
from meiju_utils.corpus.schema import validate_clips
from meiju_utils.errors import CorpusError


@dataclass(frozen=True)
class Corpus:
    """The clips of one setting.

    `clips` holds one row a clip, sorted by split and id (see schema.validate_clips); `video` is
    relative to `root`. `problems` holds what was found amiss and survived (clip_id, stage,
    problem, reason); clip_id is "" where a whole split is meant. `layout` says where its files lie.
    """

    root: Path
    clips: pd.DataFrame
    problems: pd.DataFrame
    layout: Layout

    @property
    def features_only(self) -> bool:
        """No clip has a video: audio and visual features can only come from files."""
        return bool((self.clips["video"] == "").all())


@dataclass(frozen=True)
class Survey:
    """A corpus as far as it could be read, and the contradictions that forbid using it."""

    corpus: Corpus
    faults: list[str]


def sound_corpus(survey: Survey, setting: Setting) -> Corpus:
    """The corpus of a survey without faults; CorpusError that lists them where there are any."""
    if survey.faults:
        raise CorpusError(
            f"The {setting.name} corpus in {survey.corpus.root} cannot be used, "
            f"{len(survey.faults)} fault(s):\n"
            + "\n".join(f"  - {fault}" for fault in survey.faults)
        )
    validate_clips(survey.corpus.clips, setting)
    return survey.corpus
