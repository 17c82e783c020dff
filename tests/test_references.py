"""What the names in a profile stand for, here and in a worker started elsewhere."""

import os
from pathlib import Path

import pytest

from meiju_utils.config import load_profile
from meiju_utils.references import (
    cached_snapshot,
    content_of,
    parse_reference,
    parse_target,
    with_absolute_paths,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, which is the working folder."""
    for name in ("notebooks", "meiju_utils", "models/hubert"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models/talk.model").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("prosody", None),
        ("hf:owner/model", None),
        ("timm:vit_base_patch16_224.augreg", None),
        ("hf:models/hubert", "models/hubert"),
        ("hf:./gone", "gone"),
        ("hf:a/b/c", "a/b/c"),
        ("npy:features", "features"),  # there or not: of this kind it can be nothing else
        ("talknet:talk.model", "talk.model"),
        ("yunet:owner/model", None),
        ("yunet:gone.onnx", "gone.onnx"),
        ("hf:{run_dir}/x", "run {1}/x"),
    ],
)
def test_a_name_is_a_path_where_it_can_be_nothing_else_or_is_there(
    project: Path, name: str, path: str | None
) -> None:
    found = parse_reference(name, project / "run {1}").path
    assert found == (project / path if path else None)


def test_a_profiles_files_are_the_same_from_any_working_folder(project: Path) -> None:
    names = {
        "embeddings.audio": "hf:models/hubert",
        "embeddings.text": "hf:owner/model",
        "embeddings.compare": {"text": ["npy:features", "char-ngram", "hf:{run_dir}/tiny"]},
        "preprocessing.speaker": "talknet:models/talk.model",
        "preprocessing.transcripts.asr": "models/hubert",
        "recipes": "mine.yaml",
    }
    config = with_absolute_paths(load_profile("demo", names))
    os.chdir("/")
    compared = [encoder.name for encoder in config.embeddings.compare["text"]]
    assert compared == [f"npy:{project}/features", "char-ngram", "hf:{run_dir}/tiny"]
    assert config.embeddings.chosen()["audio"].name == f"hf:{project}/models/hubert"
    assert config.embeddings.chosen()["text"].name == "hf:owner/model"
    assert config.preprocessing.speaker == f"talknet:{project}/models/talk.model"
    assert config.preprocessing.transcripts.asr == f"{project}/models/hubert"
    assert (config.recipes, config.data_dir) == (f"{project}/mine.yaml", f"{project}/data/demo")
    assert with_absolute_paths(config) == config


def test_the_same_file_under_another_path_is_the_same(project: Path) -> None:
    (project / "elsewhere.model").write_bytes(b"weights")
    (project / "other.model").write_bytes(b"others")
    names = ("models/talk.model", "elsewhere.model", "other.model")
    one, same, other = (parse_reference(f"talknet:{name}").identity for name in names)
    assert one == same != other


def test_a_folder_is_what_its_files_hold_but_for_hidden_ones(project: Path) -> None:
    folder = project / "models/hubert"
    assert content_of(folder) == content_of(project / "nowhere") == ""
    (folder / "config.json").write_text("{}")
    before = content_of(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "download").touch()
    assert content_of(folder) == before
    (folder / "config.json").write_text("[]")
    assert content_of(folder) != before


def test_a_hub_model_is_at_the_commit_that_its_branch_has_in_the_cache(hub: Path) -> None:
    model = parse_reference("hf:owner/model")
    assert (model.commit, model.identity) == ("", "owner/model@main")
    folder = hub / "models--owner--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    assert model.identity == parse_target("owner/model").identity == f"owner/model@{'a' * 40}"
    assert cached_snapshot("owner/model") is None
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    assert cached_snapshot("owner/model") == folder / "snapshots" / ("a" * 40)
    (folder / "refs" / "main").write_text("b" * 40)  # the branch has moved
    assert model.commit == "b" * 40
    assert parse_reference("hf:owner/model", revision="c" * 40).commit == "c" * 40
