"""Would a run on this corpus be sound? What was found, against what the setting promises.

Imports its neighbours in `corpus`, `run`, `parallel`, `config`, `challenge` only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.challenge import SPLITS, Setting
from meiju_utils.config import Parallel
from meiju_utils.corpus.against import Filmed, find_shared
from meiju_utils.corpus.fingerprints import Glimpse
from meiju_utils.corpus.glimpses import look_at_all
from meiju_utils.corpus.official import survey_corpus
from meiju_utils.corpus.opening import survey_run
from meiju_utils.corpus.survey import Corpus, Survey
from meiju_utils.corpus.verdict import SplitCount, find_faults, find_warnings
from meiju_utils.media.reading import part_of
from meiju_utils.predictions import labelled
from meiju_utils.run import Run

STAGE = "doctor"
FOLDER = "doctor"  # in the run folder: what was seen of each clip
_PARALLEL = Parallel()


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` found.

    `counts`: a row a split: found, promised (missing where nothing is promised), videos, readable,
    subtitles, labelled. `labels`: task, label, train, valid. `pairs`: train clips by the labels of
    the first task (rows) and of the second; empty where there is one. `problems`: clip_id, stage,
    problem, reason. `duplicates`: see find_duplicates. `against`: what another folder has as well
    (see find_shared). `faults` make a run unsound, `warnings` do not.
    """

    setting: str
    folder: str
    deep: bool
    counts: pd.DataFrame
    labels: pd.DataFrame
    pairs: pd.DataFrame
    problems: pd.DataFrame
    duplicates: pd.DataFrame
    faults: list[str]
    warnings: list[str]
    against: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def sound(self) -> bool:
        return not self.faults

    @property
    def unreadable(self) -> list[str]:
        """Ids of the clips whose video cannot be read."""
        return self.problems.loc[self.problems["problem"] == "unreadable", "clip_id"].tolist()

    def values(self) -> dict[str, Any]:
        """Everything, for JSON; tables are lists of rows, missing values None."""
        tables = ("counts", "labels", "pairs", "problems", "duplicates", "against")
        values: dict[str, Any] = {
            "sound": self.sound,
            "setting": self.setting,
            "folder": self.folder,
            "deep": self.deep,
            "faults": self.faults,
            "warnings": self.warnings,
        }
        for name in tables:
            table: pd.DataFrame = getattr(self, name)
            values[name] = json.loads(table.to_json(orient="records", force_ascii=False))
        return values


def examine(
    data_dir: Path,
    setting: Setting,
    deep: bool = True,
    parallel: Parallel = _PARALLEL,
    cache: Path | None = None,
    corpus: Corpus | Survey | None = None,
    follow_links: bool = False,
    against: Path | None = None,
) -> Diagnosis:
    """Read the corpus, unless it is given as read, open every clip, look for copies, also in the
    folder `against`, if given.

    A quick look decodes each clip's first frame and finds files with equal bytes; a `deep` one also
    decodes the sound and finds near duplicates. What was seen of a clip is kept in the folder
    `cache`, if given, until its file changes. Raises CorpusError only where there is no folder of
    this setting, SystemicError where looking at clips fails so often that it is hardly theirs;
    contradictions in the corpus become faults.
    """
    survey = corpus or survey_corpus(data_dir, setting, follow_links)
    if isinstance(survey, Corpus):
        survey = Survey(survey, [])
    found = survey.corpus
    filmed = found.clips[found.clips["video"] != ""].drop_duplicates("clip_id")
    stamps = {video: found.layout.stamp(video) or (-1, 0) for video in filmed["video"]}
    columns = filmed[["clip_id", "video", "start_s", "end_s"]].itertuples(index=False, name=None)
    videos = {clip_id: (video, part_of(start, end)) for clip_id, video, start, end in columns}
    glimpses = look_at_all(found.root, videos, stamps, deep, parallel, cache)
    faulty = [clip_id for clip_id, glimpse in glimpses.items() if glimpse.fault]
    readable = filmed[~filmed["clip_id"].isin(faulty)]
    seen = Filmed(found.root, readable, videos, stamps, glimpses)
    duplicates = seen.copies()
    if against is None:
        shared, told = pd.DataFrame(), []
    else:
        shared = find_shared(seen, against, setting.language, deep, parallel, cache)
        told = [f"{shared['clip_id'].nunique()} clips are recordings that {against} has, too."]
    problems = pd.concat([found.problems, _media_problems(filmed, glimpses)], ignore_index=True)
    counts = _counts(found.clips, readable["clip_id"].tolist(), setting)
    labels = _label_counts(found.clips, setting)
    warnings = find_warnings(counts, labels, duplicates, found.clips, found.features_only)
    return Diagnosis(
        setting=setting.name,
        folder=str(data_dir),
        deep=deep,
        counts=pd.DataFrame(map(asdict, counts)).astype({"promised": "Int64"}),
        labels=labels,
        pairs=_pair_counts(found.clips, setting),
        problems=problems,
        duplicates=duplicates,
        faults=[*survey.faults, *find_faults(counts, labels, duplicates, found.features_only)],
        warnings=[
            *told,
            *warnings,
            *_absent_modalities(
                found.clips, [glimpses[c] for c in readable["clip_id"]], setting.is_official
            ),
        ],
        against=shared,
    )


def examine_run(
    run: Run,
    corpus: Corpus | Survey | None = None,
    deep: bool = True,
    keep: bool = True,
    against: Path | None = None,
) -> Diagnosis:
    """`examine` the data folder of a run, and `keep` what was seen in the run folder."""
    config = run.config
    return examine(
        run.data_dir,
        run.setting,
        deep,
        config.parallel,
        run.path(FOLDER) if keep else None,
        corpus or survey_run(run),
        against=against,
    )


def _absent_modalities(
    clips: pd.DataFrame, glimpses: Sequence[Glimpse], official: bool
) -> list[str]:
    """What no clip of a corpus has, and the setting without which a run would stop for it."""
    warnings = []
    if glimpses and all({"no-audio", "silent"} & {*glimpse.remarks} for glimpse in glimpses):
        warnings.append("No clip has sound: a run needs embeddings.audio=null (or npy: features).")
    if glimpses and all("no-video" in glimpse.remarks for glimpse in glimpses):
        warnings.append(
            "No clip has pictures: a run needs embeddings.visual=null (or npy: features)."
        )
    if official and len(clips) and (clips["text"] == "").all():  # of one's own it is off then
        warnings.append(
            "No clip has words: a run needs embeddings.text=null, or a Whisper model as "
            "preprocessing.transcripts.asr."
        )
    return warnings


def _media_problems(filmed: pd.DataFrame, glimpses: Mapping[str, Glimpse]) -> pd.DataFrame:
    rows = []
    for clip_id, split in filmed[["clip_id", "split"]].itertuples(index=False, name=None):
        glimpse = glimpses[clip_id]
        if glimpse.fault:
            rows.append((clip_id, STAGE, "unreadable", f"{split}: {glimpse.fault}"))
        rows.extend((clip_id, STAGE, remark, f"{split}") for remark in glimpse.remarks)
    return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")


def _counts(clips: pd.DataFrame, readable: Sequence[str], setting: Setting) -> list[SplitCount]:
    promised = dict(zip(SPLITS, setting.sizes or (), strict=False))
    counts = []
    for split in SPLITS if setting.has_unlabeled else SPLITS[:3]:
        part = clips[clips["split"] == split]
        counts.append(
            SplitCount(
                split,
                found=len(part),
                promised=promised.get(split),
                videos=int((part["video"] != "").sum()),
                readable=int(part["clip_id"].isin(readable).sum()),
                subtitles=int((part["text"] != "").sum()),
                labelled=len(labelled(part, setting.tasks)),
            )
        )
    return counts


def _label_counts(clips: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    rows = []
    for task, classes in setting.classes.items():
        for label in classes:
            splits = clips.loc[clips[task] == label, "split"]
            rows.append(
                (task, label, int((splits == "train").sum()), int((splits == "valid").sum()))
            )
    return pd.DataFrame(rows, columns=["task", "label", "train", "valid"])


def _pair_counts(clips: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    if len(setting.tasks) < 2:
        return pd.DataFrame()
    train = clips[clips["split"] == "train"]
    (first, rows), (second, columns) = setting.classes.items()
    table = pd.crosstab(train[first], train[second])
    table = table.reindex(index=list(rows), columns=list(columns), fill_value=0)
    return table.rename_axis(index=first, columns=None).reset_index()
