"""Batches: standardised by train alone, padded with zeros, bucketed by length, noised."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meiju_utils.modelling import batches
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.dataset import Dataset, Sequences, make_dataset

MakeToy = Callable[..., Dataset]


def test_statistics_come_from_train_alone(make_toy: MakeToy) -> None:
    dataset = make_toy(frames={"audio": (1, 4)})
    before = Standardiser.fit(dataset)
    held_out = np.repeat(dataset.split != "train", dataset.features["audio"].lengths)
    dataset.features["audio"].frames[held_out] += 100
    after = Standardiser.fit(dataset)
    torch.testing.assert_close(before.mean["audio"], after.mean["audio"])
    frames = after.apply_("audio", torch.tensor(dataset.features["audio"].frames[~held_out]))
    torch.testing.assert_close(frames.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(frames.std(0, correction=0), torch.ones(8), atol=1e-5, rtol=0)


def test_a_feature_constant_in_train_is_zero_everywhere_and_gets_no_noise(
    make_toy: MakeToy,
) -> None:
    dataset = make_toy()
    frames = dataset.features["text"].frames
    frames[:, 0] = 0.1
    frames[-5:, 0] = 7.0
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    x = tensors.batch(np.arange(len(dataset.clip_ids)), noise=1.0).features["text"]
    assert (x[:, 0, 0] == 0).all()
    assert (x[:, 0, 1:] != 0).all()


def test_noise_is_relative_to_a_features_spread(make_toy: MakeToy) -> None:
    dataset = make_toy()
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    rows = np.repeat(np.arange(60), 50)
    torch.manual_seed(0)
    noise = tensors.batch(rows, 0.3).features["audio"] - tensors.batch(rows).features["audio"]
    torch.testing.assert_close(noise.std((0, 1)), torch.full((8,), 0.3), atol=0.02, rtol=0)


def test_features_are_left_as_they_are_where_the_published_baseline_wants_it(
    make_toy: MakeToy,
) -> None:
    dataset = make_toy()
    frames = dataset.features["audio"].frames
    frames[:, 0] *= 40
    tensors = ClipTensors(dataset, Standardiser.fit(dataset, standardise=False))
    rows = np.arange(60)
    x = tensors.batch(rows).features["audio"][:, 0]
    np.testing.assert_array_equal(x, frames[:60])
    torch.manual_seed(0)
    noise = tensors.batch(rows, 0.5).features["audio"][:, 0] - x
    # about 60 draws a feature: a standard deviation known to a tenth
    torch.testing.assert_close(noise.std(0), 0.5 * x.std(0), rtol=0.35, atol=0)


def test_only_a_modality_that_some_clip_lacks_is_dropped(make_toy: MakeToy, without: Any) -> None:
    dataset = without(make_toy(), "text", [100])
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    rows = np.repeat(np.arange(60), 20)
    torch.manual_seed(0)
    present = tensors.batch(rows, drop=0.25).present
    assert set(present) == {"text"}
    assert float(present["text"].float().mean()) == pytest.approx(0.75, abs=0.05)
    assert tensors.batch(rows).present["text"].all()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_batch_holds_each_clips_frames_and_zeros_behind_them(
    make_toy: MakeToy, without: Any, noise: float
) -> None:
    dataset = without(make_toy(frames={"audio": (2, 6)}), "visual", [1])
    standardiser = Standardiser.fit(dataset)
    rows = np.array([4, 1, 9])
    batch = ClipTensors(dataset, standardiser).batch(rows, noise)
    for modality in ("audio", "visual", "text"):
        x, lengths = batch.features[modality], dataset.features[modality].lengths[rows]
        assert batch.lengths[modality].tolist() == lengths.tolist()
        assert x.shape[1] == lengths.max()
        for row, length, clip in zip(rows, lengths, x, strict=True):
            assert (clip[length:] == 0).all()
            frames = torch.tensor(dataset.features[modality].of(np.array([row])))
            if not noise:
                torch.testing.assert_close(clip[:length], standardiser.apply_(modality, frames))
    assert batch.present["visual"].tolist() == [True, False, True]
    assert set(batch.present) == {"visual"}


def test_a_vector_that_a_clip_lacks_is_zero(make_toy: MakeToy, without: Any) -> None:
    dataset = without(make_toy(), "visual", [1])
    batch = ClipTensors(dataset, Standardiser.fit(dataset)).batch(np.array([4, 1, 9]))
    assert batch.features["visual"].shape == (3, 1, 6)
    assert batch.features["visual"].any(dim=(1, 2)).tolist() == [True, False, True]
    assert batch.present["visual"].tolist() == [True, False, True]
    assert not batch.lengths


def test_shuffled_batches_hold_every_row_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, size=400)
    clips = pd.DataFrame({"clip_id": [str(i) for i in range(400)], "split": "train"})
    clips.loc[0, "split"] = "valid"
    clips["emotion"], clips["intent"] = "sad", "neutral"
    arrays = [np.random.default_rng(1).normal(size=(n, 2)) for n in lengths]
    dataset = make_dataset(clips, {"audio": Sequences.of_list(arrays, 2)})
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    rows = dataset.rows("train")
    rng = np.random.default_rng(0)
    first, second = (tensors.shuffled(rows, 16, rng) for _ in range(2))
    for found in (first, second):
        assert sorted(np.concatenate(found)) == rows.tolist()
        padded = sum(len(b) * lengths[b].max() for b in found)
        assert padded < 1.15 * lengths[rows].sum()
    assert {tuple(sorted(b)) for b in first} != {tuple(sorted(b)) for b in second}


@pytest.mark.parametrize("frames", [None, {"audio": (1, 9)}])
def test_rows_to_predict_are_cut_by_length_into_so_many_clips(
    make_toy: MakeToy, frames: dict[str, tuple[int, int]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PREDICTED_VECTORS", 50)
    monkeypatch.setattr(batches, "PREDICTED_SEQUENCES", 20)
    dataset = make_toy(frames=frames)
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    rows = np.random.default_rng(0).permutation(len(dataset.clip_ids))[:130]
    found = tensors.by_length(rows)
    assert sorted(np.concatenate(found)) == sorted(rows)
    assert {len(batch) for batch in found[:-1]} == {20 if frames else 50}
    lengths = dataset.features["audio"].lengths[np.concatenate(found)]
    assert (np.diff(lengths) >= 0).all()


def test_frames_in_a_file_give_the_same_batches_without_a_warning(
    make_toy: MakeToy, without: Any, tmp_path: Path
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 5)}), "visual", [2])
    mapped = dataset.on_disk(str(tmp_path))
    rows = np.arange(20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = (
            ClipTensors(d, Standardiser.fit(d)).batch(rows) for d in (mapped, dataset)
        )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[stream], theirs[stream]) for stream in ours)
