"""The report of a finished run: what all notebooks left in its folder, on one page.

Imports `corpus.truth`, `recipes`, `decisions`, `reporting`, `run`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.corpus.truth import read_truth
from meiju_utils.decisions import agreement
from meiju_utils.errors import MeijuError, TrainingError
from meiju_utils.predictions import labelled
from meiju_utils.preprocessing import open_preprocessed
from meiju_utils.recipes import (
    TABLE_ONE,
    Experiment,
    against,
    heaviest_members,
    load_experiment,
    members_of,
    opinion_weights,
    paper_findings,
    pseudo_labels_of,
    reliability_of,
)
from meiju_utils.reporting import tables
from meiju_utils.reporting.conclusions import of_comparison, of_findings, of_submission
from meiju_utils.reporting.mistakes import confident_mistakes
from meiju_utils.reporting.report import PoolParts, ReportParts, render_report
from meiju_utils.reporting.results import Results
from meiju_utils.run import Run
from meiju_utils.scoring import MEAN, YARDSTICKS
from meiju_utils.submission.faults import SubmissionCheck

# The row of Table I, and the same by the paper's strict rule.
PSEUDO_LABEL_ROWS = ("+pseudo-label", "+pseudo-label-paper")


def write_report(
    run: Run,
    handed_in: Experiment,
    check: SubmissionCheck,
    results: Results,
    truth: pd.DataFrame | None = None,
    answers: pd.DataFrame | None = None,
) -> Path:
    """Write `report.html` on what is handed in and all that notebooks 01 to 05 left.

    `truth` and `answers` are labels of the same test clips, where these are known. Raises
    MissingStageError naming the notebook whose part is not there.
    """
    parts = ReportParts(check=check, results=results, truth=truth, answers=answers)
    return render_report(run, gather_parts(run, handed_in, parts))


def gather_parts(run: Run, handed_in: Experiment, parts: ReportParts) -> ReportParts:
    """`parts` with what is in the run folder, and what is handed in."""
    rows = {name: load_experiment(run, name) for name in TABLE_ONE}
    members = members_of(run, run.config.submission)
    shown, own = heaviest_members(run, run.config.submission), {handed_in.name: handed_in}
    networks = {name: rows[name] for name in ("baseline", "+pseudo-label")}
    yardsticks = {name: load_experiment(run, name) for name in YARDSTICKS}
    return replace(
        parts,
        clips=run.table("clips"),
        problems=run.table("problems"),
        encoders=run.table("encoders").drop(columns="key"),
        history=rows["+pseudo-label"].history,
        networks=tables.recipe_scores({**networks, **yardsticks}),
        pool=_pool_parts(run, rows["baseline"]),
        table_one=run.table("table_one"),
        recipe=handed_in.name,
        members=tables.recipe_scores({**shown, rows["ensemble"].name: rows["ensemble"], **own}),
        verdicts=_verdicts(run, handed_in, rows, list(yardsticks.values()), parts.truth),
        agreement=agreement({name: member.predictions for name, member in shown.items()}),
        keys={one.name: one.key for one in (*rows.values(), *members.values(), handed_in)},
        weights=opinion_weights(run, run.config.submission),
        held_out=_held_out(handed_in),
        reliability=_reliability(run, handed_in),
        **_mistakes(run, handed_in, parts.truth),
    )


def _held_out(experiment: Experiment) -> pd.DataFrame | None:
    """Scores on held-out train clips beside those on validation; None where there are none."""
    own = experiment.scores[experiment.scores["kind"] == MEAN]
    if (own["split"] != "train").all():
        return None
    wide = own.pivot_table(index="score", columns="split", values="value", sort=False)
    names = {"train": "held-out train", "valid": "validation"}
    return wide.rename(columns=names)[list(names.values())].reset_index()


def _reliability(run: Run, experiment: Experiment) -> Mapping[str, pd.DataFrame]:
    """On held-out train clips; of what has trained on them on validation."""
    clips = run.table("clips")
    for split in ("train", "valid"):
        with suppress(TrainingError):
            return reliability_of(experiment, labelled(clips, run.setting.tasks, split))
    return {}


def _mistakes(run: Run, experiment: Experiment, truth: pd.DataFrame | None) -> dict[str, Any]:
    """On the test clips where their labels are known, else on validation."""
    judged, where = truth, "test"
    if judged is None or not len(judged):
        judged, where = labelled(run.table("clips"), run.setting.tasks, "valid"), "validation"
    try:
        clips = open_preprocessed(run)
    except MeijuError:  # a folder that was passed on without it
        clips = None
    found = confident_mistakes(
        experiment.answers, judged, clips, rate=run.config.preprocessing.sample_rate
    )
    return {"mistakes": found, "judged_on": where}


def _verdicts(
    run: Run,
    handed_in: Experiment,
    rows: Mapping[str, Experiment],
    yardsticks: Sequence[Experiment],
    truth: pd.DataFrame | None,
) -> dict[str, str]:
    """The sentences of notebooks 03, 05 and 06."""
    judged = against(run, rows["baseline"], yardsticks)
    where = "the validation clips"
    found = {
        "network": of_comparison(judged, "the network", "the yardstick {}", where),
        "steps": of_findings(paper_findings(run, rows)),
    }
    if truth is not None and len(truth):
        found["test"] = of_submission(run, handed_in, yardsticks, truth, "the test clips")
    return found


def _pool_parts(run: Run, teacher: Experiment) -> PoolParts:
    """Pseudo labels by both rules, those of Table I in full."""
    labels = pseudo_labels_of(run, *PSEUDO_LABEL_ROWS)
    students = {name: load_experiment(run, name) for name in labels}
    truth = read_truth(run)
    own = labels[PSEUDO_LABEL_ROWS[0]]
    return PoolParts(
        told=own.told(truth),
        audit=own.audit(truth),
        asked=own.selection.asked,
        by_class=own.by_class(truth),
        rules=tables.pseudo_label_rows(labels, {teacher.name: teacher, **students}, truth),
    )
