"""Gaussian kernels: what Nyström's approximation costs in answers, and our kernel beside sklearn's.

    python benchmarks/kernels.py --cped FOLDER     # a corpus of texts in Track 1's layout

On its text features: 4000 clips train (all labelled ones, and clips of the pool with soft labels by
an exact ridge on the labelled ones), as is the most that is exact; then the same clips by 1000
landmarks. Judged on the validation clips.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics.pairwise import rbf_kernel

from meiju_utils.corpus.official import read_corpus
from meiju_utils.devices import single_thread
from meiju_utils.embeddings import extract_features
from meiju_utils.modelling.dataset import load_dataset
from meiju_utils.modelling.kernels import RbfRidge, gaussian
from meiju_utils.modelling.views import Standardised
from meiju_utils.opening import open_run
from meiju_utils.preprocessing import preprocess_corpus
from meiju_utils.scoring import scored_answers

CLIPS = 4000


def fitted(x: Any, targets: Any, weights: Any, **options: Any) -> tuple[RbfRidge, float]:
    model = RbfRidge(targets.shape[1], "weighted", view="text", **options)
    began = time.perf_counter()
    model.fit(x, targets, weights)
    return model, time.perf_counter() - began


def loss(folder: Path) -> None:
    run = open_run("text-only", str(folder), "runs/kernels")
    preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder)
    dataset = load_dataset(run)
    train, valid = dataset.labelled("train"), dataset.labelled("valid")
    x, _ = Standardised.fit(dataset, "text", train).of(dataset)
    truth = dataset.truth(train)
    sizes = {task: len(names) for task, names in dataset.classes.items()}
    hard = np.concatenate([np.eye(sizes[task])[truth[task]] for task in sizes], axis=1)
    ends = np.cumsum(list(sizes.values()))[:-1]
    pool = dataset.rows("unlabeled")[: CLIPS - len(train)]
    first, _ = fitted(x[train], hard, np.ones(len(train)))
    parts = np.split(first.scores(x[pool]), ends, axis=1)
    soft = np.concatenate([softmax(part, axis=1) for part in parts], axis=1)
    rows, targets = np.concatenate([train, pool]), np.concatenate([hard, soft])
    weights = np.ones(len(rows))
    found = {}
    for name, options in (("exact", {"exact": CLIPS}), ("Nyström", {"exact": 1})):
        model, seconds = fitted(x[rows], targets, weights, **options)
        scores = np.split(model.scores(x[valid]), ends, axis=1)
        found[name] = [softmax(part, axis=1) for part in scores]
        answers = {
            task: np.array(dataset.classes[task])[own.argmax(axis=1)]
            for task, own in zip(sizes, found[name], strict=True)
        }
        right = {t: np.array(dataset.classes[t])[own] for t, own in dataset.truth(valid).items()}
        value = scored_answers(right, answers, "weighted").value
        told = " / ".join(f"{one:.4f}" for one in value)
        print(f"{name}: {len(rows)} clips, {seconds:.1f} s, emotion / intent / joint {told}")
    for task, one, other in zip(sizes, *found.values(), strict=True):
        same = (one.argmax(axis=1) == other.argmax(axis=1)).mean()
        print(
            f"{task}: probabilities differ by {np.abs(one - other).mean():.4f} on average, "
            f"{same:.1%} of labels are the same"
        )


def speed(rounds: int = 5) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 3072)).astype(np.float32) for n in (4000, 1000))
    gamma, ratios = 0.3 / 3072, []
    for _ in range(rounds):
        began = time.perf_counter()
        theirs = rbf_kernel(a, b, gamma)
        middle = time.perf_counter()
        ours = gaussian(a, b, gamma)
        ratios.append((middle - began) / (time.perf_counter() - middle))
    print(
        f"scikit-learn's kernel takes {np.median(ratios):.1f} times as long as ours (4000 x 1000 "
        f"of 3072 features, one thread); they differ by {np.abs(ours - theirs).max():.1e} at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cped", type=Path, help="folder of the text corpus")
    chosen = parser.parse_args()
    with single_thread():
        speed()
        if chosen.cped:
            loss(chosen.cped.resolve())


if __name__ == "__main__":
    main()
