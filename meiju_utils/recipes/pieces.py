"""What each piece of the chain beyond the paper adds: alone, and on top of those before it.

Imports `experiment`, `findings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.findings import compare
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, THESE_ANSWERS, holm

PAPER = "ensemble"


@dataclass(frozen=True)
class Piece:
    """A recipe that has one piece more than another, `before`."""

    piece: str
    recipe: str
    before: str


CUMULATED = (
    Piece("members over folds, calibrated: their mean", "members-mean", "linear-svm"),
    Piece("a learned pool of their opinions", "opinions", "members-mean"),
    Piece("students on the whole pool", "students", "opinions"),
    Piece("the prior of label pairs", "students+pairs", "students"),
    Piece("labels for the metric", "best", "students+pairs"),
)
ALONE = (
    Piece("members picked one by one", "greedy", "members-mean"),
    Piece("a network among the opinions", "with-network", "opinions"),
    Piece("students under the pool's shares", "students-shifted", "opinions"),
    Piece("pair prior, on the paper's ensemble", "ensemble+pairs", PAPER),
    Piece("labels for the metric, on the paper's", "ensemble+offsets", PAPER),
    Piece("contrastive loss, in stage two", "contrastive", "+pseudo-label"),
    Piece("consistency, in stage two", "consistent", "+pseudo-label"),
    Piece("one network taught by all", "best-single", "baseline"),
)


def recipes_of_pieces(pieces: tuple[Piece, ...] = CUMULATED) -> list[str]:
    """The recipes that a table of pieces compares, each after those it is compared with."""
    names = [PAPER, *(name for piece in pieces for name in (piece.before, piece.recipe))]
    return list(dict.fromkeys(names))


def piece_table(
    run: Run,
    made: Mapping[str, Experiment],
    pieces: tuple[Piece, ...] = CUMULATED,
    truth: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A row a piece, of experiments by recipe: what its recipe scores (joint) and what it adds.

    Columns: piece, recipe, train (held-out clips; NaN where these trained it), valid, adds (to
    `before`) with low, high, p, and paper (ahead of the paper's ensemble) with paper_low,
    paper_high, paper_p. Of these very answers, on the validation clips or those in `truth`; each
    kind of p is corrected for the number of pieces (Holm).
    """
    rows = []
    for piece in pieces:
        own = made[piece.recipe]
        adds, paper = (
            compare(run, made[name], own, THESE_ANSWERS, truth).set_index("score").loc[JOINT]
            for name in (piece.before, PAPER)
        )
        rows.append(
            {
                "piece": piece.piece,
                "recipe": piece.recipe,
                "train": own.score(split="train"),
                "valid": own.score(),
                **{"adds": adds["difference"], **adds[["low", "high", "p"]]},
                "paper": paper["difference"],
                **{f"paper_{name}": paper[name] for name in ("low", "high", "p")},
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(**{name: holm(table[name].to_numpy(float)) for name in ("p", "paper_p")})
