"""From raw subtitles to the texts that are encoded, with a history, and how well that went.

Speech recognition fills in what is missing; then come normalising, suggested end marks that are
sure enough, and the user's corrections. Imports `transcripts`, `end_marks`, `files`, `run`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from meiju_utils.challenge import Language
from meiju_utils.files import as_cell, atomic_path
from meiju_utils.preprocessing.end_marks import end_mark, suggest_end_mark
from meiju_utils.preprocessing.transcripts import Change, normalise
from meiju_utils.run import Run

CHANGES, SUGGESTIONS = "transcript_changes", "transcript_suggestions"  # tables, and CSV files
TRANSCRIPT_COLUMNS = ["clip_id", "raw", "text", "rules"]
CHANGE_COLUMNS = ["clip_id", "rule", "before", "after"]
SUGGESTION_COLUMNS = ["clip_id", "text", "suggested", "mark", "rules", "confidence", "applied"]


@dataclass(frozen=True)
class ReviewedTexts:
    """Three tables, all sorted as the clips came.

    transcripts: clip_id, raw, text, rules (what changed it, joined by "; "), one row a clip.
    changes: clip_id, rule, before, after, one row a change. suggestions: clip_id, text,
    suggested, mark, rules, confidence, applied; a row whose `suggested` is right and not applied
    can be copied into corrections.csv.
    """

    transcripts: pd.DataFrame
    changes: pd.DataFrame
    suggestions: pd.DataFrame


def review_texts(
    texts: Mapping[str, str],
    language: Language,
    apply_suggestions: float,
    rises: Mapping[str, float] | None = None,
    corrections: Mapping[str, str] | None = None,
    recognised: Mapping[str, str] | None = None,
) -> ReviewedTexts:
    """Clean the texts of clips (clip id → raw text).

    `apply_suggestions`: confidence from which a suggested end mark is applied. `rises`: semitones
    by which each clip's voice rises at the end, where known. `recognised`: texts of clips that
    have none, by speech recognition. A corrected clip gets no suggestion.
    """
    rises, corrections, recognised = rises or {}, corrections or {}, recognised or {}
    transcripts, changes, suggestions = [], [], []
    for clip_id, raw in texts.items():
        heard = raw or recognised.get(clip_id, "")
        text, made = normalise(heard, language)
        if heard != raw:
            made.insert(0, Change("speech recognition", raw, heard))
        suggestion = None
        if clip_id not in corrections:
            suggestion = suggest_end_mark(text, language, rises.get(clip_id, float("nan")))
        if suggestion:
            applied = suggestion.confidence >= apply_suggestions
            suggestions.append(
                (
                    clip_id,
                    text,
                    suggestion.text,
                    suggestion.mark,
                    "; ".join(suggestion.rules),
                    suggestion.confidence,
                    applied,
                )
            )
            if applied:
                rule = f"suggested {suggestion.mark} mark ({', '.join(suggestion.rules)})"
                made.append(Change(rule, text, suggestion.text))
                text = suggestion.text
        corrected = corrections.get(clip_id, text)
        if corrected != text:
            made.append(Change("correction", text, corrected))
            text = corrected
        transcripts.append((clip_id, raw, text, "; ".join(change.rule for change in made)))
        changes += [(clip_id, change.rule, change.before, change.after) for change in made]
    return ReviewedTexts(
        pd.DataFrame(transcripts, columns=TRANSCRIPT_COLUMNS, dtype="str"),
        pd.DataFrame(changes, columns=CHANGE_COLUMNS, dtype="str"),
        pd.DataFrame(suggestions, columns=SUGGESTION_COLUMNS).astype(
            dict.fromkeys(SUGGESTION_COLUMNS[:5], "str")
            | {"confidence": "float64", "applied": "bool"}
        ),
    )


def save_review(run: Run, reviewed: ReviewedTexts) -> None:
    """Keep a review in the run folder as tables, what people are to look at also as CSV.

    That is for a spreadsheet, which takes UTF-8 for granted only with a BOM, and cells that begin
    like a formula for one (`as_cell`).
    """
    run.save_table("transcripts", reviewed.transcripts)
    for name, table in ((CHANGES, reviewed.changes), (SUGGESTIONS, reviewed.suggestions)):
        run.save_table(name, table)
        shown = table.map(lambda value: as_cell(value) if isinstance(value, str) else value)
        with atomic_path(run.path(f"{name}.csv")) as temporary:
            shown.to_csv(temporary, index=False, encoding="utf-8-sig", lineterminator="\n")


def open_review(run: Run) -> ReviewedTexts:
    """What was done to the transcripts, and which end marks were suggested, as it was saved.

    MissingStageError where the run's clips are not preprocessed.
    """
    return ReviewedTexts(*(run.table(name) for name in ("transcripts", CHANGES, SUGGESTIONS)))


def evaluate_suggestions(
    reviewed: ReviewedTexts,
    truth: Mapping[str, str],
    language: Language,
    thresholds: Sequence[float] = (0.2, 0.5, 0.7, 0.85, 0.9, 0.95),
) -> pd.DataFrame:
    """Precision and recall of suggested end marks against true texts (clip id → text).

    One row a mark and confidence threshold: `lost` counts clips whose true text ends in the mark
    while their normalised subtitle ends in none, `suggested` the suggestions at least so sure,
    `right` those that agree with the truth. Precision and recall are NaN over nothing.
    """
    true_marks = {
        clip_id: end_mark(normalise(text, language)[0]) for clip_id, text in truth.items()
    }
    raw = reviewed.transcripts.set_index("clip_id")["raw"]
    markless = [c for c in raw.index if end_mark(normalise(raw[c], language)[0]) is None]
    rows = []
    for mark in ("question", "exclamation"):
        lost = {clip_id for clip_id in markless if true_marks.get(clip_id) == mark}
        made = reviewed.suggestions
        made = made[(made["mark"] == mark) & made["clip_id"].isin(list(true_marks))]
        for threshold in thresholds:
            suggested = made.loc[made["confidence"] >= threshold, "clip_id"]
            right = len(lost.intersection(suggested))
            rows.append((mark, threshold, len(lost), len(suggested), right))
    table = pd.DataFrame(rows, columns=["mark", "threshold", "lost", "suggested", "right"])
    return table.assign(
        precision=table["right"] / table["suggested"].where(table["suggested"] > 0),
        recall=table["right"] / table["lost"].where(table["lost"] > 0),
    )
