"""What was said, in one canonical spelling that keeps the cues: ？！… and their repetitions.

Every change is kept with the rule that made it. A user's corrections come last and stand as they
are. Imports `corpus.lists`, `corpus.tables`, `challenge`, `errors`.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from meiju_utils.challenge import Language
from meiju_utils.corpus.lists import decode_text
from meiju_utils.corpus.tables import parse_table
from meiju_utils.errors import CorpusError, nearest

CORRECTIONS_NAME = "corrections.csv"


@dataclass(frozen=True)
class Change:
    """One rule's change of one transcript."""

    rule: str
    before: str
    after: str


def normalise(text: str, language: Language) -> tuple[str, list[Change]]:
    """The canonical spelling of a transcript, and what each rule changed on the way.

    Mandarin: full-width punctuation (，。？！；：（）“”), an ellipsis is ……, a dash ——, letters and
    digits are half-width; a comma, colon or point inside a number or a Latin word stays. English:
    ASCII punctuation, an ellipsis is three points. Both: compatibility characters are resolved
    (NFKC), control and invisible characters dropped, runs of white space are one blank, none
    beside punctuation that allows none. Repeated marks (？？, ！！！, ？！) are cues and stay.
    Applying it twice changes nothing more.
    """
    changes = []
    previous = None
    while previous != text:  # one rule may make work for an earlier one
        previous = text
        for rule, function in RULES[language]:
            after = function(text)
            if after != text:
                changes.append(Change(rule, text, after))
            text = after
    return text, changes


def find_corrections(folders: Sequence[Path]) -> Path | None:
    """The corrections file in the first of the folders that has one.

    Raises CorpusError where two have one, since one of them would go unheeded.
    """
    found = [path for folder in folders if (path := folder / CORRECTIONS_NAME).is_file()]
    if len(found) > 1:
        raise CorpusError(
            f"Two files of corrections: {' and '.join(map(str, found))}. Merge them into one."
        )
    return found[0] if found else None


def read_corrections(path: Path, clip_ids: Collection[str]) -> dict[str, str]:
    """Clip id → its corrected text, from a CSV with the columns clip_id, text, note.

    The note is the user's own. Raises CorpusError, with the line, for doubled ids, clips that are
    not among `clip_ids`, and for what is no such table.
    """
    listing = parse_table(decode_text(path.read_bytes(), path.name), path.name)
    faults = list(listing.faults)
    for clip_id in listing.entries:
        if clip_id not in clip_ids:
            close = nearest(clip_id, clip_ids).split("?")[0]
            hint = f" ({close}?)" if close.startswith("did you mean") else ""
            faults.append(f"{listing.where(clip_id)}: no clip {clip_id} in this setting{hint}.")
    if faults:
        raise CorpusError(
            f"{path} cannot be used; expected the columns clip_id, text, note and each clip at "
            "most once:\n" + "\n".join(f"  - {fault}" for fault in faults)
        )
    return {clip_id: entry.text for clip_id, entry in listing.entries.items()}


_CJK = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MANDARIN_MARKS = "，。？！、；：…（）～—“”‘’《》"


def _drop_invisible(text: str) -> str:
    """Tabs and line ends become blanks; other control and format characters go."""
    return "".join(
        " " if character in "\t\n\v\f\r\x85\u2028\u2029" else character
        for character in text
        if character in "\t\n\v\f\r\x85" or unicodedata.category(character) not in ("Cc", "Cf")
    )


def _resolve_width(text: str) -> str:
    """NFKC, but for full-width punctuation."""
    parts = re.split(f"([{_MANDARIN_MARKS}]+)", text)
    return "".join(
        part if index % 2 else unicodedata.normalize("NFKC", part)
        for index, part in enumerate(parts)
    )


def _mandarin_punctuation(text: str) -> str:
    text = text.translate(str.maketrans("?!~()「」『』", "？！～（）“”‘’"))
    # Inside 3,000 or 10:30 or a,b a mark is no punctuation of the sentence.
    text = re.sub(
        r"(?<![0-9A-Za-z])[,;:]|[,;:](?![0-9A-Za-z])",
        lambda mark: {",": "，", ";": "；", ":": "："}[mark[0]],
        text,
    )
    text = re.sub(rf"(?<=[{_CJK}{_MANDARIN_MARKS}])\.(?!\.)|(?<!\.)\.$", "。", text)
    if text.count('"') % 2 == 0:
        text = re.sub(r'"([^"]*)"', r"“\1”", text)
    return text


def _mandarin_runs(text: str) -> str:
    """An ellipsis in any of its spellings, a dash in any of its."""
    text = re.sub(r"[…‥⋯]+|\.{2,}|。{2,}|・{3,}", "……", text)
    return re.sub(r"[-‐‑‒–]{2,}|[—―─]+", "——", text)


def _mandarin_blanks(text: str) -> str:
    return re.sub(rf"\s*([{_MANDARIN_MARKS}])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


_ENGLISH = str.maketrans("。、“”„‟«»「」『』‘’‚‛ʼ`´《》", '.,""""""""' + "'" * 2 + "'" * 7 + '""')


def _english_punctuation(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_ENGLISH)


def _english_runs(text: str) -> str:
    return re.sub(r"-{2,}|[―─]+|—+", "—", re.sub(r"\.{2,}|[…⋯]+", "...", text))


def _english_blanks(text: str) -> str:
    return re.sub(r"\s+([,.!?;:])", r"\1", re.sub(r"\s+", " ", text)).strip()


# In order. The names stand in the log of changes.
RULES: dict[Language, list[tuple[str, Callable[[str], str]]]] = {
    "mandarin": [
        ("invisible characters", _drop_invisible),
        ("character width", _resolve_width),
        ("punctuation", _mandarin_punctuation),
        ("blanks", _mandarin_blanks),
        ("ellipsis and dash", _mandarin_runs),
    ],
    "english": [
        ("invisible characters", _drop_invisible),
        ("punctuation", _english_punctuation),
        ("blanks", _english_blanks),
        ("ellipsis and dash", _english_runs),
    ],
}
