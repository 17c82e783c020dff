"""The last of several rounds of students that was worth it. Imports `aligned`, `fitting`."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from meiju_utils.decisions.aligned import Opinions
from meiju_utils.decisions.fitting import Fitted, Known, logs
from meiju_utils.decisions.mean import Names, members_of_tasks
from meiju_utils.predictions import Predictions


class LastGain:
    """Of rounds in order the last that gained: each must raise the mean log-likelihood of held-out
    train clips, summed over tasks, by more than `gain` over the round before; where one does not,
    no later one is looked at."""

    tolerant = True  # a round without results ends them

    def __init__(self, *, from_: Names, gain: NonNegativeFloat = 0.0) -> None:
        self.source, self.gain = from_, gain

    def members(self, tasks: Iterable[str]) -> dict[str, list[str]]:
        """The rounds, for every task."""
        return members_of_tasks(self.source, tasks)

    def fit(self, members: Mapping[str, Predictions], known: Known) -> Fitted:
        """Which round is taken, and each one's likelihood."""
        rounds = {name: own.of_split("train") for name, own in members.items()}
        opinions = Opinions.of(rounds)
        known.held_out(opinions.table)
        index = known.indices(opinions.classes, opinions.table["clip_id"].to_numpy())
        likelihood = np.zeros(len(rounds))
        for task, found in opinions.probabilities.items():
            use = np.flatnonzero(index[task] >= 0)
            likelihood += logs(found[:, use, index[task][use]]).mean(axis=1)
        values = dict(zip(opinions.names, likelihood.tolist(), strict=True))
        names = [name for name in self.source if name in values]
        taken = names[0]
        for name in names[1:]:
            if not values[name] > values[taken] + self.gain:
                break
            taken = name
        return {"taken": taken, "likelihood": values}

    def apply(
        self, members: Mapping[str, Predictions], fitted: Fitted, fold: NDArray[np.int64] | int
    ) -> Predictions:
        """The predictions of the round that was taken."""
        own = members[fitted["taken"]].mean()
        return Predictions(own.table.assign(fold=np.broadcast_to(fold, len(own))))
