"""From answers to what is handed in: check, files, ledger."""

from meiju_utils.submission.ledger import read_ledger, record_submission, remaining
from meiju_utils.submission.writer import publish_submission

__all__ = ["publish_submission", "read_ledger", "record_submission", "remaining"]
