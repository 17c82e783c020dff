"""What a comparison came to, in one sentence computed from its table.

So that what a notebook says is what its run found. Imports `recipes`, `scoring`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from meiju_utils.scoring import CLIPS_ALONE, FAILS, HOLDS, JOINT, LEVEL, THESE_ANSWERS

if TYPE_CHECKING:
    from meiju_utils.recipes.experiment import Experiment
    from meiju_utils.run import Run

_ONE_SEED = f"{CLIPS_ALONE}, as there is one seed"


def of_comparison(
    table: pd.DataFrame, second: str, first: str = "{}", where: str = "these clips"
) -> str:
    """Whether the joint score of one side beats that of the other.

    >>> of_comparison(compare(run, teacher, student), "stage two", "stage one")
    'On these clips stage two does not beat stage one: 0.011 [−0.041, 0.063].'

    Args:
        table: of `compare` or `against`. Of several others the sentence is about the one that is
            hardest to beat; p is corrected for their number.
        second: what the table's `second` is.
        first: what its `first` is; "{}" stands for the name in the column `against`.
        where: the clips.
    """
    joint = table[table["score"] == JOINT].sort_values("difference")  # NaN stands last
    row = joint.iloc[0]
    first = first.format(row.get("against", ""))
    difference, low, high, p = (float(row[c]) for c in ("difference", "low", "high", "p"))
    if pd.isna(p):
        why = "one of them has no scores" if pd.isna(difference) else "they are too few"
        return f"On {where} {second} and {first} cannot be compared: {why}."
    if difference == low == high == 0:
        return f"On {where} {second} and {first} answer alike: there is no difference."
    certain = p <= LEVEL
    verb = "does not beat" if not certain else "beats" if difference > 0 else "is worse than"
    bounds = f"[{_number(low)}, {_number(high)}]"
    over = _ONE_SEED if str(row["estimand"]).endswith(CLIPS_ALONE) else ""
    alone = not certain and (low > 0 or high < 0)
    corrected = f"; corrected for the number of comparisons p is {p:.3f}" if alone else ""
    return f"On {where} {second} {verb} {first}: {_number(difference)} {bounds}{over}{corrected}."


def of_submission(
    run: "Run",
    handed_in: "Experiment",
    yardsticks: Sequence["Experiment"],
    truth: pd.DataFrame | None = None,
    where: str = "the validation clips",
) -> str:
    """Whether what is handed in, as it stands, beats the best of the other yardsticks.

    `truth` has other clips than the validation split's, with a label a task.
    """
    from meiju_utils.recipes.findings import compare

    others = [one for one in yardsticks if one.key != handed_in.key]
    best = "the best of " + ", ".join(one.name for one in others)
    table = compare(run, others, handed_in, THESE_ANSWERS, truth)
    return of_comparison(table, handed_in.name, best, where)


def of_findings(table: pd.DataFrame) -> str:
    """How many of the paper's steps hold here, and which; `table` is that of `paper_findings`."""
    if table.empty:
        return "The paper's steps are about emotion and intent; there are none on other tasks."
    judged = table[table["p"].notna()]
    holding, failing = (
        judged.loc[judged["verdict"] == words, "finding"].tolist() for words in (HOLDS, FAILS)
    )
    noise = len(judged) - len(holding) - len(failing)
    parts = [f"{len(holding) or 'none'} {_verb(len(holding) or 1, 'hold')}{_named(holding)}"]
    if failing:
        parts.append(f"{len(failing)} {_verb(len(failing), 'go')} the other way{_named(failing)}")
    if noise:
        parts.append(f"{noise} {'is' if noise == 1 else 'are'} within noise")
    if len(judged) < len(table):
        reasons = table.loc[table["p"].isna(), "verdict"].unique()
        parts.append(f"{len(table) - len(judged)} cannot be judged ({'; '.join(reasons)})")
    one_seed = judged["estimand"].str.endswith(CLIPS_ALONE).any()
    over = _ONE_SEED if one_seed else ""
    steps = f"{len(table)} {'step' if len(table) == 1 else 'steps'}"
    return f"Of the paper's {steps}, after Holm's correction, {', '.join(parts)}{over}."


def of_pieces(table: pd.DataFrame) -> str:
    """Which pieces add something for certain, and how far the whole is ahead of the paper's
    ensemble; `table` is that of `recipes.piece_table`, the whole in its last row."""
    judged = table[table["p"].notna()]
    certain = judged["p"] <= LEVEL
    adding, costing = (
        judged.loc[certain & (sign * judged["adds"] > 0), "piece"].tolist() for sign in (1, -1)
    )
    noise = len(judged) - len(adding) - len(costing)
    parts = [f"{len(adding) or 'none'} {_verb(len(adding) or 1, 'add')} to it{_named(adding)}"]
    if costing:
        parts.append(f"{len(costing)} {_verb(len(costing), 'cost')}{_named(costing)}")
    if noise:
        parts.append(f"{noise} {'is' if noise == 1 else 'are'} within noise")
    whole = table.iloc[-1]
    if pd.isna(whole["paper"]):
        return f"Of {len(table)} pieces {', '.join(parts)}."
    bounds = f"[{_number(whole['paper_low'])}, {_number(whole['paper_high'])}]"
    ahead = "ahead" if whole["paper_p"] <= LEVEL and whole["paper"] > 0 else "not surely ahead"
    return (
        f"Of {len(table)} pieces {', '.join(parts)}. {whole['recipe']} is {ahead} of the paper's "
        f"ensemble: {_number(whole['paper'])} {bounds}."
    )


def _number(value: float) -> str:
    """Three decimals, with a minus sign that is one, and none before zero."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _verb(number: int, word: str) -> str:
    third = f"{word}es" if word.endswith("o") else f"{word}s"
    return third if number == 1 else word


def _named(findings: list[str]) -> str:
    return f" ({'; '.join(findings)})" if findings else ""
