"""Text for a terminal: paragraphs and lists of 80 columns, of which Chinese letters take two each.

Imports nothing of the package.
"""

import re
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

WIDTH = 80


def wrap(text: str, first: str = "", rest: str = "") -> str:
    """A line of text as lines that fit, `first` before the first and `rest` before the others.

    Broken between words; within one only where it fits no line of its own.
    """
    lines, line = [], first
    empty = True  # has the line but what stands before it?
    for piece in re.findall(r"\S+|\s+", text.strip()):
        if not piece.strip():
            line += piece if not empty else ""
            continue
        if columns(line + piece) > WIDTH and not empty:
            lines.append(line.rstrip())
            line = rest
        for letter in piece:
            if columns(line + letter) > WIDTH:
                lines.append(line)
                line = rest
            line += letter
        empty = False
    return "\n".join([*lines, line.rstrip()])


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text
    )


def bullets(title: str, texts: Sequence[str]) -> list[str]:
    """A paragraph of list items, or nothing where there are none."""
    items = [wrap(line, "  - ", "    ") for text in texts for line in text.splitlines()]
    return ["\n".join([title, *items])] if items else []
