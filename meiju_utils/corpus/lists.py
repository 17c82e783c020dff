"""What do the release's text files say? How they are decoded, and how clip lists are read.

Parsers collect faults as messages with file and line instead of stopping at the first, so that a
user mends a file once. Imports `challenge`, `errors` only.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from meiju_utils.challenge import CLASSES, TASKS, Language, Task
from meiju_utils.errors import CorpusError, nearest

VIDEO_SUFFIX = ".mp4"
TABLE_SUFFIX = ".csv"
REMEDY = "Expected UTF-8 or GB18030; restore the file from the release or save it as UTF-8."


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


def decode_text(data: bytes, source: str, language: Language = "mandarin") -> str:
    """The text of a file in UTF-8 (with or without BOM), UTF-16 with BOM, GB18030 or Windows-1252.

    The last two give some text for most bytes, so a UTF-8 file with a damaged spot is told from
    them by its other lines: a file is taken for another than UTF-8 only where most of its non-ASCII
    lines are not UTF-8. It is then Windows-1252 if the language is English and non-ASCII bytes
    stand alone, as its ’ and é do, and else GB18030, whose characters have two. Raises CorpusError
    naming the line that cannot be decoded.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data.startswith(codecs.BOM_UTF8) or _mostly_utf8(data):
        encoding = "utf-8-sig"
    elif language == "english" and any(len(run) % 2 for run in re.findall(rb"[\x80-\xff]+", data)):
        encoding = "cp1252"
    else:
        encoding = "gb18030"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{source}:{line}: byte {data[error.start]:#04x} is no {encoding} text. {REMEDY}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(f"{source}:{line}: holds a NUL character, so it is no text. {REMEDY}")
    return text


def _mostly_utf8(data: bytes) -> bool:
    valid = invalid = 0
    for line in data.splitlines():
        if not line.isascii():
            try:
                line.decode("utf-8")
                valid += 1
            except UnicodeDecodeError:
                invalid += 1
    return invalid == 0 or valid > invalid


def clip_id_of(name: str) -> str:
    """The clip id of a name in a list: without `.mp4` in any case.

    Ids become file names, so CorpusError is raised for one that could leave its folder.
    """
    name = name.strip()
    clip_id = name[: -len(VIDEO_SUFFIX)] if name.lower().endswith(VIDEO_SUFFIX) else name
    if clip_id in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", clip_id):
        raise CorpusError(
            f"{name!r} is no clip name: expected a plain file name such as "
            "Track1_Training_00001.mp4, without folders."
        )
    return clip_id


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
            found.append(
                f"{where}: {clip_id} stands here for the second time (first in line "
                f"{entries[clip_id].line}); expected each clip once."
            )
            continue
        entry = replace(
            entry, clip_id=clip_id, emotion=entry.emotion.lower(), intent=entry.intent.lower()
        )
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
        fields = content.split()
        if len(fields) == 3 or (len(fields) == 1 and not labelled):
            name, *labels = fields
            emotion, intent = labels or ("", "")
            named.append(Entry(name, line, emotion=emotion, intent=intent))
        elif fields:
            # Its clip is kept, lest its transcript looks like one of an unknown clip.
            faults.append(f"{source}:{line}: {content.strip()!r}: expected {expected}.")
            named.append(Entry(fields[0], line))
    return build_listing(source, named, faults)
