"""What answers are worth: F1, joint score, intervals, in one tidy table."""

from meiju_utils.scoring.f1 import JOINT, bootstrap_scores, joint_score, score, task_f1
from meiju_utils.scoring.table import (
    FAILED,
    MARK,
    MARK_MEANS,
    MEAN,
    SCORE_COLUMNS,
    SINGLE,
    YARDSTICKS,
    concatenated,
    failed_table,
    marked,
    score_table,
    single_draws,
    training_table,
    wide,
)

__all__ = [
    "FAILED",
    "JOINT",
    "MARK",
    "MARK_MEANS",
    "MEAN",
    "SCORE_COLUMNS",
    "SINGLE",
    "YARDSTICKS",
    "bootstrap_scores",
    "concatenated",
    "failed_table",
    "joint_score",
    "marked",
    "score",
    "score_table",
    "single_draws",
    "task_f1",
    "training_table",
    "wide",
]
