"""Where do the release's folders and files lie? Finds them under every spelling seen in the wild.

It looks at a listing of the data folder, not at the disk. Imports `challenge`, `errors`,
`listing`, `videos` only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from meiju_utils.challenge import Setting, Split
from meiju_utils.corpus.listing import FolderListing, Stamp, list_folder
from meiju_utils.corpus.videos import find_videos, is_video, join
from meiju_utils.errors import CorpusError

# Split → the release's word for it, in folder and file names.
WORDS: dict[Split, str] = {
    "train": "Training",
    "valid": "Validation",
    "test": "Testing",
    "unlabeled": "NoAnnotation",
}
LANGUAGES = ("mandarin", "english")


@dataclass
class Layout:
    """What lies in one language folder, by split; paths are relative to the data folder.

    `lists` and `tables` may hold several files of one role, in order of precedence; `videos` maps
    a video's name as a clip id to its path. `faults` are things that must stop a run (links that
    leave the data folder), `doubled` is (clip id, path) of files whose clip may have another.
    `searched` are the folders videos were looked for in, `ambiguous` those that may be another
    language's and were not, `foreign` those named after another language or track.
    """

    listing: FolderListing
    language: str
    lists: dict[Split, list[str]] = field(default_factory=dict)
    tables: dict[Split, list[str]] = field(default_factory=dict)
    videos: dict[Split, dict[str, str]] = field(default_factory=dict)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    searched: dict[Split, list[str]] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The data folder."""
        return self.listing.root

    @property
    def folder(self) -> Path:
        """That of the language."""
        return self.root / self.language

    def stamp(self, path: str) -> Stamp | None:
        """Size and time of change of a file; None where it is not there."""
        return self.listing.files.get(path)

    @cached_property
    def all_videos(self) -> list[str]:
        """Every video in the language's folder and in those searched, whosever it is."""
        return self.below({self.language, *(p for own in self.searched.values() for p in own)})

    def below(self, folders: Iterable[str]) -> list[str]:
        """The videos in folders and further down, but for those of another setting."""
        starts, foreign = (
            tuple(f"{folder}/" if folder else "" for folder in places)
            for places in (folders, self.foreign)
        )
        return sorted(
            path
            for path in self.listing.files
            if is_video(path) and path.startswith(starts) and not path.startswith(foreign)
        )

    @property
    def features_only(self) -> bool:
        """There is no video: the corpus is text (and features made elsewhere)."""
        return not self.all_videos


def plain(name: str) -> str:
    """A name without case, spaces, underscores and hyphens, so that spellings compare equal."""
    return re.sub(r"[\s_-]", "", name).casefold()


def find_layout(data_dir: Path, setting: Setting, listing: FolderListing | None = None) -> Layout:
    """Find the setting's files below `data_dir`, in its `listing` (see `listing.list_folder`).

    `data_dir` may be the release's root, the track's or the language's folder, or a folder that
    holds the lists of one setting directly. Raises CorpusError saying what is there instead.
    """
    if not data_dir.is_dir():
        raise CorpusError(
            f"No data folder {data_dir}. Give the folder that holds Track{setting.track}."
        )
    listing = listing or list_folder(data_dir)
    inside = _Inside(listing)
    language = _find_language_folder(inside, setting)
    layout = Layout(listing, language)
    top = [language, *inside.folders([language], "Annotation")]
    for split, word in WORDS.items():
        own = inside.folders(top, word)
        if split == "test":
            own = _testing_folders(layout, inside, setting, language, own)
        layout.searched[split] = own
        places = [*own, *top] if split == "unlabeled" else [*top, *own]
        layout.tables[split] = inside.files(places, _names(setting, f"{word}_transcription", "csv"))
        if split == "unlabeled":  # has no list
            layout.tables[split][:0] = inside.files(own, {"transcription.csv"})
            layout.lists[split] = []
        else:
            names = _names(setting, f"{word}_files", "txt", "csv")
            layout.lists[split] = inside.files(places, names)
    layout.foreign = [path for path in listing.folders if _is_foreign(plain(_name(path)), setting)]
    words = set(map(plain, WORDS.values()))
    others = layout.foreign + [path for path in listing.folders if plain(_name(path)) in words]
    for split, own in layout.searched.items():
        # Without a list any video would be a clip: raw films and copies in subfolders are none.
        videos = find_videos(listing, own, others, deeper=bool(layout.lists[split]))
        layout.videos[split] = videos.paths
        layout.doubled += videos.doubled
        layout.faults += videos.faults
    layout.faults += _unread(layout)
    return layout


def _is_foreign(name: str, setting: Setting) -> bool:
    """Whether a folder's plain name is another language's or track's."""
    track = re.fullmatch(r"track(\d)", name)
    return name in set(LANGUAGES) - {setting.language} or (
        bool(track) and name != f"track{setting.track}"
    )


def _unread(layout: Layout) -> list[str]:
    """What lies where the setting's files are looked for, and was not read: a fault a folder."""
    places = {layout.language, *(place for own in layout.searched.values() for place in own)}

    def concerns(path: str) -> bool:
        inside = any(not place or f"{path}/".startswith(f"{place}/") for place in places)
        above = path.rpartition("/")[0] in _parents(layout.language)
        return inside or (above and plain(_name(path)) == plain(WORDS["test"]))

    faults = []
    for folder, links in layout.listing.outside.items():
        found = [path for name in links if concerns(path := f"{folder}/{name}".lstrip("/"))]
        if found:
            more = f" and {len(found) - 1} more beside it link" if found[1:] else " links"
            faults.append(
                f"{found[0]}{more} to {(layout.root / found[0]).resolve()}, outside the data "
                "folder. Give the folder that holds the files as data_dir, copy them, or set "
                "follow_links: true."
            )
    return faults + [
        f"{path}: {why}; mend it or take it away."
        for path, why in layout.listing.unreadable.items()
        if concerns(path.strip("'"))
    ]


def _testing_folders(
    layout: Layout, inside: "_Inside", setting: Setting, language: str, own: list[str]
) -> list[str]:
    """The test clips came as a download of their own: also `Testing` inside itself or further up.

    Further up it may be either language's, whose clips bear the same names: it is taken where it
    has a folder for the language, or where there is no other language.
    """
    word = WORDS["test"]
    own = [*own, *inside.folders(own, word)]
    if any(is_video(name) for place in own for name in inside.names(place)):
        return own
    above = _parents(language)
    outer = inside.folders(above, word)
    outer += inside.folders(outer, word)
    named = inside.folders(outer, setting.language)
    shared = [track for track in above[:1] if all(inside.folders([track], n) for n in LANGUAGES)]
    if named or not shared:
        return [*own, *(named or outer)]
    layout.ambiguous += outer
    return own


def _parents(folder: str) -> list[str]:
    """The folders above one, nearest first; the last is the data folder itself."""
    parents = [str(parent) for parent in PurePosixPath(folder).parents] if folder else []
    return ["" if parent == "." else parent for parent in parents]


def describe(listing: FolderListing, folder: str, limit: int = 8) -> str:
    """The first names in a folder, for messages that say what is there."""
    names = listing.names(folder)
    listed = ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if names[limit:] else "")
    return f"it holds {listed}" if names else "it is empty"


def _names(setting: Setting, stem: str, *suffixes: str) -> set[str]:
    """Plain forms of a file's names: alone, or prefixed by the setting's track and language."""
    track, language = f"track{setting.track}", setting.language
    return {
        plain(f"{prefix}{stem}.{suffix}")
        for prefix in ("", language, track, track + language)
        for suffix in suffixes
    }


class _Inside:
    """Looks for folders and files in a listing; paths are relative, with slashes."""

    def __init__(self, listing: FolderListing) -> None:
        self.listing = listing
        self.root = listing.root

    def names(self, folder: str) -> list[str]:
        return self.listing.names(folder)

    def folders(self, places: Iterable[str], word: str) -> list[str]:
        return [
            path
            for path in self._paths(places)
            if plain(_name(path)) == plain(word) and path in self.listing.folders
        ]

    def files(self, places: Iterable[str], names: set[str]) -> list[str]:
        return [
            path
            for path in self._paths(places)
            if plain(_name(path)) in names and path in self.listing.files
        ]

    def _paths(self, places: Iterable[str]) -> Iterable[str]:
        return (join(place, name) for place in places for name in self.names(place))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _find_language_folder(inside: _Inside, setting: Setting) -> str:
    root = inside.root
    track, language = f"track{setting.track}", setting.language
    tracks = inside.folders([""], track)
    if tracks:
        found = inside.folders(tracks, language)
        if not found:
            place = root / tracks[0]
            there = describe(inside.listing, tracks[0])
            raise CorpusError(f"No {language.capitalize()} in {place}: {there}.")
    elif _holds_lists(inside):
        found = [""]
    else:
        found = inside.folders([""], language)
    if not found:
        if linked := [n for names in inside.listing.outside.values() for n in names]:
            raise CorpusError(
                f"{root / linked[0]} links to {(root / linked[0]).resolve()}, outside the data "
                "folder; give the folder that holds the files as data_dir, or set follow_links: "
                "true to allow it."
            )
        raise CorpusError(
            f"No Track{setting.track}/{language.capitalize()} in {root}: "
            f"{describe(inside.listing, '')}. "
            f"Give the folder that holds Track{setting.track}, or a profile of another setting."
        )
    if len(found) > 1:
        names = " and ".join(found)
        raise CorpusError(f"{root} holds both {names}; keep one, or give one as data_dir.")
    _refuse_other_setting(root / found[0], setting)
    return found[0]


def _refuse_other_setting(folder: Path, setting: Setting) -> None:
    """A folder given directly may be named after another track or language: never mix them."""
    *_, above, name = ("", "", *map(plain, folder.resolve().parts))
    numbered = above if name in LANGUAGES else name
    other_track = re.fullmatch(r"track\d", numbered) and numbered != f"track{setting.track}"
    if other_track or (name in LANGUAGES and name != setting.language):
        raise CorpusError(
            f"{folder} is named after another setting than {setting.name}; the same clip ids "
            "exist in all settings. Give the folder of the profile's track and language."
        )


def _holds_lists(inside: _Inside) -> bool:
    names = set(map(plain, inside.names("")))
    return bool(names & {"annotation", "training", "trainingfiles.txt"})
