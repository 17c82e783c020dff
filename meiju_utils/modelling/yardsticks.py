"""What the network must beat: the majority answer, and linear models on the same embeddings.

Logistic regression and a linear SVM read the means over time of each modality and of all of them
side by side. Their regularisation is tuned by cross-validation on train. Imports `dataset`,
`embeddings.probe`, `metrics`, `parallel`, `run`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.config import Parallel
from meiju_utils.embeddings.probe import fewest_dimensions
from meiju_utils.files import atomic_path, fingerprint, write_json
from meiju_utils.metrics import score_intervals, task_f1
from meiju_utils.modelling.dataset import Dataset, dataset_key, load_dataset
from meiju_utils.parallel import map_items
from meiju_utils.run import Run

Matrix = NDArray[np.float64]
Model = Literal["logistic regression", "linear SVM"]
Average = Literal["weighted", "micro"]

VERSION = 3  # raise it when the same data would give other results
MODELS: tuple[Model, ...] = ("logistic regression", "linear SVM")
MAJORITY = "majority"
ALL = "all"
# Inverse regularisation C times the number of features: standardised features contribute alike, so
# the best C falls with their number.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FOLDS = 5


@dataclass(frozen=True)
class Fitted:
    """Label indices one model gives [rows], and its inverse regularisation."""

    answers: NDArray[np.int64]
    c: float


@dataclass(frozen=True)
class Yardsticks:
    """Scores and answers of the yardsticks.

    `table`, one row each: name ("majority", "logistic regression" on all there is, "logistic
    regression (audio)", ...), model, features, width, emotion_c and intent_c (regularisation
    chosen), emotion, intent, joint on valid, each with _low and _high (95 % bootstrap over clips).
    `predictions`: name, clip_id, split (valid, test), emotion, intent.
    """

    table: pd.DataFrame
    predictions: pd.DataFrame


def train_yardsticks(run: Run) -> Yardsticks:
    """The yardsticks of a run with the profile's encoders, made where they are not there yet."""
    key = fingerprint(VERSION, STRENGTHS, FOLDS, run.setting.average, dataset_key(run))
    folder = run.path("yardsticks", key)
    paths = [folder / "predictions.parquet", folder / "table.parquet"]  # the last marks it whole
    if not paths[-1].is_file():
        encoders = run.config.embeddings.chosen().items()
        config = {
            "setting": run.setting.name,
            "encoders": {m: encoder.model_dump(mode="json") for m, encoder in encoders},
            "strengths": STRENGTHS,
            "folds": FOLDS,
        }
        write_json(folder / "config.json", config)
        made = fit_yardsticks(load_dataset(run), run.setting.average, run.config.parallel)
        for path, table in zip(paths, (made.predictions, made.table), strict=True):
            with atomic_path(path) as temporary:
                table.to_parquet(temporary, index=False)
    predictions, table = (pd.read_parquet(path) for path in paths)
    return Yardsticks(table, predictions)


def fit_yardsticks(dataset: Dataset, average: Average, parallel: Parallel) -> Yardsticks:
    """Tune, fit and score every yardstick on a dataset, models × features × tasks in parallel."""
    inputs = standardised_means(dataset)
    train = dataset.labelled("train")
    rows = np.concatenate([dataset.rows("valid"), dataset.rows("test")])
    jobs: list[tuple[Model, str, Task]] = [
        (model, features, task) for model in MODELS for features in inputs for task in TASKS
    ]
    work = partial(
        _tuned,
        inputs=inputs,
        labels=dataset.labels,
        train=train,
        rows=rows,
        average=average,
    )
    names = [", ".join(job) for job in jobs]
    mapped = map_items(work, jobs, names, parallel, "yardsticks", tolerant=False)
    fitted = dict(zip(jobs, mapped.succeeded(), strict=True))

    constant: dict[Task, Fitted] = {}
    for task in TASKS:
        most = int(np.bincount(dataset.labels[task][train]).argmax())
        constant[task] = Fitted(np.full(len(rows), most), float("nan"))
    table = [_scored(MAJORITY, "", 0, dataset, rows, constant, average)]
    predictions = [_labels(MAJORITY, dataset, rows, constant)]
    for model in MODELS:
        for features, x in inputs.items():
            found = {task: fitted[model, features, task] for task in TASKS}
            row = _scored(model, features, x.shape[1], dataset, rows, found, average)
            table.append(row)
            predictions.append(_labels(row["name"], dataset, rows, found))
    return Yardsticks(pd.DataFrame(table), pd.concat(predictions, ignore_index=True))


def _scored(
    model: str,
    features: str,
    width: int,
    dataset: Dataset,
    rows: NDArray[np.int64],
    found: Mapping[Task, Fitted],
    average: Average,
) -> dict[str, Any]:
    """A row of the table: scores on the labelled validation clips."""
    several = len(dataset.features) > 1
    of_valid = np.isin(rows, dataset.labelled("valid"))
    emotion, intent = dataset.truth(rows[of_valid])
    scores = score_intervals(
        emotion,
        found["emotion"].answers[of_valid],
        intent,
        found["intent"].answers[of_valid],
        average,
    )
    row: dict[str, Any] = {
        "name": f"{model} ({features})" if features in dataset.features and several else model,
        "model": model,
        "features": features,
        "width": width,
        **{f"{task}_c": found[task].c for task in TASKS},
    }
    for name, interval in asdict(scores).items():
        row |= {name: interval["value"]}
        row |= {f"{name}_{end}": interval[end] for end in ("low", "high")}
    return row


def _labels(
    name: str, dataset: Dataset, rows: NDArray[np.int64], found: Mapping[Task, Fitted]
) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "name": name,
        "clip_id": dataset.clip_ids[rows],
        "split": dataset.split[rows],
    }
    columns |= {task: np.array(CLASSES[task])[found[task].answers] for task in TASKS}
    return pd.DataFrame(columns).astype("str")


def standardised_means(dataset: Dataset) -> dict[str, Matrix]:
    """Means over time [N, D] of each modality and, where there are several, of "all".

    Mean 0 and spread 1 over the labelled train clips; a clip without the modality gets their mean.
    """
    train = dataset.labelled("train")
    inputs: dict[str, Matrix] = {}
    for modality, sequences in dataset.features.items():
        means = sequences.means().astype(np.float64)
        known = means[train][sequences.present[train]]
        spread = known.std(axis=0)
        varies = spread > 1e-6 * np.maximum(np.abs(known.mean(axis=0)), 1e-6)
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        inputs[modality] = np.nan_to_num((means - known.mean(axis=0)) * scale)
    if len(inputs) > 1:
        inputs[ALL] = np.concatenate(list(inputs.values()), axis=1)
    return inputs


def _tuned(
    job: tuple[Model, str, Task],
    inputs: Mapping[str, Matrix],
    labels: Mapping[Task, NDArray[np.int64]],
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    average: Average,
) -> Fitted:
    """The answers of one model to some rows, its regularisation chosen on train."""
    model, features, task = job
    x, y = inputs[features], labels[task]
    learn, apply = fewest_dimensions(x[train], x[rows])
    truth = y[train]
    strengths = [strength / x.shape[1] for strength in STRENGTHS]
    folds = min(FOLDS, int(np.bincount(truth).max()))
    best = strengths[0]
    if folds > 1:  # else no two clips share a class: nothing can be tuned
        guesses = {c: np.empty_like(truth) for c in strengths}
        with warnings.catch_warnings():
            # Classes with fewer clips than folds are missing from some: tuning meets that too.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
            for inner, outer in splitter.split(learn, truth):
                for c in strengths:
                    guesses[c][outer] = _predict(model, learn[inner], truth[inner], learn[outer], c)
        # Of equals the first, the most regularised.
        best = max(strengths, key=lambda c: task_f1(truth, guesses[c], average))
    return Fitted(_predict(model, learn, truth, apply, best), best)


def _predict(
    model: Model, learn: Matrix, truth: NDArray[np.int64], apply: Matrix, c: float
) -> NDArray[np.int64]:
    if len(np.unique(truth)) == 1:
        return np.full(len(apply), truth[0])
    fitted = (
        LogisticRegression(C=c, max_iter=300, tol=1e-3)
        if model == "logistic regression"
        else LinearSVC(C=c, tol=1e-2, max_iter=5000, random_state=0)
    ).fit(learn, truth)
    return np.asarray(fitted.predict(apply), dtype=np.int64)
