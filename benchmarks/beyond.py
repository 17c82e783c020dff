"""What pays beyond the paper: the second half of the record in `benchmarks/SCORES.md`.

    python benchmarks/beyond.py --seeds 0 1 2                  # synthetic corpora of size medium
    python benchmarks/beyond.py --cped FOLDER                  # real text in Track 1's layout
    python benchmarks/beyond.py --cped FOLDER --keep 500       # with fewer training labels
    python benchmarks/beyond.py --write                        # the record, from what was measured

Every piece is a recipe that goes through the package like any other. On synthetic corpora the true
labels of the test clips judge, pooled over the corpora; on real text, whose test labels are not
given, the validation clips. Nothing was chosen on either. Figures are kept under `runs/`.
"""

import argparse
import json
import platform
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scores import BEYOND, RECORD, prepared, revision

from meiju_utils.corpus.demo import read_true_labels
from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import extract_features
from meiju_utils.files import write_text
from meiju_utils.opening import open_run
from meiju_utils.predictions import labelled
from meiju_utils.preprocessing import preprocess_corpus
from meiju_utils.recipes import Experiment, train_recipes
from meiju_utils.recipes.pieces import ALONE, CUMULATED, PAPER, Piece, recipes_of_pieces
from meiju_utils.recipes.writing import label_columns, matched
from meiju_utils.run import Run, project_root
from meiju_utils.scoring import (
    calibration_error,
    compared,
    holm,
    interval,
    reliability,
    scored_answers,
)

SEEDS = [0, 1, 2]
PIECES = (*CUMULATED, *ALONE)


def measured(run: Run, truth: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """Labels and answers of the judging clips, held-out scores, calibration of train clips."""
    began = time.process_time(), time.time()
    made = train_recipes(run, names)
    train = labelled(run.table("clips"), run.setting.tasks, "train")
    found: dict[str, Any] = {"truth": columns(truth, run), "recipes": {}}
    for name, one in made.items():
        if one.failure:
            print(name, one.failure)
            continue
        found["recipes"][name] = {
            "answers": {task: own.tolist() for task, own in matched(one.answers, truth).items()},
            "train": one.score(split="train"),
            "valid": one.score(),
            "sure": sureness(one, train if np.isfinite(one.score(split="train")) else truth),
        }
    seconds = time.process_time() - began[0], time.time() - began[1]
    print(f"{run.folder.name}: {seconds[1]:.0f} s", flush=True)
    return found


def columns(truth: pd.DataFrame, run: Run) -> dict[str, list[str]]:
    """The labels of some clips, task by task."""
    return {task: own.tolist() for task, own in label_columns(truth, run.setting.classes).items()}


def sureness(experiment: Experiment, truth: pd.DataFrame) -> dict[str, list[Any]]:
    """Of clips that trained nobody: probability of the likeliest label, and whether it is right."""
    own = experiment.answers.table.set_index("clip_id").loc[truth["clip_id"]]
    answers = type(experiment.answers)(own.reset_index())
    found = {}
    for task, names in answers.classes.items():
        values = answers.probabilities(task)
        right = np.array(names, dtype=object)[values.argmax(axis=1)] == truth[task].to_numpy()
        found[task] = [values.max(axis=1).round(6).tolist(), right.tolist()]
    return found


def synthetic(seed: int, pieces: tuple[Piece, ...]) -> None:
    run = prepared("medium", seed, SEEDS)
    labels = read_true_labels(run.data_dir)
    assert labels is not None
    truth = labels[labels["split"] == "test"]
    keep(f"medium-{seed}", measured(run, truth, recipes_of_pieces(pieces)))


def real(folder: Path, kept: int, pieces: tuple[Piece, ...]) -> None:
    """The real text corpus, with all its training labels or only some."""
    name = f"cped-{kept}" if kept else "cped"
    data = folder if not kept else fewer(folder, project_root() / "data" / name, kept)
    run = open_run("text-only", str(data), f"runs/{name}", {"training.seeds": SEEDS})
    preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder)
    truth = labelled(run.table("clips"), run.setting.tasks, "valid")
    keep(name, measured(run, truth, recipes_of_pieces(pieces)))


def fewer(source: Path, target: Path, kept: int) -> Path:
    """The corpus with labels of so many train clips, drawn by chance; the others join the pool."""
    if target.is_dir():
        return target
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    listed = target / "Annotation" / "Training_files.txt"
    lines = listed.read_text(encoding="utf-8").splitlines()
    chosen = set(np.random.default_rng(0).permutation(len(lines))[:kept].tolist())
    words = pd.read_csv(target / "Annotation" / "Training_transcription.csv", dtype=str)
    listed.write_text(
        "\n".join(line for place, line in enumerate(lines) if place in chosen) + "\n",
        encoding="utf-8",
    )
    names = {line.split()[0].split(",")[0] for i, line in enumerate(lines) if i in chosen}
    stays = words["FileName"].isin(names) | words["FileName"].str.removesuffix(".mp4").isin(names)
    words[stays].to_csv(target / "Annotation" / "Training_transcription.csv", index=False)
    pool = target / "NoAnnotation" / "transcription.csv"
    before = pd.read_csv(pool, dtype=str)
    moved = pd.DataFrame(
        {
            "name": [f"Track1_NoAnnotation_9{i:05d}" for i in range(int((~stays).sum()))],
            "sentence": words.loc[~stays, "Subtitle"].tolist(),
        }
    )
    pd.concat([before, moved]).to_csv(pool, index=False)
    return target


def keep(name: str, found: dict[str, Any]) -> None:
    folder = project_root() / "runs" / "beyond"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(found))


def kept(*names: str) -> list[dict[str, Any]]:
    paths = [project_root() / "runs" / "beyond" / f"{name}.json" for name in names]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def pooled(found: list[dict[str, Any]], name: str) -> Any:
    """A recipe's scores over the judging clips of all corpora; None where some lacks it."""
    if not all(name in one["recipes"] for one in found):
        return None
    tasks = list(found[0]["truth"])
    truth = {task: np.concatenate([one["truth"][task] for one in found]) for task in tasks}
    answers = {
        task: np.concatenate([one["recipes"][name]["answers"][task] for one in found])
        for task in tasks
    }
    return scored_answers(truth, answers, "weighted")


def table(found: list[dict[str, Any]], pieces: tuple[Piece, ...], judge: str) -> list[str]:
    """Lines of Markdown: a row a piece, the paper's ensemble and the yardstick before them."""
    scores = {name: pooled(found, name) for name in recipes_of_pieces(pieces)}
    scores = {name: one for name, one in scores.items() if one is not None}
    shown = [piece for piece in pieces if {piece.recipe, piece.before} <= scores.keys()]
    rows = [
        (
            piece,
            compared([scores[piece.before]], scores[piece.recipe]).iloc[-1],
            compared([scores[PAPER]], scores[piece.recipe]).iloc[-1],
        )
        for piece in shown
    ]
    corrected = [holm([row[i]["p"] for row in rows]) for i in (1, 2)]
    lines = [
        f"| piece | recipe | held out, joint | valid, joint | {judge}, emotion / intent | "
        f"{judge}, joint | it adds (p) | ahead of `{PAPER}` (p) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys([PAPER, *(piece.before for piece in shown[:1])]):
        lines.append(f"| | `{name}` | {cells(found, scores[name], name)} | | |")
    for place, (piece, adds, paper) in enumerate(rows):
        told = [
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] ({p_value(p)})"
            for row, p in ((adds, corrected[0][place]), (paper, corrected[1][place]))
        ]
        own = cells(found, scores[piece.recipe], piece.recipe)
        lines.append(f"| {piece.piece} | `{piece.recipe}` | {own} | {told[0]} | {told[1]} |")
    unpaid = [piece.piece for piece, adds, _ in rows if not adds["low"] > 0]
    if unpaid:
        lines.append(f"\nDoes not pay here, as far as can be told: {'; '.join(unpaid)}.")
    return lines


def cells(found: list[dict[str, Any]], score: Any, name: str) -> str:
    held, valid = (
        np.mean([one["recipes"][name][split] for one in found]) for split in ("train", "valid")
    )
    low, high = interval(score)
    first = "–" if not np.isfinite(held) else f"{held:.3f}"
    tasks = " / ".join(f"{value:.3f}" for value in score.value[:-1])
    joint = f"{score.value[-1]:.3f} [{low[-1]:.3f}, {high[-1]:.3f}]"
    return f"{first} | {valid:.3f} | {tasks} | {joint}"


def p_value(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")


def calibration(found: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Expected calibration error, ten bins of equal mass, pooled over corpora."""
    error = {}
    for task in found[0]["truth"]:
        sure, right = (
            np.concatenate([one["recipes"][name]["sure"][task][i] for one in found]) for i in (0, 1)
        )
        # Two classes stand for all: what was answered, and anything else.
        two = {task: np.stack([sure, 1 - sure], axis=1).clip(1e-6)}
        two[task][:, 1] = np.minimum(two[task][:, 1], two[task][:, 0] * 0.999)
        truth = {task: np.where(right, "right", "wrong")}
        error |= calibration_error(reliability(two, truth, {task: ("right", "wrong")}))
    return error


def record() -> str:
    parts = [
        BEYOND,
        f"Made by `python benchmarks/{Path(__file__).name}` (its head says how), revision "
        f"{revision()}, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()} on "
        f"{platform.machine()}. A row a piece of the recipe `best`: cumulated, each on top of "
        "those above it; then pieces by themselves and what else was tried. Networks have 3 seeds "
        "(`best-single` one). Differences are of these answers, paired over clips, with 95 % "
        "intervals; p is corrected for the pieces of a table (Holm).",
    ]
    medium = kept(*(f"medium-{seed}" for seed in SEEDS))
    if medium:
        clips = sum(len(one["truth"][next(iter(one["truth"]))]) for one in medium)
        parts += [
            f"\n### {len(medium)} synthetic corpora of size `medium`, {clips} test clips\n",
            *table(medium, (*CUMULATED, ALONE[-1]), "test"),
        ]
        whole = [one for one in medium if set(recipes_of_pieces(PIECES)) <= one["recipes"].keys()]
        if whole:
            clips = sum(len(one["truth"][next(iter(one["truth"]))]) for one in whole)
            parts += [
                f"\nPieces by themselves, and what else was tried, on {len(whole)} of them, "
                f"{clips} test clips:\n",
                *table(whole, ALONE[:-1], "test"),
            ]
        parts += [
            "\nExpected calibration error (ten bins of equal mass) of clips that trained nobody, "
            "emotion / intent: "
            + "; ".join(
                f"`{name}` " + " / ".join(f"{v:.3f}" for v in calibration(medium, name).values())
                for name in ("members-mean", "opinions", "best", "best-single")
                if all(name in one["recipes"] for one in medium)
            )
            + ".",
        ]
    for name, title in (
        ("cped", "Real text, 2294 train clips, a pool of 21 807"),
        ("cped-500", "Real text, 500 of the training labels kept, the other clips in the pool"),
    ):
        if found := kept(name):
            parts += [f"\n### {title}, validation clips\n", *table(found, PIECES, "valid")]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of corpora to measure")
    parser.add_argument("--cped", type=Path, help="folder of the real text corpus")
    parser.add_argument("--keep", type=int, default=0, help="training labels to keep; 0: all")
    parser.add_argument(
        "--few", action="store_true", help="the chain, on synthetic corpora best-single"
    )
    parser.add_argument("--write", action="store_true", help="write the record")
    chosen = parser.parse_args()
    for seed in chosen.seeds:
        synthetic(seed, (*CUMULATED, ALONE[-1]) if chosen.few else PIECES)
    if chosen.cped:
        real(chosen.cped.resolve(), chosen.keep, CUMULATED if chosen.few else PIECES)
    if chosen.write:
        before = RECORD.read_text(encoding="utf-8").split(BEYOND)[0]
        write_text(RECORD, before.rstrip("\n") + "\n" + record())
        print(record())


if __name__ == "__main__":
    main()
