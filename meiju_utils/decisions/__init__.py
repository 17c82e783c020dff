"""Decisions on predictions: ensembles, calibration, labels from probabilities. Know no network."""

from meiju_utils.decisions.argmax import Argmax
from meiju_utils.decisions.calibration import CALIBRATIONS, calibrated, fit_calibration
from meiju_utils.decisions.decoding import DECODERS
from meiju_utils.decisions.ensembles import ENSEMBLES
from meiju_utils.decisions.fitting import Fitted, Known
from meiju_utils.decisions.mean import Mean, agreement

__all__ = [
    "CALIBRATIONS",
    "DECODERS",
    "ENSEMBLES",
    "Argmax",
    "Fitted",
    "Known",
    "Mean",
    "agreement",
    "calibrated",
    "fit_calibration",
]
