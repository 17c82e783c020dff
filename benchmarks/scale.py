"""45 000 clips: looking, opening, going on with nothing to do, memory, files; stub media.

    python benchmarks/scale.py [--clips 5000 45000] [--folder F]

A release in the layout of Track 2 English is made of one short clip, linked so many times under
other names. Each stage then runs in a process of its own, with that clip's media in place of
decoding (a stage's own work is what is measured: rows, shards, looking up, waiting for nothing):
seconds, also a clip, and the peak memory of the process and of its largest worker. `nothing` is the
whole command `meiju run` on a finished run, `opened` what a notebook opens of one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from joblib.externals.loky import get_reusable_executor

from meiju_utils import execution, open_run
from meiju_utils.corpus.demo.clips import ClipSpec, FaceSpec, make_clip
from meiju_utils.corpus.opening import open_corpus, survey_run
from meiju_utils.embeddings import extract_features
from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.embeddings.extract import open_features
from meiju_utils.media.parts import Part
from meiju_utils.preprocessing import making
from meiju_utils.preprocessing.clips import Made, VideoTask, preprocess_video
from meiju_utils.preprocessing.pipeline import open_preprocessed, preprocess_corpus
from meiju_utils.run import Run

SHARES = {"Training": 0.7, "Validation": 0.1, "Testing": 0.2}  # the official release's
EMOTIONS = ("happy", "sad", "anger", "neutral")
INTENTS = ("agreeing", "questioning", "neutral")
SETTINGS = {
    "track": 2,
    "language": "english",
    "embeddings": {"audio": None, "visual": "hog", "text": "char-ngram"},
    "submission": "majority",
}
STEPS = ("read", "preprocess", "features", "finish", "opened", "nothing", "verify")


def make_release(folder: Path, clips: int) -> None:
    """So many names of one clip of a second, with their lists."""
    language = folder / "Track2" / "English"
    face = FaceSpec(1, (240, 120), 110, "happy", "neutral", 0.8, "speech")
    one = folder.parent / "one.mp4"
    if not one.exists():
        size, sound = (480, 270), (16000, "mono")
        make_clip(ClipSpec(one, 0, 0, 25, size, *sound, 60_000, "happy", "neutral", 0.8, (face,)))
    number = 0
    for split, share in SHARES.items():
        (language / split).mkdir(parents=True)
        names = [f"{split.lower()}_{number + i:06d}" for i in range(round(share * clips))]
        number += len(names)
        for name in names:
            os.link(one, language / split / f"{name}.mp4")
        labels = [(EMOTIONS[i % 4], INTENTS[i % 3]) for i in range(len(names))]
        rows = [f"{name}.mp4 {' '.join(own)}" for name, own in zip(names, labels, strict=True)]
        words = [f"{name}.mp4,so it is {number + i} then" for i, name in enumerate(names)]
        table = "\n".join(["FileName,Subtitle", *words])
        if split == "Testing":
            (language / "Track2_English_Testing_files.csv").write_text(table)
        else:
            (language / f"{split}_files.txt").write_text("\n".join(rows))
            (language / f"{split}_transcription.csv").write_text(table)


@dataclass(frozen=True)
class Stub:
    """Gives every clip what the decoding of one gave, under its own name."""

    made: Made

    def __call__(self, task: VideoTask) -> Made:
        ((row, media),) = self.made.clips
        (clip_id,) = task.clip_ids
        stamp = task.video.stat()
        own = {"source_size": stamp.st_size, "source_modified_ns": stamp.st_mtime_ns}
        chance = np.random.default_rng(crc32(clip_id.encode()))
        grain = chance.integers(0, 9, media["crops"].shape, dtype=np.uint8)
        media = {**media, "crops": np.minimum(media["crops"], 246) + grain}  # no two alike
        return Made([({**row, **own, "clip_id": clip_id, "video": task.name}, media)], [])


def opened(folder: Path) -> Run:
    return open_run(str(folder / "profile.yaml"), str(folder / "data"), str(folder / "run"))


def read(folder: Path) -> dict[str, Any]:
    corpus = survey_run(opened(folder)).corpus
    return {"clips": len(corpus.clips), "with video": int((corpus.clips["video"] != "").sum())}


def preprocess(folder: Path) -> dict[str, Any]:
    run = opened(folder)
    task = VideoTask(folder / "one.mp4", "one", (("one", Part()),), run.config.preprocessing, "")
    making.preprocess_video = Stub(preprocess_video(task))
    preprocess_corpus(run, open_corpus(run))
    return {}


def features(folder: Path) -> dict[str, Any]:
    run = opened(folder)
    for modality, encoder in all_encoders(run.config.embeddings):
        extract_features(run, modality, encoder)
    return {}


def finish(folder: Path) -> dict[str, Any]:
    """Mark every notebook as run: cells are not, as training is not what is measured."""

    def execute(source: Path, copy: Path, page: Path, _: Any) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        for path in (copy, page):
            path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")

    execution._execute = execute
    execution.run_notebooks(*(str(folder / n) for n in ("profile.yaml", "data", "run")))
    return {}


def opened_again(folder: Path) -> dict[str, Any]:
    run = opened(folder)
    source = open_preprocessed(run)
    for modality, encoder in all_encoders(run.config.embeddings):
        open_features(run, modality, encoder, source)
    return {}


def nothing(folder: Path) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "meiju"), "run"]
    for name, place in (("profile", "profile.yaml"), ("data-dir", "data"), ("run-dir", "run")):
        command += [f"--{name}", str(folder / place)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"up to date": told.count("up to date")}


def verify(folder: Path) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "meiju"), "features", "verify"]
    done = subprocess.run([*command, str(folder / "run")], check=False, capture_output=True)
    return {"exit code": done.returncode}


WORK: dict[str, Callable[[Path], dict[str, Any]]] = {
    "read": read,
    "preprocess": preprocess,
    "features": features,
    "finish": finish,
    "opened": opened_again,
    "nothing": nothing,
    "verify": verify,
}


def measured(step: str, folder: Path) -> dict[str, Any]:
    """Seconds and gigabytes of a step, measured from its beginning in this process."""
    began = time.perf_counter()
    told = WORK[step](folder)
    seconds = time.perf_counter() - began
    get_reusable_executor().shutdown(wait=True)  # only what has ended is counted
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1e6
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"seconds": seconds, "gb": own, "gb_worker": workers, **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="*", default=[5000, 45000])
    parser.add_argument("--folder", type=Path, help="where; it stays. Default: a temporary one")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(measured(asked.step, asked.folder)))
        return
    print(f"{'clips':>7} {'step':<11} {'s':>7} {'ms/clip':>8} {'GB':>6} {'GB worker':>10}  else")
    with tempfile.TemporaryDirectory() as temporary:
        for clips in asked.clips:
            folder = (asked.folder or Path(temporary)) / str(clips)
            if not (folder / "data").exists():
                (folder / "data").mkdir(parents=True)
                (folder / "profile.yaml").write_text(json.dumps(SETTINGS))
                make_release(folder / "data", clips)
            for step in STEPS:
                command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                figures = [found.pop(name) for name in ("seconds", "gb", "gb_worker")]
                told = ", ".join(f"{value} {name}" for name, value in found.items())
                print(
                    f"{clips:>7} {step:<11} {figures[0]:>7.1f} {1e3 * figures[0] / clips:>8.2f} "
                    f"{figures[1]:>6.2f} {figures[2]:>10.2f}  {told}",
                    flush=True,
                )
            files = sum(path.is_file() for path in (folder / "run").rglob("*"))
            size = sum(path.stat().st_size for path in (folder / "run").rglob("*"))
            print(f"{clips:>7} {'files':<11} {files:>7}, {size / 1e9:.2f} GB in the run folder")


if __name__ == "__main__":
    main()
