"""Texts are cleaned in a fixed order, with a history; suggestions are measured against truth."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from meiju_utils.config import Profile
from meiju_utils.corpus.demo.plan import plan_corpus
from meiju_utils.preprocessing.corrections import read_corrections
from meiju_utils.preprocessing.review import (
    evaluate_suggestions,
    open_review,
    review_texts,
    save_review,
)
from meiju_utils.run import Run

TEXTS = {"a": "你去哪里?", "b": "你吃了吗", "c": "太好了", "d": "什么", "e": ""}


def test_raw_text_clean_text_and_rules_stand_side_by_side() -> None:
    table = review_texts(TEXTS, "mandarin", 0.9).transcripts
    assert table["clip_id"].tolist() == list(TEXTS)
    assert table["raw"].tolist() == list(TEXTS.values())
    assert table["text"].tolist() == ["你去哪里？", "你吃了吗？", "太好了", "什么", ""]
    assert table["rules"].tolist() == [
        "punctuation",
        "suggested question mark (particle 吗)",
        "",
        "",
        "",
    ]


def test_suggestions_below_the_stated_confidence_are_only_listed() -> None:
    reviewed = review_texts(TEXTS, "mandarin", 1.1)
    assert reviewed.transcripts["text"].tolist()[1] == "你吃了吗"
    listed = reviewed.suggestions.set_index("clip_id")
    assert listed.loc["b", "suggested"] == "你吃了吗？"
    assert not listed["applied"].any()
    assert review_texts(TEXTS, "mandarin", 0.9).suggestions["applied"].tolist() == [
        True,
        False,
        False,
    ]


def test_corrections_come_last_and_stand_as_they_are() -> None:
    reviewed = review_texts(
        TEXTS, "mandarin", 0.9, corrections={"b": "你吃了吗??", "a": "你去哪里？"}
    )
    text = reviewed.transcripts.set_index("clip_id")
    assert text.loc["b", "text"] == "你吃了吗??"
    assert text.loc["b", "rules"] == "correction"
    assert text.loc["a", "rules"] == "punctuation"  # the correction changed nothing more
    assert "b" not in set(reviewed.suggestions["clip_id"])


def test_every_change_is_in_the_log() -> None:
    log = review_texts(TEXTS, "mandarin", 0.9, corrections={"e": "走！"}).changes
    assert log.to_dict("records") == [
        {"clip_id": "a", "rule": "punctuation", "before": "你去哪里?", "after": "你去哪里？"},
        {
            "clip_id": "b",
            "rule": "suggested question mark (particle 吗)",
            "before": "你吃了吗",
            "after": "你吃了吗？",
        },
        {"clip_id": "e", "rule": "correction", "before": "", "after": "走！"},
    ]


def test_no_texts_give_empty_tables() -> None:
    reviewed = review_texts({}, "english", 0.9)
    assert reviewed.transcripts.empty
    assert reviewed.changes.columns.tolist() == ["clip_id", "rule", "before", "after"]
    assert reviewed.suggestions.empty


def test_precision_and_recall_against_true_texts() -> None:
    texts = {
        "right": "你吃了吗",
        "wrong": "他为什么走",
        "missed": "他走了",
        "kept": "走吗？",
        "unknown": "是吗",
    }
    truth = {"right": "你吃了吗？", "wrong": "他为什么走。", "missed": "他走了？", "kept": "走吗？"}
    reviewed = review_texts(texts, "mandarin", 0.9)
    table = evaluate_suggestions(reviewed, truth, "mandarin", thresholds=[0.5, 0.99])
    asked = table[table["mark"] == "question"].set_index("threshold")
    assert asked.loc[0.5, ["lost", "suggested", "right"]].tolist() == [2, 2, 1]
    assert asked.loc[0.5, "precision"] == pytest.approx(0.5)
    assert asked.loc[0.5, "recall"] == pytest.approx(0.5)
    assert asked.loc[0.99, "recall"] == 0
    assert pd.isna(asked.loc[0.99, "precision"])


APPLIED = 0.85  # the profile's default


@pytest.fixture(scope="module")
def on_demo_subtitles() -> pd.DataFrame:
    """Suggestions for the damaged subtitles of two synthetic corpora, by mark and threshold."""
    planned = [clip for seed in (0, 1) for clip in plan_corpus(Path("unused"), "demo", seed)]
    subtitles = {str(number): clip.subtitle for number, clip in enumerate(planned)}
    spoken = {str(number): clip.text for number, clip in enumerate(planned)}
    reviewed = review_texts(subtitles, "mandarin", APPLIED)
    return evaluate_suggestions(reviewed, spoken, "mandarin").set_index(["mark", "threshold"])


def test_question_marks_that_are_applied_are_mostly_right_and_nearly_all(
    on_demo_subtitles: pd.DataFrame,
) -> None:
    applied = on_demo_subtitles.loc[("question", APPLIED)]
    assert applied["lost"] > 150
    assert applied["precision"] >= 0.92
    assert applied["recall"] >= 0.95


def test_exclamation_marks_are_as_likely_as_their_confidence_says(
    on_demo_subtitles: pd.DataFrame,
) -> None:
    likely = on_demo_subtitles.loc[("exclamation", 0.2)]
    assert likely["suggested"] > 80
    assert likely["precision"] == pytest.approx(0.2, abs=0.08)
    assert on_demo_subtitles.loc[("exclamation", 0.5), "suggested"] == 0


ENGLISH = (
    "Where have you been?",
    "Are you out of your mind?",
    "Why didn't anyone call me?",
    "You told him, didn't you?",
    "So what happened then?",
    "Can we talk about it tomorrow?",
    "How long has she been here?",
    "Do you really believe that?",
    "It's over there, right?",
    "What's going on?",
    "You're leaving already?",
    "I know what you did.",
    "When I was young, we had nothing.",
    "That is how it works.",
    "You can have it if you want.",
    "She asked me where he was.",
    "I have no idea who that is.",
    "Whatever you say, we stay.",
    "He is not coming back.",
    "This is what I wanted to tell you.",
    "What a beautiful day!",
    "Get out!",
)


def test_english_question_marks_that_are_applied_are_mostly_right() -> None:
    spoken = {str(number): text for number, text in enumerate(ENGLISH)}
    reviewed = review_texts({c: t.rstrip("?.!") for c, t in spoken.items()}, "english", APPLIED)
    table = evaluate_suggestions(reviewed, spoken, "english").set_index(["mark", "threshold"])
    applied = table.loc[("question", APPLIED)]
    assert applied["lost"] == 11
    assert applied["precision"] >= 0.9
    assert applied["recall"] >= 0.8  # one question shows by nothing but the voice


@pytest.mark.parametrize("texts", [{"00001": "１１０", "7": "你去哪", "1e3": "NA"}, {}])
def test_a_review_reads_back_as_it_was_saved(texts: dict[str, str], tmp_path: Path) -> None:
    """Among it ids and sentences that are all digits."""
    run = Run(Profile(name="demo"), tmp_path, tmp_path)
    saved = review_texts(texts, "mandarin", 0.85)
    save_review(run, saved)
    read = open_review(run)
    for name in ("transcripts", "changes", "suggestions"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(saved, name))


def test_what_begins_like_a_formula_is_data_in_a_spreadsheet(tmp_path: Path) -> None:
    run = Run(Profile(name="demo"), tmp_path, tmp_path / "run")
    texts = {"a": "=1+1 ", "b": "-好的 ", "c": "'tis ", "-d": "'=x "}
    save_review(run, review_texts(texts, "english", 1.0))
    with run.path("transcript_changes.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["clip_id"]: row["after"] for row in csv.DictReader(file)}
    assert rows == {"a": "'=1+1", "b": "'-好的", "c": "'tis", "'-d": "''=x"}
    assert open_review(run).changes["after"].tolist() == ["=1+1", "-好的", "'tis", "'=x"]
    corrections = tmp_path / "corrections.csv"
    corrections.write_text("clip_id,text,note\na,'=2+2,\nc,'tis so,\n'-d,''=x,\n", encoding="utf-8")
    assert read_corrections(corrections, texts) == {"a": "=2+2", "c": "'tis so", "-d": "'=x"}
