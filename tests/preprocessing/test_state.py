"""The key of audio and faces changes with whatever shapes them, and with nothing else."""

from meiju_utils.config import Preprocessing
from meiju_utils.preprocessing.state import settings_key


def test_the_device_is_not_part_of_what_audio_and_faces_are_made_from() -> None:
    plain = settings_key(Preprocessing())
    assert settings_key(Preprocessing(device="cpu")) == plain
    assert settings_key(Preprocessing(frame_stride=7)) != plain
