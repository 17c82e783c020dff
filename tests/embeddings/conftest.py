"""Clips in memory, clips on disk, a run to extract them in, and tiny checkpoints made once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from meiju_utils.config import load_profile
from meiju_utils.embeddings import write_tiny_checkpoints
from meiju_utils.embeddings.encoders import ENCODERS
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.run import Run
from tests.clips import store_clips

RATE = 16000
TEXTS = ["你真的这么想吗？", "太好了！", "嗯。", "我不同意，别说了", "OK 好"]


@dataclass
class MemorySource:
    """Preprocessed clips that are only in memory; counts what is read."""

    sounds: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    crops: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    key: str = "preprocessed-1"
    stamps: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    @property
    def clip_ids(self) -> list[str]:
        return list(self.texts)

    def stamp(self, clip_id: str) -> str:
        return self.stamps.get(clip_id, "")

    def audio(self, clip_id: str) -> NDArray[np.float32]:
        self.reads.append(clip_id)
        return self.sounds.get(clip_id, np.empty(0, np.float32))

    def faces(self, clip_id: str) -> NDArray[np.uint8]:
        self.reads.append(clip_id)
        return self.crops.get(clip_id, np.empty((0, 0, 0, 3), np.uint8))

    def text(self, clip_id: str) -> str:
        return self.texts[clip_id]


def make_voice(seconds: float, start_hz: float = 150, end_hz: float = 150) -> NDArray[np.float32]:
    """A buzzing glide with four pulses of loudness a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(np.linspace(start_hz, end_hz, len(time))) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 9))
    loudness = 0.05 + 0.15 * np.sin(np.pi * 4 * time) ** 2
    noise = np.random.default_rng(0).standard_normal(len(time)) * 0.001
    return np.asarray(tone * loudness + noise, np.float32)


@pytest.fixture(scope="session")
def voice() -> Callable[..., NDArray[np.float32]]:
    return make_voice


def make_source(count: int = 5) -> MemorySource:
    rng = np.random.default_rng(count)
    ids = [f"Track1_Training_{i:05d}" for i in range(1, count + 1)]
    return MemorySource(
        sounds={c: make_voice(0.3 + 0.07 * i, 120 + 9 * i) for i, c in enumerate(ids)},
        crops={
            c: rng.integers(0, 255, (1 + i % 3, 48, 48, 3), dtype=np.uint8)
            for i, c in enumerate(ids)
        },
        texts={c: TEXTS[i % len(TEXTS)] + "啊" * (i // len(TEXTS)) for i, c in enumerate(ids)},
    )


@pytest.fixture
def source() -> MemorySource:
    return make_source()


@pytest.fixture(scope="session")
def sources() -> Callable[[int], MemorySource]:
    return make_source


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[MemorySource], Preprocessed]:
    """Write clips the way preprocessing does, for workers in other processes to read."""

    def write(source: MemorySource) -> Preprocessed:
        folder = tmp_path / "preprocessed"
        return store_clips(folder, source.sounds, source.crops, source.texts, source.key)

    return write


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run with given overrides; its clips table puts all clips but the last in train."""

    def make(source: MemorySource | None = None, **overrides: Any) -> Run:
        # shards for two workers, made in this process
        settings: dict[str, Any] = {"parallel.backend": "serial", "parallel.workers": 2}
        settings["embeddings.device"] = "cpu"
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        run = Run(load_profile("demo", settings | dotted), tmp_path, tmp_path / "run")
        if source is not None:
            ids = source.clip_ids
            splits = ["train"] * (len(ids) - 1) + ["test"]
            run.save_table("clips", pd.DataFrame({"clip_id": ids, "split": splits}))
        return run

    return make


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a class in place of an encoder; one whose methods are replaced would be refused."""

    def put(modality: Any, name: str, encoder: Callable[..., Any]) -> None:
        monkeypatch.setitem(ENCODERS[modality], name, encoder)

    return put


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """tiny-vit, tiny-hubert, tiny-bert; and tiny-hubert-large, with layer normalisation."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    folder = tmp_path_factory.mktemp("checkpoints")
    made = write_tiny_checkpoints(folder, TEXTS, seed=0)
    large = folder / "tiny-hubert-large"
    torch.manual_seed(0)
    HubertModel(
        HubertConfig(
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
        )
    ).save_pretrained(large)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(large)
    return {**made, "tiny-hubert-large": large}
