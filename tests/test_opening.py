"""Opening a run checks the recipes that a profile names, in seconds."""

from pathlib import Path
from typing import Any

import pytest

from meiju_utils import open_run
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.run import Run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def opened(data: Path, text: str = "", **overrides: Any) -> Run:
    if text:
        path = data.parent / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        overrides["recipes"] = str(path)
    return open_run("demo", str(data), str(data.parent / "run"), overrides)


def test_the_profile_names_what_is_handed_in(data: Path) -> None:
    assert opened(data).config.submission == "best"
    assert opened(data, "mine: {like: baseline}", submission="mine").config.submission == "mine"


@pytest.mark.parametrize(
    ("recipes", "overrides", "message"),
    [
        ("", {"submission": "ensembel"}, "names no recipe: did you mean 'ensemble'"),
        ("", {"recipes": "nowhere.yaml"}, r"No file of recipes .*nowhere\.yaml"),
        ("mine: {like: basline}", {}, "did you mean 'baseline'"),
        ("mine: {encoders: {text: 'hf:unknown'}}", {}, "Recipe 'mine'.*hf:unknown"),
        ("mine: {training: {epoch: 5}}", {}, r"(?s)Recipe 'mine'.*training\.epoch"),
        ("mine: {network: {both: {fusion: {heads: 3}}}}", {}, "3 fusion heads do not divide 128"),
        ("mine: {network: {both: {text: {textcnn: [0]}}}}", {}, "heights"),
        ("mine: {start: baseline, network: {both: {hidden: 64}}}", {}, "another architecture"),
        ("mine: {start: baseline, training: {seeds: [9]}}", {}, r"seeds \[9\]"),
        ("baseline: {encoders: {text: 'hf:unknown'}}", {}, "Recipe '.*hf:unknown"),
        (
            "a: {training: {seeds: [9]}}\nmine: {ensemble: {mean: [a, baseline]}}",
            {},
            "without a common seed",
        ),
    ],
)
def test_what_is_wrong_with_recipes_is_said_when_a_run_is_opened(
    data: Path, recipes: str, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(MeijuError, match=message):
        opened(data, recipes, **overrides)
    assert not (data.parent / "run").exists()


@pytest.mark.parametrize(
    "old", ["yardsticks/abc/table.parquet", "experiments/a-1/probabilities.parquet"]
)
def test_a_run_folder_of_the_earlier_form_is_refused_in_one_line(data: Path, old: str) -> None:
    path = data.parent / "run" / old
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(ConfigError, match=r"earlier version.*another run_dir") as told:
        opened(data)
    assert "\n" not in str(told.value)
    assert path.is_file()
