"""What all tests share: no network, one thread, a fixed seed, one tiny synthetic corpus."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import random
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries under test may draw from the global generator


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `tiny` synthetic corpus (30/10/10/20 clips), made once; treat it as read-only."""
    from meiju_utils.config import Parallel
    from meiju_utils.corpus.demo import build_demo_corpus

    folder = tmp_path_factory.mktemp("corpus") / "tiny"
    build_demo_corpus(folder, size="tiny", seed=0, parallel=Parallel(workers=2))
    return folder
