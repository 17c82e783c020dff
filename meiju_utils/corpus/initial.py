"""A first `clips.csv` and profile for a folder of videos, to be filled in.

Imports its neighbours in `corpus`, `files`, PyAV.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import av

from meiju_utils.challenge import SPLITS, TASKS, Language, Split
from meiju_utils.corpus.listing import list_folder
from meiju_utils.corpus.lists import clip_id_of
from meiju_utils.corpus.own_table import (
    OWN_TABLE,
    SPLIT_WORDS,
    classes_of_table,
    read_own_table,
)
from meiju_utils.corpus.videos import is_video
from meiju_utils.errors import CorpusError
from meiju_utils.files import write_text
from meiju_utils.media.streams import open_container

OWN_PROFILE = "profile.yaml"
LONG_S = 30.0  # longer videos hold more than one utterance

_PROFILE = """\
# A run on clips of your own:
#   meiju doctor --profile {path} --data-dir {folder}
#   meiju run --profile {path} --data-dir {folder}
# What is not said here has the default of meiju_utils/config.
name: {name}
language: {language}  # of what is said: {languages}

# One or two tasks, whatever their names: each is a column of clips.csv. [] takes the labels that
# stand there; a list, as [calm, tense], fixes them and their order.
labels: {labels}
metric: weighted  # how F1 is averaged over classes: weighted, micro, macro

# Where clips.csv has no column split (or an empty one), its labelled clips are dealt into train,
# valid and test; clips of one group, or else of one speaker, stay together.
split: {{valid: 0.15, test: 0.15, seed: 0}}

preprocessing:
  transcripts:
    asr: ""  # a Whisper model, as openai/whisper-small, for clips whose text is empty
embeddings:  # descriptors without any download; null turns a modality off
  audio: prosody
  visual: hog
  text: char-ngram  # off while no clip has a text
"""


@dataclass(frozen=True)
class Initial:
    """What was written, and what is to be said of it."""

    written: list[Path]
    told: list[str]


def initialise(folder: Path, language: Language = "english") -> Initial:
    """Write what is not there yet: `clips.csv` with a row a video, and `profile.yaml`.

    Nothing that is there is changed. Raises CorpusError where there is no folder, no video in it,
    or both files are there.
    """
    if not folder.is_dir():
        raise CorpusError(f"No folder {folder}. Give the folder that holds your videos.")
    table, profile = folder / OWN_TABLE, folder / OWN_PROFILE
    written: list[Path] = []
    told: list[str] = []
    if not table.is_file():
        text, told = _first_table(folder)
        write_text(table, text)
        written.append(table)
    if not profile.is_file():
        write_text(profile, _first_profile(folder, language))
        written.append(profile)
    if not written:
        raise CorpusError(
            f"{table} and {profile.name} are there already; delete one to have it made anew."
        )
    return Initial(written, told)


def _first_table(folder: Path) -> tuple[str, list[str]]:
    listing = list_folder(folder, fresh=True)
    videos = sorted(path for path in listing.files if is_video(path))
    if not videos:
        others = sorted({Path(path).suffix for path in listing.files if Path(path).suffix})
        held = f"it holds files of {', '.join(others[:8])}" if others else "it holds no file"
        raise CorpusError(f"No video in {folder}: {held}. Give the folder that holds your videos.")
    names = _names(videos)
    splits = [_split_of(path) for path in videos]
    lengths = [_seconds(folder / path) for path in videos]
    long = sum(length > LONG_S for length in lengths)
    columns = ["clip_id", "video", "text", "split", *TASKS, *(("start_s", "end_s") if long else ())]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for name, path, split in zip(names, videos, splits, strict=True):
        writer.writerow([name, path, "", split, *[""] * (len(columns) - 4)])
    several = "s" * (len(videos) > 1)
    fill = f"Fill in {' and '.join(TASKS)}, or one of them."
    told = [f"{len(videos)} video{several}, a row each. {fill}"]
    counts = Counter(split for split in splits if split)
    if counts:
        named = ", ".join(f"{counts[s]} {s}" for s in SPLITS if counts[s])
        told.append(f"Their folders name splits: {named}.")
    if long:
        told.append(
            f"{long} are longer than {LONG_S:.0f} s: give a row to every utterance in them, with a "
            "clip_id of its own and start_s, end_s in seconds."
        )
    unread = [path for path, length in zip(videos, lengths, strict=True) if length < 0]
    if unread:
        told.append(f"{len(unread)} do not open, as {unread[0]}; `meiju doctor` says why.")
    return buffer.getvalue(), told


def _names(videos: Sequence[str]) -> list[str]:
    """Clip ids: the file's name, with its folders' where several bear it."""
    stems = [clip_id_of(path.rpartition("/")[2]) for path in videos]
    counts = Counter(stems)
    names = [
        stem if counts[stem] == 1 else clip_id_of(path.replace("/", "_"))
        for stem, path in zip(stems, videos, strict=True)
    ]
    again = Counter(names)  # a.mp4 beside a.mov
    return [
        name if again[name] == 1 else path.replace("/", "_").replace(".", "_")
        for name, path in zip(names, videos, strict=True)
    ]


def _split_of(path: str) -> Split | str:
    """What a folder on the way to a video says of its split, if one does."""
    words = [SPLIT_WORDS[p] for p in path.casefold().split("/")[:-1] if p in SPLIT_WORDS]
    return words[-1] if words else ""


def _seconds(path: Path) -> float:
    """How long a video promises to be: 0 where it does not say, -1 where it does not open."""
    try:
        with open_container(path) as container:
            return (container.duration or 0) / av.time_base
    except (OSError, av.error.FFmpegError):
        return -1.0


def _first_profile(folder: Path, language: Language) -> str:
    table = read_own_table(folder, None, language)
    classes, faults = classes_of_table(table, None)
    labels = classes if classes and not (table.faults or faults) else {t: [] for t in TASKS}
    return _PROFILE.format(
        path=folder / OWN_PROFILE,
        folder=folder,
        name=json.dumps(folder.resolve().name or "own", ensure_ascii=False),
        language=language,
        languages=", ".join(get_args(Language)),
        labels=_as_yaml(labels),
    )


def _as_yaml(labels: dict[str, list[str]]) -> str:
    def listed(names: Iterable[str]) -> str:
        return f"[{', '.join(json.dumps(name, ensure_ascii=False) for name in names)}]"

    return f"{{{', '.join(f'{task}: {listed(names)}' for task, names in labels.items())}}}"
