"""Which clips make up a split, and what do its files say of them? Joins lists, tables and videos.

Blemishes become problems, contradictions faults; both are collected. Imports `encodings`,
`layout`, `lists`, `tables`, `videos`, `challenge`, `errors` only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from meiju_utils.challenge import TASKS, Setting, Split
from meiju_utils.corpus.encodings import damage, decode_file
from meiju_utils.corpus.layout import WORDS, Layout, describe
from meiju_utils.corpus.lists import TABLE_SUFFIX, Listing, parse_list
from meiju_utils.corpus.tables import parse_table
from meiju_utils.corpus.videos import match_videos
from meiju_utils.errors import CorpusError

STAGE = "corpus"
SHOWN = 5  # faults of one file, ids of one fault: the first few tell the kind


@dataclass
class Findings:
    """What was found amiss: `problems` (clip_id, stage, problem, reason) that a run survives,
    with clip_id "" where a whole split is meant, and `faults` that must stop it."""

    problems: list[tuple[str, str, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def problem(self, clip_id: str, problem: str, reason: str) -> None:
        self.problems.append((clip_id, STAGE, problem, reason))

    def fault_each(self, messages: Sequence[str], source: str) -> None:
        """The first few faults of a file, and how many more there are."""
        self.faults.extend(messages[:SHOWN])
        if len(messages) > SHOWN:
            self.faults.append(f"{source}: {len(messages) - SHOWN} more faults of this kind.")


@dataclass(frozen=True)
class Clip:
    """One clip as all its files together describe it; "" where nothing does."""

    clip_id: str
    split: Split
    video: str
    text: str
    emotion: str
    intent: str


def first_few(clip_ids: Sequence[str]) -> str:
    return ", ".join(clip_ids[:SHOWN]) + (", …" if len(clip_ids) > SHOWN else "")


def read_split(layout: Layout, setting: Setting, split: Split, findings: Findings) -> list[Clip]:
    """All clips of a split, in the order of its list."""
    lists, tables = (
        [_read(layout, path, setting, split, findings) for path in paths[split]]
        for paths in (layout.lists, layout.tables)
    )
    plain = [listing for listing in lists if not listing.is_table]
    if plain:  # then a list in CSV form beside it is one more transcript, and may have gaps as such
        tables += [listing for listing in lists if listing.is_table]
        lists = plain
    clip_ids = _members(layout, split, lists, tables, findings)
    told = [*tables, *lists]
    if clip_ids:
        _check_tables(layout, split, clip_ids, tables, findings)
    if split != "unlabeled":
        _check_track(setting, split, clip_ids, findings)
    labels = _labels(clip_ids, told, findings)
    texts = _texts(clip_ids, told, findings)
    videos = match_videos(layout.videos[split], clip_ids)
    clips = [
        Clip(clip_id, split, videos.get(clip_id, ""), texts.get(clip_id, ""), *labels[clip_id])
        for clip_id in clip_ids
    ]
    _note_gaps(layout, split, clips, lists, findings)
    return clips


def _read(
    layout: Layout, relative: str, setting: Setting, split: Split, findings: Findings
) -> Listing:
    path = layout.root / relative
    source = path.relative_to(layout.folder).as_posix()
    try:
        text = decode_file(path, source, setting.language)
    except CorpusError as error:
        listing = Listing(source, {}, [str(error)])
    else:
        listing = (
            parse_table(text, source, headless=split == "unlabeled")
            if path.suffix.lower() == TABLE_SUFFIX
            else parse_list(text, source, labelled=split in ("train", "valid"))
        )
    findings.fault_each(listing.faults, source)
    return listing


def _members(
    layout: Layout,
    split: Split,
    lists: Sequence[Listing],
    tables: Sequence[Listing],
    findings: Findings,
) -> list[str]:
    """Which clips make up the split.

    Those of its list; in the pool, which has none, those with a video. Failing that those of the
    table (of a labelled split: if it has all labels), and of the test split those with a video.
    """
    videos = layout.videos[split]
    in_tables = list(dict.fromkeys(clip_id for table in tables for clip_id in table.entries))
    if split == "unlabeled":
        if not videos and not in_tables:
            findings.problem("", "no pool", "no clips and no transcription.csv in NoAnnotation")
        return list(videos) or in_tables
    for other in lists[1:]:
        _compare_lists(lists[0], other, findings)
    if lists:
        if split == "train" and not lists[0].entries and not lists[0].faults:
            findings.faults.append(f"No training clips: {lists[0].source} names none.")
        return list(lists[0].entries)
    if split == "test":
        return in_tables or list(videos)
    if in_tables and all(e.emotion and e.intent for t in tables for e in t.entries.values()):
        return in_tables
    if split == "train" or in_tables or videos:
        findings.faults.append(
            f"No {split} labels: there is no {WORDS[split]}_files.txt in {layout.folder} or its "
            f"Annotation folder; {describe(layout.listing, layout.language)}."
        )
    return []


def _compare_lists(one: Listing, other: Listing, findings: Findings) -> None:
    for first, second in ((one, other), (other, one)):
        only = [clip_id for clip_id in first.entries if clip_id not in second.entries]
        if only:
            findings.faults.append(
                f"{first.source} names {len(only)} clips that {second.source} does not "
                f"({first_few(only)}); remove or mend one of the two."
            )


def _check_tables(
    layout: Layout,
    split: Split,
    clip_ids: Sequence[str],
    tables: Sequence[Listing],
    findings: Findings,
) -> None:
    """A transcript of a clip that is in no list, and of which there is no video: a fault.

    Only a problem where the video tells that the clip exists, in the pool, and in what is a list
    of its own in CSV form.
    """
    members, filmed = set(clip_ids), layout.videos[split]
    for table in tables:
        unlisted = [clip_id for clip_id in table.entries if clip_id not in members]
        is_list = "files" in table.source.rpartition("/")[2].casefold()
        if split == "unlabeled" or is_list:
            known = unlisted
        else:
            known = [clip_id for clip_id in unlisted if clip_id in filmed]
        for clip_id in known:
            why = "in no list" if clip_id in filmed else "no such clip"
            findings.problem(
                clip_id, "unlisted transcript", f"{table.where(clip_id)}: {why}; not used"
            )
        unlisted = [clip_id for clip_id in unlisted if clip_id not in known]
        if unlisted:
            findings.faults.append(
                f"{table.where(unlisted[0])}: {len(unlisted)} transcripts of clips unknown to the "
                f"{split} list ({first_few(unlisted)}); remove them or list the clips."
            )


def _check_track(
    setting: Setting, split: Split, clip_ids: Sequence[str], findings: Findings
) -> None:
    """An official id names its track; the other track's clips must not slip in."""
    named = [(clip_id, re.match(r"track(\d)_", clip_id, re.IGNORECASE)) for clip_id in clip_ids]
    other = [clip_id for clip_id, track in named if track and int(track[1]) != setting.track]
    if other:
        findings.faults.append(
            f"{len(other)} {split} clips bear another track's name ({first_few(other)}); expected "
            f"Track{setting.track}_… only, since data of other tracks must not be used."
        )


def _labels(
    clip_ids: Sequence[str], told: Sequence[Listing], findings: Findings
) -> dict[str, tuple[str, ...]]:
    """Clip id → (emotion, intent), "" where no file tells; files must agree."""
    labels: dict[str, tuple[str, ...]] = {}
    conflicts: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        chosen = []
        for task in TASKS:
            says = [
                (listing, listing.entries[clip_id].label(task))
                for listing in told
                if clip_id in listing.entries and listing.entries[clip_id].label(task)
            ]
            chosen.append(says[0][1] if says else "")
            for listing, label in says[1:]:
                if label != chosen[-1]:
                    first = says[0][0]
                    conflicts.setdefault(first.source, []).append(
                        f"{first.where(clip_id)}: {clip_id} has {task} {chosen[-1]!r}, but "
                        f"{listing.where(clip_id)} says {label!r}; mend one of the two."
                    )
        labels[clip_id] = tuple(chosen)
    for source, messages in conflicts.items():
        findings.fault_each(messages, source)
    return labels


def _texts(clip_ids: Sequence[str], told: Sequence[Listing], findings: Findings) -> dict[str, str]:
    """Clip id → subtitle; the first file that has one wins, another one is a problem."""
    texts: dict[str, str] = {}
    for clip_id in clip_ids:
        for listing in told:
            entry = listing.entries.get(clip_id)
            if entry and entry.text and texts.setdefault(clip_id, entry.text) != entry.text:
                findings.problem(
                    clip_id, "two subtitles", f"{listing.where(clip_id)} has another; not used"
                )
        if why := damage(texts.get(clip_id, "")):
            findings.problem(clip_id, "damaged subtitle", why)
    return texts


def _note_gaps(
    layout: Layout,
    split: Split,
    clips: Sequence[Clip],
    lists: Sequence[Listing],
    findings: Findings,
) -> None:
    """Missing labels are a fault; missing subtitles and videos, and spare videos, are problems."""
    bare = [clip.clip_id for clip in clips if not (clip.emotion and clip.intent)]
    malformed = any(listing.faults for listing in lists)  # reported with file and line already
    if split in ("train", "valid") and bare and not malformed:
        findings.faults.append(
            f"{len(bare)} {split} clips have no emotion or no intent ({first_few(bare)}); expected "
            f"both in {WORDS[split]}_files.txt."
        )
    if split != "unlabeled" and clips and not any(clip.text for clip in clips):
        findings.problem(
            "",
            "no transcripts",
            f"{split}: no subtitles; expected {WORDS[split]}_transcription.csv",
        )
    elif split != "unlabeled":
        for clip in clips:
            if not clip.text:
                findings.problem(clip.clip_id, "no subtitle", f"{split}: missing or empty")
    if split == "unlabeled" and not layout.videos[split]:
        if clips and not layout.features_only:
            findings.problem(
                "", "no videos", "unlabeled: the transcript table alone makes the pool"
            )
    elif not layout.features_only:
        if clips and not layout.videos[split]:
            places = ", ".join(layout.searched[split]) or f"no folder {WORDS[split]} found"
            findings.problem("", "no videos", f"{split}: none of {len(clips)}; looked in: {places}")
        for clip in clips:
            if not clip.video:
                findings.problem(clip.clip_id, "absent", f"{split}: listed, but without a video")
    used = {clip.video for clip in clips}
    for clip_id, path in layout.videos[split].items():
        if path not in used:
            findings.problem(clip_id, "unlisted", f"{split}: {path} is in no list; not used")
