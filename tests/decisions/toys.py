"""Held-out predictions made up of labels and noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from meiju_utils.challenge import CLASSES
from meiju_utils.decisions import Known
from meiju_utils.predictions import Classes, Predictions

FOLDS = 4


def truth(
    classes: Classes = CLASSES, train: int = 80, test: int = 30, draw: int = 0
) -> pd.DataFrame:
    """Clips of train and test, with a label a task (those of test are for the tests to know)."""
    rng = np.random.default_rng([7, draw])
    splits = ["train"] * train + ["test"] * test
    table = pd.DataFrame({"clip_id": [f"c{i:03d}" for i in range(len(splits))], "split": splits})
    table = table.astype({"clip_id": "str", "split": "str"})
    for task, names in classes.items():
        table[task] = pd.array(rng.choice(names[:4], len(table)).tolist(), dtype="str")
    return table


def known(clips: pd.DataFrame, average: Any = "weighted", **options: Any) -> Known:
    """All of train's labels; fold after fold was held out."""
    train = clips[clips["split"] == "train"]
    folds = {clip_id: place % FOLDS for place, clip_id in enumerate(train["clip_id"])}
    return Known(train, average, folds, **options)


def member(
    clips: pd.DataFrame,
    skill: float | Mapping[str, float],
    draw: int = 0,
    classes: Classes = CLASSES,
    sharpness: float = 1.0,
    absent: Any = None,
) -> Predictions:
    """One row a clip: logits of noise, and `skill` more for the right label."""
    rng = np.random.default_rng([11, draw])
    found = {}
    for task, names in classes.items():
        logits = rng.normal(size=(len(clips), len(names)))
        own = skill[task] if isinstance(skill, Mapping) else skill
        place = {label: index for index, label in enumerate(names)}
        logits[np.arange(len(clips)), clips[task].map(place).to_numpy()] += own
        odds = np.exp(sharpness * logits)
        found[task] = odds / odds.sum(axis=1, keepdims=True)
    fold = np.where(clips["split"] == "train", np.arange(len(clips)) % FOLDS, -1)
    none = np.zeros(len(clips), dtype=bool)
    return Predictions.of_arrays(
        clips["clip_id"], clips["split"], found, classes, none, fold=fold, absent=absent
    )


def right(predictions: Any, clips: pd.DataFrame, task: str, split: str = "test") -> float:
    """The share of a split's clips whose likeliest label is right."""
    own = predictions.of_split(split)
    wanted = clips.set_index("clip_id").loc[own.table["clip_id"], task].to_numpy()
    names = np.array(own.classes[task])
    return float((names[own.probabilities(task).argmax(axis=1)] == wanted).mean())


def loss(predictions: Any, clips: pd.DataFrame, task: str, split: str = "test") -> float:
    """Mean negative log-likelihood of a split's right labels."""
    own = predictions.of_split(split)
    wanted = clips.set_index("clip_id").loc[own.table["clip_id"], task]
    place = {label: index for index, label in enumerate(own.classes[task])}
    rows = np.arange(len(own))
    chosen = own.probabilities(task)[rows, wanted.map(place).to_numpy()]
    return float(-np.log(np.maximum(chosen, 1e-9)).mean())


def shuffled(predictions: Predictions, seed: int = 0) -> Predictions:
    return Predictions(predictions.table.sample(frac=1, random_state=seed, ignore_index=True))
