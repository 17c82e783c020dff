"""Ensembles that learn whom to believe."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize

from meiju_utils.decisions import ENSEMBLES, opinions
from meiju_utils.errors import PredictionError
from meiju_utils.predictions import ABSENT, Classes, Predictions, class_columns
from tests.decisions.toys import FOLDS, known, loss, member, right, shuffled, truth
from tests.vocabularies import every_setting

LEARNED = ["opinion-pool", "greedy", "calibrated-mean"]


def combined(name: str, members: dict[str, Predictions], clips: Any, **options: Any) -> Any:
    ensemble = ENSEMBLES[name](from_=list(members), **options)
    first = next(iter(members.values()))
    fitted = ensemble.fit(members, known(clips))
    return ensemble.apply(members, fitted, known(clips).fold_of(first.table)), fitted


@every_setting
@pytest.mark.parametrize("name", LEARNED)
def test_members_together_are_better_than_each(classes: Classes, name: str) -> None:
    clips = truth(classes, train=300, test=300)
    members = {f"m{i}": member(clips, 1.2, i, classes) for i in range(4)}
    found, _ = combined(name, members, clips)
    assert found.classes == dict(classes)
    for task in classes:
        alone = [right(own, clips, task) for own in members.values()]
        assert right(found, clips, task) > max(alone)
        assert right(found, clips, task, "train") > max(alone) - 0.05


@pytest.mark.parametrize("name", LEARNED)
@settings(max_examples=8)
@given(draw=st.integers(0, 50))
def test_neither_the_order_of_clips_nor_that_of_members_matters(name: str, draw: int) -> None:
    clips = truth(train=60, draw=draw)
    members = {f"m{i}": member(clips, 0.5 + i, 10 * draw + i) for i in range(3)}
    first, _ = combined(name, members, clips)
    # Of equals greedy selection picks the first.
    order = list(members) if name == "greedy" else list(members)[::-1]
    turned = {key: shuffled(members[key], draw) for key in order}
    second, _ = combined(name, turned, clips)
    columns = [c for task in first.classes for c in class_columns(first.classes, task)]
    a, b = (own.table.set_index("clip_id").sort_index()[columns] for own in (first, second))
    np.testing.assert_allclose(a, b, atol=2e-3)  # L-BFGS stops near the one optimum


def test_a_constant_member_is_not_believed_and_a_perfect_one_is() -> None:
    clips = truth(train=200, test=100)
    constant, perfect = member(clips, 0.0, 1, sharpness=0.0), member(clips, 50.0, 2)
    members = {"good": member(clips, 1.5), "constant": constant, "perfect": perfect}
    for name in ("opinion-pool", "greedy"):
        found, fitted = combined(name, members, clips)
        for task in found.tasks:
            assert right(found, clips, task) == 1.0
            weights = dict(zip(members, fitted["weights"][task]["all"]["weights"], strict=True))
            assert weights["perfect"] == max(weights.values()) > 0.5
    alone, _ = combined("opinion-pool", {"constant": constant}, clips)
    assert np.isfinite(loss(alone, clips, "emotion"))


def test_a_class_that_train_never_has_stays_least_likely() -> None:
    clips = truth(train=200)  # of emotions the first four
    found, _ = combined(
        "opinion-pool", {"a": member(clips, 1.0), "b": member(clips, 1.0, 1)}, clips
    )
    mean = found.of_split("test").probabilities("emotion").mean(axis=0)
    assert mean[4:].max() < mean[:4].min()


def test_the_pool_is_more_likely_on_held_out_clips_than_the_mean() -> None:
    clips = truth(train=400, test=400)
    skills = (2.0, 0.8, 0.0, 0.0, 0.0)
    members = {f"m{i}": member(clips, skill, i) for i, skill in enumerate(skills)}
    pool, _ = combined("opinion-pool", members, clips)
    mean, _ = combined("calibrated-mean", members, clips)
    for task in pool.tasks:
        assert loss(pool, clips, task) < loss(mean, clips, task) - 0.05


def test_weights_of_a_clip_come_from_other_folds() -> None:
    clips = truth()
    members = {f"m{i}": member(clips, i, i) for i in range(3)}
    held = (clips["split"] == "train") & (np.arange(len(clips)) % FOLDS == 2)
    other = clips.copy()
    other.loc[held, ["emotion", "intent"]] = ["fear", "wishing"]
    for name in LEARNED:
        first, _ = combined(name, members, clips)
        second, _ = combined(name, members, other)
        rows = held.to_numpy()
        np.testing.assert_array_equal(first.table[rows].iloc[:, 6:], second.table[rows].iloc[:, 6:])


@pytest.mark.parametrize("name", LEARNED)
def test_who_lacks_what_it_looks_at_drops_out_for_that_clip(name: str) -> None:
    clips = truth(train=120, test=60)
    gone = np.arange(len(clips)) % 3 == 0
    good, bad = member(clips, 1.5), member(clips, 0.3, 1, absent=gone)
    found, fitted = combined(name, {"good": good, "bad": bad}, clips)
    assert (found.table["role"] != ABSENT).all()
    wrong = bad.table.copy()
    wrong.loc[gone, class_columns(bad.classes, "emotion")] = np.eye(7)[0]
    again, same = combined(name, {"good": good, "bad": Predictions(wrong)}, clips)
    np.testing.assert_array_equal(found.probabilities("emotion"), again.probabilities("emotion"))
    assert fitted == same
    nobody = np.ones(len(clips), dtype=bool)
    alone, _ = combined(name, {"bad": member(clips, 0.3, 1, absent=nobody)}, clips)
    assert (alone.table["role"] == ABSENT).all()
    assert np.isfinite(alone.probabilities("intent")).all()


def test_each_task_may_have_its_own_members_and_one_without_results_is_left_out() -> None:
    clips = truth()
    members = {"a": member(clips, 1.0), "b": member(clips, 1.0, 1)}
    ensemble = ENSEMBLES["opinion-pool"](from_={"emotion": ["a"], "intent": ["b", "lost"]})
    fitted = ensemble.fit(members, known(clips))
    assert [fitted["weights"][task]["members"] for task in ("emotion", "intent")] == [["a"], ["b"]]
    with pytest.raises(PredictionError, match="None of the members of emotion has results"):
        ENSEMBLES["greedy"](from_=["lost"]).fit(members, known(clips))


def test_members_of_other_clips_are_refused() -> None:
    clips = truth()
    fewer = Predictions(member(clips, 1.0).table.iloc[1:].reset_index(drop=True))
    with pytest.raises(PredictionError, match="different clips or classes"):
        combined("opinion-pool", {"a": member(clips, 1.0), "b": fewer}, clips)


def test_the_pools_gradient_is_that_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = []

    def checked(loss: Any, start: Any, **options: Any) -> Any:
        at = start + np.linspace(0.05, 0.3, len(start))
        errors.append(check_grad(lambda v: loss(v)[0], lambda v: loss(v)[1], at))
        return minimize(loss, start, **options)

    monkeypatch.setattr(opinions, "minimize", checked)
    clips = truth(train=60)
    gone = np.arange(len(clips)) % 4 == 0
    members = {"a": member(clips, 1.0), "b": member(clips, 1.0, 1, absent=gone)}
    combined("opinion-pool", members, clips)
    assert len(errors) == 2 * (1 + FOLDS)
    assert max(errors) < 1e-5
