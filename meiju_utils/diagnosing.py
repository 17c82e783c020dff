"""What `meiju doctor` looks at, the corpus and all that the profile names, and how it says so.

Imports `checks`, `console`, `corpus`, `embeddings`, `opening`, `references`, `run`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from meiju_utils.checks import check_disk, covered
from meiju_utils.console import wrapped
from meiju_utils.corpus.doctor import FOLDER, Diagnosis, examine_run
from meiju_utils.corpus.splits import first_few
from meiju_utils.corpus.survey import Survey
from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.errors import MeijuError
from meiju_utils.opening import problems_of
from meiju_utils.references import parse_reference
from meiju_utils.run import Run
from meiju_utils.run_folder import refuse_foreign

LISTED = 20  # pairs of copies in the text
MOST_ROWS = 40  # of a table in the text
WIDTH = 80  # of a terminal


def diagnose(run: Run, survey: Survey, deep: bool = True, against: Path | None = None) -> Diagnosis:
    """Examine a run's corpus, whatever its profile names, and the folder `against`.

    Nothing but the folder of what was seen of each clip is written, and that only where the run
    could be written as well.
    """
    foreign = [*_not_ours(run)]
    clips = survey.corpus.clips["clip_id"].drop_duplicates().tolist()
    problems = [*foreign, *problems_of(run), *check_disk(run.config, run.folder, len(clips))]
    bare, partly = _coverage(run, clips)
    # of these `problems_of` may know already
    problems += [text for name, text in bare.items() if not any(name in one for one in problems)]
    found = examine_run(run, survey, deep, not foreign, against)
    return replace(
        found,
        faults=[*found.faults, *dict.fromkeys(problems)],
        warnings=[*found.warnings, *partly],
    )


def _not_ours(run: Run) -> Iterator[str]:
    """Why a run could not write its folder."""
    folder = run.folder
    try:
        refuse_foreign(folder, run.setting.name)
    except MeijuError as error:
        yield str(error)
    place = next(path for path in (folder / FOLDER, *(folder / FOLDER).parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield f"{folder} cannot be the run folder: {place} is no folder that can be written to."


def _coverage(run: Run, clips: list[str]) -> tuple[dict[str, str], list[str]]:
    """Folders of embeddings, by the encoder's name, that have none of the clips; and what is to
    be said of those that have some."""
    bare, partly = {}, []
    for modality, encoder in all_encoders(run.config.embeddings):
        reference = parse_reference(encoder.name, run.folder, encoder.revision)
        folder = reference.path
        if reference.kind != "npy" or folder is None or not folder.is_dir():
            continue
        try:
            count = covered(folder, clips)
        except MeijuError:
            continue  # the checks say so
        what = f"embeddings.{modality}: {encoder.name}"
        text = f"{what} has embeddings of {count} of {len(clips)} clips."
        if not count:
            bare[encoder.name] = text
        elif count < len(clips):
            partly.append(text)
    return bare, partly


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as text for a terminal."""
    verdict = "Sound" if diagnosis.sound else "UNSOUND"
    counts = diagnosis.counts.dropna(axis=1, how="all")  # of one's own clips nothing is promised
    parts = [
        wrapped(f"{verdict}: {diagnosis.setting} in {diagnosis.folder}"),
        counts.astype("object").fillna("-").to_string(index=False),
        *bullets("Faults: a run would be unsound", diagnosis.faults),
        *bullets("Warnings", diagnosis.warnings),
        "Labels\n" + _cut(diagnosis.labels),
        *_pairs(diagnosis),
    ]
    problems = [
        f"{problem}, {len(rows)}: " + first_few([_named(*row) for row in rows.to_numpy()])
        for problem, rows in diagnosis.problems.groupby("problem", sort=False)[
            ["clip_id", "reason"]
        ]
    ]
    copies = [
        f"{row.clip_a} ({row.split_a}) = {row.clip_b} ({row.split_b}): {row.kind}"
        for row in diagnosis.duplicates.head(LISTED).itertuples()
    ]
    more = len(diagnosis.duplicates) - LISTED
    copies += [f"and {more} more pairs; --json lists all"] if more > 0 else []
    shared = [
        f"{row.clip_id} ({row.split}) = {row.other_id}: {row.kind}"
        for row in diagnosis.against.head(LISTED).itertuples()
    ]
    more = len(diagnosis.against) - LISTED
    shared += [f"and {more} more; --json lists all"] if more > 0 else []
    parts += bullets("Problems", problems) + bullets("Copies", copies)
    parts += bullets("Also in the other folder", shared)
    return "\n\n".join(parts)


def _cut(table: pd.DataFrame) -> str:
    """A table, of which only the first rows are shown where they are many."""
    more = len(table) - MOST_ROWS
    text = table.head(MOST_ROWS).to_string(index=False)
    return f"{text}\nand {more} more; --json lists all" if more > 0 else text


def _pairs(diagnosis: Diagnosis) -> list[str]:
    """Train clips by the labels of both tasks, where there are two."""
    if diagnosis.pairs.empty:
        return []
    first = str(diagnosis.pairs.columns[0])
    tasks = list(dict.fromkeys(diagnosis.labels["task"]))
    pairs = diagnosis.pairs.set_index(first).T.rename_axis(tasks[1]).reset_index()
    title = f"Train clips by {tasks[1]} and {first}"
    if len(pairs.to_string(index=False).splitlines()[0]) > WIDTH:
        return [f"{title}: too wide for a terminal; --json has the table."]
    return [f"{title}\n{_cut(pairs)}"]


def _named(clip_id: str, reason: str) -> str:
    return f"{clip_id} ({reason})" if clip_id else reason


def bullets(title: str, texts: Sequence[str]) -> list[str]:
    """A paragraph of list items, or nothing where there are none."""
    items = [wrapped(f"  - {line}") for text in texts for line in text.splitlines()]
    return ["\n".join([title, *items])] if items else []
