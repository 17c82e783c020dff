"""Drawn faces: found by the detector, told apart by expression, the speaker's mouth in step."""

from pathlib import Path

import av
import dlib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.corpus.demo import truth_folder
from meiju_utils.corpus.demo.expressions import (
    EMOTION_EXPRESSION,
    INTENT_EXPRESSION,
    draw_face,
)
from meiju_utils.corpus.demo.heads import draw_head
from meiju_utils.corpus.demo.mp4 import write_mp4
from meiju_utils.corpus.demo.scenes import Person, draw_frames
from meiju_utils.errors import MediaError


@pytest.fixture(scope="module")
def scenes(tiny_corpus: Path) -> pd.DataFrame:
    table = pd.read_csv(truth_folder(tiny_corpus) / "scenes.csv", keep_default_na=False)
    folder = tiny_corpus / "Track1" / "Mandarin" / "Annotation" / "Training"
    train = table[table["split"] == "train"]
    return train.assign(path=[folder / f"{clip_id}.mp4" for clip_id in train["clip_id"]])


def grey_frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_the_detector_finds_every_face_and_the_speakers_where_the_truth_says(
    scenes: pd.DataFrame,
) -> None:
    detector = dlib.get_frontal_face_detector()
    assert set(scenes["n_faces"]) == {1, 2}
    for clip in scenes.itertuples():
        frames = grey_frames(clip.path)
        for frame in (frames[0], frames[len(frames) // 2]):
            boxes = sorted(detector(frame, 0), key=lambda box: box.left())
            assert len(boxes) == clip.n_faces
            centre = boxes[clip.speaker_face].center()
            assert clip.left < centre.x < clip.right
            assert clip.top < centre.y < clip.bottom


def test_the_speaker_is_left_and_right_and_not_always_the_larger_face(scenes: pd.DataFrame) -> None:
    two = scenes[scenes["n_faces"] == 2]
    assert set(two["speaker_face"]) == {0, 1}
    assert set(two["other_mouth"]) == {"still", "unrelated"}


def person(speech: NDArray[np.float64]) -> Person:
    return Person(
        draw_head(np.random.default_rng(1)),
        centre=(160.0, 118.0),
        width=100.0,
        expression=EMOTION_EXPRESSION["neutral"],
        intent="",
        speech=speech,
    )


def test_an_open_mouth_is_darker_and_eyes_blink() -> None:
    speech = np.tile([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], 17)
    frames = list(draw_frames((320, 240), [person(speech)], 102, np.random.default_rng(0)))
    grey = np.stack(frames)[..., 1].astype(float)
    mouth = (grey[:, 142:168, 140:180] < 60).mean(axis=(1, 2))
    assert np.corrcoef(mouth, speech)[0, 1] > 0.8
    eyes = (grey[:, 98:116, 125:195] < 60).mean(axis=(1, 2))
    assert eyes.min() < 0.75 * np.median(eyes)
    assert np.mean(eyes < 0.85 * np.median(eyes)) < 0.2  # and are open most of the time


def test_every_class_has_an_expression_of_its_own() -> None:
    head = draw_head(np.random.default_rng(0))
    assert set(EMOTION_EXPRESSION) == set(EMOTIONS)
    assert set(INTENT_EXPRESSION) == set(INTENTS)
    drawn = [
        draw_face(head, shown, 0.0, 0.0).astype(float) for shown in EMOTION_EXPRESSION.values()
    ]
    for index, one in enumerate(drawn):
        for other in drawn[index + 1 :]:
            assert np.mean(np.abs(one - other).max(axis=2) > 30) > 0.01


def test_people_look_different() -> None:
    heads = [draw_head(np.random.default_rng(seed)).patch.astype(float) for seed in range(6)]
    differences = [np.abs(a - b).mean() for i, a in enumerate(heads) for b in heads[i + 1 :]]
    assert min(differences) > 4


def test_a_clip_that_does_not_fit_its_size_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    frames = draw_frames((320, 240), [person(np.zeros(5))], 5, np.random.default_rng(0))
    with pytest.raises(MediaError, match="too long for 3000 bytes"):
        write_mp4(
            tmp_path / "clip.mp4",
            frames,
            25,
            (320, 240),
            np.zeros(3200),
            16000,
            16000,
            "mono",
            3000,
        )
    assert not list(tmp_path.iterdir())
