"""Chinese subtitles: sentences composed from patterns of an intent and words of an emotion.

A sentence is a pattern with its slots filled, an interjection and an adjective of the emotion
perhaps, and an end mark by intent and emotion. Punctuation is lost or wrong in one of eight.
Imports nothing of the package but its word lists.
"""

import re

import numpy as np

from meiju_utils.corpus.demo.words import ADJECTIVES, INTERJECTIONS, PATTERNS, SLOTS

PUNCTUATION_ERRORS = 1 / 8
_MARKS = "，。！？…、；：,.!?~"
_ENDINGS = {"surprise": "！", "anger": "！", "happy": "！", "fear": "！", "sad": "……"}
# What a listener may write for another character of the same sound.
_SOUND_ALIKE = str.maketrans(
    {"他": "她", "她": "他", "在": "再", "的": "得", "做": "作", "吧": "把"}
)


def compose(emotion: str, intent: str, rng: np.random.Generator) -> str:
    """A sentence with proper punctuation that expresses the intent, in words of the emotion."""
    thing = _pick(SLOTS["thing"], rng)
    if ADJECTIVES[emotion] and rng.random() < 0.5:
        thing = _pick(ADJECTIVES[emotion], rng) + thing
    words = {name: _pick(choices, rng) for name, choices in SLOTS.items()} | {"thing": thing}
    sentence = _pick(PATTERNS[intent], rng).format(**words)
    if INTERJECTIONS[emotion] and rng.random() < 0.75:
        sentence = f"{_pick(INTERJECTIONS[emotion], rng)}，{sentence}"
    end = _ENDINGS.get(emotion, "。") if rng.random() < 0.5 else "。"
    if intent == "questioning":
        end = "？？" if emotion == "surprise" and rng.random() < 0.5 else "？"
    return sentence + end


def spoil_punctuation(sentence: str, rng: np.random.Generator) -> str:
    """The sentence with its punctuation lost, or its end mark wrong; always another string."""
    bare = sentence.rstrip(_MARKS)
    lost = rng.random()
    if lost < 0.4:
        return bare
    if lost < 0.7:
        return strip_punctuation(sentence)
    end = sentence[len(bare) :]
    return bare + _pick([mark for mark in ("。", "，", ".", "?", "!") if mark != end], rng)


def strip_punctuation(sentence: str) -> str:
    """The sentence without any punctuation."""
    return re.sub(f"[{re.escape(_MARKS)}]", "", sentence)


def as_recognised(sentence: str, rng: np.random.Generator) -> str:
    """The sentence as speech recognition might give it: mostly bare, with sound-alike slips."""
    if rng.random() < 0.6:
        sentence = strip_punctuation(sentence)
    return sentence.translate(_SOUND_ALIKE) if rng.random() < 0.1 else sentence


def _pick(choices: "list[str] | tuple[str, ...]", rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
