"""The key of audio and faces changes with whatever shapes them, and with nothing else."""

from pathlib import Path

from meiju_utils.config import Preprocessing, load_profile
from meiju_utils.preprocessing.state import renew_store, settings_key, state_of, store_of
from meiju_utils.run import Run


def test_the_device_is_not_part_of_what_audio_and_faces_are_made_from() -> None:
    plain = settings_key(Preprocessing())
    assert settings_key(Preprocessing(device="cpu")) == plain
    assert settings_key(Preprocessing(frame_stride=7)) != plain


def test_a_run_folder_serves_its_clips_where_its_models_are_not(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "whisper").mkdir(parents=True)
    for name in ("talknet.model", "yunet.onnx", "whisper/config.json"):
        (models / name).write_text(name)

    def opened(folder: Path) -> Run:
        named = {
            "preprocessing.speaker": f"talknet:{folder / 'talknet.model'}",
            "preprocessing.faces.detector": f"yunet:{folder / 'yunet.onnx'}",
            "preprocessing.transcripts.asr": str(folder / "whisper"),
        }
        return Run(load_profile("demo", named), tmp_path / "data", tmp_path / "run")

    run = opened(models)
    made = renew_store(run, lambda _: False)
    state = state_of(run, made[0], None)
    models.rename(tmp_path / "elsewhere")
    (tmp_path / "none").mkdir()
    for folder in (models, tmp_path / "none", tmp_path / "elsewhere"):
        assert store_of(opened(folder)) == made
        assert state_of(opened(folder), made[0], None, state) == state
    (models / "whisper").mkdir(parents=True)  # others under the same names are others
    for name in ("talknet.model", "yunet.onnx", "whisper/config.json"):
        (models / name).write_text("another")
    assert store_of(run) is None
    assert state_of(run, made[0], None, state) != state
