"""Notebooks take nothing optional for granted, their cells run in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meiju_utils.errors import FeatureError
from tests.corpus.conftest import encode, utter
from tests.notebooks.conftest import ROOT, run_cells
from tests.notebooks.odd import write_corpus

WHOLE = {"train": 3, "valid": 1, "test": 1}
SERIAL = {"parallel.backend": "serial", "embeddings.compare": {}}


def run(name: str, data_dir: Path, run_dir: Path, overrides: dict[str, Any]) -> None:
    (path,) = (ROOT / "notebooks").glob(f"{name}_*.ipynb")
    parameters = {"profile": "demo", "data_dir": str(data_dir), "run_dir": str(run_dir)}
    run_cells(path, {**parameters, "overrides": overrides})


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """`corpus(sizes, sound, picture, text)`: a release of so many clips a split."""

    def make(
        sizes: dict[str, int], sound: bool = True, picture: bool = True, text: bool = True
    ) -> Path:
        seeds = iter(range(100))
        films = {
            split: {
                f"{split}_$x^${{{n}}}数据": encode(
                    utter(seed, 0.6) if sound else None,
                    seed if picture else None,
                    times=[i / 10 for i in range(6)],
                )
                for n, seed in zip(range(size), seeds, strict=False)
            }
            for split, size in sizes.items()
        }
        ids = [clip_id for clips in films.values() for clip_id in clips]
        texts = {clip_id: f"你好 $x^$ {n}" for n, clip_id in enumerate(ids)}
        return write_corpus(tmp_path / "data", films, texts if text else None)

    return make


@pytest.mark.parametrize(
    ("options", "lacking"),
    [
        ({"text": False}, "text"),
        ({"sound": False}, "audio"),
        ({"picture": False}, "visual"),
    ],
    ids=["no words", "no sound", "no picture"],
)
def test_a_corpus_that_lacks_a_modality_goes_on_without_it(
    options: dict[str, bool], lacking: str, corpus: Callable[..., Path], tmp_path: Path
) -> None:
    data, run_dir = corpus(WHOLE, **options), tmp_path / "run"
    run("01", data, run_dir, SERIAL)
    with pytest.raises(FeatureError, match=rf"embeddings\.{lacking}=null"):
        run("02", data, run_dir, SERIAL)
    run("02", data, run_dir, {**SERIAL, f"embeddings.{lacking}": None})


def test_one_clip_a_split_is_enough_to_be_looked_at(
    corpus: Callable[..., Path], tmp_path: Path
) -> None:
    run("01", corpus(dict.fromkeys(WHOLE, 1)), tmp_path / "run", SERIAL)
