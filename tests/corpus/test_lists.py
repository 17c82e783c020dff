"""Parsers of lists and tables: whatever is written comes back, whatever the spelling."""

import csv
import io
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meiju_utils.challenge import EMOTIONS, INTENTS, Language
from meiju_utils.corpus.encodings import damage, decode_text
from meiju_utils.corpus.lists import clip_id_of, parse_list, visible
from meiju_utils.corpus.tables import HEADINGS, parse_table
from meiju_utils.errors import CorpusError

# What a subtitle may hold: no line ends or control characters at its edges, nothing pandas writes
# for NaN; inside, quotes, commas and line breaks of every kind.
subtitles = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=20)
    .map(str.strip)
    .filter(lambda text: text not in ("nan", "NaN") and bool(text) == bool(visible(text)))
)
names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters='/\\"'), min_size=1, max_size=12
).filter(lambda name: name == visible(name) and "." not in name and name not in ("nan", "NaN"))
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
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff")),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_decoding_returns_the_text_that_was_encoded(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), "f") == text


SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年"
)
TRADITIONAL = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年"
)
RARER = "傻喂哪吵架饿疼嫁妹舅婆爷帅丑懒笨聪明漂亮厉害讨厌喜欢"
MARKS = "，。？！、：；“”《》…—（）"


def sentences(hanzi: str) -> st.SearchStrategy[str]:
    words = st.text(st.sampled_from(hanzi), min_size=4, max_size=12)
    return st.lists(st.tuples(words, st.sampled_from(MARKS)).map("".join), min_size=1, max_size=6)


@given(
    simplified=sentences(SIMPLIFIED + RARER),
    traditional=sentences(TRADITIONAL),
    newline=newlines,
    language=st.sampled_from(["mandarin", "english"]),
)
def test_ordinary_sentences_come_back_from_every_encoding_of_their_script(
    simplified: list[str], traditional: list[str], newline: str, language: Language
) -> None:
    for lines, encodings in (
        (simplified, ("utf-8", "gb18030", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
        (traditional, ("utf-8", "gb18030", "big5", "big5hkscs")),
    ):
        text = newline.join(f"Track1_Training_{n:05d}.mp4,{t}" for n, t in enumerate(lines))
        for encoding in encodings:
            data = text.encode(encoding)
            assume(encoding[0] == "u" or mostly_no_utf8(data))
            assert decode_text(data, "f", language) == text, encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("你為什麼還沒來", "big5"),
        ("好", "big5"),
        ("喆", "gb18030"),
        ("爨", "gb18030"),
        ("𠮷野", "gb18030"),
        ("他说：“café”…", "gb18030"),
    ],
)
def test_even_a_few_characters_are_told(text: str, encoding: str) -> None:
    assert decode_text(f"name,text\na.mp4,{text}\n".encode(encoding), "f") == (
        f"name,text\na.mp4,{text}\n"
    )


KOREAN = "왜 아직 안 왔어? 오늘은 날씨가 좋다 그리고 사람들이 많이 있었다 학교에서 공부를 했다"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("これは何ですか", "shift_jis"),
        ("これは何ですか", "euc_jp"),
        (KOREAN, "euc_kr"),
        ("it’s a “café”", "cp1252"),
        ("it’s", "cp1252"),
        ("Привет, как дела", "cp1251"),
    ],
)
def test_what_is_neither_is_refused_with_its_line(text: str, encoding: str) -> None:
    data = f"name,text\na.mp4,ok\nb.mp4,{text}\n".encode(encoding)
    with pytest.raises(CorpusError, match=r"^f:3: .*Expected UTF-8 or GB18030"):
        decode_text(data, "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("你好，café 😀", ""),
        ("你\ufffd好\ufffd", r"holds '\ufffd'"),
        ("\ue707\x92好", r"holds '\ue707\x92'"),
        ("你好".encode().decode("latin-1"), "seems to be '你好', saved in a wrong encoding"),
        ("it’s".encode().decode("cp1252"), "seems to be 'it’s', saved in a wrong encoding"),
    ],
)
def test_what_damage_to_a_text_is_told(text: str, told: str) -> None:
    assert damage(text) == told


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
    assert not set(clip_id) & set("/\\\0\n\r\x85\u2028\u200b\ufeff\xa0")
    assert visible(clip_id) == clip_id


@pytest.mark.parametrize(
    "written",
    [
        *(f"\ufeff{'a'}\u200b b\u00ad.mp4\u200e", "a\u00a0b", "a\u3000b.mp4\u3000", "a b.MOV"),
        *("\u202aa b\u202c.mp4", "a\u2060\u2009b", "a b\u200b .mkv", "a b"),
    ],
)
def test_names_that_look_the_same_are_the_same(written: str) -> None:
    assert clip_id_of(written) == "a b"


def test_a_name_may_hold_any_sign_and_is_composed() -> None:
    for name in ("第1集{x}", "100%", "$HOME", "#1", "it's", 'a"b', "[0]", "a.b", "😀"):
        assert clip_id_of(f"{name}.mp4") == name
    assert clip_id_of(unicodedata.normalize("NFD", "Café.mp4")) == "Café"


def test_an_id_doubled_by_what_one_does_not_see_is_shown_escaped() -> None:
    listing = parse_list("a.mp4 sad wishing\n\u200ba.mp4 sad\u200b wishing\n", "f", labelled=True)
    assert listing.faults == [
        "f:2: a (written '\\u200ba.mp4') stands here for the second time (first in line 1); "
        "expected each clip once."
    ]
    table = parse_table("\ufeff\ufeffFileName,Sub\u200btitle\n\u200ba.mp4,\u200b\n", "f")
    assert (table.faults, list(table.entries), table.entries["a"].text) == ([], ["a"], "")


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
