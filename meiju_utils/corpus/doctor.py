"""Would a run on this corpus be sound? What was found, against what the setting promises.

Imports its neighbours in `corpus`, `parallel`, `config`, `challenge` only.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, SPLITS, TASKS, Setting
from meiju_utils.config import Parallel
from meiju_utils.corpus.duplicates import find_duplicates
from meiju_utils.corpus.fingerprints import Glimpse
from meiju_utils.corpus.glimpses import look_at_all
from meiju_utils.corpus.official import survey_corpus
from meiju_utils.corpus.splits import first_few
from meiju_utils.corpus.verdict import SplitCount, find_faults, find_warnings

STAGE = "doctor"
WIDTH = 100  # columns
LISTED = 20  # pairs of copies in the text
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

    def to_json(self) -> str:
        """Everything, as a JSON object; tables are lists of rows, missing values null."""
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
        return json.dumps(values, ensure_ascii=False, indent=1)


def examine(
    data_dir: Path,
    setting: Setting,
    deep: bool = True,
    parallel: Parallel = _PARALLEL,
    cache: Path | None = None,
) -> Diagnosis:
    """Read the corpus, open every clip, look for copies.

    A quick look decodes each clip's first frame and finds files with equal bytes; a `deep` one also
    decodes the sound and finds near duplicates. What was seen of a clip is kept in the folder
    `cache`, if given, until its file changes. Raises CorpusError only where there is no folder of
    this setting; contradictions inside it become faults.
    """
    survey = survey_corpus(data_dir, setting)
    clips = survey.corpus.clips
    filmed = clips[clips["video"] != ""].drop_duplicates("clip_id").reset_index(drop=True)
    paths = [survey.corpus.root / video for video in filmed["video"]]
    glimpses = look_at_all(filmed["clip_id"].tolist(), paths, deep, parallel, cache)
    readable = [index for index, glimpse in enumerate(glimpses) if not glimpse.fault]
    duplicates = find_duplicates(
        filmed.iloc[readable],
        [paths[index] for index in readable],
        [glimpses[index] for index in readable],
    )
    problems = pd.concat(
        [survey.corpus.problems, _media_problems(filmed, glimpses)], ignore_index=True
    )
    counts = _counts(clips, filmed["clip_id"].iloc[readable].tolist(), setting)
    labels = _label_counts(clips)
    bare = survey.corpus.features_only
    return Diagnosis(
        setting=setting.name,
        folder=str(data_dir),
        deep=deep,
        counts=pd.DataFrame(map(asdict, counts)).astype({"promised": "Int64"}),
        labels=labels,
        pairs=_pair_counts(clips),
        problems=problems,
        duplicates=duplicates,
        faults=[*survey.faults, *find_faults(counts, labels, duplicates, bare)],
        warnings=find_warnings(counts, labels, duplicates, clips, bare),
    )


def _media_problems(filmed: pd.DataFrame, glimpses: Sequence[Glimpse]) -> pd.DataFrame:
    rows = []
    for clip_id, split, glimpse in zip(filmed["clip_id"], filmed["split"], glimpses, strict=True):
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


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as text for a terminal of 100 columns."""
    verdict = "sound" if diagnosis.sound else "UNSOUND"
    parts = [
        f"{diagnosis.setting} in {diagnosis.folder}: {verdict}",
        diagnosis.counts.astype("object").fillna("-").to_string(index=False),
        *_bullets("Faults: a run would be unsound", diagnosis.faults),
        *_bullets("Warnings", diagnosis.warnings),
        "Labels\n" + diagnosis.labels.to_string(index=False),
        "Train clips by emotion and intent\n" + diagnosis.pairs.to_string(index=False),
    ]
    problems = [
        f"{problem}, {len(rows)}: " + first_few([_named(*row) for row in rows.to_numpy()])
        for problem, rows in diagnosis.problems.groupby("problem", sort=False)[
            ["clip_id", "reason"]
        ]
    ]
    copies = [
        f"{row.clip_a} ({row.split_a}) = {row.clip_b} ({row.split_b}): {row.kind}"
        for row in diagnosis.duplicates.head(LISTED).itertuples()
    ]
    more = len(diagnosis.duplicates) - LISTED
    copies += [f"and {more} more pairs; --json lists all"] if more > 0 else []
    parts += _bullets("Problems", problems) + _bullets("Copies", copies)
    return "\n\n".join(parts)


def _named(clip_id: str, reason: str) -> str:
    return f"{clip_id} ({reason})" if clip_id else reason


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    """A paragraph of wrapped list items, or nothing where there are none."""
    items = [
        textwrap.fill(line, WIDTH, initial_indent="  - ", subsequent_indent="    ")
        for text in lines
        for line in text.splitlines()
    ]
    return ["\n".join([title, *items])] if items else []
