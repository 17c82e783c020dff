"""Score tables made up for the tests."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from meiju_utils.scoring import MEAN, SINGLE, concatenated
from meiju_utils.scoring.table import SCORE_COLUMNS


@pytest.fixture(scope="session")
def tidy() -> Callable[..., pd.DataFrame]:
    """Builds a tidy score table from joint scores by system: intervals of 0.1 either side.

    Kinds "mean" and "single" alike, and as many seeds as asked for, without intervals. `chose`:
    what was chosen on the clips.
    """

    def build(
        split: str = "valid", seeds: int = 0, chose: str = "", **joint: float
    ) -> pd.DataFrame:
        rows = []
        for system, value in joint.items():
            name = system.replace("_", "-")
            for kind in (MEAN, SINGLE, *(f"seed {seed}" for seed in range(seeds))):
                for score, point in (("emotion", 0.5), ("intent", 0.6), ("joint", value)):
                    width = np.nan if kind.startswith("seed") else 0.1
                    row = (name, split, score, point, point - width, point + width, kind, chose)
                    rows.append(row)
        return concatenated([pd.DataFrame(rows, columns=SCORE_COLUMNS)])

    return build
