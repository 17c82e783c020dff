"""Normalising keeps the cues, is stable and logged; corrections are checked and come last."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meiju_utils.challenge import Language
from meiju_utils.errors import CorpusError
from meiju_utils.preprocessing.corrections import find_corrections, read_corrections
from meiju_utils.preprocessing.transcripts import normalise


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("你好吗?", "你好吗？"),
        ("什么??!!", "什么？？！！"),  # doubled marks are cues
        ("什么⁇", "什么？？"),
        ("不会吧‼", "不会吧！！"),
        ("我...", "我……"),
        ("我。。。算了", "我……算了"),
        ("我…", "我……"),
        ("我……", "我……"),
        ("他说--算了", "他说——算了"),
        ("好的.", "好的。"),
        ("好,走吧;快!", "好，走吧；快！"),
        ("他说:走", "他说：走"),
        ("花了3,000块,10:30到,3.5折", "花了3,000块，10:30到，3.5折"),
        ("ＡＢＣ１２３", "ABC123"),
        ("你\u200b好\ufeff", "你好"),
        ("你好\r\n再见", "你好 再见"),
        ("　你  好　", "你 好"),
        ("你好 ， 再见 。", "你好，再见。"),
        ('他说"走"', "他说“走”"),
        ("「走」", "“走”"),
        ("等等~", "等等～"),
        ("OK? 走", "OK？走"),
        ("", ""),
    ],
)
def test_mandarin_has_one_spelling(raw: str, expected: str) -> None:
    assert normalise(raw, "mandarin")[0] == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("What？！", "What?!"),
        ("“Really”…", '"Really"...'),
        ("don’t", "don't"),
        ("Oh , no !", "Oh, no!"),
        ("wait.....what", "wait...what"),
        ("He said -- no", "He said — no"),
        ("ｆｕｌｌ　width", "full width"),
        ("two  blanks\tand\na line", "two blanks and a line"),
        ("Why??", "Why??"),
    ],
)
def test_english_has_one_spelling(raw: str, expected: str) -> None:
    assert normalise(raw, "english")[0] == expected


def test_every_change_is_logged_with_its_rule() -> None:
    text, changes = normalise("你\u200b好 ?", "mandarin")
    assert text == "你好？"
    assert [change.rule for change in changes] == ["invisible characters", "punctuation", "blanks"]
    assert changes[0].before == "你\u200b好 ?"
    assert changes[-1].after == text
    for one, other in pairwise(changes):
        assert one.after == other.before


def test_a_clean_text_is_not_changed() -> None:
    assert normalise("你怎么了？？我没事……真的！", "mandarin")[1] == []
    assert normalise("What's wrong?? I'm fine... really!", "english")[1] == []


TEXTS = st.text(
    st.one_of(
        st.sampled_from("你好吗？！…。，.,?!~-—:;\"'“”（）() \t\n3aＡ\u200b～"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=30,
)


@given(TEXTS, st.sampled_from(["mandarin", "english"]))
def test_normalising_twice_changes_nothing_more(text: str, language: Language) -> None:
    once = normalise(text, language)[0]
    assert normalise(once, language) == (once, [])


@given(TEXTS, st.sampled_from(["mandarin", "english"]))
def test_no_question_or_exclamation_mark_is_lost_or_made(text: str, language: Language) -> None:
    for marks in ("[?？]", "[!！]"):
        known = re.findall(marks, text)
        # Only what Unicode itself calls a kind of the mark may add to it.
        other = re.findall("[⁇⁈⁉‼︖︕﹖﹗]", text)
        found = re.findall(marks, normalise(text, language)[0])
        assert len(known) <= len(found) <= len(known) + 2 * len(other)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_corrections_are_read_as_spreadsheets_save_them(tmp_path: Path, encoding: str) -> None:
    path = write(
        tmp_path / "corrections.csv",
        'clip_id,text,note\r\nb.mp4,"好，走！",漏了标点\r\na,什么？？,\r\n',
        encoding,
    )
    assert read_corrections(path, {"a", "b"}) == {"b": "好，走！", "a": "什么？？"}


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("a,好,\na,不好,", r"corrections\.csv:3: a stands here for the second time"),
        ("a,好,\nTrack1_Training_0001,不好,", r":3: no clip Track1_Training_0001 .*did you mean"),
        ("../a,好,", "no clip name"),
        ("a,,todo", r":2: a has no text"),
        ("a,nan,todo", r":2: a has no text"),
    ],
)
def test_unsound_corrections_are_refused_with_the_line(
    tmp_path: Path, rows: str, complaint: str
) -> None:
    path = write(tmp_path / "corrections.csv", "clip_id,text,note\n" + rows)
    with pytest.raises(CorpusError, match=complaint):
        read_corrections(path, {"a", "Track1_Training_00001"})


def test_corrections_without_the_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected the columns clip_id, text, note"):
        read_corrections(write(tmp_path / "corrections.csv", "clip,words\na,b\n"), {"a"})
    renamed = write(tmp_path / "corrections.csv", "clip_id,corrected,note\na,b,\n")
    with pytest.raises(CorpusError, match="no column text among 'clip_id', 'corrected', 'note'"):
        read_corrections(renamed, {"a"})


def test_two_corrections_files_are_one_too_many(tmp_path: Path) -> None:
    for name in ("run", "data"):
        (tmp_path / name).mkdir()
    assert find_corrections([tmp_path / "run", tmp_path / "data"]) is None
    first = write(tmp_path / "data" / "corrections.csv", "clip_id,text,note\n")
    assert find_corrections([tmp_path / "run", tmp_path / "data"]) == first
    write(tmp_path / "run" / "corrections.csv", "clip_id,text,note\n")
    with pytest.raises(CorpusError, match="Merge them"):
        find_corrections([tmp_path / "run", tmp_path / "data"])
