"""Pictures of one clip with its answer, and of what submissions scored."""

import numpy as np
import pandas as pd
from matplotlib.text import Text

from meiju_utils.reporting import plots
from meiju_utils.submission.ledger_file import COLUMNS


def test_a_clip_and_its_answer_in_one_picture() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(7)]
    track = np.array([[0.0, 20.0, 20.0, 8.0], [3.0, 30.0, 20.0, 8.0]])
    samples = rng.normal(0, 0.1, 48000).astype(np.float32)
    answer = {"mood": {"label": "b", "probabilities": {"a": 0.2, "b": 0.5, "c": 0.3}}}
    alone = {"audio": answer, "text": answer}
    clip = plots.ShownClip(
        "one", frames, np.arange(7.0), track, samples, 16000, np.full(300, 200.0), "Hi", "the face"
    )
    figure = plots.clip_answer(clip, answer, alone)
    assert plots.png(figure).startswith(b"\x89PNG")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "Mood: b, 50%" in titles
    assert plots.alt_text(figure).startswith("one: mood b")
    boxes = [line for ax in figure.axes for line in ax.lines if len(line.get_xdata()) == 5]
    assert len(boxes) == 2  # of the shown frames those at 0 and 3 s
    nothing = plots.ShownClip(
        "x", [], np.empty(0), np.empty((0, 4)), samples[:0], 16000, np.empty(0), "你", "no face"
    )
    words = {text.get_text() for text in plots.clip_answer(nothing, answer, {}).findobj(Text)}
    assert {"no picture", "no sound"} <= words


def test_expected_scores_against_true_ones() -> None:
    row = dict.fromkeys(COLUMNS, "")
    board = {"board_joint": "0.50", "train_joint": "0.52"}
    board |= {"train_joint_low": "0.48", "train_joint_high": "0.56"}
    test = {"test_joint": "0.41", "valid_joint": "0.45"}
    test |= {"valid_joint_low": "0.40", "valid_joint_high": "0.50"}
    ledger = pd.DataFrame([row | board, row | test, row], dtype="str")
    figure = plots.expected_against_true(ledger)
    assert figure.axes[0].get_title(loc="left") == "2 submissions: expected against true"
    assert plots.png(figure).startswith(b"\x89PNG")
    none = plots.expected_against_true(ledger.tail(1))
    assert "No submission has both" in plots.alt_text(none)
