"""Yardsticks: majority and linear models on means, tuned on train."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from meiju_utils.modelling.yardsticks import (
    fit_yardsticks,
    standardised_means,
    train_yardsticks,
)

from meiju_utils.config import Parallel
from meiju_utils.modelling import yardsticks
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.run import Run

SERIAL = Parallel(backend="serial")


def test_linear_models_beat_the_majority_and_all_modalities_beat_one(
    make_toy: Callable[..., Dataset], without: Any
) -> None:
    dataset = without(make_toy(noise=0.8), "audio", [0, 70, 90])
    found = fit_yardsticks(dataset, "weighted", SERIAL)
    table = found.table.set_index("name")
    assert len(table) == 1 + 2 * 4
    for model in ("logistic regression", "linear SVM"):
        joint = table["joint"]
        assert joint[model] > joint[f"{model} (text)"] > joint["majority"]
        assert table.loc[model, "joint_low"] < joint[model] <= table.loc[model, "joint_high"]
        assert table.loc[model, "width"] == 21
    counts = found.predictions.groupby(["name", "split"]).size()
    assert (counts.xs("valid", level="split") == 24).all()
    assert (counts.xs("test", level="split") == 20).all()
    true = dataset.labels["emotion"][dataset.labelled("train")]
    majority = found.predictions.query("name == 'majority'")["emotion"].unique()
    assert len(majority) == 1
    assert np.bincount(true).max() == (true == np.bincount(true).argmax()).sum()


def test_a_missing_modality_counts_as_the_train_mean(
    make_toy: Callable[..., Dataset], without: Any
) -> None:
    dataset = without(make_toy(), "visual", [2, 65])
    visual = standardised_means(dataset)["visual"]
    assert (visual[[2, 65]] == 0).all()
    train = np.setdiff1d(dataset.rows("train"), [2])
    np.testing.assert_allclose(visual[train].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(visual[train].std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("train", [1, 3])
def test_a_handful_of_clips_is_enough(make_toy: Callable[..., Dataset], train: int) -> None:
    dataset = make_toy(sizes={"train": train, "valid": 1, "test": 1}, widths={"text": 5})
    table = fit_yardsticks(dataset, "micro", SERIAL).table
    assert table["name"].tolist() == [
        "majority",
        "logistic regression",
        "linear SVM",
    ]


def test_yardsticks_are_made_once(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    first = train_yardsticks(run)
    monkeypatch.setattr(yardsticks, "fit_yardsticks", None)
    again = train_yardsticks(run)
    assert again.table.equals(first.table)
    assert again.predictions.equals(first.predictions)
