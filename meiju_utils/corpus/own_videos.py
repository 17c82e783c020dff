"""Which video does a row of `clips.csv` mean? By its path, or by its name wherever it lies.

Imports `listing`, `lists`, `own_table`, `splits`, `videos`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from meiju_utils.corpus.listing import FolderListing
from meiju_utils.corpus.lists import VIDEO_SUFFIXES
from meiju_utils.corpus.own_table import OWN_TABLE, OwnRow, like_a_date, shown
from meiju_utils.corpus.splits import Findings
from meiju_utils.corpus.videos import is_video


@dataclass
class VideoFinder:
    """Finds the videos of rows in a folder's listing and remembers what is not there.

    Where the table `has_column` video, a clip whose cell is empty has none; else a clip's video is
    the one of its name.
    """

    listing: FolderListing
    has_column: bool
    _asked: int = 0
    _found: set[str] = field(default_factory=set)
    _missing: list[tuple[str, str]] = field(default_factory=list)  # clip id, what is wrong
    _linked: list[str] = field(default_factory=list)

    def find(self, row: OwnRow, clip_id: str) -> str:
        """The path of a row's video in the folder; "" where it has none, or none that is there."""
        name = row["video"].replace("\\", "/") if self.has_column else clip_id
        if not name:
            return ""
        self._asked += 1
        where = f"{OWN_TABLE}:{row.line}"
        root = f"{self.listing.root.as_posix()}/"
        path = name.removeprefix(root).removeprefix("./")
        if path in self.listing.files:
            self._found.add(path)
            return path
        like = self._by_name.get(path.rpartition("/")[2].casefold(), [])
        if len(like) == 1:
            self._found.add(like[0])
            return like[0]
        if path.rpartition("/")[2] in self._links:
            self._linked.append(path)
        if like:
            why = f"{len(like)} videos bear that name, as {like[0]} and {like[1]}; write the path"
        else:
            why = f"not in the folder; write its path from {OWN_TABLE} on, with the suffix"
        self._missing.append((clip_id, f"{where}: video {shown(name)}: {why}.{like_a_date(name)}"))
        return ""

    def report(self, findings: Findings) -> None:
        """Videos that are missing as problems; as a fault where all of them are."""
        if self._linked:
            findings.faults.append(
                f"{self._linked[0]}{_more(len(self._linked) - 1)} links out of the data folder: "
                "copy the files, or set follow_links: true."
            )
        elif self._asked and not self._found and self.has_column:
            findings.faults.append(
                f"None of {self._asked} videos is in {self.listing.root}. {self._missing[0][1]}"
            )
        elif self._found:
            for clip_id, reason in self._missing:
                findings.problem(clip_id, "absent", reason)
        spare = [path for path in self.listing.files if is_video(path) and path not in self._found]
        if spare:
            findings.problem(
                "", "unlisted", f"{len(spare)} videos are no clip's, as {spare[0]}; not used"
            )

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        """Videos by file name and by that without its suffix, in one case."""
        found: dict[str, list[str]] = {}
        for path in self.listing.files:
            if is_video(path):
                name = path.rpartition("/")[2].casefold()
                found.setdefault(name, []).append(path)
                stem, _, suffix = name.rpartition(".")
                if f".{suffix}" in VIDEO_SUFFIXES:
                    found.setdefault(stem, []).append(path)
        return found

    @cached_property
    def _links(self) -> set[str]:
        return {name for names in self.listing.outside.values() for name in names}


def _more(number: int) -> str:
    return f" and {number} more" if number else ""
