"""Toy datasets and runs: features that tell their labels, few clips, narrow networks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES, TASKS, Modality
from meiju_utils.config import EncoderConfig, Training, validate_profile
from meiju_utils.modelling import dataset as dataset_module
from meiju_utils.modelling.architecture import (
    NetworkConfig,
    in_token_order,
    published_architecture,
)
from meiju_utils.modelling.dataset import Dataset, Sequences, make_dataset
from meiju_utils.run import Run

SIZES = {"train": 60, "valid": 24, "test": 20, "unlabeled": 40}
WIDTHS: dict[Modality, int] = {"audio": 8, "visual": 6, "text": 7}


def _clips(sizes: dict[str, int]) -> pd.DataFrame:
    """A clips table with labels of all classes; those of test and pool are hidden."""
    rng = np.random.default_rng(0)
    splits = [split for split, size in sizes.items() for _ in range(size)]
    table = pd.DataFrame({"clip_id": [f"clip{i:04d}" for i in range(len(splits))], "split": splits})
    for task in TASKS:
        labels = np.array(CLASSES[task])[rng.integers(len(CLASSES[task]), size=len(splits))]
        table[f"true_{task}"] = labels
        table[task] = np.where(table["split"].isin(["train", "valid"]), labels, "")
    return table


def _features(
    clips: pd.DataFrame,
    widths: dict[Modality, int] = WIDTHS,
    frames: dict[Modality, tuple[int, int]] | None = None,
    noise: float = 0.5,
) -> dict[Modality, Sequences]:
    """Features around a point for each label; sequences of `frames` (low, high) steps."""
    rng = np.random.default_rng(0)
    features: dict[Modality, Sequences] = {}
    for modality, width in widths.items():
        centre = np.zeros((len(clips), width))
        for task in TASKS:
            points = dict(zip(CLASSES[task], rng.normal(size=(8, width)), strict=False))
            centre += np.stack([points[label] for label in clips[f"true_{task}"]])
        low, high = (frames or {}).get(modality, (1, 1))
        lengths = rng.integers(low, high + 1, size=len(clips))
        arrays = [
            middle + noise * rng.normal(size=(n, width))
            for middle, n in zip(centre, lengths, strict=True)
        ]
        features[modality] = Sequences.of_list(arrays, width)
    return features


@pytest.fixture
def make_toy() -> Callable[..., Dataset]:
    """Builds a dataset: `sizes` of splits, `widths`, `frames`, `noise`, `change` of the clips."""

    def build(
        sizes: dict[str, int] = SIZES,
        change: Callable[[pd.DataFrame], None] = lambda clips: None,
        **options: Any,
    ) -> Dataset:
        clips = _clips(sizes)
        features = _features(clips, **options)
        change(clips)
        return make_dataset(clips, features, key="toy")

    return build


MARKS, WORDS = "？！。，…、；：", "你好吗谢天气不错走吧别怕加油"


def with_words(dataset: Dataset) -> Dataset:
    """A character for each emotion and one for each intent, in company of others by chance."""
    rng = np.random.default_rng(0)
    texts = []
    for row in range(len(dataset.clip_ids)):
        emotion, intent = dataset.labels["emotion"][row], dataset.labels["intent"][row]
        others = rng.choice(list(WORDS), rng.integers(0, 3))
        texts.append("".join([WORDS[emotion], MARKS[intent], *others]))
    return replace(dataset, texts=tuple(texts))


@pytest.fixture
def small() -> Callable[..., NetworkConfig]:
    """Builds the architecture of a narrow network for a dataset; `changes` as in a recipe."""

    def build(dataset: Dataset, **changes: Any) -> NetworkConfig:
        narrow = {"hidden": 16, "fusion": {"feed_forward": 32}}
        architecture = published_architecture(dataset.classes).changed({"both": narrow}, "small")
        return NetworkConfig(
            architecture=architecture.changed(changes, "test").of_streams(list(dataset.widths)),
            widths=in_token_order(dataset.widths),
            classes={task: len(labels) for task, labels in dataset.classes.items()},
        )

    return build


@pytest.fixture
def quick() -> Callable[..., Training]:
    """Builds settings of a training of few epochs on the CPU."""

    def build(**options: Any) -> Training:
        return Training(**{"epochs": 3, "batch_size": 16, "device": "cpu", **options})

    return build


@pytest.fixture
def without() -> Callable[..., Dataset]:
    """Takes a modality from some clips of a dataset."""

    def take(dataset: Dataset, modality: Modality, rows: Any) -> Dataset:
        old = dataset.features[modality]
        arrays = np.split(old.frames, np.cumsum(old.lengths)[:-1])
        gone = set(np.asarray(rows).tolist())
        kept = [None if row in gone else array for row, array in enumerate(arrays)]
        features = {**dataset.features, modality: Sequences.of_list(kept, old.width)}
        return replace(dataset, features=features)

    return take


class ToyStore:
    """Stands for a feature store over a dataset's features."""

    def __init__(self, dataset: Dataset, modality: Modality, key: str, dtype: str) -> None:
        self.key = key
        self.meta = {"dtype": dtype}
        sequences = dataset.features[modality]
        arrays = np.split(sequences.frames, np.cumsum(sequences.lengths)[:-1])
        self._arrays = {
            clip_id: array
            for clip_id, array in zip(dataset.clip_ids, arrays, strict=True)
            if len(array)
        }
        self.width = sequences.width

    @property
    def clip_ids(self) -> list[str]:
        return sorted(self._arrays)

    @property
    def state(self) -> str:
        return f"{self.key} {self.clip_ids}"

    def get(self, clip_id: str) -> Any:
        return self._arrays[clip_id]

    def frames(self, clip_id: str) -> int:
        return len(self._arrays[clip_id])

    def means(self, clip_ids: list[str]) -> Any:
        present = np.array([clip_id in self._arrays for clip_id in clip_ids])
        zero = np.zeros((1, self.width))
        return np.stack([self._arrays.get(c, zero).mean(axis=0) for c in clip_ids]), present


@pytest.fixture
def make_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_toy: Callable[..., Dataset]
) -> Callable[..., Run]:
    """Builds a run with a clips table and toy features; keyword arguments change its profile.

    `store_keys` by modality stand for other settings of the encoders.
    """

    def build(
        dataset: Dataset | None = None,
        store_keys: dict[str, str] | None = None,
        **profile: Any,
    ) -> Run:
        toy = dataset or make_toy()
        training = {"seeds": [0, 1], "epochs": 2, "device": "cpu", **profile.pop("training", {})}
        encoders = {m: m if m in toy.features else None for m in WIDTHS}
        values = {
            "name": "toy",
            "parallel": {"backend": "serial"},
            "embeddings": {**encoders, **profile.pop("embeddings", {})},
            "training": training,
        }
        run = Run(validate_profile({**values, **profile}), tmp_path, tmp_path)
        clips = pd.DataFrame({"clip_id": toy.clip_ids, "split": toy.split})
        for task in TASKS:
            names = np.array([*CLASSES[task], ""])
            clips[task] = names[toy.labels[task]]
        run.save_table("clips", clips.astype("str"))
        if any(toy.texts):
            words = pd.DataFrame({"clip_id": toy.clip_ids, "text": toy.texts}, dtype="str")
            run.save_table("transcripts", words)

        def open_features(run: Run, modality: Modality, config: EncoderConfig) -> ToyStore:
            key = (store_keys or {}).get(modality, config.name)
            return ToyStore(toy, modality, key, config.dtype)

        monkeypatch.setattr(dataset_module, "open_features", open_features)
        return run

    return build
