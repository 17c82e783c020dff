"""Which question and exclamation marks has a transcript lost? Cues in its words, and how sure.

The confidence of a cue says how often a sentence that shows it, and no mark, has lost the mark. For
Mandarin questions it is the share of questions among such utterances of Chinese TV dialogue (CPED,
Chen et al. 2022), for English ones an estimate. An exclamation seldom loses its mark, and what
looks like one is mostly a statement: in eight synthetic corpora an interjection without a mark had
lost one in 0.24 of 403 cases, a command in 0.05 of 168. The other exclamations, which do not occur
there, have what a reader would say scaled alike, by 0.4. Imports `challenge` only.
"""

import re
from dataclasses import dataclass
from typing import Literal

from meiju_utils.challenge import Language

Mark = Literal["question", "exclamation"]

MARKS: dict[Language, dict[Mark, str]] = {
    "mandarin": {"question": "？", "exclamation": "！"},
    "english": {"question": "?", "exclamation": "!"},
    "other": {"question": "?", "exclamation": "!"},
}

# A voice that ends this much higher, in semitones, may be asking; in a tone language, and of a
# lively speaker, that alone says little.
RISE_SEMITONES = 3.0
RISE_CONFIDENCE = 0.4


@dataclass(frozen=True)
class Cue:
    """A pattern of the last sentence, without its end mark, that goes with an end mark.

    Where `unless` fits as well, the cue does not count.
    """

    name: str
    mark: Mark
    pattern: str
    confidence: float
    unless: str = "(?!)"


@dataclass(frozen=True)
class Suggestion:
    """An end mark that may be missing: the text with it, the cues, and how sure they make it."""

    mark: Mark
    text: str
    rules: tuple[str, ...]
    confidence: float


_WH = "(什么|啥|怎么|怎样|咋|谁|哪|几[个点岁号]|第几|多少|多久|多远|多大|如何|干嘛|干吗|为何|何时)"
_INDEFINITE = (  # question words that ask nothing: 谁都, 没什么, 不管什么, 我知道为什么
    f"{_WH}[^，]{{0,6}}[都也]|[没不][什怎]么|没啥|没几|什么的$|不管|无论|不论|随便|就好了?$|^什么，|"
    "(不|没|别|我|我也|我就|我才|这)(太|怎么|用)?(知道|晓得|明白|清楚|记得|理解|告诉|说|当)[^，]*"
    f"{_WH}|这就是为|[好多这那十]几|多少(有|是|算)点"
)
_PRONOUN = (
    "(i|you|he|she|it|we|they|this|that|these|those|there|the|my|your|his|her|its|our|their|"
    "any(one|body|thing)|some(one|body|thing)|every(one|body|thing))"
)
_AUXILIARY = (
    "(do|does|did|is|are|was|were|am|can|could|will|would|shall|should|may|might|must|have|has|"
    "had|ain't|(do|does|did|is|are|was|were|ca|could|wo|would|should|have|has|had)n't)"
)
_OPENING = (
    r"^((and|but|so|well|oh|ok|okay|now|then|hey|no|yes|yeah|wait|look|sorry|please|or|because|"
    r"mom|dad|man|guys)[, ]+)*"
)

CUES: dict[Language, tuple[Cue, ...]] = {
    "other": (),
    "mandarin": (
        Cue("particle 吗", "question", "(吗|(?<![什怎那这多要])么)$", 0.97),
        Cue(
            "A-not-A",
            "question",
            r"(?![动时不人])(.)[不没]\1|是否|能否|可否",
            0.9,
            "(不管|无论|不论|不知道?|看看|想想|问问).*[不没否]|爱(.)不",
        ),
        Cue("tag", "question", "(对吧|是吧|好吧|行吧|不会吧|可以吧)$", 0.7, "(^|，)(好吧|行吧)$"),
        Cue("rhetorical word", "question", "难道|莫非|凭什么|何必|何苦|岂不", 0.95),
        Cue("reason word", "question", "为什么|为啥|为何|干嘛|干吗", 0.92, _INDEFINITE),
        Cue(
            "opening question word",
            "question",
            "(^|，)(你|您|那|他|她|这|我们|咱们)?(怎么|谁|哪)",
            0.9,
            _INDEFINITE,
        ),
        Cue("question word", "question", _WH, 0.85, _INDEFINITE),
        Cue("short 呢", "question", "(^|，)那?[^，]{1,3}呢$", 0.85),
        Cue("particle 呢", "question", "呢$", 0.7, "(还|才|可|正|着|我)[^，]*呢$"),
        Cue("particle 吧", "question", "吧$", 0.5),
        Cue(
            "interjection",
            "exclamation",
            "(天[哪呐啊]|我的天|哎呀|哎哟|救命|糟了|完了|气死|该死|混[蛋账]|岂有此理|王八蛋|可恶|够了|闭嘴|"
            "住手|太好了|太棒了|好极了|哈哈|真没想到|不会吧|滚|别过来|小心|快跑|加油|恭喜|万岁)",
            0.2,
        ),
        Cue("太 … 了", "exclamation", "太[^，]{1,6}了$", 0.25),
        Cue("真 … 啊", "exclamation", "(真|好|多|多么|可)[^，]{1,8}[啊呀哪啦哇]$", 0.3),
        Cue("particle 啊", "exclamation", "[啊呀啦哇]$", 0.15),
        Cue("command", "exclamation", "^(快|别|给我|你给我|赶紧|不许|不准|站住)", 0.05),
    ),
    "english": (
        Cue("inversion", "question", rf"(^|, ){_OPENING[1:]}{_AUXILIARY} {_PRONOUN}\b", 0.92),
        Cue(
            "question word",
            "question",
            rf"(^|, ){_OPENING[1:]}((what|who|whom|where|when|why|how|which)('s|'re|'d|'ll)? "
            rf"({_AUXILIARY}|about|come|the (hell|heck)|on earth|in the world|not|else|kind|sort)\b"
            r"|(what|who|where|when|why|how)('s|'re|'d) |how (many|much|long|far|often|old)\b|"
            r"(what|who|where|when|why|how)$)",
            0.92,
            rf"{_OPENING}how \w+ {_PRONOUN} (is|are|was|were)$",
        ),
        Cue("tag", "question", rf", {_AUXILIARY} (i|you|he|she|it|we|they|there)$", 0.95),
        Cue("short tag", "question", ", (right|huh|eh|correct|yeah|remember)$", 0.85),
        Cue("what a", "exclamation", rf"{_OPENING}what an? ", 0.3),
        Cue("how … it is", "exclamation", rf"{_OPENING}how \w+( {_PRONOUN} \w+)?$", 0.15),
        Cue(
            "interjection",
            "exclamation",
            r"\b(oh,? my god|my god|oh my gosh|wow|damn|dammit|goddamn|bastard|shut up|get out|"
            r"help me|stop it|look out|watch out|congratulations|hooray|yay|awesome|no way|"
            r"hurry|god bless|hell)\b|^(help|go|run|stop|wait|quick)$",
            0.2,
        ),
    ),
}


def suggest_end_mark(
    text: str, language: Language, rise: float = float("nan")
) -> Suggestion | None:
    """The end mark a normalised transcript most likely lost, or None.

    Only texts that end in no mark, a full stop or a comma are looked at. `rise`: semitones by
    which the voice rises at the end (see `pitch.final_rise`), NaN where unknown.
    """
    bare = text.rstrip("。，,.、 ")
    if not bare or not bare[-1].isalnum() or text.endswith(("..", "……")):
        return None
    sentence = re.split(r"[。？！…?!;；]|\. ", bare)[-1].strip().lower()
    if language == "mandarin":
        sentence = sentence.replace(" ", "，")  # subtitles part clauses by blanks
    found = [
        cue
        for cue in CUES[language]
        if re.search(cue.pattern, sentence) and not re.search(cue.unless, sentence)
    ]
    # Cues in the words are often one and the same cue; the voice is another witness.
    surest = max(found, key=lambda cue: cue.confidence, default=None)
    mark: Mark = surest.mark if surest else "question"
    doubt = 1 - surest.confidence if surest else 1.0
    rules = [cue.name for cue in found if cue.mark == mark]
    if mark == "question" and rise >= RISE_SEMITONES:
        doubt *= 1 - RISE_CONFIDENCE
        rules.append("pitch rise")
    if not rules:
        return None
    return Suggestion(mark, bare + MARKS[language][mark], tuple(rules), round(1 - doubt, 3))


def end_mark(text: str) -> Mark | None:
    """The mark a text ends in; a question that is also exclaimed counts as a question."""
    end = re.search(r"[?!？！]+[”’\"')）]*$", text.strip())
    if not end:
        return None
    return "question" if re.search("[?？]", end[0]) else "exclamation"
