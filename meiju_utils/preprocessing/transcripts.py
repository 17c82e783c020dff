"""What was said, in one canonical spelling that keeps the cues: ？！… and their repetitions.

Every change is kept with the rule that made it. Imports `challenge` only.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from meiju_utils.challenge import Language


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
    ASCII punctuation, an ellipsis is three points. In both compatibility characters are resolved
    (NFKC), and no blank stands beside punctuation that allows none; other languages keep their
    marks. In all control and invisible characters are dropped and runs of white space are one
    blank. Repeated marks (？？, ！！！, ？！) are cues and stay.
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


def _single_blanks(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


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
    "other": [("invisible characters", _drop_invisible), ("blanks", _single_blanks)],
}
