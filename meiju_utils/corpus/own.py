"""Clips of one's own: a folder of videos with a `clips.csv`, read into the same clips table.

Blemishes become rows of the problems table; contradictions are faults, each with its line in the
table. Imports its neighbours in `corpus`, `media`, `config`, `challenge`, `errors`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.challenge import SPLITS, Language, Setting, Split, Task, own_setting
from meiju_utils.config import Profile
from meiju_utils.corpus.dealing import deal_splits
from meiju_utils.corpus.layout import Layout
from meiju_utils.corpus.listing import FolderListing, list_folder
from meiju_utils.corpus.lists import clip_id_of
from meiju_utils.corpus.own_table import (
    OWN_TABLE,
    SPLIT_WORDS,
    OwnRow,
    like_a_date,
    match_label,
    read_own_table,
    seconds,
    shown,
    unknown_label,
)
from meiju_utils.corpus.own_videos import VideoFinder
from meiju_utils.corpus.schema import clips_table
from meiju_utils.corpus.splits import Findings, first_few
from meiju_utils.corpus.survey import Corpus, Survey
from meiju_utils.errors import CorpusError, nearest
from meiju_utils.media.reading import Part, part_of


def own_layout(listing: FolderListing) -> Layout:
    """Where the files of clips of one's own lie: the table tells all."""
    tables: dict[Split, list[str]] = {"train": [OWN_TABLE]}
    return Layout(listing, "", tables=tables)


def survey_own(run_config: Profile, folder: Path, dealt: Mapping[str, Split]) -> Survey:
    """Read the clips of a folder as far as possible; `run_config` is settled (see `settling`).

    Where the table has no splits, labelled clips are dealt as the profile says, but that those
    `dealt` before stay where they are.
    """
    setting = run_config.setting
    listing = list_folder(folder, run_config.follow_links, fresh=True)
    table = read_own_table(folder, run_config.labels, setting.language)
    findings = Findings()
    findings.fault_each(table.faults, OWN_TABLE)
    if table.unused:
        names = ", ".join(table.unused)
        findings.problem("", "unused columns", f"{OWN_TABLE}: {names}; not read")
    for task in [task for task in run_config.labels or {} if task not in setting.tasks]:
        findings.problem("", "no labels", f"{OWN_TABLE}: no column {task}; the task is off")
    reader = _Reader(setting, VideoFinder(listing, "video" in table.columns))
    rows = [found for row in table.rows if (found := reader.read(row))]
    for column, modalities in (("text", "text"), ("video", "audio, visual")):
        if rows and not any(row[column] for row in rows):
            findings.problem("", f"no {column}", f"{OWN_TABLE}: of no clip; off: {modalities}")
    for messages in reader.faults.values():
        findings.fault_each(messages, OWN_TABLE)
    reader.videos.report(findings)
    _give_splits(rows, run_config, dealt, findings)
    rows.sort(key=lambda row: (SPLITS.index(row["split"]), row["clip_id"]))
    _check_splits(rows, setting, findings)
    problems = pd.DataFrame(
        findings.problems, columns=["clip_id", "stage", "problem", "reason"], dtype="str"
    )
    corpus = Corpus(folder, clips_table(rows, setting.tasks), problems, own_layout(listing))
    return Survey(corpus, findings.faults)


def clips_and_parts(
    folder: Path, listing: FolderListing, language: Language
) -> dict[str, tuple[str, Part]]:
    """Clip id → its video and which part of it, as far as a folder's table tells; labels and texts
    play no part."""
    table = read_own_table(folder, {}, language)
    reader = _Reader(
        own_setting(language, "weighted", {}), VideoFinder(listing, "video" in table.columns)
    )
    rows = [found for row in table.rows if (found := reader.read(row)) and found["video"]]
    return {r["clip_id"]: (r["video"], part_of(r["start_s"], r["end_s"])) for r in rows}


@dataclass
class _Reader:
    """Reads rows one by one; `faults` by their kind, so that the first few of each are told."""

    setting: Setting
    videos: VideoFinder
    faults: dict[str, list[str]] = field(default_factory=dict)
    _lines: dict[str, int] = field(default_factory=dict)

    def read(self, row: OwnRow) -> dict[str, Any] | None:
        """A row of the clips table, its split "" where the row names none; None: it has no id."""
        start, end = self._times(row)
        clip_id = self._clip_id(row, start)
        if not clip_id:
            return None
        return {
            "clip_id": clip_id,
            "split": self._split(row),
            "group": row["group"] or row["speaker"],
            "video": self.videos.find(row, clip_id),
            "start_s": start,
            "end_s": end,
            "text": row["text"],
            **{task: self._label(row, task) for task in self.setting.tasks},
        }

    def _fault(self, kind: str, message: str) -> None:
        self.faults.setdefault(kind, []).append(message)

    def _clip_id(self, row: OwnRow, start: float) -> str:
        name = row["clip_id"] or row["video"].replace("\\", "/").rpartition("/")[2]
        where = f"{OWN_TABLE}:{row.line}"
        if not name:
            self._fault("id", f"{where}: no clip_id and no video; give one of them.")
            return ""
        try:
            clip_id = clip_id_of(name)
            if not row["clip_id"] and not isnan(start):
                clip_id += f"_{round(1000 * start):07d}"  # ms
        except CorpusError as error:
            self._fault("id", f"{where}: {error}{like_a_date(name)}")
            return ""
        if clip_id in self._lines:
            self._fault(
                "doubled",
                f"{where}: {clip_id} stands here for the second time (first in line "
                f"{self._lines[clip_id]}); give each clip a clip_id of its own.",
            )
            return ""
        self._lines[clip_id] = row.line
        return clip_id

    def _split(self, row: OwnRow) -> str:
        value = row["split"]
        split = SPLIT_WORDS.get(value.casefold(), "")
        if value and not split:
            hint = nearest(value, SPLITS)
            self._fault("split", f"{OWN_TABLE}:{row.line}: unknown split {shown(value)}: {hint}")
        return split

    def _label(self, row: OwnRow, task: Task) -> str:
        if not row[task]:
            return ""
        label = match_label(row[task], self.setting.classes[task])
        if label is None:
            self._fault(task, unknown_label(row, task, self.setting.classes[task]))
        return label or ""

    def _times(self, row: OwnRow) -> tuple[float, float]:
        times = {}
        for column in ("start_s", "end_s"):
            found = seconds(row[column])
            if found is None:
                self._fault(
                    "times",
                    f"{OWN_TABLE}:{row.line}: {column} {shown(row[column])} is no time; expected "
                    "seconds, as 12.5, or 1:02.5.",
                )
            times[column] = float("nan") if found is None else found
        start, end = times.values()
        if start >= end or end == 0:  # of NaN neither
            self._fault(
                "times",
                f"{OWN_TABLE}:{row.line}: start_s {row['start_s'] or 0} is not before end_s "
                f"{row['end_s']}; swap or mend them.",
            )
            return float("nan"), float("nan")
        return start, end


def _give_splits(
    rows: Sequence[dict[str, Any]], config: Profile, dealt: Mapping[str, Split], findings: Findings
) -> None:
    """Fill in each row's split: the table's, or a deal; clips without a label go to the pool."""
    tasks = config.setting.tasks
    known = [all(row[task] for task in tasks) for row in rows]
    told = any(row["split"] for row in rows)
    if not told:
        chosen = [row for row, labelled in zip(rows, known, strict=True) if labelled]
        splits = deal_splits(
            [row["clip_id"] for row in chosen],
            [[row[task] for row in chosen] for task in tasks],
            # of no group: alone, under a name that no group can have
            [row["group"] or f"\0{row['clip_id']}" for row in chosen],
            config.split,
            dealt,
        )
        for row in rows:
            row["split"] = splits.get(row["clip_id"], "unlabeled")
    counts: Counter[str] = Counter()
    for row, labelled in zip(rows, known, strict=True):
        some = any(row[task] for task in tasks)
        if not row["split"]:
            if labelled:
                counts["no split"] += 1
            row["split"] = "unlabeled"
        elif row["split"] == "train" and not labelled:
            row["split"] = "unlabeled"
            counts["pooled"] += 1
        if row["split"] == "unlabeled" and some:
            counts["partly" if not labelled else "dropped"] += 1
            row.update(dict.fromkeys(tasks, ""))
    if counts["no split"]:
        findings.faults.append(
            f"{OWN_TABLE}: {counts['no split']} labelled clips have no split, others have one; "
            "fill in the column split, or take it away: then all are dealt."
        )
        counts["dropped"] = 0
    for kind, reason in (
        ("pooled", "train clips lack a label: they go to the unlabelled pool"),
        ("partly", "clips have one label of two, which is not used"),
        ("dropped", "clips of the unlabelled pool have labels, which are not used"),
    ):
        if counts[kind]:
            findings.problem("", "labels", f"{OWN_TABLE}: {counts[kind]} {reason}")


def _check_splits(rows: Sequence[Mapping[str, Any]], setting: Setting, findings: Findings) -> None:
    """Every split that is needed has clips, and its clips the labels that it needs."""
    if not rows:
        return
    of_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    labelled = sum(all(row[task] for task in setting.tasks) for row in rows)
    uses: dict[Split, str] = {"train": "learn from", "valid": "choose on", "test": "judge on"}
    for split, use in uses.items():
        if not of_split[split]:
            findings.faults.append(
                f"{OWN_TABLE}: no {split} clips, to {use}, among {len(rows)} ({labelled} with all "
                "labels). Name some in the column split, or leave the column out and label more "
                "clips: then the labelled ones are dealt into train, valid and test."
            )
    bare = [r["clip_id"] for r in of_split["valid"] if not all(r[task] for task in setting.tasks)]
    if bare:
        findings.faults.append(
            f"{OWN_TABLE}: {len(bare)} valid clips lack a label ({first_few(bare)}); expected "
            f"{_both(setting.tasks)} of each. Label them, or empty their split."
        )
    for task in setting.tasks if of_split["train"] else ():
        seen = {row[task] for row in of_split["train"]}
        if len(seen) < 2:
            findings.faults.append(
                f"{OWN_TABLE}: all {len(of_split['train'])} train clips have the {task} "
                f"{shown(seen.pop())}: there is nothing to learn. Label more clips."
            )


def _both(tasks: Iterable[Task]) -> str:
    return " and ".join(tasks)
