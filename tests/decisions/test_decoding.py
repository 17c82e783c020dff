"""From probabilities to labels."""

import numpy as np

from meiju_utils.challenge import CLASSES
from meiju_utils.decisions import DECODERS, Argmax
from meiju_utils.predictions import Classes, Predictions
from tests.vocabularies import EMOTION, every_setting


def predictions(classes: Classes, clips: int) -> Predictions:
    rng = np.random.default_rng(0)
    values = {task: rng.dirichlet(np.ones(len(names)), clips) for task, names in classes.items()}
    ids = [f"clip{i}" for i in range(clips)]
    return Predictions.of_arrays(ids, ["test"] * clips, values, classes, np.zeros(clips, bool))


@every_setting
def test_the_most_probable_label_of_each_task_is_answered(classes: Classes) -> None:
    mean = predictions(classes, 40)
    answers = DECODERS["argmax"]()(mean)
    assert answers.classes == dict(classes)
    assert answers.table["clip_id"].tolist() == mean.table["clip_id"].tolist()
    for task, names in classes.items():
        values = mean.probabilities(task)
        assert answers.table[task].tolist() == [names[i] for i in values.argmax(axis=1)]
        np.testing.assert_array_equal(answers.probabilities(task), values)
        np.testing.assert_array_equal(answers.confidence(task), values.max(axis=1))
        assert not answers.tied(task).any()


def test_of_equals_the_first_in_official_order_is_answered_and_the_tie_stated() -> None:
    emotion, intent = np.zeros((3, 7)), np.zeros((3, 8))
    happy, sad, anger, fear = (
        CLASSES["emotion"].index(e) for e in ("happy", "sad", "anger", "fear")
    )
    emotion[0, fear] = 1
    emotion[1, [sad, anger]] = 0.5
    emotion[2, [happy, sad]] = [0.5 - 3e-8, 0.5 + 3e-8]  # equal but for rounding
    intent[:, CLASSES["intent"].index("wishing")] = 1
    mean = Predictions.of_arrays(
        "abc", ["test"] * 3, {"emotion": emotion, "intent": intent}, CLASSES, np.zeros(3, bool)
    )
    answers = Argmax()(mean)
    assert answers.table["emotion"].tolist() == ["fear", "sad", "happy"]
    assert answers.table["intent"].tolist() == ["wishing"] * 3
    assert answers.tied("emotion").tolist() == [False, True, True]
    assert not answers.tied("intent").any()


def test_no_clips_have_no_answers() -> None:
    assert len(Argmax()(predictions(EMOTION, 3).of_split("unlabeled"))) == 0
