"""Label pairs, wrong labels and evidence of the synthetic corpus."""

import itertools
from collections import Counter

import numpy as np
import pytest

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.corpus.demo.labels import draw_evidence, draw_pairs, pair_counts, spoil_labels


def test_counts_are_the_published_ones() -> None:
    train = pair_counts(1, "mandarin", "train")
    assert train.sum() == 2294
    assert train[EMOTIONS.index("surprise"), INTENTS.index("questioning")] == 164
    assert not train[EMOTIONS.index("happy"), INTENTS.index("questioning")]
    assert pair_counts(2, "mandarin", "train").sum() == 7581


def test_pairs_occur_as_often_as_published_up_to_rounding() -> None:
    counts = pair_counts(2, "mandarin", "train")
    drawn = Counter(draw_pairs(counts, 480, np.random.default_rng(0)))
    expected = counts * 480 / counts.sum()
    for e, emotion in enumerate(EMOTIONS):
        for i, intent in enumerate(INTENTS):
            assert abs(drawn[emotion, intent] - expected[e, i]) < 1


@pytest.mark.parametrize("size", [10, 30, 240])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_every_class_occurs_even_in_ten_clips(size: int, split: str) -> None:
    pairs = draw_pairs(pair_counts(1, "mandarin", split), size, np.random.default_rng(1))
    assert len(pairs) == size
    assert {emotion for emotion, _ in pairs} == set(EMOTIONS)
    assert {intent for _, intent in pairs} == set(INTENTS)


def test_pairs_come_in_random_order() -> None:
    pairs = draw_pairs(pair_counts(1, "mandarin", "train"), 240, np.random.default_rng(0))
    same_as_next = np.mean([a[0] == b[0] for a, b in itertools.pairwise(pairs)])
    assert same_as_next < 0.25  # 0.16 by chance, nearly 1 where sorted


def test_a_tenth_of_each_tasks_labels_is_wrong_and_no_new_pair_appears() -> None:
    counts = pair_counts(1, "mandarin", "train")
    pairs = draw_pairs(counts, 240, np.random.default_rng(0))
    listed = spoil_labels(pairs, counts, np.random.default_rng(2))
    assert (np.array(pairs) != np.array(listed)).sum(axis=0).tolist() == [24, 24]
    assert all(counts[EMOTIONS.index(e), INTENTS.index(i)] > 0 for e, i in listed)


def test_modalities_show_the_truth_independently_of_one_another() -> None:
    rng = np.random.default_rng(0)
    shown = [draw_evidence(("anger", "suggesting"), rng) for _ in range(4000)]
    voice = np.array([e.voice_emotion == "anger" for e in shown])
    face = np.array([e.face_emotion == "anger" for e in shown])
    assert 0.5 < voice.mean() < 0.85
    assert 0.5 < face.mean() < 0.85
    assert np.mean(voice & face) == pytest.approx(voice.mean() * face.mean(), abs=0.03)
    words = np.array([[e.text_emotion == "anger", e.text_intent == "suggesting"] for e in shown])
    assert words[:, 0].mean() < 0.5 < words[:, 1].mean()
