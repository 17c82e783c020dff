"""Notebooks take nothing optional for granted, their cells run in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meiju_utils.challenge import SETTINGS
from meiju_utils.corpus.official import read_corpus
from meiju_utils.errors import FeatureError
from meiju_utils.execution import run_notebooks
from meiju_utils.submission.ledger import read_ledger
from tests.corpus.conftest import encode, utter
from tests.notebooks.conftest import ROOT, run_cells
from tests.notebooks.odd import write_corpus
from tests.test_profiles import QUICK, SIZES, write_release

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


def test_words_alone_without_a_pool_are_told_of_to_the_end(
    project: Path, here: None, quick_recipes: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    clips = read_corpus(tiny_corpus, SETTINGS[1, "mandarin"]).clips
    release = write_release(tmp_path / "release", SETTINGS[2, "english"], clips, None)
    changes = {**QUICK, "track": 2, "language": "english", "recipes": quick_recipes}
    run, executed = run_notebooks("text-only", str(release), "runs/words", changes)
    pages = {one.name[:2]: one.html.read_text(encoding="utf-8") for one in executed}
    assert "There are no unlabelled clips" in pages["04"]
    assert "Pseudo labels by class: nothing to show." in pages["04"]
    assert ">1textcnn-clean<" in pages["05"]
    assert "Only text is in use" in pages["05"]
    (row,) = read_ledger().to_dict("records")
    assert row["recipe"] == "ensemble"
    assert [m.split(" ")[0] for m in row["members"].split("; ")] == [
        *("1textcnn-clean", "baseline", "one-head-clean")
    ]
    assert "The true labels of the test clips are not known" in pages["06"]
    report = run.path("report.html").read_text(encoding="utf-8")
    assert "There are no unlabelled clips, so none are labelled" in report
    assert "Not computed in this run" not in report
    assert len(pd.read_csv(run.path("submission.csv"))) == SIZES["test"]
