"""Tables for notebooks and the report: scores with intervals, clips with their Chinese text.

The functions named `..._table` return plain data, those named `show_...` a Styler that a notebook
displays and the report embeds. Imports `challenge`, `files`, `html`, `predictions`,
`scoring`, `reporting.palette`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.io.formats.style import Styler

from meiju_utils.challenge import PAPER_TABLE_I, SPLITS, Scores, Setting
from meiju_utils.columns import Classes
from meiju_utils.predictions import labelled
from meiju_utils.reporting.palette import label_colors, score_title
from meiju_utils.reporting.styling import heading, styled, with_interval
from meiju_utils.scoring import (
    JOINT,
    MARK_MEANS,
    MEAN,
    SINGLE,
    YARDSTICKS,
    concatenated,
    marked,
    scores_in,
    wide,
)

if TYPE_CHECKING:  # the first brings torch, which takes seconds; notebook 01 reads neither
    from meiju_utils.recipes.experiment import Experiment
    from meiju_utils.recipes.pool_labels import PseudoLabelSet
    from meiju_utils.submission.faults import SubmissionCheck

# Whichever the reader's system has; without one of them Chinese still shows in its default font.
CHINESE_FONTS = "'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif"

_ON_ONE_LINE: Any = {"white-space": "nowrap"}


def recipe_scores(experiments: Mapping[str, "Experiment"], split: str = "valid") -> pd.DataFrame:
    """The score tables of recipes (see `train_recipes`) in one, systems named as the recipes.

    Those on the validation clips or, for recipes with folds, on the held-out clips of "train".
    A column `trained_as` names the experiment behind each, which differs where there is no pool to
    label; `note` says why a recipe has no scores.
    """
    parts = [
        e.scores[e.scores["split"].isin([split])].assign(
            system=name, trained_as=e.name, note=e.failure
        )
        for name, e in experiments.items()
    ]
    return concatenated(parts).astype({"system": "str", "trained_as": "str", "note": "str"})


def published_table(setting: Setting) -> pd.DataFrame:
    """Published scores of a setting on its official test clips, a row each: name, a column a score
    with its bounds, which are not known. Nothing is published of clips of one's own."""
    rows = {}
    if setting.official_baseline is not None:
        rows["organisers' baseline, mean of three runs"] = setting.official_baseline
    if setting.name == "track1-mandarin":
        rows["winners' ensemble"] = PAPER_TABLE_I["ensemble"]
    table = pd.DataFrame({"name": pd.Series(list(rows), dtype="str")})
    for score in (*setting.tasks, JOINT):
        table[score] = [float(getattr(scores, score)) for scores in rows.values()]
        table[f"{score}_low"] = table[f"{score}_high"] = float("nan")
    return table


def seed_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of each seed alone, from a tidy score table: name, seed, a column a score."""
    own = scores[scores["kind"].str.startswith("seed ")]
    if "trained_as" in own:  # each experiment once
        own = own.assign(system=own["trained_as"]).drop_duplicates(["system", "kind", "score"])
    table = wide(own)
    table.insert(1, "seed", table["kind"].str.removeprefix("seed ").astype(int))
    return table.drop(columns=["kind", "split"])


def count_table(clips: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """Clips by split: how many there are, with a label of every task, with text, with video, and
    how long."""
    rows = []
    for split in [split for split in SPLITS if (clips["split"] == split).any()]:
        part = clips[clips["split"] == split]
        rows.append(
            {
                "split": split,
                "clips": len(part),
                "labelled": len(labelled(part, classes)),
                "with text": int((part["text"].str.strip() != "").sum()),
                "with video": int((part["video"] != "").sum()),
                "minutes": float(part["duration_s"].sum(min_count=1)) / 60,
            }
        )
    return pd.DataFrame(rows)


def show_scores(table: pd.DataFrame, caption: str = "", kind: str = MEAN) -> Styler:
    """Scores for reading, `0.560 [0.512, 0.608]`; each score's best is bold, yardsticks are grey.

    A tidy score table, of which the rows of `kind` are shown, or a wide one: a column a score, and
    others, which stand first.
    """
    table, scores = readable(table, kind)
    bounds = [f"{score}_{end}" for score in scores for end in ("low", "high")]
    others = [c for c in table.columns if c not in (*scores, *bounds, "chose")]
    shown = table[others].rename(columns=heading)
    if "name" in table:
        shown["Name"] = marked(table)
    for score in scores:
        shown[score_title(score)] = _intervals(table, score)
    marks = pd.DataFrame("", index=shown.index, columns=shown.columns)
    if "name" in table:
        marks[table["name"].isin(YARDSTICKS)] = "color:#777777"
    for score in scores:
        best = table[score].to_numpy() == table[score].max()
        marks.loc[best, score_title(score)] += ";font-weight:bold"
    titles: Any = [score_title(score) for score in scores]
    styler = styled(shown, _with_mark(caption, table)).set_properties(subset=titles, **_ON_ONE_LINE)
    return styler.apply(lambda _: marks.reset_index(drop=True), axis=None)


def readable(table: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, list[str]]:
    """A wide score table without what is the same in all rows, and its scores, the joint last."""
    if "system" in table:
        table = wide(table, kind).drop(columns=["split", "kind"])
    scores = scores_in(table)
    same = [f"{JOINT}{end}" for end in ("", "_low", "_high")]  # as that of the only task
    return table.drop(columns=[] if JOINT in scores else same, errors="ignore"), scores


def has_paper(scores: Sequence[str]) -> bool:
    """Whether scores are those that the paper prints: of emotion and intent, and both together."""
    return set(scores) == {"emotion", "intent", JOINT}


def show_table_one(ours: pd.DataFrame, paper: Mapping[str, Scores] = PAPER_TABLE_I) -> Styler:
    """Table I of the paper: what one training is worth with its interval, beside it the paper's.

    `ours` is a tidy score table whose systems are recipes, as `recipe_scores` makes it. The paper's
    figures are on the test split of Track 1 Mandarin.
    """
    table, scores = readable(ours, SINGLE)
    with_paper = has_paper(scores)
    about = ours.drop_duplicates("system").set_index("system").loc[table["name"]]
    shown = pd.DataFrame({"Recipe": marked(table)})
    if (about["trained_as"] != about.index).any():
        shown["Trained as"] = about["trained_as"].to_numpy()
    for score in scores:
        title = score_title(score)
        shown[title] = _intervals(table, score)
        if not with_paper:
            continue
        published = [
            getattr(paper[n], score) if n in paper else float("nan") for n in table["name"]
        ]
        shown[f"{title}, paper"] = ["–" if pd.isna(p) else f"{p:.4f}" for p in published]
    if about["note"].any():
        shown["Note"] = about["note"].to_numpy()
    pale: Any = [f"{score_title(score)}, paper" for score in scores if with_paper]
    narrow: Any = [column for column in shown if column != "Note"]
    styler = styled(shown, _with_mark("", table)).set_properties(subset=narrow, **_ON_ONE_LINE)
    return styler.set_properties(subset=pale, color="#777777")


def _with_mark(caption: str, table: pd.DataFrame) -> str:
    """A caption that says what the mark behind names means, where there is one."""
    any_marked = "chose" in table and (table["chose"] != "").any()
    return ". ".join(part for part in (caption, MARK_MEANS if any_marked else "") if part)


def pseudo_label_rows(
    labels: Mapping[str, "PseudoLabelSet"],
    experiments: Mapping[str, "Experiment"],
    truth: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rules side by side: what each chose, how right that is, what its student scores.

    One row an experiment, as `show_scores` takes it: name, of those in `labels` also rule,
    threshold, chosen (clips), share_of_pool, right (labels of a clip, by the audit with its
    interval), unweighed and, where `truth` of the pool is known, in_truth; then the scores.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, own in labels.items():
        table, audit = own.selection.table, own.audit_in_force(truth)
        both: dict[Any, Any] = dict.fromkeys(audit.columns, float("nan"))
        for row in audit[audit["task"] == "both"].to_dict("records"):  # without a pool none
            both |= row
        rows[name] = {
            "rule": own.rule.name,
            "threshold": own.selection.asked,
            "chosen": int(table["selected"].sum()),
            "share_of_pool": float(table["selected"].mean()),
            "right": with_interval(*(both[f"precision{end}"] for end in ("", "_low", "_high"))),
            "unweighed": both["raw_precision"],
        }
        if "in_truth" in both:
            rows[name]["in_truth"] = both["in_truth"]
    about = pd.DataFrame.from_dict(rows, orient="index").astype({"chosen": "Int64"})
    about = about.reindex(list(experiments)).fillna({"rule": "–", "right": "–"})
    scores = wide(recipe_scores(experiments), MEAN).drop(columns=["split", "kind"])
    return about.rename_axis("name").reset_index().merge(scores, on="name", how="left")


def notes_table(experiments: Mapping[str, "Experiment"]) -> pd.DataFrame:
    """What a reader of the scores must know: each note once, with the recipes that it is about."""
    about: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        for note in experiment.notes:
            about.setdefault(note, []).append(name)
    every = len(experiments)
    rows = [
        ("all" if len(names) == every else ", ".join(names), note) for note, names in about.items()
    ]
    return pd.DataFrame(rows or [("all", "nothing")], columns=["recipes", "note"])


def show_clips(
    clips: pd.DataFrame, classes: Classes, columns: Sequence[str] = (), caption: str = ""
) -> Styler:
    """Rows of the clips table for reading: Chinese in a font that has it, labels in their colours.

    `columns` beyond clip_id, split, text, the tasks of `classes` and duration_s are shown after
    these, as far as they are there.
    """
    chosen = ["clip_id", "split", "text", *classes, "duration_s"]
    chosen = [c for c in dict.fromkeys([*chosen, *columns]) if c in clips]
    shown = clips[chosen].rename(columns=heading).reset_index(drop=True)
    styler = styled(shown, caption)
    for task, labels in classes.items():
        if task in chosen:
            colors = label_colors(task, labels)
            styler = styler.map(
                lambda label, colors=colors: (
                    f"border-left:9px solid {colors[label]};padding-left:7px"
                    if label in colors
                    else ""
                ),
                subset=[heading(task)],
            )
    if "text" in chosen:
        font = {"font-family": CHINESE_FONTS, "font-size": "1.1em", "min-width": "12em"}
        styler = styler.set_properties(subset=[heading("text")], **font)
    return styler


def show_check(check: "SubmissionCheck") -> Styler:
    """The faults and warnings of a submission, or the one line that says it is valid."""
    found = check.table()
    if found.empty:
        found = pd.DataFrame(
            [("valid", check.rows, check.expected_rows)],
            columns=["verdict", "rows", "test clips"],
        )
    else:
        found["line"] = found["line"].astype("str").replace("<NA>", "")
    return styled(found.rename(columns=heading), check.name)


def show_pieces(table: pd.DataFrame, caption: str = "") -> Styler:
    """What each piece adds (`recipes.piece_table`), differences with their intervals and p."""
    shown = table[["piece", "recipe", "train", "valid"]].rename(columns=heading)
    shown = shown.rename(columns={"Train": "Train, held out"})
    for title, name, p in (("It adds", "adds", "p"), ("Ahead of the paper's", "paper", "paper_p")):
        low, high = (f"{name}_{end}" if name != "adds" else end for end in ("low", "high"))
        shown[title] = [
            "–" if pd.isna(value) else f"{value:+.3f} [{a:+.3f}, {b:+.3f}]"
            for value, a, b in zip(table[name], table[low], table[high], strict=True)
        ]
        shown[f"p ({title[0].lower()}{title[1:]})"] = [
            "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
            for value in table[p]
        ]
    titles: Any = ["It adds", "Ahead of the paper's"]
    return styled(shown, caption).set_properties(subset=titles, **_ON_ONE_LINE)


def show_table(table: pd.DataFrame, caption: str = "") -> Styler:
    """Any small table in the same look; one without rows says so."""
    caption = caption if len(table) else f"{caption}: nothing to show.".removeprefix(": ")
    return styled(table.rename(columns=heading), caption)


def _intervals(table: pd.DataFrame, score: str) -> list[str]:
    return [
        with_interval(row[score], row.get(f"{score}_low"), row.get(f"{score}_high"))
        for row in table.to_dict("records")
    ]
