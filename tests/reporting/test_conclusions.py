"""Sentences of comparisons, on made-up tables of each outcome."""

import re

import numpy as np
import pandas as pd
import pytest

from meiju_utils.reporting import conclusions, tables
from meiju_utils.scoring import CLIPS_ALONE, FAILS, HOLDS, MEAN_OF_SEEDS, ONE_TRAINING

NAN = float("nan")
NOISE = "same direction, within noise"


def comparison(
    difference: float, low: float, high: float, p: float, estimand: str = ONE_TRAINING
) -> pd.DataFrame:
    """A table of `compare` with this joint score, beside which the tasks say the opposite."""
    rows = [
        ("emotion", -difference, -high, -low, NAN, estimand),
        ("joint", difference, low, high, p, estimand),
    ]
    return pd.DataFrame(rows, columns=["score", "difference", "low", "high", "p", "estimand"])


@pytest.mark.parametrize(
    ("row", "ending"),
    [
        (
            (-0.019, -0.070, 0.034, 0.5),
            "does not beat the logistic regression: −0.019 [−0.070, 0.034].",
        ),
        ((0.05, 0.01, 0.09, 0.02), "beats the logistic regression: 0.050 [0.010, 0.090]."),
        (
            (-0.05, -0.09, -0.01, 0.02),
            "is worse than the logistic regression: −0.050 [−0.090, −0.010].",
        ),
        ((0.00001, -0.02, 0.02, 0.99), "does not beat the logistic regression: 0.000 [−0.020,"),
        ((-0.00001, -0.02, 0.02, 0.99), "does not beat the logistic regression: 0.000 [−0.020,"),
        (
            (0.05, 0.002, 0.098, 0.08),
            "0.050 [0.002, 0.098]; corrected for the number of comparisons p is 0.080.",
        ),
        (
            (-0.05, -0.098, -0.002, 0.08),
            "does not beat the logistic regression: −0.050 [−0.098, −0.002]; corrected for the "
            "number of comparisons p is 0.080.",
        ),
        (
            (0.0, 0.0, 0.0, 1.0),
            "and the logistic regression answer alike: there is no difference.",
        ),
        (
            (NAN, NAN, NAN, NAN),
            "and the logistic regression cannot be compared: one of them has no scores.",
        ),
        (
            (1.0, NAN, NAN, NAN),
            "and the logistic regression cannot be compared: they are too few.",
        ),
    ],
    ids=[
        "not beaten",
        "beaten",
        "worse",
        "zero above",
        "zero below",
        "only alone ahead",
        "only alone behind",
        "identical",
        "failed",
        "one clip",
    ],
)
def test_each_outcome_has_its_sentence(row: tuple[float, ...], ending: str) -> None:
    told = conclusions.of_comparison(comparison(*row), "the network", "the logistic regression")
    assert told.startswith("On these clips the network ")
    assert ending in told
    assert len(re.findall(r"\.(?!\d)", told)) == 1  # one sentence
    assert "-" not in told


def test_one_seed_is_said() -> None:
    table = comparison(0.05, 0.01, 0.09, 0.02, MEAN_OF_SEEDS + CLIPS_ALONE)
    told = conclusions.of_comparison(table, "stage two", "stage one", "the test clips")
    assert told == (
        "On the test clips stage two beats stage one: 0.050 [0.010, 0.090], over clips alone, as "
        "there is one seed."
    )


def test_of_several_the_one_that_is_hardest_to_beat_speaks() -> None:
    tables = {
        "majority": comparison(0.4, 0.3, 0.5, 0.0),
        "wild": comparison(NAN, NAN, NAN, NAN),
        "linear-svm": comparison(-0.02, -0.07, 0.03, 0.9),
        "logistic-regression": comparison(0.1, 0.05, 0.15, 0.001),
    }
    table = pd.concat([t.assign(against=name) for name, t in tables.items()])
    told = conclusions.of_comparison(table, "the network", "the yardstick {}")
    assert told == (
        "On these clips the network does not beat the yardstick linear-svm: −0.020 [−0.070, 0.030]."
    )


def findings(*rows: tuple[str, str, float], estimand: str = ONE_TRAINING) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["finding", "verdict", "p"])
    return table.assign(estimand=estimand)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            findings(("a rises", HOLDS, 0.01), ("b rises", HOLDS, 0.02), ("c", NOISE, 0.5)),
            "Of the paper's 3 steps, after Holm's correction, 2 hold (a rises; b rises), 1 is "
            "within noise.",
        ),
        (
            findings(("a rises", HOLDS, 0.01), ("b", FAILS, 0.02), ("c", FAILS, 0.02)),
            "Of the paper's 3 steps, after Holm's correction, 1 holds (a rises), 2 go the other "
            "way (b; c).",
        ),
        (
            findings(("a", FAILS, 0.01), ("b", NOISE, 0.2), ("c", NOISE, 0.2)),
            "Of the paper's 3 steps, after Holm's correction, none holds, 1 goes the other way "
            "(a), 2 are within noise.",
        ),
        (
            findings(
                ("a", NOISE, 0.4), ("b", "no pool here", np.nan), ("c", "diverged here", np.nan)
            ),
            "Of the paper's 3 steps, after Holm's correction, none holds, 1 is within noise, 2 "
            "cannot be judged (no pool here; diverged here).",
        ),
        (
            findings(("a", "no pool here", np.nan)),
            "Of the paper's 1 step, after Holm's correction, none holds, 1 cannot be judged "
            "(no pool here).",
        ),
        (
            findings(("a", NOISE, 0.4), estimand=ONE_TRAINING + CLIPS_ALONE),
            "Of the paper's 1 step, after Holm's correction, none holds, 1 is within noise, over "
            "clips alone, as there is one seed.",
        ),
    ],
)
def test_findings_are_counted_and_named(table: pd.DataFrame, told: str) -> None:
    assert conclusions.of_findings(table) == told


def pieces(*rows: tuple[float, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["adds", "p"])
    table = table.assign(piece=[f"piece {i}" for i in range(len(rows))], recipe="best")
    bounds = {"paper_low": 0.01, "paper_high": 0.08, "paper_p": 0.01, "train": NAN, "valid": 0.5}
    return table.assign(paper=0.04, low=-0.01, high=0.02, **bounds)


def test_pieces_that_add_cost_and_do_neither_are_told_apart() -> None:
    told = conclusions.of_pieces(pieces((0.02, 0.01), (-0.02, 0.01), (0.01, 0.4), (0.0, NAN)))
    assert told == (
        "Of 4 pieces 1 adds to it (piece 0), 1 costs (piece 1), 1 is within noise. best is ahead "
        "of the paper's ensemble: 0.040 [0.010, 0.080]."
    )
    unsure = conclusions.of_pieces(pieces((0.01, 0.4)).assign(paper_p=0.2))
    assert unsure.startswith("Of 1 pieces none adds to it, 1 is within noise. best is not surely")
    assert conclusions.of_pieces(pieces((0.01, 0.4)).assign(paper=NAN)).endswith("within noise.")


def test_the_table_of_pieces_has_differences_with_signs_and_small_p() -> None:
    html = tables.show_pieces(pieces((0.02, 0.0001), (NAN, NAN)), "Pieces").to_html()
    for text in ("+0.020 [-0.010, +0.020]", "&lt; 0.001", "+0.040 [+0.010, +0.080]", "Pieces"):
        assert text in html
