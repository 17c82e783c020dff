"""Decoders: from probabilities to labels, by name. Imports `predictions`.

A decoder is called with predictions of one row a clip and returns answers to the same clips.
"""

from meiju_utils.predictions import Answers, Predictions, likeliest


class Argmax:
    """The most probable label of each task; of equals the first in official order."""

    def __call__(self, predictions: Predictions) -> Answers:
        index = {task: likeliest(predictions.probabilities(task)) for task in predictions.tasks}
        return Answers.of_predictions(predictions, index)


DECODERS: dict[str, type] = {"argmax": Argmax}
