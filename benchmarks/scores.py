"""What every recipe is worth where all labels are known: the record in `benchmarks/SCORES.md`.

    python benchmarks/scores.py --size medium --folds 5 --seeds 0

Makes the synthetic corpus under `data/` and a run under `runs/` (once each), trains yardsticks, the
official baseline and all rows of Table I in folds, and writes one line a recipe: its scores on the
train clips (each predicted by trainings that never saw it), on the validation clips, which chose
nothing, and on the true labels of the test clips, of the mean over folds and seeds. `--folds 0`
takes the published partition, whose validation clips choose the epoch.
"""

import argparse
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from meiju_utils.config import Parallel
from meiju_utils.corpus.demo import build_demo_corpus, read_true_labels
from meiju_utils.corpus.doctor import examine_run
from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import extract_features
from meiju_utils.files import write_text
from meiju_utils.graphs import with_needs
from meiju_utils.opening import open_run
from meiju_utils.preprocessing import preprocess_corpus
from meiju_utils.recipes import (
    TABLE_ONE,
    Experiment,
    load_recipes,
    make_recipes,
    scores_on,
    train_recipes,
)
from meiju_utils.recipes.book import LIBRARY
from meiju_utils.references import revision
from meiju_utils.run import Run, project_root
from meiju_utils.scoring import JOINT, MARK, MARK_MEANS, MEAN, YARDSTICKS

RECORD = Path(__file__).with_name("SCORES.md")
BEYOND = "\n## Beyond the paper\n"  # beyond.py's half of the record
ROWS = (*YARDSTICKS, "official-baseline", *TABLE_ONE)


def prepared(size: str, seed: int, training_seeds: list[int]) -> Run:
    """A run on the synthetic corpus with everything up to features."""
    name = f"{size}-{seed}" if seed else size
    data = project_root() / "data" / name
    build_demo_corpus(data, size, seed, Parallel())  # type: ignore[arg-type]
    overrides = {"training.seeds": training_seeds, "embeddings.tiny_checkpoints": False}
    overrides["embeddings.compare"] = {}  # type: ignore[assignment]
    run = open_run("demo", str(data), f"runs/{name}", overrides)
    preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    run.save_table("copies", examine_run(run).duplicates)
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder)
    return run


def recipes_in(folds: int, tasks: list[str]) -> Any:
    """The built-in recipes, all in so many folds (0: as published)."""
    raw = yaml.safe_load(LIBRARY.read_text(encoding="utf-8"))
    partition: Any = {"folds": folds} if folds else "validation"
    built = load_recipes(tasks=tasks)
    wanted = with_needs(ROWS, lambda name: [*built[name].needs(), *bases(raw[name])])
    for name in wanted:
        if "ensemble" not in raw[name]:
            raw[name]["partition"] = partition
    return make_recipes({name: raw[name] for name in wanted}, tasks)


def bases(values: dict[str, Any]) -> list[str]:
    """The recipes whose settings one takes over."""
    return [values[key] for key in ("start", "like") if key in values]


def row(run: Run, name: str, experiment: Experiment, truth: pd.DataFrame) -> str:
    """A line of the record: joint scores on train, valid and test, with intervals."""
    on_test = scores_on(run, [experiment], truth, "test")
    cells = []
    for split, scores in (
        ("train", experiment.scores),
        ("valid", experiment.scores),
        ("test", on_test),
    ):
        own = scores[(scores["split"] == split) & (scores["kind"] == MEAN)].set_index("score")
        for score in (JOINT,) if split != "test" else (*run.setting.tasks, JOINT):
            if score not in own.index:
                cells.append("–")
                continue
            value, low, high = own.loc[score, ["value", "low", "high"]].astype(float)
            mark = f" {MARK}" if own.loc[score, "chose"] else ""
            cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]{mark}")
    return f"| {name} | {' | '.join(cells)} | {experiment.key} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="medium", choices=["tiny", "demo", "medium"])
    parser.add_argument("--corpus-seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = parser.parse_args()
    run = prepared(chosen.size, chosen.corpus_seed, chosen.seeds)
    made = train_recipes(run, ROWS, recipes_in(chosen.folds, run.setting.tasks))
    labels = read_true_labels(run.data_dir)
    assert labels is not None
    truth = labels[labels["split"] == "test"]
    counts = run.table("clips")["split"].value_counts()
    clips = ", ".join(f"{count} {split}" for split, count in counts.items())
    folds = f"{chosen.folds} folds" if chosen.folds else "no folds"
    seeds = f"{len(chosen.seeds)} seed{'s' * (len(chosen.seeds) > 1)}"
    kindness = "No score is on clips that chose anything." if chosen.folds else MARK_MEANS
    record = f"""# Scores

Made by `python benchmarks/{Path(__file__).name} {" ".join(sys.argv[1:])}`, revision {revision()},
{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()} on {platform.machine()}.

Synthetic corpus of size `{chosen.size}`: {clips} clips. Download-free encoders. Of all recipes the
mean over {folds} and {seeds}, with 95 % intervals over clips. On train every clip is predicted by
trainings that never saw it. One in ten of the emotions and of the intents of train is listed wrong,
those of validation and test are right. {kindness}

| recipe | train, joint | valid, joint | test, emotion | test, intent | test, joint | key |
|---|---|---|---|---|---|---|
"""
    lines = [
        f"| {name} | failed: {e.failure} | | | | | {e.key} |"
        if e.failure
        else row(run, name, e, truth)
        for name, e in made.items()
    ]
    _, heading, rest = RECORD.read_text(encoding="utf-8").partition(BEYOND)
    write_text(RECORD, record + "\n".join(lines) + "\n" + heading + rest)
    print(RECORD.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
