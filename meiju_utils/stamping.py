"""Is an artefact of other code still what the present code makes? Then it is stamped anew.

Where remaking is dear, only a few items of an artefact are made again and compared. Those that use
the artefact go by its identity, which it keeps as long as it is equal: nothing is made anew behind
it because of a change of code that changes nothing. Imports `files` only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from meiju_utils.files import fingerprint

Item = TypeVar("Item")
COMPARED = 3  # items made again: the first, the last and one between


@dataclass(frozen=True)
class Stamp:
    """What an artefact was made from, as its record keeps it (`asdict`, `stamp_in`).

    settings: key of all settings, without code. code: key of the code that makes it, or would make
    the same. identity: what those that use it know it by, made once and never changed.
    """

    settings: str
    code: str
    identity: str


def stamp_in(record: Mapping[str, Any]) -> Stamp:
    """The stamp in a record; what the record lacks is "", which is like no present code."""
    return Stamp(*(str(record.get(name, "")) for name in ("settings", "code", "identity")))


def renewed(
    kept: Sequence[Stamp], settings: str, code: str, equal: Callable[[Stamp], bool]
) -> Stamp:
    """The stamp to go on with, of artefacts `kept` (the latest last) or of a new one.

    An artefact of these settings and this code is taken as it is. One of these settings and other
    code is asked about, the latest first: `equal` makes a few of its items again (see
    `spread_over`) and compares; where they are equal, its stamp is returned with the present code
    and its own identity, for the caller to write into its record. Otherwise the stamp is new, with
    an identity that none of those kept has: the artefact is to be made.
    """
    like = [stamp for stamp in reversed(kept) if stamp.settings == settings]
    for stamp in like:
        if stamp.code == code:
            return stamp
    taken = {stamp.identity for stamp in kept}
    identities = (fingerprint(settings, code, *again) for again in _counting())
    new = next(identity for identity in identities if identity not in taken)
    for stamp in like:
        if equal(stamp):
            return Stamp(settings, code, stamp.identity or new)
    return Stamp(settings, code, new)


def spread_over(items: Sequence[Item], count: int = COMPARED) -> list[Item]:
    """Some of the items, evenly spread from the first to the last; all where they are few."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _counting() -> Iterable[tuple[int, ...]]:
    yield ()
    number = 2
    while True:
        yield (number,)
        number += 1
