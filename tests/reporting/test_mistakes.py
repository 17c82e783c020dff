"""The most confident mistakes: which, and what is shown of them."""

import wave
from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from meiju_utils.predictions import Answers, Predictions
from meiju_utils.reporting.mistakes import SHOWN, cards, confident_mistakes, wav

CLASSES = {"emotion": ("happy", "sad"), "intent": ("asking", "telling")}
IDS = ["a", "b", "<c>", "d"]


@pytest.fixture
def answers() -> Answers:
    emotion, intent = np.array([0.9, 0.6, 0.8, 0.7]), np.array([0.5, 0.95, 0.6, 0.6])
    both = {
        task: np.stack([p, 1 - p], axis=1) for task, p in (("emotion", emotion), ("intent", intent))
    }
    mean = Predictions.of_arrays(IDS, ["test"] * 4, both, CLASSES, np.zeros(4, dtype=bool))
    return Answers.of_predictions(mean, {task: np.zeros(4, dtype=int) for task in CLASSES})


def test_the_surest_wrong_answers_come_first(answers: Answers) -> None:
    truth = pd.DataFrame(
        {
            "clip_id": ["a", "b", "<c>", "d", "elsewhere"],
            "emotion": ["sad", "happy", "sad", "happy", "sad"],
            "intent": ["asking", "telling", "asking", "asking", "asking"],
        }
    )
    found = confident_mistakes(answers, truth, None)
    assert [one.clip_id for one in found] == ["b", "a", "<c>"]  # "d" is right
    assert found[0].tasks["intent"] == ("telling", "asking", pytest.approx(0.95))
    assert found[0].tasks["emotion"][:2] == ("happy", "happy")
    assert len(confident_mistakes(answers, truth, None, most=1)) == 1 < SHOWN
    page = str(cards(found))
    assert "&lt;c&gt;" in page
    assert "<c>" not in page
    assert "asking for telling (95%)" in page
    assert confident_mistakes(answers, truth.tail(1), None) == []


def test_sound_is_a_wav_of_its_beginning() -> None:
    assert wav(np.empty(0, np.int16)) == b""
    with wave.open(BytesIO(wav(np.arange(16000 * 20, dtype=np.int16)))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16000, 1, 192000)
        assert file.readframes(2) == b"\0\0\1\0"
