"""Is a clips table one that every later stage can rely on? Its columns and their rules.

Imports `lists`, `challenge`, `errors` only.
"""

import re

import pandas as pd

from meiju_utils.challenge import EMOTIONS, INTENTS, SPLITS
from meiju_utils.corpus.lists import UNSAFE
from meiju_utils.errors import CorpusError

CLIP_COLUMNS = (
    "clip_id",
    "track",
    "language",
    "split",
    "video",
    "start_s",
    "end_s",
    "text",
    "emotion",
    "intent",
    "duration_s",
    "face_choice",
    "face_score",
    "face_reason",
)
LONGEST_S = 3600.0  # a clip is one utterance; an hour means a broken time base


def validate_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """The table itself if it is sound; CorpusError lists what breaks which rule.

    One row a clip; ids unique; one track and language; labels from the vocabularies, "" where
    unknown, never unknown in train and valid; `video` inside the data folder; a clip that is a part
    of its video has `start_s` and `end_s` (seconds of the video; NaN: from its start, to its end).
    Until the clip was decoded `duration_s` (seconds) is NaN, and so is what stands for it:
    `face_choice` (by which rule) and `face_reason` are "", `face_score` is NaN, which it stays
    where no face was scored.
    """
    import pandera.pandas as pa  # takes over a second: only where a table is checked

    def one_of(values: tuple[str | int, ...], what: str) -> pa.Check:
        return pa.Check.isin(values, error=f"expected {what}")

    one = pa.Check(
        lambda column: len(column.drop_duplicates()) <= 1, error="expected one value in all rows"
    )
    columns = {
        "clip_id": pa.Column(
            str,
            pa.Check(_is_plain_name, element_wise=True, error="expected a plain file name"),
            unique=True,
        ),
        "track": pa.Column(int, [one_of((1, 2), "1 or 2"), one]),
        "language": pa.Column(str, [one_of(("mandarin", "english"), "mandarin or english"), one]),
        "split": pa.Column(str, one_of(SPLITS, ", ".join(SPLITS))),
        "video": pa.Column(
            str, pa.Check(_is_within, element_wise=True, error="expected a path in the data folder")
        ),
        "start_s": pa.Column(
            float, pa.Check.ge(0, error="expected seconds from 0 on"), nullable=True
        ),
        "end_s": pa.Column(float, pa.Check.gt(0, error="expected seconds above 0"), nullable=True),
        "text": pa.Column(str),
        "emotion": pa.Column(str, one_of(("", *EMOTIONS), "an official emotion")),
        "intent": pa.Column(str, one_of(("", *INTENTS), "an official intent")),
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
        pa.Check(_is_labelled, error="expected both labels in train and valid"),
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


def _is_labelled(table: pd.DataFrame) -> pd.Series:
    needed = table["split"].isin(["train", "valid"])
    return ~needed | ((table["emotion"] != "") & (table["intent"] != ""))


def _is_part(table: pd.DataFrame) -> pd.Series:
    start, end = table["start_s"].fillna(0), table["end_s"]
    whole = table["start_s"].isna() & end.isna()
    return whole | ((end.isna() | (start < end)) & (table["video"] != ""))


def _describe(cases: pd.DataFrame, clips: pd.DataFrame) -> str:
    """One line a broken rule, with how many rows break it and the first of them."""
    lines = []
    for (column, check), rows in cases.groupby(["column", "check"], sort=False, dropna=False):
        rule = {"field_uniqueness": "expected each value once"}.get(str(check), str(check))
        if rule.startswith(("expected both", "expected start_s")) and column != "split":
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
