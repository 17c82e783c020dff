"""What a terminal shows of a notebook that runs headless: its cells, below them the stage's bar.

A log file gets whole lines, one a minute. Imports `parallel.progress`.
"""

import io
import re
import sys
import time
from contextlib import suppress
from typing import Any

from tqdm import tqdm
from tqdm.utils import disp_trim

from meiju_utils.parallel.progress import COLUMNS, EVERY_S, LOG_EVERY_S, is_terminal

_BAR = re.compile(r"^[^|]+: +\d+%\|.*\| \d+/\d+ \[.*\]?\s*$")


class Watch(io.TextIOBase):
    """Takes what the cells of a notebook print, as they print it; a context manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.moves = is_terminal(sys.stderr)
        self.began = time.monotonic()
        self.shown = float("-inf")
        self.line: Any = None
        if self.moves:
            self.line = tqdm(
                position=1, bar_format="{desc}", leave=False, ncols=COLUMNS, file=sys.stderr
            )

    def bar_of_cells(self) -> dict[str, Any]:
        """papermill's options for its own bar: none in a log file."""
        return {"desc": f"{self.name:<28}", "ncols": COLUMNS, "disable": not self.moves}

    def write(self, text: str) -> int:
        """Show the last state of a bar that is in the text; what else is printed is not shown."""
        states = [part for part in re.split(r"[\r\n]", text) if _BAR.match(part)]
        if states and time.monotonic() - self.shown >= (EVERY_S if self.moves else LOG_EVERY_S):
            self.shown = time.monotonic()
            self._show(states[-1].strip())
        return len(text)

    def cell_begins(self) -> None:
        """The bar of the cell before is no longer of interest."""
        if self.moves:
            self.shown = float("-inf")
            self._show("")

    def __exit__(self, *raised: object) -> None:
        if self.moves:
            self.line.close()
            # papermill's bar is closed before, so that the cursor stands on this very line
            _tell(f"\r{'':{COLUMNS}}\r", end="")
        elif raised[0] is None:
            _tell(f"{self.name:<28}: done in {time.monotonic() - self.began:.0f} s")

    def _show(self, state: str) -> None:
        if self.moves:
            self.line.set_description_str(disp_trim(state, COLUMNS))
        else:
            _tell(disp_trim(f"{self.name[:2]} {state}", COLUMNS))


def _tell(text: str, end: str = "\n") -> None:
    with suppress(OSError, ValueError):  # the terminal is gone; the work is not
        print(text, end=end, file=sys.stderr, flush=True)
