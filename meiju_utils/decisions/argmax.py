"""The decoder of all recipes that name no other: in a module of its own, as keys see modules.

Imports `predictions`.
"""

from meiju_utils.predictions import Answers, Predictions, likeliest


class Argmax:
    """The most probable label of each task; of equals the first in official order."""

    def __call__(self, answers: Answers | Predictions) -> Answers:
        index = {task: likeliest(answers.probabilities(task)) for task in answers.tasks}
        return Answers.of_predictions(answers, index)
