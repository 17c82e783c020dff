"""What a profile names and cannot be used is said when a run is opened, all of it at once."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils import checks, open_run
from meiju_utils.checks import check_disk, check_profile, covered
from meiju_utils.config import load_profile
from meiju_utils.embeddings.shards import write_shard
from meiju_utils.embeddings.store import create_store
from meiju_utils.errors import ConfigError
from meiju_utils.files import write_table

SPEECH = {"model_type": "hubert", "num_hidden_layers": 4}
TEXT = {"model_type": "bert", "num_hidden_layers": 2}
PICTURES = {"architecture": "vit_base_patch16_224"}
EXTRACTOR = json.dumps({"sampling_rate": 16000})
WHOLE: dict[str, dict[str, str]] = {
    "speech": {"config.json": json.dumps(SPEECH), "preprocessor_config.json": EXTRACTOR},
    "words": {"config.json": json.dumps(TEXT), "vocab.txt": "好"},
    "pictures": {"config.json": json.dumps(PICTURES)},
    "whisper": {
        "config.json": '{"model_type": "whisper"}',
        "preprocessor_config.json": EXTRACTOR,
        "tokenizer.json": "{}",
    },
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders with the files of whole checkpoints, and no hub models in the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, files in WHOLE.items():
        (tmp_path / name).mkdir()
        for file, text in {**files, "model.safetensors": ""}.items():
            (tmp_path / name / file).write_text(text, encoding="utf-8")
    return tmp_path


def problems(models: Path, **overrides: Any) -> list[str]:
    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: placed(below) for key, below in value.items()}
        if isinstance(value, list):
            return [placed(below) for below in value]
        return value.replace("MODELS", str(models)) if isinstance(value, str) else value

    dotted = {key.replace("__", "."): placed(value) for key, value in overrides.items()}
    return check_profile(load_profile("demo", dotted), None, models / "run")


def test_nothing_is_wrong_with_what_can_be_used(models: Path) -> None:
    assert problems(models) == []
    chosen = {
        "embeddings__audio": {"name": "hf:MODELS/speech", "layers": [-5, 4]},
        "embeddings__visual": "timm:MODELS/pictures",
        "embeddings__text": "hf:MODELS/words",
        "preprocessing__transcripts__asr": "MODELS/whisper",
    }
    assert problems(models, **chosen) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"embeddings__audio": "prosodie"}, "did you mean 'prosody'"),
        ({"embeddings__compare": {"text": ["chr-ngram"]}}, "did you mean 'char-ngram'"),
        ({"embeddings__compare": {"visual": ["tim:vit"]}}, "did you mean 'timm:'"),
        ({"embeddings__audio": {"name": "prosody", "layers": [1]}}, "has no layers"),
        ({"embeddings__text": "hf:MODELS/gone/x"}, "there is no folder"),
        ({"embeddings__text": "hf:MODELS"}, "no config.json"),
        ({"embeddings__text": "hf:MODELS/speech"}, "is a hubert model; as text encoder a BERT"),
        ({"embeddings__audio": "hf:MODELS/words"}, "is a bert model; as audio encoder a HuBERT"),
        ({"embeddings__visual": "timm:MODELS/words"}, "is a bert model; as visual encoder"),
        ({"embeddings__audio": "hf:MODELS/whisper"}, "is a whisper model; as audio encoder"),
        ({"embeddings__text": "hf:MODELS/pictures"}, "is a vit_base_patch16_224 model; as text"),
        ({"embeddings__text": {"name": "hf:MODELS/words", "layers": [-4]}}, "no layers [-4]"),
        (
            {"embeddings__audio": "hf:MODELS/speech", "preprocessing__sample_rate": 8000},
            "16000 Hz, but preprocessing.sample_rate is 8000",
        ),
        ({"embeddings__text": "hf:a/b"}, "hf download a/b --local-dir"),
        ({"embeddings__text": "hf:a b"}, "neither a folder nor a hub's id"),
        ({"embeddings__visual": "timm:vit_x.y"}, "hf download timm/vit_x.y"),
        ({"embeddings__compare": {"text": ["hf:{run_dir}/checkpoints/bert"]}}, "no folder"),
        ({"embeddings__tiny_checkpoints": False}, "checkpoints/tiny-hubert"),
        ({"embeddings__audio": "npy:MODELS/gone"}, "there is no folder"),
        ({"embeddings__device": "gpu"}, "embeddings.device: no device 'gpu'"),
        ({"training__device": "tpu"}, "training.device: no device 'tpu'"),
        ({"preprocessing__device": "gpu"}, "preprocessing.device: no device 'gpu'"),
        ({"preprocessing__speaker": "talknet:MODELS/words/vocab.txt"}, "TalkNet"),
        ({"preprocessing__transcripts__asr": "MODELS/speech"}, "a Whisper model is expected"),
        ({"preprocessing__transcripts__asr": "a/b"}, "hf download a/b"),
        ({"preprocessing__faces__detector": "yunnet:x.onnx"}, "did you mean 'yunet:"),
        ({"preprocessing__faces__detector": "yunet:MODELS/x.onnx"}, "there is no file"),
        ({"preprocessing__faces__detector": "yunet"}, "Valid: dlib-hog, yunet:"),
        ({"preprocessing__speaker": "talknet:MODELS/x.model"}, "there is no file"),
        ({"preprocessing__speaker": "corelation"}, "did you mean 'correlation'"),
    ],
)
def test_what_cannot_be_used_is_told(models: Path, overrides: dict[str, Any], words: str) -> None:
    assert words in "\n".join(problems(models, **overrides))


@pytest.mark.parametrize(
    ("setting", "model", "file", "words"),
    [
        ("embeddings__text", "hf:MODELS/words", "vocab.txt", "no vocabulary: a tokenizer.json"),
        ("embeddings__text", "hf:MODELS/words", "model.safetensors", "no weights"),
        ("embeddings__audio", "hf:MODELS/speech", "preprocessor_config.json", "no preprocessor"),
        ("embeddings__visual", "timm:MODELS/pictures", "model.safetensors", "no weights"),
        ("preprocessing__transcripts__asr", "MODELS/whisper", "tokenizer.json", "no vocabulary"),
    ],
)
def test_a_checkpoint_without_one_of_its_files_is_told(
    models: Path, setting: str, model: str, file: str, words: str
) -> None:
    (models / model.rpartition("/")[2] / file).unlink()
    (told,) = problems(models, **{setting: model})
    assert words in told


def test_every_part_of_the_weights_must_be_there(models: Path) -> None:
    weights = models / "words" / "model.safetensors"
    parts = {"a": "part-1.safetensors", "b": "part-2.safetensors"}
    (models / "words" / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": parts})
    )
    weights.rename(weights.with_name("part-1.safetensors"))
    (told,) = problems(models, embeddings__text="hf:MODELS/words")
    assert "lacks 1 of 2 files of weights, as part-2.safetensors" in told
    shutil.copy(weights.with_name("part-1.safetensors"), weights.with_name("part-2.safetensors"))
    assert problems(models, embeddings__text="hf:MODELS/words") == []


def test_a_hub_model_is_looked_at_in_the_cache(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "a" * 40
    hub = models / "hub" / "models--a--b"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text(commit)
    snapshot = hub / "snapshots" / commit
    shutil.copytree(models / "words", snapshot)
    assert problems(models, embeddings__text="hf:a/b") == []
    (snapshot / "vocab.txt").unlink()
    (told,) = problems(models, embeddings__text="hf:a/b")
    assert "cache holds it in part" in told
    monkeypatch.setattr(checks, "is_offline", lambda: False)  # then the rest can be fetched
    assert problems(models, embeddings__text="hf:a/b") == []
    assert "is a bert model" in problems(models, embeddings__audio="hf:a/b")[0]
    assert problems(models, embeddings__text="hf:not/fetched") == []


def test_a_name_timm_does_not_know_is_told_with_the_nearest(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "is_offline", lambda: False)
    (told,) = problems(models, embeddings__visual="timm:vit_tiny_patch16_224.augreg_in21")
    assert "did you mean 'vit_tiny_patch16_224.augreg_in21k" in told
    assert problems(models, embeddings__visual="timm:vit_tiny_patch16_224.augreg_in21k") == []


def test_embeddings_from_elsewhere_must_cover_some_clip(models: Path) -> None:
    files, store, run = models / "files", models / "store", models / "run"
    files.mkdir()
    np.save(files / "one.npy", np.ones(3))
    create_store(store, {"key": "k"})
    write_shard(store, 0, {"two": np.ones((1, 3), np.float32)}, {})
    assert covered(files, ["one", "two"]) == covered(store, ["one", "two"]) == 1
    names = {"embeddings__audio": f"npy:{files}", "embeddings__visual": f"npy:{store}"}
    assert problems(models, **names) == []  # the clips are not known yet
    write_table(run / "clips.parquet", pd.DataFrame({"clip_id": ["one", "three"]}))
    (told,) = problems(models, **names)
    assert f"{store} has an embedding of none of the 2 clips" in told
    (store / "meta.json").write_text("{}")
    assert "is damaged" in problems(models, **names)[0]


def test_a_run_that_has_come_without_its_models_can_be_opened(models: Path) -> None:
    run = models / "run"
    asked = {"embeddings__text": "hf:a/b", "preprocessing__speaker": "talknet:/gone/x.model"}
    assert len(problems(models, **asked)) == 2
    create_store(run / "features" / "hf_a_b-0123", {"key": "k", "asked": ["hf:a/b", "main"]})
    write_table(run / "manifest.parquet", pd.DataFrame({"clip_id": ["one"]}))
    assert problems(models, **asked) == []


def test_a_disk_too_small_for_all_clips_is_told(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_profile("demo")
    usage = shutil.disk_usage(models)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert list(check_disk(config, models / "run", clips=1000)) == []
    (told,) = check_disk(config, models / "run", clips=45_000)
    assert "has 1.0 GB free; 45000 clips with these encoders take about 28" in told


def test_submissions_must_have_a_place(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("notebooks", "meiju_utils"):
        (models / name).mkdir()
    monkeypatch.chdir(models)
    assert problems(models) == []
    (models / "submissions").touch()
    assert "is no folder that can be written to" in problems(models)[0]


def test_all_that_is_wrong_is_said_at_once_and_quickly(models: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    open_run("demo", str(data), str(tmp_path / "first"))
    wrong = {"embeddings.audio": "prosodie", "embeddings.device": "gpu", "submission": "ensembel"}
    with pytest.raises(ConfigError) as told:
        open_run("demo", str(data), str(tmp_path / "run"), wrong)
    for words in ("'prosody'", "no device 'gpu'", "'ensemble'"):
        assert words in str(told.value)
    assert not (tmp_path / "run").exists()
    started = time.perf_counter()
    check_profile(load_profile("demo"), data, tmp_path / "run")
    assert time.perf_counter() - started < 0.5
