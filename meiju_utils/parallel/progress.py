"""One line that moves: how much of a stage is done, at which rate, how long it still takes.

In a notebook it is a line of the cell's output, in a terminal one below what was printed, in a log
file a new line a minute. Imports nothing of the package.
"""

import shutil
import sys
import time
from typing import TextIO

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

COLUMNS = 79  # a terminal of 80 breaks no line of so many
DESCRIBED = 30  # columns of a description, so that there is room for figures
EVERY_S = 1.0  # between two states of a line that moves
LOG_EVERY_S = 60.0  # between two lines of a log


class Progress:
    """The progress of `total` units of work; a context manager, closed with its last state."""

    def __init__(self, total: int, description: str, unit: str) -> None:
        self.total, self.unit = total, unit
        self.description = disp_trim(description, DESCRIBED)
        self.stream: TextIO | None = sys.stdout if in_notebook() else sys.stderr
        self.moves = in_notebook() or is_terminal(self.stream)
        self.columns = COLUMNS - 3  # the log of a headless run puts the notebook's number before
        if not in_notebook():
            self.columns = min(COLUMNS, max(40, shutil.get_terminal_size().columns - 1))
        self.done = 0
        self.said = ""
        self.began = self.shown = time.monotonic()
        self._show()

    def update(self, count: int, said: str = "") -> None:
        """`count` more units are done; `said` stands at the end of the line."""
        self.done += count
        self.said = said or self.said
        if time.monotonic() - self.shown >= (EVERY_S if self.moves else LOG_EVERY_S):
            self._show()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._show(end="\n")

    def __str__(self) -> str:
        elapsed = time.monotonic() - self.began
        line: str = tqdm.format_meter(
            self.done,
            self.total,
            elapsed,
            ncols=self.columns,
            ascii=not self._has_blocks(),
            prefix=self.description,
            unit=self.unit,
            postfix=self.said or None,
        )
        return line

    def _has_blocks(self) -> bool:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return encoding.lower().replace("-", "").startswith("utf")

    def _show(self, end: str = "") -> None:
        self.shown = time.monotonic()
        if self.stream is None:
            return
        line = str(self)
        rest = " " * (self.columns - disp_len(line))
        try:
            self.stream.write(f"\r{line}{rest}{end}" if self.moves else f"{line}\n")
            self.stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the work is not
            self.stream = None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody watches what is written there; a closed or lost one is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython(), "kernel") if ipython else False
