"""Where do the release's folders and files lie? Finds them under every spelling seen in the wild.

Nothing outside the data folder is followed. Imports `challenge`, `errors`, `lists` only.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from meiju_utils.challenge import Setting, Split
from meiju_utils.corpus.lists import VIDEO_SUFFIX, clip_id_of
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
    clip id to path. `faults` are things that must stop a run (links that leave the data folder),
    `doubled` is (clip id, path) of files whose clip already has a file. `searched` are the folders
    videos were looked for in, `ambiguous` those that may be another language's and were not.
    """

    root: Path
    folder: Path
    lists: dict[Split, list[str]] = field(default_factory=dict)
    tables: dict[Split, list[str]] = field(default_factory=dict)
    videos: dict[Split, dict[str, str]] = field(default_factory=dict)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    searched: dict[Split, list[str]] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def listing(self):
        from types import SimpleNamespace

        from meiju_utils.files import listing

        return SimpleNamespace(files={n: (s, t) for n, s, t in listing(self.root)})

    @property
    def features_only(self) -> bool:
        """No clip has a video: the corpus is text (and features made elsewhere)."""
        return not any(self.videos.values())


def plain(name: str) -> str:
    """A name without case, spaces, underscores and hyphens, so that spellings compare equal."""
    return re.sub(r"[\s_-]", "", name).casefold()


def find_layout(data_dir: Path, setting: Setting) -> Layout:
    """Find the setting's files below `data_dir`.

    `data_dir` may be the release's root, the track's or the language's folder, or a folder that
    holds the lists of one setting directly. Raises CorpusError saying what is there instead.
    """
    layout = Layout(data_dir, _find_language_folder(data_dir, setting))
    inside = _Inside(data_dir.resolve(), layout)
    top = [layout.folder, *inside.folders([layout.folder], "Annotation")]
    for split, word in WORDS.items():
        own = inside.folders(top, word)
        if split == "test":
            own = _testing_folders(layout, inside, setting, own)
        layout.searched[split] = [inside.relative(place) for place in own]
        places = [*own, *top] if split == "unlabeled" else [*top, *own]
        layout.tables[split] = inside.files(places, _names(setting, f"{word}_transcription", "csv"))
        if split == "unlabeled":  # has no list
            layout.tables[split][:0] = inside.files(own, {"transcription.csv"})
            layout.lists[split] = []
        else:
            names = _names(setting, f"{word}_files", "txt", "csv")
            layout.lists[split] = inside.files(places, names)
        layout.videos[split] = inside.videos(own)
    return layout


def _testing_folders(
    layout: Layout, inside: "_Inside", setting: Setting, own: list[Path]
) -> list[Path]:
    """The test clips came as a download of their own: also `Testing` inside itself or further up.

    Further up it may be either language's, whose clips bear the same names: it is taken where it
    has a folder for the language, or where there is no other language.
    """
    word = WORDS["test"]
    own = [*own, *inside.folders(own, word)]
    if any(path.suffix.lower() == VIDEO_SUFFIX for place in own for path in inside.entries(place)):
        return own
    above = [folder for folder in layout.folder.parents if folder.is_relative_to(layout.root)]
    outer = inside.folders(above, word)
    outer += inside.folders(outer, word)
    named = inside.folders(outer, setting.language)
    shared = [track for track in above[:1] if all(_subfolders(track, name) for name in LANGUAGES)]
    if named or not shared:
        return [*own, *(named or outer)]
    layout.ambiguous += [inside.relative(folder) for folder in outer]
    return own


def describe(folder: Path, limit: int = 8) -> str:
    """The first names in a folder, for messages that say what is there."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
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
    """Looks into folders, once each, and never through a link that leaves the data folder."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        self.seen: dict[Path, list[Path]] = {}

    def entries(self, folder: Path) -> list[Path]:
        """What a folder holds, by name, without hidden files."""
        if folder not in self.seen:
            kept = []
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                path = folder / entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink() and not path.resolve().is_relative_to(self.root):
                    self.layout.faults.append(
                        f"{self.relative(path)} links to {path.resolve()}, outside the data "
                        "folder; give the folder that holds the files as data_dir, or copy them."
                    )
                    continue
                kept.append(path)
            self.seen[folder] = kept
        return self.seen[folder]

    def folders(self, places: Iterable[Path], word: str) -> list[Path]:
        return [
            path
            for place in places
            for path in self.entries(place)
            if plain(path.name) == plain(word) and path.is_dir()
        ]

    def files(self, places: Iterable[Path], names: set[str]) -> list[str]:
        return [
            self.relative(path)
            for place in places
            for path in self.entries(place)
            if plain(path.name) in names and path.is_file()
        ]

    def videos(self, places: Iterable[Path]) -> dict[str, str]:
        """Clip id → path of the clips lying in folders."""
        found: dict[str, str] = {}
        for place in places:
            for path in self.entries(place):
                if path.suffix.lower() != VIDEO_SUFFIX or not path.is_file():
                    continue
                try:
                    clip_id = clip_id_of(path.name)
                except CorpusError as error:
                    self.layout.faults.append(f"{self.relative(path)}: {error}")
                    continue
                if clip_id in found:
                    self.layout.doubled.append((clip_id, self.relative(path)))
                else:
                    found[clip_id] = self.relative(path)
        return found

    def relative(self, path: Path) -> str:
        return path.relative_to(self.layout.root).as_posix()


def _find_language_folder(data_dir: Path, setting: Setting) -> Path:
    if not data_dir.is_dir():
        raise CorpusError(
            f"No data folder {data_dir}. Give the folder that holds Track{setting.track}."
        )
    track, language = f"track{setting.track}", setting.language
    tracks = _subfolders(data_dir, track)
    if tracks:
        found = [folder for t in tracks for folder in _subfolders(t, language)]
        if not found:
            raise CorpusError(f"No {language.capitalize()} in {tracks[0]}: {describe(tracks[0])}.")
    elif _holds_lists(data_dir):
        found = [data_dir]
    else:
        found = _subfolders(data_dir, language)
    if not found:
        raise CorpusError(
            f"No Track{setting.track}/{language.capitalize()} in {data_dir}: {describe(data_dir)}. "
            f"Give the folder that holds Track{setting.track}, or a profile of another setting."
        )
    if len(found) > 1:
        names = " and ".join(str(folder.relative_to(data_dir)) for folder in found)
        raise CorpusError(f"{data_dir} holds both {names}; keep one, or give one as data_dir.")
    folder = found[0]
    if not folder.resolve().is_relative_to(data_dir.resolve()):
        raise CorpusError(
            f"{folder} links to {folder.resolve()}, outside the data folder; give the folder that "
            "holds the files as data_dir."
        )
    _refuse_other_setting(folder, setting)
    return folder


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


def _subfolders(folder: Path, name: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and plain(path.name) == name)


def _holds_lists(folder: Path) -> bool:
    names = {plain(path.name) for path in folder.iterdir()}
    return bool(names & {"annotation", "training", "trainingfiles.txt"})
