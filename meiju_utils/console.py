"""The terminal: an encoding that may lack characters, a width that sentences keep to.

Imports nothing of the package.
"""

import codecs
import io
import re
import shutil
import signal
import sys
import textwrap

_ESCAPED = "meiju-escape"
# What must stay on one line to be copied: a command to its line's end, quoted text, a word.
_COMMAND = re.compile(r"(?<!\S)meiju [a-z]")
_QUOTED = re.compile(r"(?<![^\s(])(?:'[^'\n]*'|\"[^\"\n]*\")")
_LEAD = re.compile(r"\s*(?:[-•] )?")


# Signals that end a command in order, those that this system has.
ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interrupted(KeyboardInterrupt):
    """A signal asks to end; `latest` is the last of this process that did, Ctrl-C's if none."""

    latest: int = signal.SIGINT

    def __init__(self, number: int) -> None:
        super().__init__(number)
        Interrupted.latest = number


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)


def heed_signals() -> None:
    """SIGTERM and SIGHUP (a terminal that is closed) end a command as Ctrl-C does, in order; one
    that is ignored, as under nohup, stays so."""
    for number in ENDING:
        if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def tolerate_encoding() -> None:
    """What the console's encoding lacks is printed as `\\uXXXX`; nothing raises.

    So that names can still be told apart, and what is printed as JSON stays JSON.
    """
    codecs.register_error(_ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # UTF-16, as JSON has it: two escapes for a character beyond the first 65 536.
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    escaped = [f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)]
    return "".join(escaped), error.end


def wrapped(text: str, hanging: int = 0) -> str:
    """Sentences in lines of at most the terminal's width (80 where it is not known).

    Lines stay lines, with their indentation; a list's later lines stand below its first, those of
    others `hanging` further in. Neither a word, a path, quoted text nor a command
    (`meiju …` to the end of its line) is broken, however long.
    """
    width = shutil.get_terminal_size().columns
    return "\n".join(_wrapped_line(line, width, hanging) for line in text.split("\n"))


def _wrapped_line(line: str, width: int, hanging: int) -> str:
    if len(line) <= width:
        return line
    lead = _LEAD.match(line)
    indent = lead[0] if lead else ""
    rest = line[len(indent) :]
    command = _COMMAND.search(rest)
    prose, kept = (rest[: command.start()], rest[command.start() :]) if command else (rest, "")
    # textwrap knows no pieces with blanks in them: a character that is no blank stands for these.
    whole = _QUOTED.sub(lambda found: found[0].replace(" ", "\0"), prose)
    lines = textwrap.wrap(
        whole + kept.replace(" ", "\0"),
        width,
        initial_indent=indent,
        subsequent_indent=" " * (len(indent) + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ")


def literal(text: str) -> str:
    """Text that may hold data (names, subtitles), without control characters but line ends."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
