import pandas as pd
import pytest

from meiju_utils.challenge import SETTINGS
from meiju_utils.errors import SubmissionError
from meiju_utils.submission.evaluation import evaluate

SETTING = SETTINGS[1, "mandarin"]
TRUTH = pd.DataFrame(
    {
        "clip_id": ["a", "b", "c", "d"],
        "emotion": ["happy", "happy", "sad", "anger"],
        "intent": ["wishing", "neutral", "neutral", "agreeing"],
    }
)


def test_systems_are_scored_by_clip_whatever_their_order_and_further_clips() -> None:
    further = pd.DataFrame({"clip_id": ["z"], "emotion": ["fear"], "intent": ["wishing"]})
    scores = evaluate({"perfect": pd.concat([further, TRUTH.iloc[::-1]])}, TRUTH, SETTING)
    assert scores["perfect"].emotion.value == 1
    assert scores["perfect"].intent.value == 1
    assert scores["perfect"].joint.value == pytest.approx(1, abs=1e-6)  # official denominator


def test_a_missing_answer_is_named() -> None:
    with pytest.raises(SubmissionError, match=r"'half'.*2 clips.*first c"):
        evaluate({"half": TRUTH.head(2)}, TRUTH, SETTING)


def test_where_no_label_is_known_there_is_no_score() -> None:
    assert evaluate({"any": TRUTH}, TRUTH.head(0), SETTING) == {}
