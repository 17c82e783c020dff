"""Sentences of the synthetic corpus and their flawed punctuation."""

import itertools
from collections import Counter

import numpy as np
import pytest

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.corpus.demo.subtitles import (
    as_recognised,
    compose,
    spoil_punctuation,
    strip_punctuation,
)
from meiju_utils.corpus.demo.words import INTERJECTIONS, PATTERNS


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    rng = np.random.default_rng(0)
    return [
        compose(emotion, intent, rng)
        for emotion, intent in itertools.product(EMOTIONS, INTENTS)
        for _ in range(40)
    ]


def test_sentences_are_many_and_none_is_shared_often(sentences: list[str]) -> None:
    counts = Counter(sentences)
    assert len(counts) > 0.95 * len(sentences)
    assert counts.most_common(1)[0][1] <= 4


def test_sentences_are_whole_chinese_ones(sentences: list[str]) -> None:
    for sentence in sentences:
        assert not set("{}") & set(sentence)
        assert sentence[-1] in "。！？…"
        assert sentence.encode("gb18030").decode("gb18030") == sentence
        assert 5 <= len(sentence) <= 40


def test_questions_and_only_questions_end_in_a_question_mark() -> None:
    rng = np.random.default_rng(1)
    for intent in INTENTS:
        asked = [compose("neutral", intent, rng).endswith("？") for _ in range(20)]
        assert all(asked) if intent == "questioning" else not any(asked)


def test_every_class_has_its_own_words() -> None:
    for table, classes in ((PATTERNS, INTENTS), (INTERJECTIONS, EMOTIONS)):
        assert set(table) == set(classes)
        phrases = [phrase for choices in table.values() for phrase in choices]
        assert len(phrases) == len(set(phrases))


def test_spoiling_changes_the_punctuation_and_nothing_else(sentences: list[str]) -> None:
    rng = np.random.default_rng(2)
    for sentence in sentences[:400]:
        spoilt = spoil_punctuation(sentence, rng)
        assert spoilt != sentence
        assert strip_punctuation(spoilt) == strip_punctuation(sentence)


def test_recognised_speech_mostly_lacks_punctuation(sentences: list[str]) -> None:
    rng = np.random.default_rng(3)
    recognised = [as_recognised(sentence, rng) for sentence in sentences]
    bare = np.mean([text == strip_punctuation(text) for text in recognised])
    assert 0.5 < bare < 0.7
