"""A glimpse of every clip, looked at once: kept in a file until the clip's own file changes.

Imports `fingerprints`, `files`, `parallel`, `config`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from meiju_utils.config import Parallel
from meiju_utils.corpus.fingerprints import VERSION, Glimpse, look_at
from meiju_utils.files import atomic_path, listing
from meiju_utils.parallel import map_items


def look_at_all(
    clip_ids: Sequence[str],
    paths: Sequence[Path],
    deep: bool,
    parallel: Parallel,
    cache: Path | None = None,
) -> list[Glimpse]:
    """Glimpses of clips in their order; those whose file is as it was come from the folder `cache`.

    A clip whose look fails has a glimpse with that fault, and is looked at again the next time.
    """
    kept = cache / f"glimpses-{VERSION}{'' if deep else '-quick'}.parquet" if cache else None
    names = [f"{path} {listing(path)}" if path.is_file() else "" for path in paths]
    known = _read(kept) if kept else {}
    new = [index for index, name in enumerate(names) if name not in known]
    mapped = map_items(
        partial(look_at, deep=deep),
        [paths[index] for index in new],
        [clip_ids[index] for index in new],
        parallel,
        "Opening clips",
    )
    found = {
        names[index]: glimpse
        for index, glimpse in zip(new, mapped.results, strict=True)
        if glimpse is not None and names[index]
    }
    if kept and found:
        _write(kept, {name: (known | found)[name] for name in names if name in known | found})
    seen = dict(zip(new, mapped.results, strict=True))
    reasons = {failure.name: failure.reason for failure in mapped.failures}
    return [
        known.get(name) or seen.get(index) or Glimpse(fault=reasons[clip_id])
        for index, (name, clip_id) in enumerate(zip(names, clip_ids, strict=True))
    ]


def _write(path: Path, glimpses: dict[str, Glimpse]) -> None:
    rows = [
        (
            name,
            g.fault,
            "\n".join(g.remarks),
            g.digest,
            g.sound.tobytes(),
            g.pictures.tobytes(),
            g.picture_s,
        )
        for name, g in glimpses.items()
    ]
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=_COLUMNS).to_parquet(temporary, index=False)


def _read(path: Path) -> dict[str, Glimpse]:
    """By path and stamp; nothing where there is no such file or it is damaged."""
    try:
        rows = pd.read_parquet(path, columns=_COLUMNS)
    except (OSError, ValueError):
        return {}
    return {
        name: Glimpse(
            fault,
            tuple(remarks.split("\n")) if remarks else (),
            digest,
            np.frombuffer(sound, np.uint16),
            np.frombuffer(pictures, np.uint64),
            picture_s,
        )
        for name, fault, remarks, digest, sound, pictures, picture_s in rows.itertuples(index=False)
    }


_COLUMNS = ["name", "fault", "remarks", "digest", "sound", "pictures", "picture_s"]
