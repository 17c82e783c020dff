"""Decisions on predictions: ensembles of several, labels from probabilities. Imports no network."""

from meiju_utils.decisions.decoding import DECODERS, Argmax
from meiju_utils.decisions.ensembles import ENSEMBLES, Mean, agreement

__all__ = ["DECODERS", "ENSEMBLES", "Argmax", "Mean", "agreement"]
