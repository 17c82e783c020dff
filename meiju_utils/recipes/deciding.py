"""A recipe's decisions on predictions: calibrated, then decoded step by step.

Imports `decisions`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meiju_utils.components import Component, build
from meiju_utils.decisions import DECODERS, Argmax, Fitted, Known, calibrated, fit_calibration
from meiju_utils.errors import PredictionError
from meiju_utils.predictions import Answers, Predictions


class Decider(Protocol):
    """What of a recipe decides (a recipe itself, or what is frozen of one)."""

    @property
    def calibrate(self) -> Component | None: ...
    @property
    def decode(self) -> list[Component]: ...


def decide(recipe: Decider, mean: Predictions, known: Known) -> tuple[Answers, dict[str, Any]]:
    """Answers to predictions of one row a clip; what was fitted: `calibrate`, `decode`, `notes`.

    PredictionError where something is to be fitted and nobody predicts the train clips unseen.
    """
    fold = known.fold_of(mean.table)
    fitted: dict[str, Any] = {"calibrate": {}, "decode": [], "notes": []}
    if recipe.calibrate is not None:
        fitted["calibrate"] = fit_calibration(mean, known, recipe.calibrate)
        mean = calibrated(mean, fitted["calibrate"], fold)
    answers = Argmax()(mean)
    for component in recipe.decode:
        decoder = build(component, DECODERS)
        state: Fitted = decoder.fit(answers, known) if hasattr(decoder, "fit") else {}
        fitted["decode"].append(state)
        if hasattr(decoder, "notes"):
            fitted["notes"] += decoder.notes(state)
        answers = _applied(decoder, answers, state, fold)
    return answers, fitted


def decided(
    recipe: Decider, mean: Predictions, fitted: Mapping[str, Any], fold: NDArray[np.int64]
) -> Answers:
    """The same by what was fitted before; `fold` [N] held a clip out (-1: none did)."""
    if fitted["calibrate"]:
        mean = calibrated(mean, fitted["calibrate"], fold)
    answers = Argmax()(mean)
    for component, state in zip(recipe.decode, fitted["decode"], strict=True):
        answers = _applied(build(component, DECODERS), answers, state, fold)
    return answers


def folds_of(predictions: Predictions) -> dict[str, int]:
    """The fold that held each train clip out; empty where some clip was not held out."""
    try:
        return predictions.folds()
    except PredictionError:
        return {}


def _applied(decoder: Any, answers: Answers, state: Fitted, fold: NDArray[np.int64]) -> Answers:
    found: Answers
    found = decoder.apply(answers, state, fold) if hasattr(decoder, "fit") else decoder(answers)
    return found
