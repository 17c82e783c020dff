"""Which clips are there? Reads the challenge folder as released into one clips table.

Blemishes become rows of the problems table; contradictions stop the run, all reported together.
Imports its neighbours in `corpus`, `challenge`, `errors` only.
"""

from collections.abc import Sequence
from dataclasses import asdict
from os.path import commonpath
from pathlib import Path

import pandas as pd

from meiju_utils.challenge import SPLITS, Setting, Split
from meiju_utils.corpus.layout import WORDS, Layout, find_layout
from meiju_utils.corpus.listing import list_folder
from meiju_utils.corpus.lists import VIDEO_SUFFIXES
from meiju_utils.corpus.schema import clips_table
from meiju_utils.corpus.splits import Clip, Findings, first_few, read_split
from meiju_utils.corpus.survey import Corpus, Survey, sound_corpus


def read_corpus(data_dir: Path, setting: Setting, follow_links: bool = False) -> Corpus:
    """Read a setting's official release below `data_dir` (see layout.find_layout).

    Raises CorpusError for a folder that is not there and for contradictions: unknown labels,
    doubled ids, transcripts of unlisted clips, labels that differ between list and table,
    malformed lines, undecodable text, links or ids that leave the folder, no training clips, videos
    of which none is a clip's.
    """
    return sound_corpus(survey_corpus(data_dir, setting, follow_links), setting)


def survey_corpus(data_dir: Path, setting: Setting, follow_links: bool = False) -> Survey:
    """Look at the data folder as it is now, read whatever can be read, collect the contradictions.

    Raises CorpusError only where there is no folder of this setting.
    """
    listing = list_folder(data_dir, follow_links, fresh=True) if data_dir.is_dir() else None
    layout = find_layout(data_dir, setting, listing)
    findings = Findings(faults=list(layout.faults))
    if layout.features_only:
        findings.problem("", "features only", "no clip has a video file")
    for path in layout.ambiguous:
        reason = f"{path} may be of either language; move it into {setting.language.capitalize()}"
        findings.problem("", "ambiguous folder", f"{reason}; not read")
    for clip_id, path in layout.doubled:
        reason = f"{path} is not used; another bears the same name"
        findings.problem(clip_id, "doubled video", reason)
    splits: Sequence[Split] = SPLITS
    if not setting.has_unlabeled:
        splits = [split for split in SPLITS if split != "unlabeled"]
        if layout.videos["unlabeled"] or layout.tables["unlabeled"]:
            findings.problem(
                "", "unused pool", f"track {setting.track} has no unlabelled pool; it is not read"
            )
    clips = [
        clip
        for split in splits
        for clip in sorted(
            read_split(layout, setting, split, findings), key=lambda clip: clip.clip_id
        )
    ]
    _compare_splits(clips, findings)
    findings.faults += _unused_videos(layout, splits, clips)
    problems = pd.DataFrame(
        findings.problems, columns=["clip_id", "stage", "problem", "reason"], dtype="str"
    )
    corpus = Corpus(data_dir, clips_table(map(asdict, clips), setting.tasks), problems, layout)
    return Survey(corpus, findings.faults)


def _unused_videos(layout: Layout, splits: Sequence[Split], clips: Sequence[Clip]) -> list[str]:
    """Videos of which no clip of a split, or none at all, makes use: they bear other names."""
    used = {clip.video for clip in clips if clip.video}
    spare = [path for path in layout.all_videos if path not in used]
    if spare and not used:
        return [_describe_unused(spare, "a listed clip", clips)]
    faults = []
    for split in splits:
        part = [clip for clip in clips if clip.split == split]
        if any(clip.video for clip in part) or not (part or split == "unlabeled"):
            continue
        if folders := layout.searched[split]:
            lost = [path for path in layout.below(folders) if path not in used]
        else:
            names = {clip.clip_id.casefold() for clip in part}
            lost = [path for path in spare if Path(path).stem.casefold() in names]
        if lost:
            faults.append(_describe_unused(lost, f"a {split} clip", part))
    return faults


def _describe_unused(paths: Sequence[str], whose: str, clips: Sequence[Clip]) -> str:
    folder = commonpath([Path(path).parent for path in paths])
    split = clips[0].split if clips else "unlabeled"
    name = clips[0].clip_id if clips else "<clip>"
    return (
        f"{len(paths)} videos lie in {folder}, the first {paths[0]!r}, and none belongs to "
        f"{whose}; expected {WORDS[split]}/{name}{VIDEO_SUFFIXES[0]}, one of each name."
    )


def _compare_splits(clips: Sequence[Clip], findings: Findings) -> None:
    """A clip in two splits would be both learned from and tested on."""
    splits_of: dict[str, list[Split]] = {}
    for clip in clips:
        splits_of.setdefault(clip.clip_id, []).append(clip.split)
    shared: dict[str, list[str]] = {}
    for clip_id, splits in splits_of.items():
        if len(splits) > 1:
            shared.setdefault(" and ".join(splits), []).append(clip_id)
    for where, clip_ids in shared.items():
        findings.faults.append(
            f"{len(clip_ids)} clips are in {where} at once ({first_few(clip_ids)}); expected each "
            "clip in one split."
        )
