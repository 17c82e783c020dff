"""Which recordings of a corpus lie in another folder as well, under what names?

Imports `duplicates`, `glimpses`, `listing`, `own`, `videos`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meiju_utils.challenge import Language
from meiju_utils.config import Parallel
from meiju_utils.corpus.duplicates import find_duplicates
from meiju_utils.corpus.fingerprints import Glimpse
from meiju_utils.corpus.glimpses import look_at_all
from meiju_utils.corpus.listing import Stamp, list_folder
from meiju_utils.corpus.own import clips_and_parts
from meiju_utils.corpus.settling import is_own
from meiju_utils.corpus.videos import is_video
from meiju_utils.errors import CorpusError
from meiju_utils.files import fingerprint
from meiju_utils.media.reading import Part

OTHER = "other"  # stands for a split


@dataclass(frozen=True)
class Filmed:
    """Clips with a readable video: ids and splits, each one's video and part, and what was seen."""

    root: Path
    clips: pd.DataFrame
    videos: Mapping[str, tuple[str, Part]]
    stamps: Mapping[str, Stamp]
    glimpses: Mapping[str, Glimpse]

    def copies(self, other: "Filmed | None" = None) -> pd.DataFrame:
        """Pairs of clips, of both if another is given, that hold one recording (see
        `find_duplicates`)."""
        every = [self, *([other] if other else [])]
        rows = [
            (one, clip_id, split)
            for one in every
            for clip_id, split in one.clips[["clip_id", "split"]].itertuples(index=False, name=None)
        ]
        videos = [one.videos[clip_id] for one, clip_id, _ in rows]
        return find_duplicates(
            pd.DataFrame([row[1:] for row in rows], columns=["clip_id", "split"]),
            [one.root / video for (one, *_), (video, _) in zip(rows, videos, strict=True)],
            [one.stamps[video][0] for (one, *_), (video, _) in zip(rows, videos, strict=True)],
            [one.glimpses[clip_id] for one, clip_id, _ in rows],
            [part for _, part in videos],
        )


def find_shared(
    ours: Filmed,
    folder: Path,
    language: Language,
    deep: bool,
    parallel: Parallel,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Recordings that also lie in `folder`: clip_id, split, other_id, kind, sound_bits,
    picture_bits.

    `folder` may be a release, hold clips of one's own with their table, or just videos, whose ids
    are then their names. What was seen of its clips is kept below `cache`, if given. CorpusError
    where it is not there, holds no video or is the corpus' own.
    """
    if not folder.is_dir():
        raise CorpusError(f"No folder {folder} to compare with.")
    if folder.resolve() == ours.root.resolve():
        raise CorpusError(f"{folder} is the data folder itself: give another to compare with.")
    listing = list_folder(folder)
    if is_own(folder):
        videos = clips_and_parts(folder, listing, language)
    else:
        paths = sorted(path for path in listing.files if is_video(path))
        videos = {clip_id: (path, Part()) for clip_id, path in zip(_ids(paths), paths, strict=True)}
    if not videos:
        raise CorpusError(f"{folder} holds no video: there is nothing to compare with.")
    stamps = {video: listing.files[video] for video, _ in videos.values()}
    kept = cache / f"against-{fingerprint(str(folder.resolve()))}" if cache else None
    glimpses = look_at_all(folder, videos, stamps, deep, parallel, kept)
    readable = [clip_id for clip_id in videos if not glimpses[clip_id].fault]
    clips = pd.DataFrame({"clip_id": pd.Series(readable, dtype="str")}).assign(split=OTHER)
    theirs = Filmed(folder, clips, videos, stamps, glimpses)
    found = ours.copies(theirs)
    shared = found[(found["split_a"] != OTHER) & (found["split_b"] == OTHER)]
    names = {"clip_a": "clip_id", "split_a": "split", "clip_b": "other_id"}
    columns = ["clip_id", "split", "other_id", "kind", "sound_bits", "picture_bits"]
    return shared.rename(columns=names)[columns].reset_index(drop=True)


def _ids(paths: list[str]) -> list[str]:
    """A video's name without its suffix; its path, where several bear that name."""
    stems = [Path(path).stem for path in paths]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]
