"""What a check of a submission found, and how it is told.

Imports `errors` only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from meiju_utils.errors import SubmissionError

# Above this many faults of one kind, a message shows the first few and names the others' lines.
_SHOWN = 5


@dataclass(frozen=True)
class Fault:
    """One thing wrong: its kind, the line (1 is the header; None: the whole file), the remedy."""

    kind: str
    message: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.message}. {self.remedy}"


@dataclass(frozen=True)
class SubmissionCheck:
    """What was found in a submission; `faults` make it invalid, `warnings` make it doubtful."""

    name: str
    rows: int
    expected_rows: int
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        return not self.faults

    def table(self) -> pd.DataFrame:
        """Every fault and warning as a row: severity, line (<NA>: whole file), kind, ..."""
        rows = [
            (severity, fault.line, fault.kind, fault.message, fault.remedy)
            for severity, found in (("fault", self.faults), ("warning", self.warnings))
            for fault in found
        ]
        table = pd.DataFrame(rows, columns=["severity", "line", "kind", "message", "remedy"])
        return table.astype({"line": "Int64"})

    def raise_if_invalid(self) -> None:
        """SubmissionError listing all faults, where there are any."""
        if self.faults:
            raise SubmissionError(str(self))

    def __str__(self) -> str:
        verdict = (
            f"valid, {self.rows} rows"
            if self.ok
            else f"invalid, {len(self.faults)} fault{'s' if len(self.faults) > 1 else ''} "
            f"({self.rows} rows, {self.expected_rows} expected)"
        )
        lines = [f"{self.name}: {verdict}"]
        lines += [f"  - {text}" for text in _grouped(self.faults)]
        lines += [f"  - warning: {text}" for text in _grouped(self.warnings)]
        return "\n".join(lines)


@dataclass
class Findings:
    """Faults and warnings as a check goes along."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, kind: str, message: str, remedy: str, line: int | None = None) -> None:
        self.faults.append(Fault(kind, message, remedy, line))

    def warn(self, kind: str, message: str, remedy: str, line: int | None = None) -> None:
        self.warnings.append(Fault(kind, message, remedy, line))


def _grouped(faults: Sequence[Fault]) -> list[str]:
    """Messages for reading: many faults of one kind share a line that names all their lines."""
    counts = Counter(fault.kind for fault in faults)
    shown: Counter[str] = Counter()
    texts = []
    for fault in faults:
        shown[fault.kind] += 1
        if counts[fault.kind] <= _SHOWN or shown[fault.kind] < _SHOWN:
            texts.append(str(fault))
        elif shown[fault.kind] == _SHOWN:
            alike = [other for other in faults if other.kind == fault.kind]
            rest = alike[_SHOWN - 1 :]
            lines = [other.line for other in rest if other.line]
            where = f" on lines {_ranges(lines)}" if lines else ""
            texts.append(f"and {len(rest)} more like it ({fault.kind}){where}")
    return texts


def _ranges(lines: list[int]) -> str:
    """[2, 3, 4, 9] → "2–4, 9"."""
    parts: list[list[int]] = []
    for line in sorted(set(lines)):
        if parts and line == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], line]
        else:
            parts.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in parts)
