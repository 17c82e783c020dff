"""Classical models fitted for every task, from a clip's features or words to probabilities."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from meiju_utils.components import Component, make_component
from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.modelling.classical import MODELS, alone, lacking
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.fitting import FittedModel
from meiju_utils.modelling.kernels import RbfRidge, gaussian
from meiju_utils.modelling.views import Standardised
from meiju_utils.predictions import Targets
from meiju_utils.scoring import JOINT, score
from tests.toys import with_words

MakeToy = Callable[..., Dataset]


def labelled_everywhere(make_toy: MakeToy, **options: Any) -> Dataset:
    """A toy whose every label is known to the test."""

    def known(clips: Any) -> None:
        for task in ("emotion", "intent"):
            clips[task] = clips[f"true_{task}"]

    return make_toy(change=known, **options)


def fitted(name: str, dataset: Dataset, rows: Any = None, **options: Any) -> FittedModel:
    component = make_component({name: options}, MODELS, "model")
    targets = dataset.targets(dataset.labelled("train") if rows is None else rows)
    return FittedModel.fit(component, dataset, targets, "weighted")


def joint(model: FittedModel, dataset: Dataset, split: str = "test") -> float:
    found, _ = model.probabilities(dataset)
    rows = dataset.rows(split)
    answers = {task: own[rows].argmax(axis=1) for task, own in found.items()}
    return score(dataset.truth(rows), answers)[JOINT]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "majority"])
def test_every_model_learns_and_comes_back_from_its_file(
    make_toy: MakeToy, name: str, tmp_path: Path
) -> None:
    dataset = with_words(labelled_everywhere(make_toy, noise=0.8))
    model = fitted(name, dataset)
    assert joint(model, dataset) > joint(fitted("majority", dataset), dataset) + 0.2
    model.save(tmp_path / "model.safetensors")
    again = FittedModel.load(tmp_path / "model.safetensors")
    first, absent = model.probabilities(dataset)
    second, _ = again.probabilities(dataset)
    assert not absent.any()
    for task in first:
        np.testing.assert_allclose(first[task], second[task], rtol=1e-9)
        np.testing.assert_allclose(first[task].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("train", [1, 3])
def test_a_handful_of_clips_is_enough(make_toy: MakeToy, name: str, train: int) -> None:
    dataset = make_toy(sizes={"train": train, "valid": 1, "test": 1}, widths={"text": 5})
    dataset = replace(dataset, texts=("啊",) * len(dataset.clip_ids))
    found, _ = fitted(name, dataset).probabilities(dataset)
    for task, labels in dataset.classes.items():
        np.testing.assert_allclose(found[task].sum(axis=1), 1)
        rows = dataset.labelled("train")
        unseen = np.setdiff1d(np.arange(len(labels)), dataset.labels[task][rows])
        assert (found[task][:, unseen] == 0).all()


@pytest.mark.parametrize("name", ["rbf-ridge", "logistic-regression", "tfidf-svm", "nb-svm"])
def test_clips_without_what_is_read_are_absent_and_have_the_classes_shares(
    make_toy: MakeToy, without: Any, name: str
) -> None:
    dataset = with_words(labelled_everywhere(make_toy))
    gone = np.arange(0, len(dataset.clip_ids), 3)
    dataset = without(dataset, "text", gone)
    texts = np.array(dataset.texts, dtype=object)
    texts[gone] = " "
    dataset = replace(dataset, texts=tuple(texts))
    options = {"view": "text"} if name in ("rbf-ridge", "logistic-regression") else {}
    model = fitted(name, dataset, **options)
    found, absent = model.probabilities(dataset)
    assert np.flatnonzero(absent).tolist() == gone.tolist()
    train = dataset.labelled("train")
    for task, labels in dataset.labels.items():
        share = np.bincount(labels[train], minlength=len(dataset.classes[task])) / len(train)
        np.testing.assert_allclose(found[task][gone], np.tile(share, (len(gone), 1)), atol=1e-6)
    # Who lacks it has no part in the fit, whatever its label.
    other = dict(dataset.labels)
    turned = other["emotion"].copy()
    turned[gone] = turned[gone][::-1]
    same = fitted(name, replace(dataset, labels={**other, "emotion": turned}), **options)
    there = np.setdiff1d(np.arange(len(absent)), gone)
    np.testing.assert_allclose(
        same.probabilities(dataset)[0]["emotion"][there], found["emotion"][there]
    )


def test_nobody_has_it_and_all_have_the_shares(make_toy: MakeToy) -> None:
    dataset = make_toy()
    dataset = replace(dataset, texts=("",) * len(dataset.clip_ids))
    found, absent = fitted("tfidf-logistic", dataset).probabilities(dataset)
    assert absent.all()
    np.testing.assert_allclose(found["emotion"], found["emotion"][:1].repeat(len(absent), axis=0))


@pytest.mark.parametrize("name", ["ridge", "rbf-ridge", "logistic-regression", "linear-svm"])
def test_constant_features_say_nothing(make_toy: MakeToy, name: str) -> None:
    dataset = make_toy(widths={"audio": 3})
    frames = np.full_like(dataset.features["audio"].frames, 7.0)
    constant = replace(dataset.features["audio"], frames=frames)
    dataset = replace(dataset, features={"audio": constant})
    found, _ = fitted(name, dataset).probabilities(dataset)
    assert np.isfinite(found["intent"]).all()
    assert np.ptp(found["intent"], axis=0).max() < 1e-6


def test_many_clips_take_landmarks_that_answer_nearly_alike(make_toy: MakeToy) -> None:
    sizes = {"train": 500, "valid": 20, "test": 200}
    dataset = labelled_everywhere(make_toy, sizes=sizes, noise=1.0)
    exact = fitted("rbf-ridge", dataset)
    assert exact.states["columns"]["points"].shape == (500, 21)
    near = fitted("rbf-ridge", dataset, exact=499, landmarks=300)
    assert near.states["columns"]["points"].shape == (300, 21)
    assert joint(near, dataset) > joint(exact, dataset) - 0.03
    every = fitted("rbf-ridge", dataset, exact=499, landmarks=600)  # as many as there are
    a, b = (model.probabilities(dataset)[0]["emotion"] for model in (every, exact))
    np.testing.assert_allclose(a, b, atol=1e-2)  # but for rounding


def test_a_hundred_thousand_clips_are_summed_up_block_by_block() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 3)).astype(np.float32)
    index = (x[:, 0] > 0).astype(int)
    model = RbfRidge(2, "weighted", landmarks=40)
    model.fit(x, np.eye(2)[index], np.ones(len(x)))
    assert model.state["points"].shape == (40, 3)
    assert (model.scores(x).argmax(axis=1) == index).mean() > 0.95


def test_the_kernel_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30, 9)).astype(np.float32)
    np.testing.assert_allclose(gaussian(a, b, 0.1), rbf_kernel(a, b, 0.1), atol=1e-6)
    assert gaussian(a, a, 0.1).max() <= 1


@pytest.mark.parametrize("name", ["ridge", "rbf-ridge"])
def test_one_fit_of_both_tasks_is_that_of_each(make_toy: MakeToy, name: str) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")
    both = dataset.targets(rows)
    model = fitted(name, dataset)
    assert list(model.states) == ["columns"]
    table = both.table.assign(intent_weight=2.0)  # unlike weights: each by itself
    apart = FittedModel.fit(model.component, dataset, Targets(table), "weighted")
    assert list(apart.states) == ["emotion", "intent"]
    np.testing.assert_allclose(
        model.probabilities(dataset)[0]["emotion"],
        apart.probabilities(dataset)[0]["emotion"],
        atol=1e-4,
    )


def test_soft_targets_pull_as_far_as_they_weigh(make_toy: MakeToy) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")
    hard = dataset.targets(rows)
    component = make_component("rbf-ridge", MODELS, "model")
    pool = dataset.rows("unlabeled")
    columns = {f"{task}_weight": 1.0 for task in dataset.classes}
    soft = hard.table.iloc[: len(pool)].assign(clip_id=dataset.clip_ids[pool], **columns)
    found = []
    for weight in (0.0, 1e-9, 1.0):
        taught = hard.with_others(Targets(soft).scaled(weight))
        found.append(FittedModel.fit(component, dataset, taught, "weighted"))
    plain = fitted("rbf-ridge", dataset)
    own, none, little, much = (m.probabilities(dataset)[0]["emotion"] for m in (plain, *found))
    np.testing.assert_array_equal(own, none)
    assert np.abs(own - little).max() < 0.1 < np.abs(own - much).max()


def test_views_join_streams_and_equal_ones_keep_the_length(make_toy: MakeToy) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")
    x, there = Standardised.fit(dataset, "all", rows).of(dataset)
    assert x.shape == (len(dataset.clip_ids), 21)
    assert there.all()
    np.testing.assert_allclose(x[rows].std(axis=0), 1, rtol=1e-5)
    equal, _ = Standardised.fit(dataset, "equal", rows).of(dataset)
    assert (equal[rows] ** 2).sum() == pytest.approx((x[rows] ** 2).sum(), rel=1e-4)
    parts = [(equal[rows][:, cut] ** 2).sum() for cut in (slice(8), slice(8, 14), slice(14, 21))]
    np.testing.assert_allclose(parts, np.mean(parts), rtol=1e-4)
    assert Standardised.fit(dataset, "visual", rows).streams == ["visual"]
    alone_there = make_toy(widths={"text": 4})
    with pytest.raises(FeatureError, match="needs audio features"):
        Standardised.fit(alone_there, "audio", rows)


def test_what_a_model_lacks_is_known_before_it_is_fitted() -> None:
    audio = make_component({"rbf-ridge": "audio"}, MODELS, "model")
    every = make_component("ridge", MODELS, "model")
    words = make_component("nb-svm", MODELS, "model")
    assert lacking(audio, ["text"]) == "audio"
    assert lacking(words, ["audio"]) == "text"
    assert lacking(words, ["text"]) == lacking(every, ["text"]) == ""
    assert alone(every, ["text"])
    assert not alone(every, ["audio", "text"])
    assert not alone(audio, ["audio"])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(TrainingError, match="not a fitted model"):
        FittedModel.load(tmp_path / "model.safetensors")


def test_a_model_of_ones_own_that_keeps_no_state_does_not_answer_by_shares_alone(
    tmp_path: Path,
) -> None:
    component = Component(name="majority", options={})
    shares = {"mood": np.array([0.5, 0.5])}
    states: dict[str, dict[str, Any]] = {"mood": {"model": object()}}
    FittedModel(component, "weighted", {"mood": ("a", "b")}, states, shares).save(tmp_path / "own")
    with pytest.raises(TrainingError, match="'majority' keeps no `state`"):
        FittedModel.load(tmp_path / "own")
