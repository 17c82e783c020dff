"""A project of its own for the notebooks, and their cells run in this process."""

import ast
import contextlib
import html
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import pytest

from meiju_utils import execution
from meiju_utils.reporting import sections

ROOT = Path(__file__).parents[2]
# The same recipes with little work: what is slow in them is tested elsewhere.
RECIPES = """
linear-svm:
  {notebook: 03_baseline, model: {linear-svm: {strengths: [1], folds: 2}}, partition: {folds: 2}}
logistic-regression:
  {notebook: 03_baseline, model: {logistic-regression: {strengths: [1]}}, partition: {folds: 2}}
official-pretrain:
  {notebook: 03_baseline, network: {interaction: null, auxiliary: false}, training: {epochs: 1}}
official-baseline:
  {notebook: 03_baseline, start: official-pretrain, network: {interaction: gated, auxiliary: true}}
baseline-folds: {notebook: 03_baseline, like: baseline, partition: {folds: 2}}
logistic-audio:
  notebook: &four 04_pseudo_labelling
  model: {logistic-regression: {view: audio, strengths: [3]}}
  partition: {folds: 2, refit: true}
network-folds: {like: baseline, partition: {folds: 2, refit: true}}
members-mean: {ensemble: {calibrated-mean: {from: &members [logistic-audio, svm-text, nb-svm]}}}
greedy: {ensemble: {greedy: {from: *members}}}
opinions: {notebook: *four, ensemble: {opinion-pool: {from: *members}}, calibrate: bias-corrected}
students:
  ensemble: {opinion-pool: {from: *members}}
  calibrate: bias-corrected
  students: {teacher: opinions, of: [rbf-ridge-text], rounds: 1}
best-single:
  like: baseline
  targets: {teacher: students, rule: everything, soft: true}
  training: {epochs: 1, keep: last, ema: 0.9, seeds: [0]}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project around the real notebooks, so that the checkout stays clean; tests stand in it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "meiju_utils"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="session")
def quick_recipes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of recipes, for a profile's `recipes`."""
    path = tmp_path_factory.mktemp("recipes") / "quick.yaml"
    path.write_text(RECIPES)
    return str(path)


def run_cells(
    path: Path, parameters: dict[str, Any], shown: tuple[str, ...] = ("_repr_png_", "_repr_html_")
) -> str:
    """Execute a notebook's cells in this process; what they print and show, as HTML.

    `shown` says as what: figures are drawn where it names PNG.
    """
    names, page = dict(parameters), []
    with matplotlib.rc_context():
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code" or "parameters" in cell.metadata.get("tags", []):
                continue
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(tree, path.name, "exec"), names)
                value = None
                if isinstance(last, ast.Expr):
                    value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            page.append(html.escape(printed.getvalue(), quote=False))
            page += [str(getattr(value, form)()) for form in shown if hasattr(value, form)]
    return "\n".join(page)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks that are run have their cells run in this process, which saves six starts of a
    kernel, and no figure is drawn: that is tested with the figures."""

    def execute(source: Path, copy: Path, page: Path, parameters: dict[str, Any]) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(run_cells(source, parameters, ("_repr_html_",)), encoding="utf-8")
        copy.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")

    monkeypatch.setattr(execution, "_execute", execute)
    monkeypatch.setattr(sections.plots, "png", lambda _: b"a figure")
