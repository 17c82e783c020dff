"""Embeddings at a glance: which stores there are, a projection, whether a modality says anything.

Imports `base`, `store`.
"""

from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from meiju_utils.challenge import Modality
from meiju_utils.config import Embeddings
from meiju_utils.embeddings.base import ClipSource
from meiju_utils.embeddings.store import FeatureStore
from meiju_utils.errors import FeatureError

_LACKING: dict[Modality, tuple[str, str]] = {
    "audio": ("sound", ""),
    "visual": ("a picture", ""),
    "text": (
        "words",
        ", or have speech recognised: preprocessing.transcripts.asr=<Whisper model>",
    ),
}


def check_modalities(settings: Embeddings, source: ClipSource) -> None:
    """FeatureError where the network is to read what not one of the clips has.

    A minute before extraction rather than after it. Vectors made elsewhere (`npy:`) may be of clips
    that have nothing here.
    """
    reads: dict[Modality, Callable[[str], Sized]] = {
        "audio": source.audio,
        "visual": source.faces,
        "text": source.text,
    }
    lacking = [
        modality
        for modality, encoder in settings.chosen().items()
        if not encoder.name.startswith("npy:")
        and not any(_has(reads[modality], clip_id) for clip_id in source.clip_ids)
    ]
    if lacking:
        raise FeatureError(
            "\n".join(
                f"None of {len(source.clip_ids)} clips has {_LACKING[modality][0]}. Go on without: "
                f"embeddings.{modality}=null{_LACKING[modality][1]}."
                for modality in lacking
            )
        )


def _has(read: Callable[[str], Sized], clip_id: str) -> bool:
    try:
        return len(read(clip_id)) > 0
    except Exception:  # a fault of its files: there was something, and extraction says what
        return True


def store_folders(folder: Path) -> list[Path]:
    """The folders of the feature stores of a run folder by name, or of the one store `folder` is.

    FeatureError where there is none.
    """
    places = [folder, *sorted((folder / "features").glob("*/"))]
    stores = [place for place in places if (place / "meta.json").is_file()]
    if not stores:
        raise FeatureError(
            f"No feature store in {folder}. Expected a run folder in which notebook 02 has run, or "
            "the folder of one store."
        )
    return stores


def stores_in(folder: Path) -> list[FeatureStore]:
    """The feature stores of a run folder (see `store_folders`), opened."""
    return [FeatureStore(place) for place in store_folders(folder)]


def stores_table(stores: Sequence[FeatureStore]) -> pd.DataFrame:
    """One row a store: store, modality, encoder, clips, absent, width, dtype, megabytes, seconds.

    `seconds` is the time of encoding, summed over workers.
    """
    return pd.DataFrame(
        {
            "store": store.folder.name,
            "modality": store.meta["modality"],
            "encoder": store.meta["encoder"],
            "clips": len(store),
            "absent": len(store.missing),
            "width": store.width,
            "dtype": store.meta["dtype"],
            "megabytes": store.megabytes,
            "seconds": store.seconds,
        }
        for store in stores
    )


def project(
    store: FeatureStore,
    clip_ids: Sequence[str],
    method: Literal["pca", "tsne"] = "pca",
    seed: int = 0,
) -> pd.DataFrame:
    """Two coordinates of each clip that has an embedding: clip_id, x, y.

    No rows where fewer than three clips have one.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    values, present = store.means(clip_ids)
    rows = np.flatnonzero(present)
    if len(rows) < 3:
        return pd.DataFrame({"clip_id": [], "x": [], "y": []})
    scaled = StandardScaler().fit_transform(values[rows])
    planar = PCA(min(50, *scaled.shape), random_state=seed).fit_transform(scaled)
    if method == "tsne":
        perplexity = min(30.0, (len(rows) - 1) / 3)
        planar = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(planar)
    planar = np.pad(planar, [(0, 0), (0, max(0, 2 - planar.shape[1]))])
    ids = [clip_ids[row] for row in rows.tolist()]
    return pd.DataFrame({"clip_id": ids, "x": planar[:, 0], "y": planar[:, 1]})


def absences(stores: Sequence[FeatureStore]) -> pd.DataFrame:
    """Why clips have no embedding: modality, encoder, reason, clips (how many), first (of them)."""
    rows = [
        (store.meta["modality"], store.meta["encoder"], reason, clip_id)
        for store in stores
        for clip_id, reason in sorted(store.missing.items())
    ]
    table = pd.DataFrame(rows, columns=["modality", "encoder", "reason", "clip_id"], dtype="str")
    grouped = table.groupby(["modality", "encoder", "reason"], sort=False)["clip_id"]
    return grouped.agg(clips="size", first="first").reset_index()


def degeneracy(stores: Sequence[FeatureStore], clip_ids: Sequence[str]) -> pd.DataFrame:
    """Whether embeddings say anything, one row a store.

    modality, encoder, clips, absent, not_finite (clips), constant (share of features that never
    change), duplicated (share of clips whose embedding another clip has too), verdict: `sound`, or
    `empty`, `not finite`, `constant` (all features), `duplicated` (more than half of the clips).
    """
    rows = []
    for store in stores:
        values, present = store.means(clip_ids)
        values = values[present]
        bad = ~np.isfinite(values).all(axis=1)
        good = values[~bad]
        constant = float((np.ptp(good, axis=0) == 0).mean()) if good.size else 0.0
        counts = np.unique(good, axis=0, return_counts=True)[1] if good.size else np.array([0])
        duplicated = float(counts[counts > 1].sum() / max(len(good), 1))
        verdict = next(
            (
                name
                for name, holds in (
                    ("empty", not len(values)),
                    ("not finite", bad.any()),
                    ("constant", constant == 1),
                    ("duplicated", duplicated > 0.5),
                )
                if holds
            ),
            "sound",
        )
        rows.append(
            {
                "modality": store.meta["modality"],
                "encoder": store.meta["encoder"],
                "clips": len(values),
                "absent": int((~present).sum()),
                "not_finite": int(bad.sum()),
                "constant": constant,
                "duplicated": duplicated,
                "verdict": verdict,
            }
        )
    return pd.DataFrame(rows)
