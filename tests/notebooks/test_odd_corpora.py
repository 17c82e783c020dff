"""Notebooks 01 and 02 take nothing optional for granted, their cells run in this process."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import pytest

from meiju_utils.errors import FeatureError
from tests.corpus.conftest import encode, utter
from tests.notebooks.odd import write_corpus

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WHOLE = {"train": 3, "valid": 1, "test": 1}
SETTINGS = {"parallel.backend": "serial", "embeddings.compare": {}}


def run_cells(name: str, data_dir: Path, run_dir: Path, overrides: dict[str, Any]) -> list[str]:
    """Execute a notebook's cells; what each shows, as text or the kind of picture."""
    names: dict[str, Any] = {"profile": "demo", "data_dir": str(data_dir), "run_dir": str(run_dir)}
    names["overrides"] = overrides
    (path,) = NOTEBOOKS.glob(f"{name}_*.ipynb")
    shown = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
                for form in ("_repr_png_", "_repr_html_"):
                    if hasattr(value, form):
                        shown.append(str(getattr(value, form)()))
    return shown


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
    with matplotlib.rc_context():
        run_cells("01", data, run_dir, SETTINGS)
        with pytest.raises(FeatureError, match=rf"embeddings\.{lacking}=null"):
            run_cells("02", data, run_dir, SETTINGS)
        run_cells("02", data, run_dir, {**SETTINGS, f"embeddings.{lacking}": None})


def test_one_clip_a_split_is_enough_to_be_looked_at(
    corpus: Callable[..., Path], tmp_path: Path
) -> None:
    run_cells("01", corpus(dict.fromkeys(WHOLE, 1)), tmp_path / "run", SETTINGS)
