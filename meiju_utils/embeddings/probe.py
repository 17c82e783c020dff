"""What an encoder is worth before any network is trained: cross-validated linear probes.

As MERBench compares encoders. Imports `store`, `folding`, `linear`, `parallel`, `run`, `scoring`.

scikit-learn comes with the first probe: workers that only extract features start a second sooner.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils import folding
from meiju_utils.challenge import MODALITIES, Average, Setting, Task
from meiju_utils.config import Parallel
from meiju_utils.embeddings.store import FeatureStore
from meiju_utils.errors import FeatureError
from meiju_utils.files import fingerprint
from meiju_utils.parallel import map_items
from meiju_utils.predictions import labelled, likeliest
from meiju_utils.run import Run
from meiju_utils.scoring import score_table
from meiju_utils.sources import code_key

Matrix = NDArray[np.float64]

STRENGTHS = (0.5, 5.0, 50.0)  # see `linear`
INNER_FOLDS = 3


@dataclass(frozen=True)
class FeatureSet:
    """One encoder, or several of different modalities side by side."""

    stores: tuple[FeatureStore, ...]

    @property
    def modality(self) -> str:
        return "+".join(store.meta["modality"] for store in self.stores)

    @property
    def encoder(self) -> str:
        return " + ".join(store.meta["encoder"] for store in self.stores)


def feature_sets(stores: Sequence[FeatureStore]) -> list[FeatureSet]:
    """Every encoder alone; the first of each modality in all combinations; the second of each
    modality together, the third, and so on.
    """
    by_modality = [[s for s in stores if s.meta["modality"] == m] for m in MODALITIES]
    ranked = [group for group in by_modality if group]
    sets = [FeatureSet((store,)) for group in ranked for store in group]
    first = [group[0] for group in ranked]
    for size in range(2, len(first) + 1):
        sets += [FeatureSet(chosen) for chosen in combinations(first, size)]
    for rank in range(1, min((len(group) for group in ranked), default=0)):
        if len(ranked) > 1:
            sets.append(FeatureSet(tuple(group[rank] for group in ranked)))
    return sets


def probe_encoders(
    stores: Sequence[FeatureStore],
    clips: pd.DataFrame,
    setting: Setting,
    folds: int = 5,
    seed: int = 0,
    parallel: Parallel | None = None,
    known: pd.DataFrame | None = None,
    recordings: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Score logistic regressions on every encoder and combination (see `feature_sets`).

    Cross-validated on the labelled training clips, in the folds of `folding.deal`: those of a
    recording (`recordings` by clip id; default: each clip is one) stay together. C is chosen inside
    each fold. One row each:
    modality, encoder, width, clips (with an embedding), every task and joint (each with _low and
    _high, a 95 % bootstrap interval over clips), seconds (to encode), megabytes (on disk), key.
    An absent clip has the mean embedding; an encoder without any of these clips is left out. Rows
    of `known` whose key is the same are taken over. Raises FeatureError where fewer than two
    training clips have all labels, or none has an embedding.
    """
    from meiju_utils import linear

    known_labels = labelled(clips, setting.tasks, "train")
    clip_ids = known_labels["clip_id"].tolist()
    groups = [(recordings or {}).get(clip_id, clip_id) for clip_id in clip_ids]
    if len(set(groups)) < 2:
        raise FeatureError(
            f"Probes need labelled training clips of two recordings at least; the clips table has "
            f"{len(known_labels)} of {len(set(groups))}. Check the label lists in notebook 01."
        )
    labels: dict[Task, NDArray[np.str_]] = {
        task: known_labels[task].to_numpy(dtype=str) for task in setting.tasks
    }
    heard = [s for s in stores if any(clip_id in s for clip_id in clip_ids)]
    if not heard:
        raise FeatureError(
            "No labelled training clip has an embedding: there is nothing to probe. See which are "
            "missing, and why, in notebook 02."
        )
    sets = feature_sets(heard)
    basis = [
        code_key(sys.modules[__name__], linear, folding),
        setting.name,
        setting.average,
        folds,
        seed,
        known_labels[["clip_id", *setting.tasks]].to_numpy().tolist(),
        groups,
    ]
    keys = [
        fingerprint(basis, [(s.key, s.stamps(clip_ids)) for s in chosen.stores]) for chosen in sets
    ]
    done: dict[str, dict[Any, Any]] = {}
    if known is not None:
        done = {row["key"]: row for row in known.to_dict("records")}
    todo = [i for i, key in enumerate(keys) if key not in done]
    dealt = folding.deal(labels.values(), groups, min(folds, len(set(groups))), seed)
    work = partial(_probe, labels=labels, fold=dealt.fold, average=setting.average)
    wanted = {store for i in todo for store in sets[i].stores}  # most are in several sets
    means = {store: store.means(clip_ids) for store in wanted}
    blocks = [[means[store] for store in sets[i].stores] for i in todo]
    names = [sets[i].encoder for i in todo]
    settings = parallel or Parallel(backend="serial")
    probed = map_items(
        work, blocks, names, settings, "Probes", tolerant=False, unit="probes"
    ).succeeded()
    for i, scores in zip(todo, probed, strict=True):
        chosen = sets[i]
        done[keys[i]] = {
            "modality": chosen.modality,
            "encoder": chosen.encoder,
            "width": sum(store.width for store in chosen.stores),
            "clips": sum(all(c in store for store in chosen.stores) for c in clip_ids),
            **scores,
            "seconds": sum(store.seconds for store in chosen.stores),
            "megabytes": sum(store.megabytes for store in chosen.stores),
            "key": keys[i],
        }
    return pd.DataFrame([done[key] for key in keys])


def cached_probe_table(
    run: Run, stores: Sequence[FeatureStore], folds: int = 5, seed: int = 0
) -> pd.DataFrame:
    """`probe_encoders` on the run's clips, kept as the run's table `encoders`.

    Only rows whose embeddings, labels or folds have changed are computed again.
    """
    known = run.table("encoders") if run.path("encoders.parquet").is_file() else None
    table = probe_encoders(
        stores,
        run.table("clips"),
        run.setting,
        folds,
        seed,
        run.config.parallel,
        known,
        folding.recording_of(run),
    )
    run.save_table("encoders", table)
    return table


def _probe(
    blocks: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    labels: dict[Task, NDArray[np.str_]],
    fold: NDArray[np.int64],
    average: Average,
) -> dict[str, float]:
    """Scores of out-of-fold predictions from embeddings side by side, with their intervals."""
    x = np.concatenate(
        [np.where(present[:, None], values, np.nan) for values, present in blocks], axis=1
    ).astype(np.float64)
    predicted = {task: _out_of_fold(x, truth, fold, average) for task, truth in labels.items()}
    row: dict[str, float] = {}
    for score in score_table("probe", "train", labels, predicted, average).to_dict("records"):
        name = score["score"]
        row |= {name: score["value"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
    return row


def _out_of_fold(
    x: Matrix,
    truth: NDArray[np.str_],
    fold: NDArray[np.int64],
    average: Average,
) -> NDArray[np.str_]:
    from meiju_utils.linear import LinearLogistic

    classes, index = np.unique(truth, return_inverse=True)
    targets, predicted = np.eye(len(classes))[index], np.empty_like(truth)
    for held in (fold == number for number in np.unique(fold)):
        model = LinearLogistic(len(classes), average, strengths=STRENGTHS, folds=INNER_FOLDS)
        model.fit(x[~held], targets[~held], np.ones(int((~held).sum())))
        predicted[held] = classes[likeliest(model.probabilities(x[held]))]
    return predicted
