"""How long an answer about a new clip takes: `meiju predict` on a demo clip, from start to end.

    make demo
    python benchmarks/predicting.py [--run-dir runs/demo] [--rounds 3]

The command is started anew each time (imports and models included), by a run and by the bundle
exported from it; then, in one process, further clips one by one. Targets: the first answer in 10 s,
each further one in 1 s.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from meiju_utils.bundle import Predictor
from meiju_utils.cleaning import open_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    run = open_folder(chosen.run_dir)
    clips = run.table("clips")
    videos = [run.data_dir / name for name in clips.loc[clips["split"] == "test", "video"]][:20]
    with tempfile.TemporaryDirectory() as folder:
        bundle = Predictor.from_run(run).save(Path(folder) / "bundle")
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        print(f"the bundle has {size / 1e6:.1f} MB")
        for name, options in (
            ("a run", ["--run-dir", str(run.folder)]),
            ("a bundle", ["--bundle", str(bundle)]),
        ):
            command = [sys.executable, "-m", "meiju_utils", "predict", str(videos[0]), *options]
            seconds = []
            for _ in range(chosen.rounds):
                began = time.perf_counter()
                subprocess.run([*command, "--text", "你怎么了？"], check=True, capture_output=True)
                seconds.append(time.perf_counter() - began)
            print(f"first answer by {name}: {np.median(seconds):.1f} s (median of {len(seconds)})")
        with Predictor.load(bundle) as predictor:
            predictor.predict(videos[0], "你怎么了？")
            seconds = []
            for video in videos[1:]:
                began = time.perf_counter()
                predictor.predict(video, "你怎么了？")
                seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            predictor.predict(videos)
            together = (time.perf_counter() - began) / len(videos)
    print(f"each further clip: {np.median(seconds):.2f} s; of 20 at once {together:.2f} s a clip")


if __name__ == "__main__":
    main()
