"""Which video is which clip's? By its file's name, wherever below the split's folder it lies.

Imports `listing`, `lists`, `errors` only.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from meiju_utils.corpus.listing import FolderListing
from meiju_utils.corpus.lists import VIDEO_SUFFIXES, clip_id_of
from meiju_utils.errors import CorpusError


@dataclass
class Videos:
    """Clip id → path of a split's videos; paths are relative to the data folder.

    `doubled` is (clip id, path) of files that go unused because another may be the clip's as well;
    `faults` are names that cannot be those of clips.
    """

    paths: dict[str, str] = field(default_factory=dict)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def is_video(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES)


def find_videos(
    listing: FolderListing, folders: Iterable[str], skipped: Collection[str], deeper: bool
) -> Videos:
    """The videos lying in folders and, where `deeper` or where they hold none, further down.

    One in the folders themselves comes before one further down, a `.mp4` before another kind; of
    several further down with one name none is taken. `skipped` are paths of folders not to enter.
    """
    found = Videos()
    places = list(dict.fromkeys(folders))
    near = [path for place in places for path in _videos_in(listing, place)]
    for path in sorted(near, key=lambda path: not path.lower().endswith(VIDEO_SUFFIXES[0])):
        if clip_id := _clip_id(path, found):
            if clip_id in found.paths:
                found.doubled.append((clip_id, path))
            else:
                found.paths[clip_id] = path
    if near and not deeper:
        return found
    below: dict[str, list[str]] = {}
    entered = {*places, *skipped}
    for place in places:
        for path in _videos_below(listing, place, entered):
            if clip_id := _clip_id(path, found):
                below.setdefault(clip_id, []).append(path)
    for clip_id, paths in below.items():
        if clip_id in found.paths:
            continue
        if len(paths) > 1:
            found.doubled += [(clip_id, path) for path in paths]
        else:
            found.paths[clip_id] = paths[0]
    return found


def match_videos(videos: Mapping[str, str], clip_ids: Collection[str]) -> dict[str, str]:
    """Clip id → its video: the one of its name, else the only one whose name differs in case."""
    matched = {clip_id: videos[clip_id] for clip_id in clip_ids if clip_id in videos}
    spare = _by_fold(clip_id for clip_id in videos if clip_id not in matched)
    wanting = _by_fold(clip_id for clip_id in clip_ids if clip_id not in matched)
    for name, wanted in wanting.items():
        offered = spare.get(name, [])
        if len(wanted) == len(offered) == 1:
            matched[wanted[0]] = videos[offered[0]]
    return matched


def _by_fold(clip_ids: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        groups.setdefault(clip_id.casefold(), []).append(clip_id)
    return groups


def _videos_in(listing: FolderListing, folder: str) -> list[str]:
    paths = (join(folder, name) for name in listing.names(folder) if is_video(name))
    return [path for path in paths if path in listing.files]


def _videos_below(listing: FolderListing, folder: str, entered: set[str]) -> list[str]:
    """Those in folders further down that were not entered yet."""
    found = []
    for name in listing.names(folder):
        path = join(folder, name)
        if path in listing.folders and path not in entered:
            entered.add(path)
            found += _videos_in(listing, path) + _videos_below(listing, path, entered)
    return found


def _clip_id(path: str, found: Videos) -> str:
    try:
        return clip_id_of(path.rpartition("/")[2])
    except CorpusError as error:
        found.faults.append(f"{path}: {error}")
        return ""


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
