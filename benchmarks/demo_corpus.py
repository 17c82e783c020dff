"""What the synthetic corpus costs, and how hard it is: one row a modality, and all together.

    python benchmarks/demo_corpus.py --size demo --seeds 0 1 2

For each seed, in one process: CPU seconds a clip, megabytes, share of clips whose faces dlib finds,
how many sentences differ, and scores on the true labels of the test split of a logistic regression
(C = 0.01 on standardised features) on the default embeddings, trained on the listed labels. All
three modalities are meant to reach a joint score of about 0.50 (0.40 to 0.65), each alone clearly
less. The last row is what the true labels of the unlabelled pool would add: how much is in it.
`--folder` keeps the corpora and runs, so that a second call only scores.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import cv2
import dlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from meiju_utils.challenge import TASKS, Modality
from meiju_utils.config import Parallel
from meiju_utils.corpus.demo import DemoCorpus, build_demo_corpus
from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import FeatureStore, extract_features
from meiju_utils.opening import open_run
from meiju_utils.preprocessing import preprocess_corpus
from meiju_utils.scoring import score

SYSTEMS: list[tuple[Modality, ...]] = [
    ("audio",),
    ("visual",),
    ("text",),
    ("audio", "visual"),
    ("audio", "visual", "text"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="demo", choices=["tiny", "demo", "medium"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, help="keep the corpora and runs here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for seed in arguments.seeds:
            folder = (arguments.folder or Path(temporary)).absolute() / f"{arguments.size}-{seed}"
            start = time.process_time()
            corpus = build_demo_corpus(folder, arguments.size, seed, Parallel(backend="serial"))
            cpu = (time.process_time() - start) / sum(corpus.counts.values())
            clips = truth_of(corpus)
            files = [path for path in folder.rglob("*") if path.is_file()]
            print(
                f"seed {seed}: {cpu:.3f} CPU s/clip, "
                f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB, "
                f"all faces found in {share_detected(files, clips):.3f} of the clips, "
                f"{clips['text'].nunique()} sentences in {len(clips)} clips",
                flush=True,
            )
            for name, scores in probe(corpus, clips).items():
                print(f"  {name:24}" + "".join(f" {task} {f:.3f}" for task, f in scores.items()))


def truth_of(corpus: DemoCorpus) -> pd.DataFrame:
    """True labels and scenes of the clips, by clip id."""
    labels, scenes = (
        pd.read_csv(corpus.truth / f"{name}.csv", keep_default_na=False, dtype={"clip_id": "str"})
        for name in ("labels", "scenes")
    )
    return labels.merge(scenes, on=["clip_id", "split"]).set_index("clip_id")


def share_detected(files: list[Path], clips: pd.DataFrame) -> float:
    """Share of (up to 200) clips in whose middle frame dlib finds as many faces as were drawn."""
    detector = dlib.get_frontal_face_detector()
    known = [path for path in sorted(files) if path.stem in clips.index]
    found = []
    for path in known[:: max(1, len(known) // 200)]:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        boxes = detector(frames[len(frames) // 2], 0)
        found.append(len(boxes) == clips.loc[path.stem, "n_faces"])
    return float(np.mean(found))


def probe(corpus: DemoCorpus, clips: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Emotion, intent and joint score by system."""
    run = open_run(
        "demo",
        str(corpus.folder),
        str(corpus.folder.with_name(corpus.folder.name + "-run")),
        {"parallel.backend": "serial"},
    )
    preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    stores = {
        modality: extract_features(run, modality, encoder)
        for modality, encoder in run.config.embeddings.chosen().items()
    }
    train, test, pool = (clips[clips["split"] == s] for s in ("train", "test", "unlabeled"))
    listed = train[[f"listed_{task}" for task in TASKS]].set_axis(list(TASKS), axis=1)
    pooled = pd.concat([listed, pool[list(TASKS)]])
    results = {"+".join(used): evaluate(stores, used, listed, test) for used in SYSTEMS}
    # balanced, since the pool's classes are distributed otherwise than the test split's
    results["all, pool with truth"] = evaluate(stores, SYSTEMS[-1], pooled, test, "balanced")
    return results


def evaluate(
    stores: dict[Modality, FeatureStore],
    used: tuple[Modality, ...],
    train: pd.DataFrame,
    test: pd.DataFrame,
    class_weight: str | None = None,
) -> dict[str, float]:
    """Scores on test clips of a logistic regression on the features side by side."""
    seen, unseen = [], []
    for modality in used:
        learn, apply = (stores[modality].means(list(part.index))[0] for part in (train, test))
        scaler = StandardScaler().fit(learn)
        seen.append(scaler.transform(learn))
        unseen.append(scaler.transform(apply))
    answers: list[NDArray[Any]] = []
    for task in TASKS:
        model = LogisticRegression(C=0.01, max_iter=500, class_weight=class_weight)
        model.fit(np.hstack(seen), train[task])
        answers.append(model.predict(np.hstack(unseen)))
    truth = {task: test[task].to_numpy(dtype=str) for task in TASKS}
    return score(truth, dict(zip(TASKS, answers, strict=True)))


if __name__ == "__main__":
    main()
