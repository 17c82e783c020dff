"""The unlabelled pool: rules that make targets of a teacher's answers, and how right these are."""

from meiju_utils.pool.audit import audit_candidates, audit_pseudo_labels
from meiju_utils.pool.selection import RULES, Selection

__all__ = ["RULES", "Selection", "audit_candidates", "audit_pseudo_labels"]
