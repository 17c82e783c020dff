"""What checksums cost: their share of the CPU time of a run, and of a second that finds all done.

    python benchmarks/integrity.py    # the tiny corpus, download-free encoders, one process

Under a profiler: the own time of the functions that compute checksums and of the CRC and hash
functions they call, in writing and in reading; turning values into bytes before is not counted.
"""

import cProfile
import pstats
import tempfile
import time
from pathlib import Path

from meiju_utils.corpus.demo import build_demo_corpus
from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import extract_features
from meiju_utils.opening import open_run
from meiju_utils.preprocessing import preprocess_corpus
from meiju_utils.recipes import train_recipes
from meiju_utils.verifying import verify

CHECKSUMS = {
    ("files.py", "_crc"),
    ("files.py", "fingerprint"),
    ("shards.py", "_checksum"),
    ("manifest.py", "checksum"),
    ("~", "<built-in method zlib.crc32>"),
}
RECIPES = ("logistic-regression", "baseline", "+pseudo-label", "best")


def whole_run(data: Path, folder: Path) -> None:
    settings = {"parallel.backend": "serial", "training.epochs": 10, "embeddings.compare": {}}
    run = open_run("demo", str(data), str(folder), settings)
    clips = preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder, clips)
    train_recipes(run, RECIPES)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        data, folder = Path(place) / "data", Path(place) / "run"
        build_demo_corpus(data, size="tiny", seed=0)
        for what in ("a run", "the same again"):
            profile = cProfile.Profile(time.process_time)
            profile.runcall(whole_run, data, folder)
            stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
            total = max(row[3] for row in stats.values())
            own = [
                row[2]
                for name, row in stats.items()
                if (Path(name[0]).name, name[2]) in CHECKSUMS or "hash" in name[2]
            ]
            print(f"{what}: {sum(own):.2f} of {total:.1f} CPU s ({sum(own) / total:.2%})")
        began = time.monotonic()
        found = verify(folder)
        seconds = time.monotonic() - began
        print(f"verify: {found.files} files, {found.size / 1e6:.1f} MB in {seconds:.2f} s")


if __name__ == "__main__":
    main()
