"""What a run came to, as data: `results.json` in the run folder.

Written by notebook 06; read by the summary at the end of `meiju run` and by the report. Imports
`files`, `recipes`, `run`, `scoring`.

The file: `schema` (2), `profile`, `setting`, `average` (of class-wise F1), `recipe` and `key` of
what is handed in, `valid_clips`, `test_clips`, and `scores`: the rows of a tidy score table (see
`scoring.table`), split "valid" and, where the true labels of the test clips are known, "test".
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from meiju_utils.errors import DamagedError
from meiju_utils.files import read_record, write_record
from meiju_utils.predictions import labelled
from meiju_utils.run import Run
from meiju_utils.scoring import SCORE_COLUMNS, concatenated

if TYPE_CHECKING:
    from meiju_utils.recipes.experiment import Experiment

NAME = "results.json"
_SCHEMA = 2


@dataclass(frozen=True)
class Results:
    """Scores of what is handed in and of yardsticks, on validation and, where known, test clips."""

    profile: str
    setting: str
    average: str
    recipe: str
    key: str
    valid_clips: int
    test_clips: int
    scores: pd.DataFrame

    def on(self, split: str) -> pd.DataFrame:
        """The score table of a split; empty where its labels are not known."""
        return self.scores[self.scores["split"] == split].reset_index(drop=True)


def write_results(
    run: Run,
    handed_in: "Experiment",
    yardsticks: Sequence["Experiment"],
    truth: pd.DataFrame | None,
) -> Results:
    """Score what is handed in beside the yardsticks, and write it down.

    `truth` has the true labels of test clips (clip_id, split, a label a task), None where they are
    not known, as with the real challenge.
    """
    from meiju_utils.recipes.findings import scores_on

    clips = run.table("clips")
    valid = labelled(clips, run.setting.tasks, "valid")
    known = clips.head(0) if truth is None else truth[truth["split"] == "test"]
    systems = list({e.name: e for e in (handed_in, *yardsticks) if not e.failure}.values())
    parts = [
        scores_on(run, systems, part, split) for split, part in (("valid", valid), ("test", known))
    ]
    results = Results(
        profile=run.config.name,
        setting=run.setting.name,
        average=run.setting.average,
        recipe=handed_in.name,
        key=handed_in.key,
        valid_clips=len(valid),
        test_clips=len(known),
        scores=concatenated([part for part in parts if len(part)]),
    )
    plain = asdict(results) | {"scores": results.scores.to_dict("records")}
    write_record(run.path(NAME), {"schema": _SCHEMA, **plain})
    return results


def read_results(run: Run) -> Results:
    """The run's results; MissingStageError where notebook 06 has not written them whole."""
    path = run.path(NAME)
    missing = run.missing(f"readable {NAME}", "06_submission_ensembling")
    if not path.is_file():
        raise missing
    try:
        return _parse(path)
    except (DamagedError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise missing from error


def _parse(path: Path) -> Results:
    values: dict[str, Any] = read_record(path)
    if values.pop("schema") != _SCHEMA:
        raise ValueError(f"{path} has another schema than {_SCHEMA}")
    scores = pd.DataFrame(values["scores"])[SCORE_COLUMNS]
    if not all(math.isfinite(value) for value in scores["value"]):
        raise ValueError(f"{path} has scores that are no numbers")
    return Results(**{**values, "scores": scores})
