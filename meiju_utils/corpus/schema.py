"""Is a clips table one that every later stage can rely on? Its columns and their rules.

Imports `lists`, `challenge`, `errors` only.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from meiju_utils.challenge import SPLITS, Setting
from meiju_utils.corpus.lists import UNSAFE
from meiju_utils.errors import CorpusError

TIMES = ("start_s", "end_s")
# What is known once the clip was decoded.
FOUND = ("duration_s", "face_choice", "face_score", "face_reason")
NUMBERS = (*TIMES, "duration_s", "face_score")


def clip_columns(tasks: Iterable[str]) -> list[str]:
    """The columns of a clips table, in order."""
    return ["clip_id", "split", "group", "video", *TIMES, "text", *tasks, *FOUND]


def clips_table(rows: Iterable[Mapping[str, Any]], tasks: Iterable[str]) -> pd.DataFrame:
    """A clips table of rows that may leave out what they say nothing of."""
    columns = clip_columns(tasks)
    empty = {name: float("nan") if name in NUMBERS else "" for name in columns}
    table = pd.DataFrame(
        [[row.get(name, empty[name]) for name in columns] for row in rows], columns=columns
    )
    return table.astype({n: "float64" if n in NUMBERS else "str" for n in columns})


LONGEST_S = 3600.0  # a clip is one utterance; an hour means a broken time base


def validate_clips(clips: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The table itself if it is sound; CorpusError lists what breaks which rule.

    One row a clip; ids unique; clips of a `group` belong together ("": to none); labels from the
    setting's, "" where unknown, never unknown in train and valid; `video` inside the data folder; a
    clip that is a part of its video has `start_s` and `end_s` (seconds of the video; NaN: from its
    start, to its end).
    Until the clip was decoded `duration_s` (seconds) is NaN, and so is what stands for it:
    `face_choice` (by which rule) and `face_reason` are "", `face_score` is NaN, which it stays
    where no face was scored.
    """
    import pandera.pandas as pa  # takes over a second: only where a table is checked

    def one_of(values: tuple[str, ...], what: str) -> pa.Check:
        return pa.Check.isin(values, error=f"expected {what}")

    columns = {
        "clip_id": pa.Column(
            str,
            pa.Check(_is_plain_name, element_wise=True, error="expected a plain file name"),
            unique=True,
        ),
        "split": pa.Column(str, one_of(SPLITS, ", ".join(SPLITS))),
        "group": pa.Column(str),
        "video": pa.Column(
            str, pa.Check(_is_within, element_wise=True, error="expected a path in the data folder")
        ),
        "start_s": pa.Column(
            float, pa.Check.ge(0, error="expected seconds from 0 on"), nullable=True
        ),
        "end_s": pa.Column(float, pa.Check.gt(0, error="expected seconds above 0"), nullable=True),
        "text": pa.Column(str),
        **{
            task: pa.Column(str, one_of(("", *labels), f"a label of {task}"))
            for task, labels in setting.classes.items()
        },
        "duration_s": pa.Column(
            float,
            pa.Check.in_range(0, LONGEST_S, error=f"expected 0 to {LONGEST_S:.0f} seconds"),
            nullable=True,
        ),
        "face_choice": pa.Column(str),
        "face_score": pa.Column(float, nullable=True),
        "face_reason": pa.Column(str),
    }
    rules = [
        pa.Check(
            partial(_is_labelled, tasks=setting.tasks), error="expected all labels in train, valid"
        ),
        pa.Check(_is_part, error="expected start_s before end_s, and a video to be a part of"),
    ]
    schema = pa.DataFrameSchema(columns, checks=rules, strict=True, ordered=True)
    try:
        schema.validate(clips, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise CorpusError(_describe(error.failure_cases, clips)) from None
    return clips


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and not UNSAFE.search(name)


def _is_within(video: str) -> bool:
    return not re.search(r"(^/|\\|^[A-Za-z]:|(^|/)\.\.(/|$))", video)


def _is_labelled(table: pd.DataFrame, tasks: Sequence[str]) -> pd.Series:
    return ~table["split"].isin(["train", "valid"]) | (table[list(tasks)] != "").all(axis=1)


def _is_part(table: pd.DataFrame) -> pd.Series:
    start, end = table["start_s"].fillna(0), table["end_s"]
    whole = table["start_s"].isna() & end.isna()
    return whole | ((end.isna() | (start < end)) & (table["video"] != ""))


def _describe(cases: pd.DataFrame, clips: pd.DataFrame) -> str:
    """One line a broken rule, with how many rows break it and the first of them."""
    lines = []
    for (column, check), rows in cases.groupby(["column", "check"], sort=False, dropna=False):
        rule = {"field_uniqueness": "expected each value once"}.get(str(check), str(check))
        if rule.startswith(("expected all", "expected start_s")) and column != "split":
            continue  # a rule over whole rows is reported once a column
        index = rows["index"].dropna().drop_duplicates()
        values = ", ".join(repr(value) for value in rows["failure_case"].drop_duplicates()[:3])
        where = ""
        if len(index):
            names = clips["clip_id"].loc[index[:3]] if "clip_id" in clips else index[:3]
            where = f" in {len(index)} rows, first {', '.join(map(str, names))}"
        named = f"{column}: " if isinstance(column, str) else ""
        lines.append(f"  - {named}{rule}; found {values}{where}")
    return "The clips table breaks its rules:\n" + "\n".join(lines)
