"""What the last full campaign found, as docs/faults.md: the work of `make faults`.

python -m tests.faults.report RECORD TARGET
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from meiju_utils.files import write_text
from meiju_utils.references import revision

HEAD = """# Faults, and what becomes of them

Written by `make faults` (revision {revision}, {date}): {total} faults were made on purpose in a
small run of real clips. A fault counts as dealt with where nothing wrong was used, nobody was left
behind, and the run afterwards came to the same bits as one that nothing had happened to.

| where | fault | what happens | what is lost | tried |
|---|---|---|---|---|
"""


def table(lines: list[str]) -> str:
    """Markdown of the rows, those of one fault added up."""
    rows: dict[tuple[str, ...], int] = {}
    for line in lines:
        row = json.loads(line)
        key = tuple(row[name] for name in ("area", "fault", "happens", "lost"))
        rows[key] = rows.get(key, 0) + row["times"]
    told = HEAD.format(
        revision=revision(), date=f"{datetime.now(UTC):%Y-%m-%d}", total=sum(rows.values())
    )
    return told + "".join(f"| {' | '.join(key)} | {times} |\n" for key, times in rows.items())


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    write_text(target, table(source.read_text(encoding="utf-8").splitlines()))
