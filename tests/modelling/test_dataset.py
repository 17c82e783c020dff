"""Datasets in memory: what they are made from, and what they refuse or tell of."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.dataset import (
    UNKNOWN,
    Dataset,
    Sequences,
    chosen_encoders,
    dataset_key,
    dataset_notes,
    load_dataset,
    make_dataset,
)
from meiju_utils.run import Run

MakeToy = Callable[..., Dataset]


def test_means_and_frames_of_sequences_of_unequal_length() -> None:
    arrays = [np.array([[1.0, 2], [3, 4]]), None, np.array([[5.0, 6]])]
    sequences = Sequences.of_list(arrays, 2)
    assert sequences.lengths.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(sequences.means(), [[2, 3], [np.nan] * 2, [5, 6]])
    np.testing.assert_array_equal(sequences.of(np.array([2, 1])), [[5, 6]])
    same = Sequences.of_means(sequences.means(), sequences.present)
    np.testing.assert_array_equal(same.means(), sequences.means())


def test_features_that_are_not_finite_are_refused_by_name(make_toy: MakeToy) -> None:
    dataset = make_toy()
    frames = dataset.features["audio"].frames.copy()
    frames[5, 2] = np.nan
    clips = pd.DataFrame({"clip_id": dataset.clip_ids, "split": dataset.split})
    clips["emotion"], clips["intent"] = "happy", "neutral"
    broken = {**dataset.features, "audio": replace(dataset.features["audio"], frames=frames)}
    with pytest.raises(FeatureError, match=r"audio features of 1 clips hold NaN.*clip0005"):
        make_dataset(clips, broken)


def test_train_clips_without_a_label_are_left_out_and_counted(make_toy: MakeToy) -> None:
    def forget(clips: pd.DataFrame) -> None:
        clips.loc[:2, "emotion"] = ""
        clips.loc[7, "intent"] = ""

    dataset = make_toy(change=forget)
    assert len(dataset.labelled("train")) == 56
    assert "4 train clips lack a label and are left out of training." in dataset_notes(dataset)


def test_absent_classes_and_modalities_are_told(make_toy: MakeToy, without: Any) -> None:
    def drop_fear(clips: pd.DataFrame) -> None:
        clips.loc[clips["emotion"] == "fear", "emotion"] = "sad"

    dataset = without(make_toy(change=drop_fear), "text", [0, 1, 90])
    notes = " ".join(dataset_notes(dataset))
    assert "No train clip has emotion fear" in notes
    assert "2 of 60 train clips have no text" in notes
    assert "1 of 20 test clips have no text" in notes


def test_validation_clips_of_one_class_are_told(make_toy: MakeToy) -> None:
    def all_sad(clips: pd.DataFrame) -> None:
        clips.loc[clips["split"] == "valid", "emotion"] = "sad"

    assert any(
        note.startswith("All 24 validation clips have emotion sad")
        for note in dataset_notes(make_toy(change=all_sad))
    )


def test_what_cannot_differ_between_recipes_is_told(make_toy: MakeToy) -> None:
    notes = dataset_notes(make_toy(widths={"text": 7}))
    assert [note.split(":")[0] for note in notes] == [
        "Only text is in use",
        "A text is one vector here, which a kernel of any height reads alone",
    ]
    assert dataset_notes(make_toy(frames={"text": (2, 5)})) == []


def test_nothing_to_learn_or_to_judge_by_is_refused(make_toy: MakeToy, without: Any) -> None:
    with pytest.raises(TrainingError, match="valid split"):
        make_toy(sizes={"train": 5, "valid": 0, "test": 3})
    with pytest.raises(TrainingError, match="train split"):
        make_toy(change=lambda clips: clips.__setitem__("intent", ""))
    dataset = make_toy()
    clips = pd.DataFrame({"clip_id": dataset.clip_ids, "split": dataset.split})
    clips["emotion"], clips["intent"] = "happy", "neutral"
    silent = without(dataset, "audio", np.arange(60)).features
    with pytest.raises(FeatureError, match="No labelled train clip has audio features"):
        make_dataset(clips, silent)
    with pytest.raises(FeatureError, match="No modality"):
        make_dataset(clips, {})
    audio = dataset.features["audio"]
    fewer = {"audio": Sequences(audio.frames[:-1], audio.lengths[:-1])}
    with pytest.raises(FeatureError, match="cover 143 clips, the clips table has 144"):
        make_dataset(clips, fewer)


def test_tasks_and_classes_are_those_of_the_setting(make_toy: MakeToy) -> None:
    toy = make_toy()
    clips = pd.DataFrame({"clip_id": toy.clip_ids, "split": toy.split})
    arousal = np.array(["low", "high", "high", ""])[np.arange(len(clips)) % 4]
    clips["arousal"] = arousal
    dataset = make_dataset(clips, toy.features, classes={"arousal": ("low", "high")})
    assert list(dataset.classes) == list(dataset.labels) == ["arousal"]
    assert dataset.labels["arousal"][:4].tolist() == [0, 1, 1, UNKNOWN]
    assert len(dataset.labelled("train")) == 45
    assert dataset.truth(np.array([1, 0]))["arousal"].tolist() == [1, 0]
    assert dataset.targets(np.array([1])).classes == {"arousal": ("low", "high")}
    clips["arousal"] = ""
    with pytest.raises(TrainingError, match=r"train split is labelled\. Expected arousal in"):
        make_dataset(clips, toy.features, classes={"arousal": ("low", "high")})


def test_targets_are_one_hot_where_the_label_is_known_and_count_nothing_elsewhere(
    make_toy: MakeToy,
) -> None:
    def forget(clips: pd.DataFrame) -> None:
        clips.loc[5, "emotion"] = ""

    dataset = make_toy(change=forget)
    rows = np.array([7, 5, 70])
    targets = dataset.targets(rows)
    assert targets.table["clip_id"].tolist() == ["clip0007", "clip0005", "clip0070"]
    assert targets.weights("emotion").tolist() == [1, 0, 1]
    assert targets.weights("intent").tolist() == [1, 1, 1]
    for task in ("emotion", "intent"):
        known = targets.weights(task) > 0
        index = targets.probabilities(task).argmax(axis=1)
        assert index[known].tolist() == dataset.labels[task][rows][known].tolist()
        assert targets.probabilities(task)[known].max(axis=1).tolist() == [1.0] * known.sum()


def test_a_dataset_on_disk_is_equal_and_maps_its_frames(
    make_toy: MakeToy, without: Any, tmp_path: Path
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 4)}), "text", [0, 9])
    mapped = pickle.loads(pickle.dumps(dataset.on_disk(str(tmp_path))))
    assert (mapped.key, mapped.classes) == (dataset.key, dataset.classes)
    assert list(mapped.features) == list(dataset.features)
    for modality, sequences in dataset.features.items():
        found = mapped.features[modality]
        np.testing.assert_array_equal(found.frames, sequences.frames)
        np.testing.assert_array_equal(found.lengths, sequences.lengths)
        np.testing.assert_array_equal(found.means(), sequences.means())
    assert isinstance(dataset.on_disk(str(tmp_path)).features["audio"].frames, np.memmap)
    np.testing.assert_array_equal(mapped.labels["intent"], dataset.labels["intent"])


def test_a_run_gives_means_or_sequences_by_the_encoders_level(
    make_toy: MakeToy, make_run: Callable[..., Run], without: Any
) -> None:
    toy = without(make_toy(frames={"audio": (2, 5)}), "audio", [3])
    run = make_run(toy, embeddings={"audio": {"name": "audio", "level": "frame"}})
    loaded = load_dataset(run)
    np.testing.assert_array_equal(loaded.features["audio"].lengths, toy.features["audio"].lengths)
    np.testing.assert_array_equal(loaded.features["audio"].frames, toy.features["audio"].frames)
    np.testing.assert_array_equal(loaded.labels["intent"], toy.labels["intent"])
    means = load_dataset(make_run(toy)).features["audio"]
    assert means.lengths.max() == 1
    assert not means.present[3]
    np.testing.assert_allclose(means.means(), toy.features["audio"].means(), atol=1e-6)


def test_features_stored_as_float16_stay_so_in_memory(
    make_toy: MakeToy, make_run: Callable[..., Run]
) -> None:
    toy = make_toy(frames={"audio": (2, 5)})
    encoder = {"name": "audio", "level": "frame", "dtype": "float16"}
    loaded = load_dataset(make_run(toy, embeddings={"audio": encoder}))
    half, full = loaded.features["audio"], toy.features["audio"]
    assert half.frames.dtype == np.float16
    # 11 bits of mantissa: relative errors up to 2^-11, of values below 8 in this toy.
    np.testing.assert_allclose(half.frames, full.frames, rtol=5e-4)
    np.testing.assert_allclose(half.means(), full.means(), atol=4e-3)
    batches = [ClipTensors(d, Standardiser.fit(d)).batch(np.arange(9)) for d in (loaded, toy)]
    x, expected = (batch.features["audio"] for batch in batches)
    torch.testing.assert_close(x, expected, atol=4e-3, rtol=0)


def test_the_key_changes_with_labels_features_and_encoders(
    make_toy: MakeToy, make_run: Callable[..., Run], without: Any
) -> None:
    def relabel(clips: pd.DataFrame) -> None:
        clips.loc[0, "emotion"] = "fear" if clips.loc[0, "emotion"] != "fear" else "sad"

    variants: list[dict[str, Any]] = [
        {},
        {"dataset": make_toy(change=relabel)},
        {"store_keys": {"text": "other settings"}},
        {"dataset": without(make_toy(), "text", [1])},
        {"embeddings": {"text": None}},
    ]
    keys = [dataset_key(make_run(**variant)) for variant in variants]
    assert len(set(keys)) == len(keys)
    assert dataset_key(make_run()) == keys[0] == load_dataset(make_run()).key


def test_a_recipes_encoder_must_be_one_of_the_profiles(make_run: Callable[..., Run]) -> None:
    run = make_run(embeddings={"compare": {"text": ["hf:bert"]}})
    chosen = chosen_encoders(run, {"text": {"name": "hf:bert"}, "audio": None})
    assert {m: encoder.name for m, encoder in chosen.items()} == {
        "visual": "visual",
        "text": "hf:bert",
    }
    with pytest.raises(FeatureError, match=r"hf:roberta.*text, hf:bert"):
        chosen_encoders(run, {"text": {"name": "hf:roberta"}})


def test_of_several_encoders_of_one_name_a_recipe_says_which(make_run: Callable[..., Run]) -> None:
    frames = {"name": "text", "level": "frame"}
    run = make_run(embeddings={"compare": {"text": [frames]}})
    assert chosen_encoders(run, {"text": frames})["text"].level == "frame"
    with pytest.raises(FeatureError, match="2 text encoders with name 'text'"):
        chosen_encoders(run, {"text": {"name": "text"}})
