"""Batches: standardised by train alone, padded with zeros, bucketed by length, noised."""

from collections.abc import Callable
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


def test_a_batch_holds_each_clips_frames_in_turn(make_toy: MakeToy, without: Any) -> None:
    dataset = without(make_toy(frames={"audio": (2, 6)}), "visual", [1])
    standardiser = Standardiser.fit(dataset)
    tensors = ClipTensors(dataset, standardiser)
    rows = np.array([4, 1, 9])
    batch = tensors.batch(rows)
    lengths = dataset.features["audio"].lengths[rows]
    assert batch.lengths["audio"].tolist() == lengths.tolist()
    for modality in ("audio", "visual", "text"):
        frames = [torch.tensor(dataset.features[modality].of(np.array([row]))) for row in rows]
        own = standardiser.apply_(modality, torch.cat(frames))
        torch.testing.assert_close(batch.features[modality], own)
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


def test_a_batch_of_long_sequences_goes_in_pieces_of_so_many_frames(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FRAMES", 50)
    dataset = make_toy(frames={"audio": (1, 40)})  # and one frame of the others
    standardiser = Standardiser.fit(dataset)
    tensors = ClipTensors(dataset, standardiser)
    frames = dataset.features["audio"].lengths + 2
    rows = np.argsort(-frames[:60])  # long ones first: like many frames are unlike many clips
    pieces = tensors.pieces(rows)
    np.testing.assert_array_equal(np.concatenate(pieces), rows)
    sizes = [frames[piece].sum() for piece in pieces]
    assert max(sizes) < 50 + 42  # less than a clip over
    assert len(pieces[0]) < len(pieces[-1])
    assert max(frames[piece].sum() for piece in tensors.by_length(rows)) < 50 + 42
    monkeypatch.setattr(batches, "FRAMES", 1)
    assert [len(piece) for piece in tensors.pieces(rows[:3])] == [1, 1, 1]
    for other in (
        ClipTensors(dataset, standardiser, whole=True),
        ClipTensors(dataset, standardiser, "meta"),  # not a CPU
        ClipTensors(make_toy(), standardiser),  # vectors
    ):
        assert len(other.pieces(rows)) == 1
