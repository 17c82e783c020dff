"""The user's own transcripts: where corrections.csv may lie, what it says, which one goes unheeded.

Imports `corpus`, `run`, `errors`.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from meiju_utils.challenge import Language
from meiju_utils.corpus.encodings import decode_file
from meiju_utils.corpus.layout import Layout, plain
from meiju_utils.corpus.splits import SHOWN, Findings
from meiju_utils.corpus.tables import parse_table
from meiju_utils.errors import CorpusError, nearest
from meiju_utils.files import from_cell
from meiju_utils.run import CORRECTIONS_NAME, Run


def corrections_folders(run: Run, layout: Layout) -> list[Path]:
    """Where corrections are looked for: the run folder, and beside the setting's lists.

    Not further up in the data folder: the same clip ids stand for other clips in the other
    language.
    """
    lists = {(layout.root / path).parent for paths in layout.lists.values() for path in paths}
    return [run.folder, *sorted({layout.folder, *lists})]


def find_corrections(folders: Sequence[Path]) -> Path | None:
    """The corrections file in the first of the folders that has one.

    Raises CorpusError where two have one, since one of them would go unheeded.
    """
    found = [path for folder in folders if (path := folder / CORRECTIONS_NAME).is_file()]
    if len(found) > 1:
        raise CorpusError(
            f"Two files of corrections: {' and '.join(map(str, found))}. Merge them into one."
        )
    return found[0] if found else None


def stray_corrections(run: Run, layout: Layout) -> list[str]:
    """What looks like corrections but is not read, in the run folder, the data folder, or between.

    As a path below the run or the data folder.
    """
    used = corrections_folders(run, layout)
    stray = []
    for root, inside in ((run.folder, used[:1]), (run.data_dir, used[1:])):
        above = {parent for folder in inside for parent in folder.parents}
        places = [*inside, *(place for place in above if place.is_relative_to(root)), root]
        stray += [
            path.relative_to(root).as_posix()
            for place in sorted(set(places))
            for path in sorted(place.iterdir())
            if "correction" in plain(path.name)
            and path.is_file()
            and not (place in inside and path.name == CORRECTIONS_NAME)
        ]
    return stray


def read_corrections(
    path: Path, clip_ids: Collection[str], language: Language = "mandarin"
) -> dict[str, str]:
    """Clip id → its corrected text, from a CSV with the columns clip_id, text, note.

    The note is the user's own. Raises CorpusError, with the line, for doubled ids, for rows
    without a text, for clips that are not among `clip_ids`, and for what is no such table.
    """
    text = decode_file(path, path.name, language)
    listing = parse_table(text, path.name, required=("text",))
    told = listing.entries  # ids as they stand in a spreadsheet, too
    entries = {c if c in clip_ids else from_cell(c): entry for c, entry in told.items()}
    listing = replace(listing, entries=entries)
    findings = Findings()
    findings.fault_each(listing.faults, path.name)
    unknown = [clip_id for clip_id in listing.entries if clip_id not in clip_ids]
    findings.fault_each(
        [
            f"{listing.where(clip_id)}: no clip {clip_id} in this setting"
            f"{_hint(clip_id, clip_ids) if place < SHOWN else ''}."
            for place, clip_id in enumerate(unknown)
        ],
        path.name,
    )
    findings.fault_each(
        [
            f"{listing.where(clip_id)}: {clip_id} has no text; give it or drop the row."
            for clip_id, entry in listing.entries.items()
            if clip_id in clip_ids and not entry.text
        ],
        path.name,
    )
    if findings.faults:
        raise CorpusError(
            f"{path} cannot be used; expected the columns clip_id, text, note, each clip at most "
            "once and with a text:\n" + "\n".join(f"  - {fault}" for fault in findings.faults)
        )
    # as it stands in a spreadsheet
    return {clip_id: from_cell(entry.text) for clip_id, entry in listing.entries.items()}


def _hint(clip_id: str, clip_ids: Collection[str]) -> str:
    close = nearest(clip_id, clip_ids).split("?")[0]
    return f" ({close}?)" if close.startswith("did you mean") else ""
