"""The report: one self-contained page on what a run found, how sure that is, and what made it.

It is given what other stages computed and arranges it; a part left out is named as missing. Imports
`files`, `reporting`, `run`.
"""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup

from meiju_utils.files import write_text
from meiju_utils.references import revision
from meiju_utils.reporting.palette import capital, score_colors, score_title
from meiju_utils.reporting.results import Results
from meiju_utils.reporting.sections import PoolParts, ReportParts, sections_of
from meiju_utils.reporting.summary import REPORT_NAME
from meiju_utils.reporting.tables import CHINESE_FONTS
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, YARDSTICKS, scores_in, wide

__all__ = ["PoolParts", "ReportParts", "render_report"]

_TEMPLATES = Path(__file__).parent / "templates"
_VERSIONS = (
    "meiju-utils",
    "torch",
    "transformers",
    "timm",
    "librosa",
    "av",
    "opencv-python-headless",
    "dlib-bin",
    "scikit-learn",
    "numpy",
    "pandas",
)


def render_report(run: Run, parts: ReportParts) -> Path:
    """Write `report.html` into the run folder; it needs no other file to be read."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        run=run,
        setting=run.setting.title,
        tasks=capital(" and ".join(run.setting.tasks)),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=_headline(parts.results),
        sections=sections_of(run, parts),
        provenance=_provenance(parts, run),
        keys=dict(parts.keys),
        config=yaml.safe_dump(
            run.config.model_dump(mode="json"), allow_unicode=True, sort_keys=False
        ),
        chinese_fonts=Markup(CHINESE_FONTS),
    )
    path = run.path(REPORT_NAME)
    write_text(path, page)
    return path


@dataclass(frozen=True)
class _Card:
    title: str
    value: str
    interval: str
    color: str


@dataclass(frozen=True)
class _Headline:
    sentence: str
    cards: list[_Card]


def _headline(results: Results | None) -> _Headline | None:
    """What is handed in and its scores in large, on test where known, else on validation."""
    if results is None:
        return None
    split, where = (
        ("test", f"on the {results.test_clips} test clips, whose true labels are known here")
        if results.test_clips
        else ("valid", f"on the {results.valid_clips} validation clips")
    )
    scores = results.on(split)
    ours = scores[scores["system"] == results.recipe].to_dict("records")
    if not ours:
        return None
    cards, shown = [], scores_in(wide(scores))
    for row in ours:
        score = str(row["score"])
        if score not in shown:
            continue
        interval = f"95 % interval {row['low']:.3f} to {row['high']:.3f}"
        value = f"{row['value']:.3f}"
        cards.append(_Card(score_title(score), value, interval, score_colors(shown)[score]))
    joint = scores[scores["score"] == JOINT]
    values = dict(zip(joint["system"], joint["value"], strict=True))
    beside = ", ".join(
        f"{values[name]:.3f} of {name}"
        for name in YARDSTICKS
        if name in values and name != results.recipe
    )
    sentence = f"What is handed in, {results.recipe}, and its scores {where}."
    named = "joint score" if JOINT in shown else score_title(shown[0])
    sentence += f" Beside its {named}: {beside}." if beside else ""
    return _Headline(sentence, cards[::-1])  # the joint score, by which the challenge ranks, first


def _provenance(parts: ReportParts, run: Run) -> dict[str, str]:
    found = {
        "Command": run.command,
        "Revision": revision() or "not known",
        "Python": platform.python_version(),
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    if parts.seconds is not None:
        found["Time"] = f"{parts.seconds / 60:.1f} minutes"
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # an optional part
    return found
