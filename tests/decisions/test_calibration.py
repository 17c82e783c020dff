"""Calibration: as often right as it says, fitted without the clip itself."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize

from meiju_utils.components import Component, make_component
from meiju_utils.decisions import CALIBRATIONS, calibrated, calibration, fit_calibration
from meiju_utils.decisions.calibration import (
    BiasCorrected,
    NoiseTolerant,
    Temperature,
    apply,
    centred,
)
from meiju_utils.errors import PredictionError
from meiju_utils.predictions import Classes, Predictions, class_columns
from tests.decisions.toys import FOLDS, known, loss, member, right, shuffled, truth
from tests.vocabularies import every_setting


def component(name: str) -> Component:
    return make_component(name, CALIBRATIONS, "calibrate")


@every_setting
@pytest.mark.parametrize("name", list(CALIBRATIONS))
def test_what_is_far_too_sure_becomes_likelier(classes: Classes, name: str) -> None:
    clips = truth(classes, train=400, test=200)
    own = member(clips, 1.5, classes=classes, sharpness=4.0)
    fitted = fit_calibration(own, known(clips), component(name))
    found = calibrated(own, fitted, known(clips).fold_of(own.table))
    for task in classes:
        assert loss(found, clips, task) < loss(own, clips, task) - 0.1
        assert loss(found, clips, task, "train") < loss(own, clips, task, "train") - 0.1
        assert fitted[task]["all"]["slope"] < 0.7
        if name == "temperature":
            assert right(found, clips, task) == right(own, clips, task)


@settings(max_examples=15)
@given(draw=st.integers(0, 99), order=st.integers(0, 99))
def test_the_order_of_clips_changes_nothing(draw: int, order: int) -> None:
    clips = truth(train=60, draw=draw)
    own = member(clips, 1.0, draw)
    mixed = shuffled(own, order)
    after = []
    for predictions in (own, mixed):
        fitted = fit_calibration(predictions, known(clips), component("bias-corrected"))
        found = calibrated(predictions, fitted, known(clips).fold_of(predictions.table))
        after.append(found.table.set_index("clip_id").sort_index())
    columns = class_columns(own.classes, "emotion")
    np.testing.assert_allclose(after[0][columns], after[1][columns], atol=1e-5)


def test_a_clips_own_label_has_no_say_in_its_calibration() -> None:
    clips = truth()
    own = member(clips, 1.0)
    other = clips.copy()
    held = (clips["split"] == "train") & (np.arange(len(clips)) % FOLDS == 1)
    other.loc[held, "emotion"] = "fear"
    tables = []
    for labels in (clips, other):
        fitted = fit_calibration(own, known(labels), component("bias-corrected"))
        found = calibrated(own, fitted, known(labels).fold_of(own.table))
        tables.append(found.table[held.to_numpy()])
    np.testing.assert_array_equal(tables[0].iloc[:, 6:], tables[1].iloc[:, 6:])


@pytest.mark.parametrize("kind", [BiasCorrected, NoiseTolerant, Temperature])
def test_a_perfect_and_a_constant_member_stay_finite(kind: type) -> None:
    index = np.arange(40) % 4
    perfect, constant = np.eye(5)[index], np.full((40, 5), 0.2)
    for probabilities in (perfect, constant):
        fitted = kind().fit(centred(probabilities), index)
        assert np.isfinite([fitted["slope"], *fitted["bias"], fitted["doubt"]]).all()
        assert len(fitted["bias"]) == 5
    bias = BiasCorrected().fit(centred(constant), index)["bias"]
    assert bias[4] == min(bias)  # the class that never occurs


def test_nobody_is_calibrated_on_clips_that_trained_it() -> None:
    clips = truth()
    table = member(clips, 1.0).table.assign(fold=-1)
    nobody = known(clips)
    nobody = type(nobody)(nobody.labels, "weighted")
    with pytest.raises(PredictionError, match=r"refit: true"):
        fit_calibration(Predictions(table), nobody, component("temperature"))


def test_labels_listed_wrong_do_not_flatten_all_probabilities() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(4, size=4000)
    logits = rng.normal(size=(4000, 4)) + 3.0 * np.eye(4)[right]
    probabilities = np.exp(3.0 * logits)  # as these clips are: each is its likeliest class
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wrong = rng.random(4000) < 0.15
    listed = np.where(wrong, rng.integers(4, size=4000), right)
    plain, tolerant = (
        kind().fit(centred(probabilities[:2000]), listed[:2000])
        for kind in (BiasCorrected, NoiseTolerant)
    )
    assert tolerant["doubt"] == pytest.approx(0.15, abs=0.04)
    assert tolerant["slope"] > 1.5 * plain["slope"]
    assert plain["doubt"] == 0
    rows, rest = np.arange(2000), listed[2000:]
    first, second = (
        -np.log(apply(probabilities[2000:], fitted)[rows, rest]).mean()
        for fitted in (plain, tolerant)
    )
    assert second < first - 0.01


@pytest.mark.parametrize("kind", [BiasCorrected, NoiseTolerant, Temperature])
def test_the_gradient_is_that_of_the_loss(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = []

    def checked(loss: Any, start: Any, **options: Any) -> Any:
        at = start + np.linspace(0.1, 0.4, len(start))
        errors.append(check_grad(lambda v: loss(v)[0], lambda v: loss(v)[1], at))
        return minimize(loss, start, **options)

    monkeypatch.setattr(calibration, "minimize", checked)
    rng = np.random.default_rng(0)
    kind().fit(centred(rng.dirichlet(np.ones(5), 60)), rng.integers(4, size=60))
    assert errors[0] < 1e-5
