"""Classical models on means: majority and linear models, tuned on what they are trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.svm import LinearSVC

from meiju_utils.components import build, make_component
from meiju_utils.errors import ConfigError
from meiju_utils.linear import LinearLogistic, LinearSvm
from meiju_utils.modelling.classical import MODELS, Majority
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.scoring import JOINT, score

MakeToy = Callable[..., Dataset]
LINEAR = ["logistic-regression", "linear-svm"]
KINDS = {"logistic-regression": LinearLogistic, "linear-svm": LinearSvm, "majority": Majority}


def means(dataset: Dataset, *streams: str) -> Any:
    """Means over time [N, D] of some streams (default: all) side by side."""
    chosen = streams or tuple(dataset.features)
    parts = [dataset.features[stream].means() for stream in chosen]
    return np.concatenate(parts, axis=1).astype(np.float64)


def made(name: str, classes: int, **options: Any) -> Any:
    return build(make_component({name: options}, KINDS, "model"), KINDS, classes, "weighted")


def one_hot(labels: Any, classes: int) -> Any:
    return np.eye(classes)[np.asarray(labels)]


def two_clouds(clips: int = 40) -> tuple[Any, Any]:
    """Features [N, 3] and labels [N] of two classes that overlap somewhat."""
    rng = np.random.default_rng(0)
    labels = np.arange(clips) % 2
    return rng.normal(size=(clips, 3)) + 1.2 * labels[:, None], labels


def test_linear_models_beat_the_majority_and_all_modalities_beat_one(
    make_toy: MakeToy, without: Any
) -> None:
    dataset = without(make_toy(noise=0.8), "audio", [0, 70, 90])
    train, valid = dataset.labelled("train"), dataset.labelled("valid")
    targets = dataset.targets(train)

    def joint(name: str, *streams: str) -> float:
        x, answers = means(dataset, *streams), {}
        for task, labels in dataset.classes.items():
            model = made(name, len(labels))
            model.fit(x[train], targets.probabilities(task), targets.weights(task))
            found = model.probabilities(x[valid])
            assert found.shape == (len(valid), len(labels))
            np.testing.assert_allclose(found.sum(axis=1), 1)
            answers[task] = found.argmax(axis=1)
        return score(dataset.truth(valid), answers)[JOINT]

    majority = joint("majority")
    for name in LINEAR:
        assert joint(name) > joint(name, "text") > majority


def test_the_majority_gives_each_class_its_share_whatever_the_features() -> None:
    model = made("majority", 4)
    targets = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 1, 0]])
    model.fit(np.full((4, 2), np.nan), targets, np.array([1.0, 1, 1, 0]))
    found = model.probabilities(np.zeros((2, 2)))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 6, 1 / 6, 0]] * 2)


@pytest.mark.parametrize("name", LINEAR)
def test_a_missing_modality_counts_as_the_train_mean(name: str) -> None:
    x, labels = two_clouds()
    gaps = x.copy()
    gaps[4, :2] = np.nan
    model = made(name, 2, strengths=[1.0])
    model.fit(gaps, one_hot(labels, 2), np.ones(40))
    filled = gaps.copy()
    filled[4, :2] = np.nanmean(gaps[:, :2], axis=0)
    again = made(name, 2, strengths=[1.0])
    again.fit(filled, one_hot(labels, 2), np.ones(40))
    held_out = np.array([[np.nan, np.nan, 0.3], [np.nan] * 3])
    mean = np.nanmean(gaps, axis=0)
    known = np.where(np.isnan(held_out), mean, held_out)
    assert model.model is not None
    np.testing.assert_array_equal(
        model.model.decision_function(held_out), model.model.decision_function(known)
    )
    # Folds fill in means of their own: only the temperature, tuned on them, is a little off.
    np.testing.assert_allclose(
        model.model.decision_function(x), again.model.decision_function(x), atol=1e-9
    )
    everywhere = np.column_stack([x, np.full(40, np.nan)])  # nobody has it
    made(name, 2).fit(everywhere, one_hot(labels, 2), np.ones(40))


@pytest.mark.parametrize("name", LINEAR)
def test_two_classes_have_the_probabilities_of_one_score(name: str) -> None:
    x, labels = two_clouds()
    model = made(name, 2)
    model.fit(x, one_hot(labels, 2), np.ones(40))
    found = model.probabilities(x)
    assert (found.argmax(axis=1) == model.model.predict(x)).all()
    odds = model.model.decision_function(x) / model.temperature
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-odds)))
    if name == "logistic-regression":
        np.testing.assert_allclose(found, model.model.predict_proba(x))
    assert (found.argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.parametrize("name", LINEAR)
def test_a_class_without_targets_gets_no_probability(name: str) -> None:
    x, labels = two_clouds()
    weights = np.ones(40)
    weights[0] = 0.0
    given = np.where(labels == 0, 1, 3)
    given[0] = 2  # counts nothing
    model = made(name, 5)
    model.fit(x, one_hot(given, 5), weights)
    found = model.probabilities(x)
    assert (found[:, [0, 2, 4]] == 0).all()
    assert (found[:, [1, 3]] > 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("name", LINEAR)
def test_soft_targets_count_as_clips_of_each_class(name: str) -> None:
    x, labels = two_clouds(20)
    hard = one_hot(labels, 2)
    soft = 0.8 * hard + 0.1
    model = made(name, 2, strengths=[3.0])
    model.fit(x, soft, np.ones(20))
    # Each clip once of its class with weight 0.9, once of the other with 0.1.
    doubled = np.concatenate([x, x])
    plain = made(name, 2, strengths=[3.0])
    plain.fit(
        doubled,
        np.concatenate([hard, hard[:, ::-1]]),
        np.concatenate([np.full(20, 0.9), np.full(20, 0.1)]),
    )
    found, expected = (m.model.decision_function(x) for m in (model, plain))
    np.testing.assert_allclose(found, expected, atol=0.05)  # they stop at a tolerance of 1e-2
    sure = made(name, 2, strengths=[3.0])
    sure.fit(x, hard, np.ones(20))
    assert np.abs(sure.model.decision_function(x)).mean() > np.abs(found).mean()


@pytest.mark.parametrize("name", LINEAR)
def test_clips_of_weight_zero_are_not_there(name: str) -> None:
    x, labels = two_clouds()
    odd = np.concatenate([x, 100 + x[:5]])
    targets = np.concatenate([one_hot(labels, 2), one_hot(1 - labels[:5], 2)])
    with_odd, without_odd = made(name, 2), made(name, 2)
    with_odd.fit(odd, targets, np.concatenate([np.ones(40), np.zeros(5)]))
    without_odd.fit(x, one_hot(labels, 2), np.ones(40))
    np.testing.assert_allclose(with_odd.probabilities(x), without_odd.probabilities(x))


def test_the_likeliest_label_of_the_svm_is_its_own(make_toy: MakeToy) -> None:
    dataset = make_toy(noise=2.0)
    train = dataset.labelled("train")
    x = means(dataset)
    labels = dataset.labels["emotion"][train]
    model = made("linear-svm", 7, strengths=[3.0])
    model.fit(x[train], one_hot(labels, 7), np.ones(len(train)))
    found = model.probabilities(x)
    assert (found.argmax(axis=1) == model.model.predict(x)).all()
    scaled = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    svm = LinearSVC(C=3.0 / x.shape[1], tol=1e-2, max_iter=5000, random_state=0)
    svm.fit(scaled[train], labels)
    assert (found.argmax(axis=1) == svm.predict(scaled)).all()
    expected = softmax(svm.decision_function(scaled) / model.temperature, axis=1)
    np.testing.assert_allclose(found[:, np.unique(labels)], expected, atol=1e-6)


def test_the_temperature_makes_the_svms_probabilities_fit_what_it_has_not_seen() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(1600) % 3
    x = rng.normal(size=(1600, 4)) + np.eye(4)[labels] * 2
    train, rest = np.arange(800), np.arange(800, 1600)
    model = made("linear-svm", 3, strengths=[3.0])
    model.fit(x[train], one_hot(labels[train], 3), np.ones(800))

    def loss(temperature: float) -> float:
        scores = model.model.decision_function(x[rest]) / temperature
        return -np.log(softmax(scores, axis=1)[np.arange(800), labels[rest]]).mean()

    # Nearly as good as the best one for those clips; what 800 clips are by chance is some 0.005.
    best = min(loss(temperature) for temperature in np.geomspace(0.05, 5, 50))
    assert loss(model.temperature) < best + 0.02 < loss(1.0)


def test_a_strength_is_chosen_and_a_fit_repeats_itself(make_toy: MakeToy) -> None:
    dataset = make_toy(noise=2.0)
    train = dataset.labelled("train")
    x, targets = means(dataset), dataset.targets(train)
    chosen = []
    for name in LINEAR:
        first, again = made(name, 7), made(name, 7)
        for model in (first, again):
            model.fit(x[train], targets.probabilities("emotion"), targets.weights("emotion"))
        np.testing.assert_array_equal(first.probabilities(x), again.probabilities(x))
        chosen.append(first.model[-1].C * x.shape[1])
    assert all(any(np.isclose(c, s) for s in (0.3, 1, 3, 10, 30, 100)) for c in chosen)
    only = made("linear-svm", 7, strengths=[5.0], folds=2)
    only.fit(x[train], targets.probabilities("emotion"), targets.weights("emotion"))
    assert only.model[-1].C * x.shape[1] == pytest.approx(5.0)


def test_options_of_models_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"folds = 1: input should be greater than or equal to 2"):
        make_component({"linear-svm": {"folds": 1}}, MODELS, "model")
    with pytest.raises(ConfigError, match=r"strengths\.0 = -1"):
        make_component({"linear-svm": {"strengths": [-1]}}, MODELS, "model")
    with pytest.raises(ConfigError, match=r"view = 'smell': input should be 'all', 'equal'"):
        make_component({"rbf-ridge": "smell"}, MODELS, "model")
    with pytest.raises(ConfigError, match="majority has no options"):
        make_component({"majority": 3}, MODELS, "model")
