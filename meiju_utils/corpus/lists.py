"""What do the release's lists say? How clips are named, and how lists of them are read.

Parsers collect faults as messages with file and line instead of stopping at the first, so that a
user mends a file once. Imports `challenge`, `errors` only.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.errors import CorpusError, nearest

VIDEO_SUFFIXES = (  # that of the release first
    *(".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp", ".ogv"),
)
TABLE_SUFFIX = ".csv"
# Unicode's "default ignorable" characters: joiners, directions, soft hyphens, byte order marks.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
UNSAFE = re.compile("[/\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # in a file's name


@dataclass(frozen=True)
class Entry:
    """One clip as a file names it, with its line there; "" where the file says nothing."""

    clip_id: str
    line: int
    text: str = ""
    emotion: str = ""
    intent: str = ""

    def label(self, task: Task) -> str:
        return self.emotion if task == "emotion" else self.intent


@dataclass(frozen=True)
class Listing:
    """What one file says: its clips in the file's order, and its faults as messages."""

    source: str
    entries: dict[str, Entry]
    faults: list[str]

    @property
    def is_table(self) -> bool:
        return self.source.lower().endswith(TABLE_SUFFIX)

    def where(self, clip_id: str) -> str:
        """File and line that name a clip, for messages."""
        return f"{self.source}:{self.entries[clip_id].line}"


def clip_id_of(name: str) -> str:
    """The clip id of a name in a list, a table or a folder: without a video's suffix in any case.

    Composed (NFC), without characters that show nothing, any space being a plain one, so that
    names that look the same are the same. Ids become file names, so CorpusError is raised for one
    that could leave its folder.
    """
    clip_id = visible(name)
    stem, dot, suffix = clip_id.rpartition(".")
    if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES:
        clip_id = stem.rstrip()
    if clip_id in ("", ".", "..") or UNSAFE.search(clip_id):
        raise CorpusError(
            f"{name.strip()!r} is no clip name: expected a plain file name such as "
            "Track1_Training_00001.mp4, without folders."
        )
    return clip_id


def visible(text: str) -> str:
    """What one sees of a text: composed, without invisible characters, every space a plain one."""
    if text.isascii():
        return text.strip()
    shown = unicodedata.normalize("NFC", INVISIBLE.sub("", text))
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in shown).strip()


def build_listing(source: str, named: Iterable[Entry], faults: Iterable[str] = ()) -> Listing:
    """Check raw entries (names as written): ids safe and not doubled, labels known.

    Labels are accepted in any case.
    """
    found = list(faults)
    entries: dict[str, Entry] = {}
    for entry in named:
        where = f"{source}:{entry.line}"
        try:
            clip_id = clip_id_of(entry.clip_id)
        except CorpusError as error:
            found.append(f"{where}: {error}")
            continue
        if clip_id in entries:
            written = entry.clip_id.strip()
            spelled = f" (written {written!a})" if written != visible(written) else ""
            found.append(
                f"{where}: {clip_id}{spelled} stands here for the second time (first in line "
                f"{entries[clip_id].line}); expected each clip once."
            )
            continue
        emotion, intent = (visible(label).lower() for label in (entry.emotion, entry.intent))
        entry = replace(entry, clip_id=clip_id, emotion=emotion, intent=intent)
        found.extend(
            f"{where}: unknown {task} {label!r}: {nearest(label, CLASSES[task])}"
            for task in TASKS
            if (label := entry.label(task)) and label not in CLASSES[task]
        )
        entries[clip_id] = entry
    return Listing(source, entries, found)


def parse_list(text: str, source: str, labelled: bool) -> Listing:
    """Read a `*_files.txt`: one clip a line, `Track1_Training_00001.mp4 anger suggesting`.

    Where not `labelled` (the test list), lines may hold the name alone. Blank lines are skipped.
    """
    named: list[Entry] = []
    faults: list[str] = []
    expected = "'clip.mp4 emotion intent'" + ("" if labelled else " or 'clip.mp4'")
    for line, content in enumerate(re.split(r"\r\n?|\n", text), start=1):
        fields = [field for field in content.split() if visible(field)]
        if len(fields) == 3 or (len(fields) == 1 and not labelled):
            name, *labels = fields
            emotion, intent = labels or ("", "")
            named.append(Entry(name, line, emotion=emotion, intent=intent))
        elif fields:
            # Its clip is kept, lest its transcript looks like one of an unknown clip.
            faults.append(f"{source}:{line}: {content.strip()!r}: expected {expected}.")
            named.append(Entry(fields[0], line))
    return build_listing(source, named, faults)
