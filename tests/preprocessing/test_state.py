"""The key of audio and faces changes with whatever shapes them, and with nothing else."""

from pathlib import Path

import pytest

from meiju_utils.config import Preprocessing, load_profile
from meiju_utils.files import write_record
from meiju_utils.preprocessing.state import (
    STATE_NAME,
    held,
    renew_store,
    settings_key,
    state_of,
    store_of,
)
from meiju_utils.references import parse_target
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


def test_a_run_holds_the_commits_of_hub_models_that_it_was_first_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    branches = {}
    for model in ("opencv--yunet", "openai--whisper"):
        branches[model] = tmp_path / "hub" / f"models--{model}" / "refs" / "main"
        branches[model].parent.mkdir(parents=True)
        branches[model].write_text("a" * 40)
    named = {
        "preprocessing.faces.detector": "yunet:opencv/yunet",
        "preprocessing.transcripts.asr": "openai/whisper",
    }
    run = Run(load_profile("demo", named), tmp_path / "data", tmp_path / "run")
    assert held(run) == run  # nothing was made yet
    made = renew_store(held(run), lambda _: False)
    state = state_of(held(run), made[0], None)
    write_record(run.path("preprocessed", STATE_NAME), state)
    for branch in branches.values():
        branch.write_text("b" * 40)
    settings = held(run).config.preprocessing
    assert settings.faces.detector == f"yunet:opencv/yunet@{'a' * 40}"
    assert settings.transcripts.asr == f"openai/whisper@{'a' * 40}"
    assert parse_target(settings.transcripts.asr).commit == "a" * 40
    assert store_of(held(run)) == made
    assert state_of(held(run), made[0], None) == state
    own = {name: f"{value}@{'c' * 40}" for name, value in named.items()}  # who names one has it
    chosen = Run(load_profile("demo", own), tmp_path / "data", tmp_path / "run")
    assert held(chosen) == chosen
    assert store_of(chosen) is None
