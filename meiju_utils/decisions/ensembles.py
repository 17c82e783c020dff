"""Ensembles: from the predictions of several recipes to one, by name.

An ensemble says which recipes it is made from (`members`), and is called with their predictions.
One that is fitted has `fit(predictions, known)`, which gives what can stand in JSON, and
`apply(predictions, fitted, fold)`. Imports `mean`, `opinions`, `rounds`.
"""

from meiju_utils.decisions.mean import Mean
from meiju_utils.decisions.opinions import CalibratedMean, Greedy, OpinionPool
from meiju_utils.decisions.rounds import LastGain

ENSEMBLES: dict[str, type] = {
    "mean": Mean,
    "calibrated-mean": CalibratedMean,
    "greedy": Greedy,
    "opinion-pool": OpinionPool,
    "last-gain": LastGain,
}
