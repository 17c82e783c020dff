"""Scoring answers where the true labels are known: validation clips, a synthetic test split.

Imports `challenge`, `errors`, `metrics` only.
"""

from collections.abc import Mapping

import pandas as pd

from meiju_utils.challenge import Setting
from meiju_utils.errors import SubmissionError
from meiju_utils.metrics import ScoreIntervals, score_intervals


def evaluate(
    systems: Mapping[str, pd.DataFrame], truth: pd.DataFrame, setting: Setting
) -> dict[str, ScoreIntervals]:
    """Scores of each system's answers, with 95 % bootstrap intervals over the clips of `truth`.

    `systems` and `truth` have clip_id, emotion, intent; answers to other clips are left out. {}
    where `truth` is empty. Raises SubmissionError where a system lacks an answer.
    """
    if truth.empty:
        return {}
    scores = {}
    for name, answers in systems.items():
        own = answers.set_index("clip_id")
        lacking = truth.loc[~truth["clip_id"].isin(own.index), "clip_id"].tolist()
        if lacking:
            raise SubmissionError(
                f"{name!r} has no answer for {len(lacking)} clips, the first {lacking[0]}; every "
                "clip whose true label is known must have one."
            )
        predicted = own.loc[truth["clip_id"]]
        scores[name] = score_intervals(
            truth["emotion"].to_numpy(),
            predicted["emotion"].to_numpy(),
            truth["intent"].to_numpy(),
            predicted["intent"].to_numpy(),
            setting.average,
        )
    return scores
