"""Label shift: held-out clips weighed until their predicted classes are as frequent as the pool's.

What is known of held-out clips is carried over to the pool on one assumption: of clips predicted as
the same classes, as many are right in the pool as among the held-out ones. Imports nothing of the
package.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ROUNDS = 100


def shift_weights(held_out: pd.DataFrame, pool: pd.DataFrame) -> NDArray[np.float64]:
    """Weights [N] of held-out clips, of mean 1; both tables have a column of classes a task.

    With one task a clip of class c weighs its share in the pool over its share among the held-out
    ones. With two, both tasks' shares are met by turns (raking: Deming and Stephan 1940) in place
    of the pairs', most of which have no held-out clip at all. Classes that only one of the two
    tables has cannot be weighed and count nothing; all weights are 0 where nothing is in common.
    """
    weights = np.ones(len(held_out))
    known = np.ones(len(pool), dtype=bool)
    for task in held_out.columns:
        known &= pool[task].isin(held_out[task]).to_numpy()
    if not known.any():
        return 0 * weights
    margins = []
    for task in held_out.columns:
        index, names = pd.factorize(held_out[task])
        wanted = pool[task][known].value_counts(normalize=True).reindex(names, fill_value=0)
        margins.append((index, wanted.to_numpy(dtype=np.float64)))
    for _ in range(_ROUNDS):
        before = weights
        for index, shares in margins:
            now = np.bincount(index, weights, minlength=len(shares))
            factors = np.divide(shares, now, out=np.zeros(len(now)), where=now > 0)
            weights = weights * factors[index]
        if np.allclose(weights, before, rtol=1e-6, atol=0):
            break
    total = weights.sum()
    return weights * len(weights) / total if total > 0 else weights


def effective_number(weights: NDArray[np.float64]) -> float:
    """How many clips of equal weight say as much as these (Kish 1965); 0 without any."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
