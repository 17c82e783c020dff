"""The examples of docs/extending.md work as they stand."""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meiju_utils.decisions import DECODERS
from meiju_utils.modelling.classical import MODELS
from meiju_utils.modelling.objectives import OBJECTIVES
from meiju_utils.modelling.parts import FUSIONS
from meiju_utils.recipes import TABLE_ONE, rows_of, train_recipes
from meiju_utils.reporting import tables
from meiju_utils.run import Run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
REGISTRIES = {
    "GatedFusion": (FUSIONS, "gated"),
    "Focal": (OBJECTIVES, "focal"),
    "Neighbours": (MODELS, "neighbours"),
    "Bold": (DECODERS, "bold"),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The page's parts, each a module of its own, in their registries."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, source in enumerate(blocks("python")):
        (tmp_path / f"extension_{number}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"extension_{number}", raising=False)
        module = importlib.import_module(f"extension_{number}")
        (name,) = (name for name in REGISTRIES if name in vars(module))
        registry, key = REGISTRIES[name]
        monkeypatch.setitem(registry, key, vars(module)[name])


def test_no_part_imports_the_module_that_must_import_it() -> None:
    for source in blocks("python"):
        for module in (
            "modelling.parts ",
            "modelling.objectives",
            "modelling.classical",
            "decoding",
        ):
            assert f"from meiju_utils.{module}" not in source


def test_each_part_is_short_and_the_page_names_files_that_are_there() -> None:
    python = blocks("python")
    assert len(python) == len(REGISTRIES)
    assert all(len(source.splitlines()) < 30 for source in python)
    for named in re.findall(r"`((?:modelling|pool|decisions|recipes)/[\w/]+\.py)`", PAGE):
        assert (ROOT / "meiju_utils" / named).is_file(), named


def test_the_recipes_of_the_page_are_rows_beside_table_one(
    extended: None, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(blocks("yaml")[0], encoding="utf-8")
    run = make_run(recipes=str(path), submission="bold-pair", training={"seeds": [0], "epochs": 1})
    own = ["bold-pair", "focal", "gated-fusion", "neighbours"]
    assert rows_of(run) == [*TABLE_ONE, *own]
    found = train_recipes(run, own)
    assert not any(experiment.failure for experiment in found.values())
    html = tables.show_table_one(tables.recipe_scores(found)).to_html()
    assert all(name in html for name in own)
    bold = found["bold-pair"].answers.table
    plain = found["focal"].decoded(found["bold-pair"].predictions.mean()).table
    assert (bold["emotion"] == "neutral").sum() <= (plain["emotion"] == "neutral").sum()
    network = found["gated-fusion"].network(0).network
    assert type(network.branches["intent"].fusion).__name__ == "GatedFusion"
