"""In which encoding is a text file? Told by what its bytes mean in each.

Imports `challenge`, `errors`, `files` only.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from meiju_utils.challenge import Language
from meiju_utils.errors import CorpusError
from meiju_utils.files import read_limited

REMEDY = "Expected UTF-8 or GB18030; restore the file from the release or save it as UTF-8."
BOMS = {  # the longer ones first: UTF-32 begins as UTF-16 does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
BIG5 = ("cp950", "big5hkscs")
# Shares of the characters that are none of ordinary text, of all that are not ASCII. Wrong decoding
# makes half of them so or more, right decoding one in a hundred.
PLAIN = 0.1
DOUBTFUL = 0.25
HOPELESS = 0.5
FEW = 3  # strange characters that a name may bring into a file that has no others
FEW_HANZI = 30  # unlike ones, too few to tell Korean by


def decode_file(path: Path, source: str, language: Language = "mandarin") -> str:
    """The text of a file, as `decode_text` has it; CorpusError also for an immense one."""
    try:
        data = read_limited(path)
    except ValueError as error:
        raise CorpusError(f"{error}. Expected a list or a table.") from None
    return decode_text(data, source, language)


def decode_text(data: bytes, source: str, language: Language = "mandarin") -> str:
    """The text of a file in UTF-8, UTF-16, UTF-32, GB18030, Big5 or Windows-1252.

    The last three give some text for most bytes. So a UTF-8 file with a damaged spot is told from
    them by its other lines: a file is taken for another than UTF-8 only where most of its non-ASCII
    lines are not UTF-8. It is then Windows-1252 if the language is not Mandarin and non-ASCII bytes
    stand alone, as its ’ and é do, and else GB18030, whose characters have two; unless this gives
    characters of no text, and Big5 gives ordinary ones. Raises CorpusError naming the line that
    cannot be decoded or gives no text.
    """
    text = _decode(data, source, language)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(f"{source}:{line}: holds a NUL character, so it is no text. {REMEDY}")
    return text


def damage(text: str) -> str:
    """What tells that a text is not as its writer meant it; "" where nothing does.

    Replacement characters, private use, unassigned, controls; UTF-8 that was taken for another
    encoding and saved so.
    """
    if found := "".join(char for char in dict.fromkeys(text) if _is_damage(char)):
        return f"holds {found!a}"
    for encoding in () if text.isascii() else ("cp1252", "latin-1"):
        try:
            meant = text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return f"seems to be {meant!r}, saved in a wrong encoding"
    return ""


def _decode(data: bytes, source: str, language: Language) -> str:
    for bom, encoding in BOMS.items():
        if data.startswith(bom):
            return _strict(data, encoding, source)
    if b"\0" in data and (text := _wide(data)):
        return text
    if _mostly_utf8(data):
        return _strict(data, "utf-8", source)
    western = _has_lone_bytes(data)
    likely = "cp1252" if language != "mandarin" and western else "gb18030"
    first = _attempt(data, likely)
    odd = _oddness(first, likely) if first else 1.0
    korean = likely == "gb18030" and _is_korean(data, first)
    if first and odd < DOUBTFUL and not korean:
        return first
    japanese = likely == "gb18030" and _is_japanese(first)
    for encoding in BIG5 if likely != "cp1252" else ("gb18030", *BIG5):
        text = _attempt(data, encoding)
        if text and not japanese and _oddness(text, encoding) <= min(PLAIN, odd - DOUBTFUL):
            return text
    if not first:
        return _strict(data, likely, source)
    strange = [
        place
        for place, char in enumerate(first)
        if not char.isascii() and (korean or not _is_ordinary(char, likely))
    ]
    told = len(strange) >= FEW or (likely == "gb18030" and western)
    if korean or (odd > HOPELESS and told):
        line = first.count("\n", 0, strange[0]) + 1
        wrong = first[strange[0] :].splitlines()[0][:8]
        raise CorpusError(
            f"{source}:{line}: in {likely} it reads {wrong!a}, which is no text: the file is "
            f"neither UTF-8 nor GB18030. {REMEDY}"
        )
    return first


def _strict(data: bytes, encoding: str, source: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{source}:{line}: byte {data[error.start]:#04x} is no {encoding} text. {REMEDY}"
        ) from None


def _attempt(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _wide(data: bytes) -> str:
    """A text in UTF-16 or UTF-32 without a byte order mark; "" where it is none."""
    for encoding in WIDE:
        text = _attempt(data, encoding)
        strange = sum(not _is_ordinary(char, encoding) for char in text)
        if text and "\0" not in text and strange <= PLAIN * len(text):
            return text
    return ""


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


def _oddness(text: str, encoding: str) -> float:
    """The share of a text's non-ASCII characters that ordinary text does not have."""
    counts = Counter(char for char in text if not char.isascii())
    odd = sum(count for char, count in counts.items() if not _is_ordinary(char, encoding))
    return odd / max(counts.total(), 1)


def _is_ordinary(char: str, encoding: str) -> bool:
    """Whether text in the challenge's languages has such a character often."""
    if char.isascii():
        return char.isprintable() or char in "\r\n\t"
    if _is_damage(char) or "\u2500" <= char <= "\u257f":  # lines of boxes
        return False
    if char in _common_hanzi() or unicodedata.category(char)[0] in "PSZNM":
        return encoding != "cp1252" or char not in "¤¦§¨¬¯±²³µ¶·¸¹¼½¾ªº"
    if unicodedata.name(char, "").startswith("LATIN"):
        return True
    # No other encoding's bytes look like its four for a rare character.
    return encoding == "gb18030" and len(char.encode("gb18030")) == 4


@cache
def _common_hanzi() -> frozenset[str]:
    """The first levels of GB2312 (3 755, simplified) and of Big5 (5 401, traditional)."""
    return frozenset(
        bytes(pair).decode(encoding)
        for encoding, leads, trails in (
            ("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF)),
            ("big5", range(0xA4, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
        )
        for pair in _pairs(leads, trails)
        if not (encoding == "gb2312" and pair >= (0xD7, 0xFA))
        and not (encoding == "big5" and pair > (0xC6, 0x7E))
    )


def _pairs(leads: range, trails: range | tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return ((lead, trail) for lead in leads for trail in trails)


def _is_korean(data: bytes, text: str) -> bool:
    """Hangul in EUC-KR have the bytes of hanzi up to a third of the way through the alphabet."""
    hanzi = {char for char in text if "\u4e00" <= char <= "\u9fff"}
    leads = [char.encode("gb18030")[0] for char in hanzi]
    return (
        len(hanzi) >= FEW_HANZI
        and all(0xB0 <= lead <= 0xC8 for lead in leads)
        and bool(_attempt(data, "cp949"))
    )


def _is_japanese(text: str) -> bool:
    """Kana have the same bytes in EUC-JP; those of Big5's hanzi give some kana among others."""
    kana = sum("\u3041" <= char <= "\u30ff" for char in text)
    others = sum(not char.isascii() for char in text) - kana
    return kana > others and not any(map(_is_damage, text))


def _has_lone_bytes(data: bytes) -> bool:
    """Whether non-ASCII bytes come in no pairs, and few at a time as in English."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    few = sum(length for length in runs if length <= 3)
    return any(length % 2 for length in runs) and 2 * few >= sum(runs)


def _is_damage(char: str) -> bool:
    if char.isascii():
        return not char.isprintable() and char not in "\r\n\t"
    return char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs")
