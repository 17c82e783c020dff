"""The unlabelled pool: rules that make targets of a teacher's answers, and how right these are."""

from meiju_utils.pool.audit import audit_selection, audit_thresholds, with_truth
from meiju_utils.pool.rules import RULES
from meiju_utils.pool.selection import Selection, targets_of
from meiju_utils.pool.telling import remark, tell

__all__ = [
    "RULES",
    "Selection",
    "audit_selection",
    "audit_thresholds",
    "remark",
    "targets_of",
    "tell",
    "with_truth",
]
