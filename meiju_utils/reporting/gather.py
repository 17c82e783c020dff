"""What a finished run has to report, read from its folder.

Imports `modelling`, `submission.ensemble`, `reporting`, `run`.
"""

from dataclasses import replace

from meiju_utils.modelling.pool import has_pool, make_pseudo_labels
from meiju_utils.modelling.recipes import TABLE_ONE, load_experiment
from meiju_utils.modelling.yardsticks import train_yardsticks
from meiju_utils.reporting import tables
from meiju_utils.reporting.sections import ReportParts
from meiju_utils.run import Run
from meiju_utils.submission.ensemble import agreement

# What the winners combine: the networks behind the rows "one+two-heads" and "ensemble".
ENSEMBLE_MEMBERS = ("+pseudo-label", "+1textcnn", "+one-head")


def gather_parts(run: Run, parts: ReportParts) -> ReportParts:
    """`parts` with all that notebooks 01 to 05 left in the run folder.

    Raises MissingStageError naming the notebook whose part is not there.
    """
    clips = run.table("clips")
    rows = {name: load_experiment(run, name) for name in TABLE_ONE}
    # By the names they were trained as: without a pool two recipes may be one experiment.
    members = {rows[name].name: rows[name] for name in ENSEMBLE_MEMBERS}
    networks = {rows[name].name: rows[name].intervals for name in ("baseline", "+pseudo-label")}
    teacher = rows["baseline"]
    return replace(
        parts,
        clips=clips,
        problems=run.table("problems"),
        encoders=run.table("encoders").drop(columns="key"),
        history=rows["+pseudo-label"].history,
        yardsticks=tables.with_yardsticks(
            tables.score_table(networks), train_yardsticks(run).table
        ),
        audit=make_pseudo_labels(run, teacher).audit if has_pool(clips) else None,
        table_one=run.table("table_one"),
        ensemble=tables.score_table(
            {
                name: row.intervals
                for name, row in (*members.items(), ("ensemble", rows["ensemble"]))
            }
        ),
        agreement=agreement({name: member.probabilities for name, member in members.items()}),
        keys={row.name: row.key for row in rows.values()},
    )
