"""All stages of a small run: what the campaigns of faults kill, damage and starve.

python -m tests.faults.stages DATA RUN [BACKEND]
"""

import sys
from pathlib import Path
from typing import Any

from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import extract_features, open_features
from meiju_utils.embeddings.tiny import write_tiny_checkpoints
from meiju_utils.opening import open_run
from meiju_utils.preprocessing import open_preprocessed, preprocess_corpus
from meiju_utils.recipes import make_pseudo_labels, train_recipes
from meiju_utils.reporting.results import write_results
from meiju_utils.run import Run
from meiju_utils.submission import publish_submission

RECIPES = """
words: &refit {model: tfidf-svm, partition: {folds: 2, refit: true}}
sound: {model: {ridge: audio}, partition: {folds: 2, refit: true}}
pool:
  ensemble: {opinion-pool: {from: [words, sound]}}
  calibrate: bias-corrected
  decode: pair-prior
net:
  network: {interaction: null}
  training: {epochs: 2, seeds: [0]}
taught:
  start: net
  targets: {teacher: net, rule: everything}
  training: {epochs: 1}
mix: {ensemble: {mean: [pool, taught]}}
"""
HANDED_IN = "mix"


def small_run(data: Path, folder: Path, backend: str = "serial", **changes: Any) -> Run:
    """A run with little of everything; its recipes lie beside the run folder."""
    recipes = folder.with_suffix(".recipes.yaml")
    if not recipes.is_file():
        recipes.parent.mkdir(parents=True, exist_ok=True)
        recipes.write_text(RECIPES, encoding="utf-8")
    settings = {
        "data_dir": str(data),
        "recipes": str(recipes),
        "submission": HANDED_IN,
        "parallel.backend": backend,
        "parallel.workers": 2,
        "embeddings.compare": {},
    }
    return open_run("demo", str(data), str(folder), settings | changes)


def make(run: Run) -> None:
    """Every stage, from the corpus to the submission."""
    corpus = read_corpus(run.data_dir, run.setting)
    clips = preprocess_corpus(run, corpus)
    texts = [clips.text(clip_id) for clip_id in clips.clip_ids]
    write_tiny_checkpoints(run.path("checkpoints"), texts)
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder, clips)
    made = train_recipes(run, [HANDED_IN, "net"])
    make_pseudo_labels(run, made["net"], "everything")
    publish_submission(run, made[HANDED_IN].answers.of_split("test"))
    write_results(run, made[HANDED_IN], [], None)


def bits(run: Run) -> dict[str, Any]:
    """All that a run came to, however it is cut into files and whatever it took."""
    clips = open_preprocessed(run)
    found: dict[str, Any] = {
        "submission": run.path("submission.csv").read_bytes(),
        "media": {c: clips.places[c].parts for c in sorted(clips.places)},
        "texts": clips.texts,
        **{name: run.table(name).to_csv() for name in ("clips", "transcripts")},
    }
    for modality, encoder in run.config.embeddings.chosen().items():
        values, present = open_features(run, modality, encoder, clips).means(clips.clip_ids)
        found[modality] = (values.tobytes(), present.tobytes())
    for kind in ("experiments", "pseudo_labels", "partitions", "checkpoints"):
        for path in sorted(run.path(kind).rglob("*")):
            timed = path.name in ("history.parquet", "store.json")
            if path.is_file() and not timed and not path.name.endswith(".damaged"):
                found[path.relative_to(run.folder).as_posix()] = path.read_bytes()
    return found


if __name__ == "__main__":
    data, folder, *backend = sys.argv[1:]
    make(small_run(Path(data), Path(folder), *backend))
