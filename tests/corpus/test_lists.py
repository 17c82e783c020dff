"""Parsers of lists and tables: whatever is written comes back, whatever the spelling."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.corpus.encodings import damage, decode_text
from meiju_utils.corpus.lists import clip_id_of, parse_list, visible
from meiju_utils.corpus.tables import HEADINGS, parse_table
from meiju_utils.errors import CorpusError

# What a subtitle may hold: no line ends or control characters at its edges, nothing pandas writes
# for NaN; inside, quotes, commas and line breaks of every kind.
subtitles = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=20)
    .map(str.strip)
    .filter(lambda text: text not in ("nan", "NaN"))
)
names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters='/\\"'), min_size=1, max_size=12
).filter(lambda name: not name.lower().endswith(".mp4") and name not in (".", "..", "nan", "NaN"))
encodings = st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"])
newlines = st.sampled_from(["\n", "\r\n", "\r"])
# Python's csv writer leaves a lone "\n" unquoted where rows end in "\r", which no reader can undo.
row_ends = st.sampled_from(["\n", "\r\n"])
suffixes = st.sampled_from(["", ".mp4", ".MP4", ".Mp4"])
labels = st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(INTENTS))


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def mostly_no_utf8(data: bytes) -> bool:
    """Whether bytes can be told from UTF-8 at all: a few short GB18030 lines cannot."""
    return 2 * sum(not is_utf8(line) for line in data.splitlines()) > len(data.splitlines())


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff")), encoding=encodings
)
def test_decoding_returns_the_text_that_was_encoded(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    assume(encoding != "gb18030" or text.isascii() or mostly_no_utf8(data))
    assert decode_text(data, "f") == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("it’s\n“I don’t know…” – café", "cp1252"),
        ("it’s\n“I don’t know……” — 你好", "gb18030"),
        ("it’s\n“I don’t know…” – café", "utf-8"),
    ],
)
def test_english_is_read_as_its_editors_save_it(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), "f", "english") == text


def test_a_damaged_utf8_file_is_not_taken_for_gb18030() -> None:
    lines = ["谁在那里", "好的", "别走", "再见"]
    data = "\n".join(lines).encode()
    damaged = data.replace("别".encode(), b"\xe5\xff")
    with pytest.raises(CorpusError, match=r"f:3: byte 0xe5"):
        decode_text(damaged, "f")


@given(
    rows=st.dictionaries(names, labels, min_size=1, max_size=8),
    newline=newlines,
    suffix=suffixes,
    gap=st.sampled_from([" ", "\t", "   "]),
)
def test_a_label_list_round_trips(
    rows: dict[str, tuple[str, str]], newline: str, suffix: str, gap: str
) -> None:
    text = newline.join(f"{name}{suffix}{gap}{gap.join(pair)}" for name, pair in rows.items())
    listing = parse_list(text + newline * 2, "f", labelled=True)
    assert listing.faults == []
    assert {e.clip_id: (e.emotion, e.intent) for e in listing.entries.values()} == rows
    assert [e.line for e in listing.entries.values()] == list(range(1, len(rows) + 1))


@given(
    rows=st.dictionaries(names, st.tuples(subtitles, labels), min_size=1, max_size=6),
    heading=st.sampled_from(
        [
            ("FileName", "Subtitle"),
            ("name", "sentence"),
            ("file_name", "TEXT"),
            (" NAME ", "sentence"),
        ]
    ),
    with_index=st.booleans(),
    with_labels=st.booleans(),
    newline=row_ends,
    suffix=suffixes,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_round_trips(
    rows: dict[str, Any],
    heading: tuple[str, str],
    with_index: bool,
    with_labels: bool,
    newline: str,
    suffix: str,
    quoting: Any,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=newline, quoting=quoting)
    index = [""] if with_index else []
    writer.writerow([*index, *heading, *(["Emotion", "intent"] if with_labels else [])])
    for number, (name, (text, pair)) in enumerate(rows.items()):
        cells = [name + suffix, text, *(pair if with_labels else ())]
        writer.writerow([str(number), *cells] if with_index else cells)
    listing = parse_table(out.getvalue(), "f")
    assert listing.faults == []
    expected = {
        name: (text, *(pair if with_labels else ("", ""))) for name, (text, pair) in rows.items()
    }
    assert {e.clip_id: (e.text, e.emotion, e.intent) for e in listing.entries.values()} == expected


@given(rows=st.dictionaries(names, subtitles, min_size=1, max_size=6), newline=row_ends)
def test_a_table_without_heading_round_trips(rows: dict[str, str], newline: str) -> None:
    headings = {name for spellings in HEADINGS.values() for name in spellings}
    first_row = next(iter(rows.items()))
    assume(not headings & {re.sub(r"[\s_]", "", cell).casefold() for cell in first_row})
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=newline).writerows(rows.items())
    listing = parse_table(out.getvalue(), "f", headless=True)
    assert {e.clip_id: e.text for e in listing.entries.values()} == rows


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_entries_faults_or_a_corpus_error(data: bytes, flag: bool) -> None:
    try:
        text = decode_text(data, "f")
    except CorpusError:
        return
    for listing in (parse_list(text, "f", flag), parse_table(text, "f", flag)):
        assert all(fault.startswith("f:") for fault in listing.faults)
        assert all("/" not in clip_id for clip_id in listing.entries)


@given(st.text())
def test_a_clip_id_is_always_a_plain_file_name(name: str) -> None:
    try:
        clip_id = clip_id_of(name)
    except CorpusError:
        return
    assert clip_id not in ("", ".", "..")
    assert not set(clip_id) & set("/\\\0\n\r")


@pytest.mark.parametrize(
    ("text", "headless", "fault"),
    [
        ("who,what\nTrack1_Training_00001,谁\n", False, "f:1: no column FileName or name"),
        ("Subtitle\n谁\n", True, "f:1: no column FileName or name"),
        ('name,sentence\na,"x"y\n', True, "f:2: not valid CSV"),
        ("name,sentence\na,x,y\n", True, "f:2: 3 fields, expected 2"),
        ("name,sentence\n,x\n", True, "f:2: '' is no clip name"),
        ('name,sentence\na,"x\ny"\nb/c,z\n', True, "f:4: 'b/c' is no clip name"),
    ],
)
def test_a_bad_table_line_is_named(text: str, headless: bool, fault: str) -> None:
    (found,) = parse_table(text, "f", headless).faults
    assert found.startswith(fault)


def test_an_empty_table_is_no_fault() -> None:
    for text in ("", "\n\n", "name,sentence\n"):
        assert parse_table(text, "f").faults == []
