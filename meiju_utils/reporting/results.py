"""What a run came to, as data: `results.json` in the run folder.

Written by notebook 06; read by the summary at the end of `meiju run` and by the report. Imports
`files`, `metrics`, `run`.

The file: `schema` (1), `profile`, `setting`, `average` (of class-wise F1), `valid_clips`,
`test_clips`, `validation` and `test`: name of a system → `emotion`, `intent`, `joint`, each with
`value`, `low`, `high` (95 % bootstrap interval over clips). `test` is empty where the true labels
of the test clips are not known, as with the real challenge.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meiju_utils.files import read_json, write_json
from meiju_utils.metrics import Interval, ScoreIntervals
from meiju_utils.run import Run

NAME = "results.json"
# Names of systems that the summary and the report know; any others may stand beside them.
SUBMISSION = "submission"
LOGISTIC_REGRESSION = "logistic regression"
MAJORITY = "majority"
_SCHEMA = 1
_SCORES = ("emotion", "intent", "joint")


@dataclass(frozen=True)
class Results:
    """Scores by system on the validation split, and on test where its true labels are known."""

    profile: str
    setting: str
    average: str
    valid_clips: int
    test_clips: int
    validation: dict[str, ScoreIntervals]
    test: dict[str, ScoreIntervals]


def write_results(
    run: Run,
    validation: Mapping[str, ScoreIntervals],
    test: Mapping[str, ScoreIntervals],
    valid_clips: int,
    test_clips: int,
) -> Results:
    """Write the run's results, best under the names SUBMISSION, LOGISTIC_REGRESSION, MAJORITY.

    `valid_clips` and `test_clips` count the clips behind the scores; `test` is {} where the true
    labels are not known.
    """
    results = Results(
        profile=run.config.name,
        setting=run.setting.name,
        average=run.setting.average,
        valid_clips=valid_clips,
        test_clips=test_clips,
        validation=dict(validation),
        test=dict(test),
    )
    write_json(run.path(NAME), {"schema": _SCHEMA, **asdict(results)})
    return results


def read_results(run: Run) -> Results:
    """The run's results; MissingStageError where notebook 06 has not written them whole."""
    path = run.path(NAME)
    missing = run.missing(f"readable {NAME}", "06_submission_ensembling")
    if not path.is_file():
        raise missing
    try:
        return _parse(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise missing from error


def _parse(path: Path) -> Results:
    values: dict[str, Any] = read_json(path)
    if values.pop("schema") != _SCHEMA:
        raise ValueError(f"{path} has another schema than {_SCHEMA}")
    for split in ("validation", "test"):
        values[split] = {
            name: ScoreIntervals(**{score: Interval(**scores[score]) for score in _SCORES})
            for name, scores in values[split].items()
        }
    return Results(**values)
