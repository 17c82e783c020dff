"""The estimate of a run as text for a terminal. Imports `console`, `estimating`."""

import pandas as pd

from meiju_utils.console import wrapped
from meiju_utils.estimating import Estimate, Stage

LABEL = 38  # columns for the name of a stage or an artefact


def render_estimate(found: Estimate) -> str:
    """The estimate as text for a terminal of 80 columns."""
    stages = pd.DataFrame(
        [
            (_short(one.stage), one.timed_on, f"{one.s_a_clip:.3g}", one.clips, _hours(one))
            for one in found.stages
        ],
        columns=["stage", "timed on", "s a clip", "clips", "hours (workers)"],
    )
    artefacts = pd.DataFrame(
        [
            (_short(one.artefact), f"{one.mb_a_clip:.3g}", f"{one.gb:.3f}")
            for one in found.artefacts
        ],
        columns=["artefact", "MB a clip", "GB"],
    )
    enough = "that suffices" if found.suffices else "that does NOT suffice"
    disk = (
        f"In all about {found.needed_gb:.3g} GB; {found.folder} has {found.free_gb:.1f} GB free: "
        f"{enough}."
    )
    parts = [_table(stages), _table(artefacts), wrapped(disk), *map(wrapped, found.notes)]
    return "\n\n".join(part for part in parts if part)


def _table(table: pd.DataFrame) -> str:
    """Names to the left, numbers to the right."""
    if table.empty:
        return ""
    name = table.columns[0]
    width = max(map(len, [name, *table[name]]))
    lines = table.drop(columns=name).to_string(index=False).splitlines()
    names = [name, *table[name]]
    return "\n".join(f"{one:<{width}} {line}" for one, line in zip(names, lines, strict=True))


def _short(name: str) -> str:
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def _hours(stage: Stage) -> str:
    return (
        f"{stage.hours:.2f} ({stage.workers})"
        if stage.hours >= 0.005
        else f"<0.01 ({stage.workers})"
    )
