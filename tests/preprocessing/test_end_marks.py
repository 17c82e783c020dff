"""Lost question and exclamation marks are suggested from cues, with how sure they make one."""

import pytest

from meiju_utils.challenge import Language
from meiju_utils.preprocessing.end_marks import end_mark, suggest_end_mark


@pytest.mark.parametrize(
    ("text", "language", "suggested"),
    [
        ("你吃了吗", "mandarin", "你吃了吗？"),
        ("你吃了吗。", "mandarin", "你吃了吗？"),
        ("你到底去不去", "mandarin", "你到底去不去？"),
        ("他是不是走了", "mandarin", "他是不是走了？"),
        ("难道你忘了", "mandarin", "难道你忘了？"),
        ("你为什么不说", "mandarin", "你为什么不说？"),
        ("好的。谁让你来的", "mandarin", "好的。谁让你来的？"),
        ("Are you coming.", "english", "Are you coming?"),
        ("but why didn't you tell me", "english", "but why didn't you tell me?"),
        ("You knew, didn't you", "english", "You knew, didn't you?"),
        ("How many times", "english", "How many times?"),
    ],
)
def test_sure_questions(text: str, language: Language, suggested: str) -> None:
    suggestion = suggest_end_mark(text, language)
    assert suggestion is not None
    assert suggestion.text == suggested
    assert suggestion.mark == "question"
    assert suggestion.confidence >= 0.85


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我谁都不怕", "mandarin"),
        ("没什么", "mandarin"),
        ("我不知道他是谁", "mandarin"),
        ("不管你去不去", "mandarin"),
        ("要是能早点回家就好了", "mandarin"),
        ("要不就再等几天", "mandarin"),
        ("他动不动就哭", "mandarin"),
        ("我就这么走了", "mandarin"),
        ("I know what you did", "english"),
        ("When I was young it was different", "english"),
        ("What a day", "english"),
        ("You are here", "english"),
    ],
)
def test_statements_that_look_like_questions(text: str, language: Language) -> None:
    suggestion = suggest_end_mark(text, language)
    assert suggestion is None or suggestion.mark != "question" or suggestion.confidence < 0.85


@pytest.mark.parametrize(
    "text", ["你吃了吗？", "走！", "你吃了吗！？", "我……", "真的？”", "", "……"]
)
def test_a_text_with_an_end_mark_or_without_words_gets_no_suggestion(text: str) -> None:
    assert suggest_end_mark(text, "mandarin") is None


def test_a_rising_voice_makes_a_question_surer() -> None:
    flat = suggest_end_mark("你去哪里", "mandarin", rise=0.0)
    rising = suggest_end_mark("你去哪里", "mandarin", rise=5.0)
    assert flat is not None
    assert rising is not None
    assert rising.confidence > flat.confidence
    assert "pitch rise" in rising.rules
    assert suggest_end_mark("他走了", "mandarin", rise=float("nan")) is None
    alone = suggest_end_mark("他走了", "mandarin", rise=5.0)
    assert alone is not None
    assert alone.confidence < 0.5


def test_exclamations_are_suggested_but_never_surely() -> None:
    for text, language in (
        ("太好了", "mandarin"),
        ("真漂亮啊", "mandarin"),
        ("Shut up", "english"),
    ):
        suggestion = suggest_end_mark(text, language)
        assert suggestion is not None
        assert suggestion.mark == "exclamation"
        assert suggestion.confidence < 0.85


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("好。", None),
        ("好", None),
        ("好？？", "question"),
        ("好！？", "question"),
        ("好！", "exclamation"),
        ("好？”", "question"),
        ("好？不", None),
    ],
)
def test_end_marks_are_read(text: str, mark: str | None) -> None:
    assert end_mark(text) == mark
