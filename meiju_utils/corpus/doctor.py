"""Would a run on this corpus be sound? What was found, against what the setting promises.

Imports its neighbours in `corpus`, `run`, `parallel`, `config`, `challenge` only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, SPLITS, TASKS, Setting
from meiju_utils.config import Parallel
from meiju_utils.corpus.duplicates import find_duplicates
from meiju_utils.corpus.fingerprints import Glimpse
from meiju_utils.corpus.glimpses import look_at_all
from meiju_utils.corpus.official import Corpus, Survey, survey_corpus
from meiju_utils.corpus.verdict import SplitCount, find_faults, find_warnings
from meiju_utils.run import Run

STAGE = "doctor"
FOLDER = "doctor"  # in the run folder: what was seen of each clip
_PARALLEL = Parallel()


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` found.

    `counts`: a row a split: found, promised (missing where nothing is promised), videos, readable,
    subtitles, labelled. `labels`: task, label, train, valid. `pairs`: train clips by emotion (rows)
    and intent. `problems`: clip_id, stage, problem, reason. `duplicates`: see find_duplicates.
    `faults` make a run unsound, `warnings` do not.
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

    @property
    def sound(self) -> bool:
        return not self.faults

    @property
    def unreadable(self) -> list[str]:
        """Ids of the clips whose video cannot be read."""
        return self.problems.loc[self.problems["problem"] == "unreadable", "clip_id"].tolist()

    def values(self) -> dict[str, Any]:
        """Everything, for JSON; tables are lists of rows, missing values None."""
        tables = ("counts", "labels", "pairs", "problems", "duplicates")
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
) -> Diagnosis:
    """Read the corpus, unless it is given as read, open every clip, look for copies.

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
    glimpses = look_at_all(found.root, stamps, deep, parallel, cache)
    faulty = [video for video, glimpse in glimpses.items() if glimpse.fault]
    readable = filmed[~filmed["video"].isin(faulty)]
    duplicates = find_duplicates(
        readable,
        [found.root / video for video in readable["video"]],
        [stamps[video][0] for video in readable["video"]],
        [glimpses[video] for video in readable["video"]],
    )
    problems = pd.concat([found.problems, _media_problems(filmed, glimpses)], ignore_index=True)
    counts = _counts(found.clips, readable["clip_id"].tolist(), setting)
    labels = _label_counts(found.clips)
    warnings = find_warnings(counts, labels, duplicates, found.clips, found.features_only)
    return Diagnosis(
        setting=setting.name,
        folder=str(data_dir),
        deep=deep,
        counts=pd.DataFrame(map(asdict, counts)).astype({"promised": "Int64"}),
        labels=labels,
        pairs=_pair_counts(found.clips),
        problems=problems,
        duplicates=duplicates,
        faults=[*survey.faults, *find_faults(counts, labels, duplicates, found.features_only)],
        warnings=[
            *warnings,
            *_absent_modalities(found.clips, [glimpses[video] for video in readable["video"]]),
        ],
    )


def examine_run(
    run: Run, corpus: Corpus | Survey | None = None, deep: bool = True, keep: bool = True
) -> Diagnosis:
    """`examine` the data folder of a run, and `keep` what was seen in the run folder."""
    config = run.config
    return examine(
        run.data_dir,
        run.setting,
        deep,
        config.parallel,
        run.path(FOLDER) if keep else None,
        corpus,
        config.follow_links,
    )


def _absent_modalities(clips: pd.DataFrame, glimpses: Sequence[Glimpse]) -> list[str]:
    """What no clip of a corpus has, and the setting without which a run would stop for it."""
    warnings = []
    if glimpses and all({"no-audio", "silent"} & {*glimpse.remarks} for glimpse in glimpses):
        warnings.append("No clip has sound: a run needs embeddings.audio=null (or npy: features).")
    if glimpses and all("no-video" in glimpse.remarks for glimpse in glimpses):
        warnings.append(
            "No clip has pictures: a run needs embeddings.visual=null (or npy: features)."
        )
    if len(clips) and (clips["text"] == "").all():
        warnings.append(
            "No clip has words: a run needs embeddings.text=null, or a Whisper model as "
            "preprocessing.transcripts.asr."
        )
    return warnings


def _media_problems(filmed: pd.DataFrame, glimpses: Mapping[str, Glimpse]) -> pd.DataFrame:
    rows = []
    columns = filmed[["clip_id", "split", "video"]]
    for clip_id, split, video in columns.itertuples(index=False, name=None):
        glimpse = glimpses[video]
        if glimpse.fault:
            rows.append((clip_id, STAGE, "unreadable", f"{split}: {glimpse.fault}"))
        rows.extend((clip_id, STAGE, remark, f"{split}") for remark in glimpse.remarks)
    return pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"], dtype="str")


def _counts(clips: pd.DataFrame, readable: Sequence[str], setting: Setting) -> list[SplitCount]:
    promised = dict(zip(SPLITS, setting.sizes, strict=False))
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
                labelled=int(((part["emotion"] != "") & (part["intent"] != "")).sum()),
            )
        )
    return counts


def _label_counts(clips: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for task in TASKS:
        for label in CLASSES[task]:
            splits = clips.loc[clips[task] == label, "split"]
            rows.append(
                (task, label, int((splits == "train").sum()), int((splits == "valid").sum()))
            )
    return pd.DataFrame(rows, columns=["task", "label", "train", "valid"])


def _pair_counts(clips: pd.DataFrame) -> pd.DataFrame:
    train = clips[clips["split"] == "train"]
    table = pd.crosstab(train["emotion"], train["intent"])
    table = table.reindex(index=EMOTIONS, columns=INTENTS, fill_value=0)
    return table.rename_axis(index="emotion", columns=None).reset_index()
