"""Is what was found bad enough to stop? The faults and warnings of a diagnosis.

Imports `splits`, `challenge` only.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from meiju_utils.challenge import Split
from meiju_utils.corpus.splits import first_few

TOLERATED = 0.1  # share of a split's clips without a readable video, or without a subtitle
SCORED = ("train", "valid", "test")  # a recording shared by two of these falsifies a score


@dataclass(frozen=True)
class SplitCount:
    """How many clips of a split were found, are promised (None: no promise), have a video, one
    that can be read, a subtitle, both labels."""

    split: Split
    found: int
    promised: int | None
    videos: int
    readable: int
    subtitles: int
    labelled: int

    @property
    def lost(self) -> int:
        """Clips without a readable video."""
        return self.found - self.readable


def find_faults(
    counts: Sequence[SplitCount],
    labels: pd.DataFrame,
    duplicates: pd.DataFrame,
    features_only: bool,
) -> list[str]:
    """What makes a run unsound beyond the contradictions the reader finds."""
    faults = []
    for row in counts:
        if row.split in ("train", "valid") and row.found == 0:
            faults.append(f"No {row.split} clips: training needs both train and valid.")
        if row.split in SCORED and not features_only and row.lost > TOLERATED * row.found:
            faults.append(
                f"{row.lost} of {row.found} {row.split} clips have no readable video (more than "
                f"{TOLERATED:.0%}); fetch them again or complete the download."
            )
    for task in labels["task"].unique():
        seen = labels[(labels["task"] == task) & (labels["train"] > 0)]
        if len(seen) < 2 and labels["train"].sum():
            faults.append(f"The train clips have fewer than two classes of {task}.")
    duplicates = duplicates[duplicates["kind"] != "same picture"]
    leaks = duplicates[
        (duplicates["split_a"] != duplicates["split_b"])
        & duplicates["split_a"].isin(SCORED)
        & duplicates["split_b"].isin(SCORED)
    ]
    for (one, other), pairs in leaks.groupby(["split_a", "split_b"], sort=False):
        named = [f"{a} = {b}" for a, b in zip(pairs["clip_a"], pairs["clip_b"], strict=True)]
        faults.append(
            f"{len(pairs)} recordings are in {one} and in {other} ({first_few(named)}): scores "
            "would be too good; take them out of one list."
        )
    return faults


def look_alikes(clip_ids: Iterable[str]) -> list[str]:
    """The ids that differ from an earlier one only in the width or case of their letters."""
    seen: dict[str, str] = {}
    return [
        f"{seen[plain]} and {clip_id}"
        for clip_id in dict.fromkeys(clip_ids)
        if seen.setdefault(plain := unicodedata.normalize("NFKC", clip_id).casefold(), clip_id)
        != clip_id
    ]


def find_warnings(
    counts: Sequence[SplitCount],
    labels: pd.DataFrame,
    duplicates: pd.DataFrame,
    clips: pd.DataFrame,
    features_only: bool,
) -> list[str]:
    """What a user should know but a run survives."""
    warnings = []
    for row in counts:
        if row.promised is not None and row.found != row.promised:
            warnings.append(
                f"{row.split} has {row.found} clips, the official release {row.promised}."
            )
        if row.split == "unlabeled" and row.found == 0:
            warnings.append("There is no unlabelled pool: pseudo labels have nothing to work on.")
        if row.split == "unlabeled" and not features_only and row.lost > TOLERATED * row.found:
            warnings.append(f"{row.lost} of {row.found} clips of the pool have no readable video.")
        if row.split == "test" and row.found == 0:
            warnings.append("There are no test clips: nothing to submit.")
        bare = row.found - row.subtitles
        if row.split in SCORED and bare > TOLERATED * row.found:
            warnings.append(f"{bare} of {row.found} {row.split} clips have no subtitle.")
    if twins := look_alikes(clips["clip_id"]):
        warnings.append(
            f"{len(twins)} clip ids look like another's, by letters of another width or case "
            f"({first_few(twins)}). They are taken for different clips."
        )
    for task in labels["task"].unique():
        absent = labels.loc[(labels["task"] == task) & (labels["train"] == 0), "label"].tolist()
        if absent and labels["train"].sum():
            warnings.append(f"No train clip has the {task} {', '.join(absent)}.")
    alike = int((duplicates["kind"] == "same picture").sum())
    if alike:
        warnings.append(
            f"{alike} pairs of clips show the same pictures with another sound, or none on one "
            "side: dubbed anew, or takes of one scene. Look at those in two splits."
        )
    duplicates = duplicates[duplicates["kind"] != "same picture"]
    labelled = clips.drop_duplicates("clip_id").set_index("clip_id")[labels["task"].unique()]
    same = duplicates[duplicates["split_a"] == duplicates["split_b"]]
    for split, pairs in same.groupby("split_a", sort=False):
        a, b = (labelled.loc[pairs[side]].to_numpy() for side in ("clip_a", "clip_b"))
        unlike = int((a != b).any(axis=1).sum())
        warnings.append(
            f"{len(pairs)} pairs of {split} clips hold one recording"
            + (f", {unlike} of them with different labels." if unlike else ".")
        )
    pooled = duplicates[
        (duplicates["split_b"] == "unlabeled") & (duplicates["split_a"] != "unlabeled")
    ]
    if len(pooled):
        warnings.append(f"{len(pooled)} clips of the pool are copies of labelled or test clips.")
    return warnings
