"""The lists and tables of the official Track 1 Mandarin folder, with the quirks seen in the wild.

Quirks: a training list with Windows line ends and `.mp4`, a validation list without `.mp4`; a
byte-order mark, GB18030 and an unnamed index column among the transcripts; subtitles left out,
empty or NaN; a table of recognised speech without header for the unlabelled pool. Imports
nothing of the package but `plan`.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meiju_utils.challenge import Split
from meiju_utils.corpus.demo.plan import LANGUAGE_FOLDER, PlannedClip

# A file that ends in .mp4 and is none lies in the unlabelled pool under this name.
UNDECODABLE = Path("NoAnnotation", "ep00_damaged.mp4")
_NO_SUBTITLE = 0.025  # share of the clips, by turns left out, empty and NaN


def official_files(clips: Sequence[PlannedClip], seed: int) -> dict[Path, bytes]:
    """Path relative to the data folder → content, for all files but the clips."""
    by_split: dict[Split, list[PlannedClip]] = {}
    for clip in clips:
        by_split.setdefault(clip.split, []).append(clip)
    train, valid, test, pool = (
        by_split["train"],
        by_split["valid"],
        by_split["test"],
        by_split["unlabeled"],
    )
    rng = np.random.default_rng([seed, 6])
    header = ["FileName", "Subtitle"]
    indexed = [[str(index), *row] for index, row in enumerate(_subtitles(valid, rng))]
    recognised = [[Path(name).stem, text] for name, text in _subtitles(pool, rng)]
    annotation = Path("Annotation")
    noise = rng.bytes(30_000)
    files = {
        annotation / "Training_files.txt": _label_list(train, ".mp4", "\r\n").encode(),
        annotation / "Validation_files.txt": _label_list(valid, "", "\n").encode(),
        annotation / "Testing_files.txt": "".join(f"{c.spec.path.name}\n" for c in test).encode(),
        annotation / "Training_transcription.csv": _table(
            [header, *_subtitles(train, rng)], "\n"
        ).encode("utf-8-sig"),
        annotation / "Validation_transcription.csv": _table([["", *header], *indexed], "\n").encode(
            "gb18030"
        ),
        annotation / "Mandarin_Testing_files.csv": _table(
            [header, *_subtitles(test, rng)], "\r\n"
        ).encode(),
        Path("NoAnnotation", "transcription.csv"): _table(recognised, "\n").encode(),
        UNDECODABLE: b"\0\0\0\x18ftypisom\0\0\x02\0isommp42" + noise,
    }
    return {LANGUAGE_FOLDER / path: content for path, content in files.items()}


def _label_list(clips: Sequence[PlannedClip], suffix: str, line_end: str) -> str:
    return "".join(
        f"{clip.clip_id}{suffix} {clip.listed[0]} {clip.listed[1]}{line_end}" for clip in clips
    )


def _subtitles(clips: Sequence[PlannedClip], rng: np.random.Generator) -> list[list[str]]:
    """Rows of file name and subtitle, a few of them without subtitle."""
    rows = [[clip.spec.path.name, clip.subtitle] for clip in clips]
    chosen = rng.permutation(len(clips))[: max(1, round(_NO_SUBTITLE * len(clips)))]
    first = rng.integers(3)
    for turn, index in enumerate(chosen.tolist(), start=int(first)):
        rows[index] = [[], [rows[index][0], ""], [rows[index][0], "NaN"]][turn % 3]
    return [row for row in rows if row]


def _table(rows: Sequence[Sequence[str]], line_end: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows(rows)
    return text.getvalue()
