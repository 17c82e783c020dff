"""Training the joint network: epochs a second, the whole Table I, memory, where the time goes.

    python benchmarks/joint_training.py                    # all of it, 1.5 hours on 2 cores
    python benchmarks/joint_training.py --only best        # utterance, frame, table-one, parts ...

Features 1024 wide for 2294 train and 324 validation clips (Track 1, Mandarin), made for the
occasion: one vector a clip, or at frame level 50 to 200 audio, 2 to 6 visual, 5 to 30 text steps.
They lie in folders of float32 .npy files, which the loop of `published_loop.py` reads clip by clip
and we extract into feature stores (`npy:<folder>`, at frame level as float16) and train from. Both
train the same network (checked first: equal weights, equal logits) with batches of 32 and one
thread, and score the validation split after every epoch. Each measurement is a process of its own;
the two sides alternate.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from published_loop import PublishedNetwork, epochs
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from meiju_utils.challenge import CLASSES, MODALITIES, TASKS
from meiju_utils.config import Training
from meiju_utils.modelling import training
from meiju_utils.modelling.architecture import (
    NetworkConfig,
    in_token_order,
    published_architecture,
)
from meiju_utils.modelling.dataset import Dataset, load_dataset
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.parts.encoders import LstmEncoder, TextCnn
from meiju_utils.opening import open_run
from meiju_utils.run import Run

WIDTH = 1024
WIDTHS = dict.fromkeys(MODALITIES, WIDTH)
STEPS = {"audio": (50, 200), "visual": (2, 6), "text": (5, 30)}  # at frame level
STORED = {"utterance": "float32", "frame": "float16"}  # by us; the loop reads float32
SIZES = {"Training": 2294, "Validation": 324}
POOL = 16000  # unlabelled clips of Table I, which are only predicted, but for the pseudo labels
EPOCHS = {"utterance": 8, "frame": 1}  # timed, of each stage
STAGES = ("pretrain", "joint")
# What the published loop does; everything else of a training is the same in any recipe.
PUBLISHED = {"beta1": 0.5, "clipping": "per-network", "noise": 0.0, "learning_rate": 2e-4}


def make_corpus(folder: Path, level: str) -> None:
    """Lists, labels and features without media, in the layout of Track 1 Mandarin.

    The features bear a weak trace of the labels, so that training neither fails nor saturates.
    """
    rng = np.random.default_rng(0)
    pool = {} if level == "frame" else {"Testing": 643, "NoAnnotation": POOL}
    lists = folder / "Track1/Mandarin/Annotation"
    lists.mkdir(parents=True)
    clips = [
        (word, f"Track1_{word}_{i:05}")
        for word, size in {**SIZES, **pool}.items()
        for i in range(size)
    ]
    labels = {task: rng.integers(len(CLASSES[task]), size=len(clips)) for task in TASKS}
    characters = [chr(0x4E00 + i) for i in range(2000)]
    words = ["".join(rng.choice(characters, 12)) for _ in clips]  # for models of words
    table = pd.DataFrame(clips, columns=["word", "FileName"]).assign(
        Subtitle=words, **{task: np.array(CLASSES[task])[labels[task]] for task in TASKS}
    )
    for word, part in table.groupby("word"):
        if word == "NoAnnotation":
            (lists.parent / word).mkdir()
            part = part.rename(columns={"FileName": "name", "Subtitle": "sentence"})
            part[["name", "sentence"]].to_csv(
                lists.parent / word / "transcription.csv", index=False
            )
            continue
        columns = ["FileName"] if word == "Testing" else ["FileName", *TASKS]
        part[columns].to_csv(lists / f"{word}_files.txt", sep=" ", header=False, index=False)
        part[["FileName", "Subtitle"]].to_csv(lists / f"{word}_transcription.csv", index=False)
    for modality in MODALITIES:
        (folder / modality).mkdir()
        traces = {task: rng.normal(0, 0.08, (len(CLASSES[task]), WIDTH)) for task in TASKS}
        low, high = STEPS[modality] if level == "frame" else (1, 1)
        for row, (_, clip_id) in enumerate(clips):
            trace = sum(traces[task][labels[task][row]] for task in TASKS)
            frames = rng.standard_normal((rng.integers(low, high + 1), WIDTH)) + trace
            np.save(folder / modality / f"{clip_id}.npy", frames.astype(np.float32))


def open_bench(folder: Path, level: str, training: Mapping[str, Any] | None = None) -> Run:
    """The run on a corpus."""
    settings = {"level": level, "dtype": STORED[level]}
    encoders = {m: {"name": f"npy:{folder / m}", **settings} for m in MODALITIES}
    profile = folder / "bench.yaml"
    profile.write_text(json.dumps({"embeddings": encoders, "training": dict(training or {})}))
    return open_run(str(profile), str(folder), str(folder / "run"))


def prepare(folder: Path, level: str) -> None:
    """Make a corpus, preprocess it and extract its features."""
    # imported here, so that what is timed holds in memory what a training of the package does
    from meiju_utils.corpus.official import read_corpus
    from meiju_utils.embeddings import extract_features
    from meiju_utils.preprocessing.pipeline import preprocess_corpus

    make_corpus(folder, level)
    run = open_bench(folder, level)
    preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder)


def network_config(stage: str) -> NetworkConfig:
    architecture = published_architecture(TASKS)
    if stage == "pretrain":
        architecture = architecture.changed({"interaction": None, "auxiliary": False}, stage)
    classes = {task: len(labels) for task, labels in CLASSES.items()}
    return NetworkConfig(architecture=architecture, widths=in_token_order(WIDTHS), classes=classes)


def check_equal() -> None:
    """The published network's weights, loaded into ours, give the same logits."""
    torch.manual_seed(0)
    theirs = PublishedNetwork(WIDTHS, joint=True).eval()
    ours = JointNetwork.from_official(theirs.state_dict(), 2)
    features = {m: torch.randn(4, 7, WIDTH) for m in MODALITIES}
    with torch.no_grad():
        # ours also gives each task's features, behind the logits
        for a, b in zip(ours(features), theirs(features), strict=False):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


# --- one measurement each, in a process of its own ------------------------------------------------


def time_ours(folder: Path, level: str) -> dict[str, Any]:
    """Seconds of EPOCHS epochs of each stage, after one that warms up."""
    dataset, count = load_dataset(open_bench(folder, level)), EPOCHS[level]
    settings = Training(epochs=count + 1, patience=count + 1, device="cpu", **PUBLISHED)
    seconds = 0.0
    for stage in STAGES:
        plan = training.Plan(network_config(stage), settings, "weighted")
        history = training.train_network(dataset, plan, seed=0).history
        seconds += sum(row["seconds"] for row in history[1:])
    return {"seconds": seconds}


def time_loop(
    folder: Path, level: str, stages: Sequence[str] = STAGES, count: int | None = None
) -> dict[str, Any]:
    """The same of the published loop."""
    clips = pd.read_parquet(folder / "run/clips.parquet")
    rows = {
        split: [
            (row["clip_id"], *(CLASSES[task].index(row[task]) for task in TASKS))
            for row in clips[clips["split"] == split].to_dict("records")
        ]
        for split in ("train", "valid")
    }
    seconds = 0.0
    for stage in stages:
        training_epochs = epochs(folder, rows, WIDTHS, joint=stage == "joint")
        next(training_epochs)
        started = perf_counter()
        for _ in range(count or EPOCHS[level]):
            next(training_epochs)
        seconds += perf_counter() - started
    return {"seconds": seconds}


def time_table_one(folder: Path, seeds: int) -> dict[str, Any]:
    """All rows × seeds by the default settings: two processes of one thread, early stopping."""
    from meiju_utils import recipes

    run = open_bench(folder, "utterance", {"seeds": list(range(seeds))})
    started = perf_counter()
    rows = recipes.train_recipes(run)
    seconds = perf_counter() - started
    books = recipes.load_recipes()
    networks = [n for n, r in books.items() if r.kind == "network" and "official" not in n]
    trained = {n: recipes.load_experiment(run, n) for n in networks}
    own = [e.history[e.history["stage"] == n] for n, e in trained.items()]
    return {
        "seconds": seconds,
        "epochs": sum(map(len, own)),
        "trainings": sum(len(h["seed"].unique()) for h in own),
        "joint": rows["ensemble"].score(),
    }


def time_best(folder: Path) -> dict[str, Any]:
    """The whole chain `best`, two processes of one thread; memory of this one and of the largest
    of the two, twice."""
    from meiju_utils import recipes

    run = open_bench(folder, "utterance")
    started = perf_counter()
    found = recipes.train_recipes(run, ["best"])["best"]
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    return {
        "seconds": perf_counter() - started,
        "models": len(recipes.members_of(run, "best")),
        "joint": found.score(),
        "workers": workers,
    }


def time_loop_stage(folder: Path, stage: str, count: int) -> dict[str, Any]:
    """So many epochs of a stage of the published loop, with two threads for torch."""
    torch.set_num_threads(2)
    return time_loop(folder, "utterance", [stage], count)


# --- where the time goes --------------------------------------------------------------------------

GROUPS = {
    "matrix products": ("mm", "linear", "bmm", "baddbmm", "addmm"),
    "LSTM": ("rnn", "lstm", "sigmoid", "tanh", "addcmul"),
    "convolutions": ("convolution",),
    "attention": ("flash", "scaled_dot"),
    "optimiser": ("_fused_adamw", "vector_norm"),
    "gathering batches, noise": ("index", "gather", "normal", "randn"),
}


def one_epoch(dataset: Dataset) -> Callable[[], Any]:
    """A function that trains one epoch of the joint stage."""
    plan = training.Plan(network_config("joint"), Training(device="cpu"), "weighted")
    trainer = training._Trainer(dataset, plan, 0, torch.device("cpu"))
    return lambda: trainer._train(1, plan.training.learning_rate)


def profile_epoch(folder: Path, level: str) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    dataset = load_dataset(open_bench(folder, level))
    epoch = one_epoch(dataset)
    epoch()
    started = perf_counter()
    epoch()
    seconds = perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        epoch()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    groups = dict.fromkeys([*GROUPS, "the rest"], 0.0)
    for key, value in times.items():
        name = next((g for g, keys in GROUPS.items() if any(k in key.lower() for k in keys)), None)
        groups[name or "the rest"] += value / total
    return {"seconds": seconds, "groups": groups}


# --- short cuts of the encoders -------------------------------------------------------------------


def packed_lstm(rnn: torch.nn.LSTM, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The maximum over real steps by packed sequences, in place of a mask."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    steps, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, padding_value=-torch.inf)
    return steps.amax(dim=1)


def general_cnn(text: TextCnn, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """A text of one step by the convolutions that longer ones need."""
    return text(F.pad(x, (0, 0, 0, 1)), lengths)


def time_parts() -> dict[str, Any]:
    """Milliseconds forward and backward of 32 clips: ours, and the plain way."""
    torch.manual_seed(0)
    lstm, text = LstmEncoder(WIDTH, 128), TextCnn(WIDTH, 128)
    long = torch.randint(150, 201, (32,))
    frames, one = torch.randn(32, int(long.max()), WIDTH), torch.ones(32, dtype=torch.long)
    vectors = torch.randn(32, 1, WIDTH)
    ways = {
        "LSTM, 200 steps: mask / packed": (
            lambda: lstm(frames, long),
            lambda: packed_lstm(lstm.rnn, frames, long),
        ),
        "LSTM, 1 step: short cut / nn.LSTM": (
            lambda: lstm(vectors, one),
            lambda: lstm.rnn(vectors)[0].amax(dim=1),
        ),
        "TextCNN, 1 step: short cut / convolutions": (
            lambda: text(vectors, one),
            lambda: general_cnn(text, vectors, one),
        ),
    }
    found = {}
    for name, pair in ways.items():
        seconds: list[list[float]] = [[], []]
        for _ in range(1 + 11):
            for side, way in enumerate(pair):
                started = perf_counter()
                way().sum().backward()
                seconds[side].append(perf_counter() - started)
        found[name] = [1e3 * median(times[1:]) for times in seconds]
    return {"milliseconds": found}


def describe_parts() -> None:
    for name, (ours, plain) in measure("parts", Path())["milliseconds"].items():
        print(f"{name:<44}{ours:8.1f} / {plain:.1f} ms, ratio {plain / ours:.2f}", flush=True)


# --- running and reporting ------------------------------------------------------------------------

PARTS = {
    "ours": time_ours,
    "loop": time_loop,
    "table-one": time_table_one,
    "best": time_best,
    "loop-stage": time_loop_stage,
    "profile": profile_epoch,
    "parts": lambda _: time_parts(),
}


def measure(part: str, folder: Path, *arguments: Any) -> dict[str, Any]:
    """A part in a process of its own: what it found and its peak memory in GB."""
    command = [sys.executable, __file__, "--part", part, str(folder), *map(str, arguments)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def run_part(part: str, folder: str, *arguments: str) -> None:
    torch.set_num_threads(1)
    values = [int(a) if a.isdigit() else a for a in arguments]
    found = PARTS[part](Path(folder), *values)
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**found, "gigabytes": kibibytes * 1024 / 1e9}))


def compare(folder: Path, level: str, rounds: int) -> None:
    pairs = [
        (measure("ours", folder, level), measure("loop", folder, level)) for _ in range(rounds)
    ]
    ratios = [loop["seconds"] / ours["seconds"] for ours, loop in pairs]
    ours, loop = (
        2 * EPOCHS[level] / median(pair[side]["seconds"] for pair in pairs) for side in (0, 1)
    )
    memory = [max(pair[side]["gigabytes"] for pair in pairs) for side in (0, 1)]
    print(
        f"{level:<10} epochs/s ours {ours:.3f}, loop {loop:.3f}; ratio {median(ratios):.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}); peak memory {memory[0]:.2f}, {memory[1]:.2f} GB",
        flush=True,
    )


def compare_table_one(folder: Path, count: int) -> None:
    # The loop's two stages stand before and after ours, since the machine's speed drifts.
    before = measure("loop-stage", folder, "pretrain", count)
    ours = measure("table-one", folder, 3)
    loop = before["seconds"] + measure("loop-stage", folder, "joint", count)["seconds"]
    timed = "" if count == 60 else f" (by {count} + {count} timed)"
    print(
        f"table I    3 seeds: {ours['seconds']:.0f} s for {ours['trainings']} trainings of "
        f"{ours['epochs']} epochs; the loop's 60 + 60 epochs of one seed{timed}: "
        f"{loop * 60 / count:.0f} s",
        flush=True,
    )


def compare_best(folder: Path, count: int) -> None:
    before = measure("loop-stage", folder, "pretrain", count)
    ours = measure("best", folder)
    loop = before["seconds"] + measure("loop-stage", folder, "joint", count)["seconds"]
    print(
        f"best       {ours['seconds']:.0f} s for {ours['models']} models over folds; the loop's "
        f"60 + 60 epochs of one seed (by {count} + {count} timed): {loop * 60 / count:.0f} s; "
        f"memory {ours['gigabytes']:.2f} GB and a worker's {ours['workers']:.2f} GB",
        flush=True,
    )


def describe(folder: Path, level: str) -> None:
    found = measure("profile", folder, level)
    print(f"{level:<10} {found['seconds']:.2f} s an epoch; of it:")
    for group, share in found["groups"].items():
        print(f"    {group:<26}{share:6.0%}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", choices=["utterance", "frame", "table-one", "best", "profile", "parts"]
    )
    parser.add_argument("--loop-epochs", type=int, default=60, help="timed, of each stage's 60")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.part:
        run_part(*chosen.part)
        return
    check_equal()
    if chosen.only in (None, "parts"):
        describe_parts()
    level_of = {"utterance": "utterance", "frame": "frame"}  # else both
    level_of |= {"table-one": "utterance", "best": "utterance"}
    with tempfile.TemporaryDirectory() as temporary:
        if chosen.only == "parts":
            return
        for level in ("utterance", "frame"):
            folder = Path(temporary) / level
            if level_of.get(chosen.only, level) == level:
                prepare(folder, level)
            if chosen.only in (None, level):
                compare(folder, level, chosen.rounds)
            if chosen.only in (None, "table-one") and level == "utterance":
                compare_table_one(folder, chosen.loop_epochs)
            if chosen.only in (None, "best") and level == "utterance":
                compare_best(folder, chosen.loop_epochs)
            if chosen.only in (None, "profile"):
                describe(folder, level)


if __name__ == "__main__":
    main()
