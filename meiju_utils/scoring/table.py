"""Scores in one shape: a tidy table, one row a system, split and score.

Columns: system, split, score (a task, or "joint"), value, low, high (95 % interval), kind, chose.
Kinds: "mean" (of the mean over a system's trainings as they are; bootstrap interval over clips),
"single" (one training: the mean over them; interval over trainings and clips as in `comparison`,
over clips alone where there is one seed), "seed 3" (that training; no interval; none where chance
has no part), "failed" (no scores: the note of the experiment says why). `chose` says what was
chosen on these very clips, as "epoch" (such scores are a little too kind), "" where nothing was.
Imports `challenge`, `predictions`, `scoring.comparison`, `scoring.f1`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import Average
from meiju_utils.predictions import NO_SEED
from meiju_utils.scoring.comparison import interval, scored
from meiju_utils.scoring.f1 import JOINT, Labels, bootstrap_scores, score

SCORE_COLUMNS = ["system", "split", "score", "value", "low", "high", "kind", "chose"]
MEAN, SINGLE, FAILED = "mean", "single", "failed"
YARDSTICKS = ("majority", "logistic-regression", "linear-svm")  # systems to be compared with
BOUNDS = (0.025, 0.975)
MARK = "†"  # behind the name of a system whose scores are on clips that also chose the epoch
MARK_MEANS = f"{MARK} these clips also chose the epoch: a little too kind"


def score_table(
    system: str, split: str, truth: Labels, answers: Labels, average: Average
) -> pd.DataFrame:
    """Scores of a set of answers with intervals over clips: rows of kind "mean"."""
    points = score(truth, answers, average)
    low, high = np.quantile(bootstrap_scores(truth, answers, average), BOUNDS, axis=0)
    return _rows(system, split, points, low, high, MEAN)


def training_table(
    system: str, split: str, truth: Labels, by_seed: Mapping[int, Labels], average: Average
) -> pd.DataFrame:
    """Scores of each training, and what one of them is worth: kinds "seed n" and "single"."""
    one = scored(truth, by_seed, average)
    mean = dict(zip(one.scores, one.value.tolist(), strict=True))
    unknown = np.full(len(mean), np.nan)
    each = [
        _rows(system, split, score(truth, answers, average), unknown, unknown, f"seed {seed}")
        for seed, answers in by_seed.items()
        if seed != NO_SEED
    ]
    return concatenated([_rows(system, split, mean, *interval(one), SINGLE), *each])


def failed_table(system: str, split: str, tasks: Iterable[str]) -> pd.DataFrame:
    """The rows of a system without scores: NaN, of kind "failed"."""
    nothing = dict.fromkeys([*tasks, JOINT], float("nan"))
    unknown = np.full(len(nothing), np.nan)
    return _rows(system, split, nothing, unknown, unknown, FAILED)


def concatenated(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several score tables as one; an empty one where there is none."""
    if not tables:
        return pd.DataFrame(columns=SCORE_COLUMNS)
    return pd.concat(tables, ignore_index=True)


def wide(scores: pd.DataFrame, kind: str = "") -> pd.DataFrame:
    """One row a system and split, to be read: name, split, kind, chose, each score with its bounds.

    `kind` picks rows of a kind, and those of systems that failed. Systems keep their order.
    """
    if kind:
        scores = scores[scores["kind"].isin([kind, FAILED])]
    index = ["system", "split", "kind", "chose"]
    order = scores[index].drop_duplicates()
    found = order.rename(columns={"system": "name"}).reset_index(drop=True)
    for name in scores["score"].unique():
        own = order.merge(scores[scores["score"] == name], on=index, how="left")
        for column, source in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            found[column] = own[source].to_numpy(dtype=np.float64)
    return found


def scores_in(table: pd.DataFrame) -> list[str]:
    """The scores of a wide table, the joint one last; of a single task its own alone, as the joint
    score is the same."""
    names = [str(name) for name in table.columns if f"{name}_low" in table.columns]
    tasks = [name for name in names if name != JOINT]
    return tasks if len(tasks) == 1 else [*tasks, *([JOINT] if JOINT in names else [])]


def marked(table: pd.DataFrame) -> list[str]:
    """Names of a wide table's systems, with a mark where their scores are a little too kind."""
    chose = table.get("chose", pd.Series("", index=table.index))
    pairs = zip(table["name"], chose, strict=True)
    return [f"{name} {MARK}" if chosen else str(name) for name, chosen in pairs]


def _rows(
    system: str,
    split: str,
    points: Mapping[str, float],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    kind: str,
) -> pd.DataFrame:
    table = pd.DataFrame({"score": list(points), "value": list(points.values())})
    table = table.assign(system=system, split=split, low=low, high=high, kind=kind, chose="")
    text = ("system", "split", "score", "kind", "chose")
    return table[SCORE_COLUMNS].astype(dict.fromkeys(text, "str"))
