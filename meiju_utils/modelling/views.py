"""What a classical model looks at: features standardised on the clips that train it, or texts.

Imports `dataset`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meiju_utils.errors import FeatureError
from meiju_utils.modelling.dataset import Dataset

# One modality; all, side by side; or all as blocks of equal weight, however wide.
View = Literal["all", "equal", "audio", "visual", "text"]
Array = NDArray[Any]


def streams_of(view: str, streams: list[str]) -> list[str]:
    """The streams that a view joins; none where it has nothing to join that others do not."""
    if view in ("all", "equal"):
        return streams
    return [stream for stream in streams if stream == view]


@dataclass(frozen=True)
class Standardised:
    """Means over time of some streams less `mean` [D], times `scale` [D]: what a view shows.

    A feature that is constant where it was fitted becomes zero, as does what a clip lacks.
    """

    streams: list[str]
    mean: Array
    scale: Array

    @classmethod
    def fit(cls, dataset: Dataset, view: str, rows: NDArray[np.int64]) -> "Standardised":
        """Statistics of the clips in `rows` that have the streams."""
        streams = streams_of(view, list(dataset.features))
        if not streams:
            raise FeatureError(f"The view {view!r} needs {view} features, which are not in use.")
        means, scales = [], []
        width = sum(dataset.features[stream].width for stream in streams)
        for stream in streams:
            own = dataset.features[stream].means()[rows]
            own = own[~np.isnan(own).any(axis=1)].astype(np.float64)
            mean = own.mean(axis=0) if len(own) else np.zeros(own.shape[1])
            spread = own.std(axis=0) if len(own) else np.zeros(own.shape[1])
            # float32 features carry about 7 digits: less spread than that is rounding.
            varies = spread > 1e-6 * np.maximum(np.abs(mean), 1e-6)
            scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
            if view == "equal":  # all streams together keep the squared length of `all`
                scale *= np.sqrt(width / (len(streams) * own.shape[1]))
            means.append(mean)
            scales.append(scale)
        joined = [np.concatenate(part).astype(np.float32) for part in (means, scales)]
        return cls(streams, *joined)

    def of(self, dataset: Dataset) -> tuple[Array, NDArray[np.bool_]]:
        """Every clip as a row of float32 [N, D], and whether it has any of the streams [N]."""
        parts = [dataset.features[stream] for stream in self.streams]
        x = np.concatenate([part.means() for part in parts], axis=1)
        x -= self.mean
        x *= self.scale
        np.nan_to_num(x, copy=False)
        return x, np.any([part.present for part in parts], axis=0)


def texts_of(dataset: Dataset) -> tuple[Array, NDArray[np.bool_]]:
    """Every clip's words [N] (objects), and whether it has any [N]."""
    texts = np.array(dataset.texts, dtype=object)
    return texts, np.array([bool(text.strip()) for text in dataset.texts])
