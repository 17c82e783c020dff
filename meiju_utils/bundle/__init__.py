"""From a trained recipe to answers about clips that are in no corpus."""

from meiju_utils.bundle.predictor import Predictor, Reading

__all__ = ["Predictor", "Reading"]
