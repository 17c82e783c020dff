"""The errors a user can meet. Each message names what was wrong, what was expected, what to do.

Imports nothing of the package.
"""

import difflib
from bisect import bisect
from collections.abc import Iterable, Sequence

MANY = 500  # names that difflib compares with a value in some 10 ms
NEAR = 50  # names on each side of a value in sorted order that may be what was meant


class MeijuError(Exception):
    """Base of every error the package raises on purpose.

    The message says what to do, so that a notebook shows it alone, without the package's frames.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(MeijuError):
    """An unknown or ill-typed key of a profile, an override or a notebook parameter."""


class CorpusError(MeijuError):
    """The challenge folder is missing, contradictory or unsound."""


class MediaError(MeijuError):
    """One clip cannot be decoded or holds nothing usable; it goes to the problems table."""


class DamagedError(MeijuError):
    """A file of the run folder is not what was written: its checksum or its form is wrong."""


class MachineError(MeijuError):
    """The machine lacks something: room on a disk, permission to write, shared memory."""


class BusyError(MeijuError):
    """Another process is writing the run folder."""


class MissingStageError(MeijuError):
    """A notebook needs what an earlier one writes, and it is not there."""


class FeatureError(MeijuError):
    """Embeddings are missing, of the wrong shape, not finite, or from other settings."""


class TrainingError(MeijuError):
    """A training cannot start or diverged."""


class PredictionError(MeijuError):
    """A table of predictions, targets or answers is not what it must be."""


class BundleError(MeijuError):
    """A bundle is damaged, was changed, is newer than this package, or is none."""


class SubmissionError(MeijuError):
    """A submission would be rejected or scored wrongly by the challenge."""


def nearest(value: str, valid: Iterable[str]) -> str:
    """A hint for a message: the nearest valid name, and all of them where they are few."""
    names = sorted(valid)
    candidates = names if len(names) <= MANY else _neighbours(value, names)
    close = difflib.get_close_matches(value, candidates, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
    return f"{hint}Valid: {listed}."


def _neighbours(value: str, names: Sequence[str]) -> list[str]:
    """Of sorted names those that begin most like a value, and those that end most like it.

    To compare a value with all of 45 000 clip ids takes seconds.
    """
    backwards = sorted(name[::-1] for name in names)
    ending = [name[::-1] for name in _around(value[::-1], backwards)]
    return sorted({*_around(value, names), *ending})


def _around(value: str, names: Sequence[str]) -> Sequence[str]:
    place = bisect(names, value)
    return names[max(place - NEAR, 0) : place + NEAR]
