"""The key of audio and faces changes with whatever shapes them, and with nothing else."""

from meiju_utils.config import Preprocessing
from meiju_utils.preprocessing.state import preprocessing_key


def test_the_device_is_not_part_of_what_audio_and_faces_are_made_from() -> None:
    plain = preprocessing_key(Preprocessing())
    assert preprocessing_key(Preprocessing(device="cpu")) == plain
    assert preprocessing_key(Preprocessing(frame_stride=7)) != plain
