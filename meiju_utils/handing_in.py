"""`meiju check-submission`, `score`, `compare`, `ledger`: before the board and after it.

Exit codes of `check-submission`: 0 (valid), 1 (errors), 2 (nothing to check). Heavy imports stay
inside the commands. Imports `console`, `errors`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meiju_utils.console import literal, wrapped
from meiju_utils.errors import MeijuError, SubmissionError

if TYPE_CHECKING:
    import pandas as pd

ledger = typer.Typer(
    invoke_without_command=True, help="Submissions made: promised and true scores."
)

Submission = Annotated[Path, typer.Argument(help="A submission, .csv or .zip.")]
LabelsFile = Annotated[Path, typer.Argument(help="True labels: a CSV of clips and labels.")]
Track = Annotated[int, typer.Option(help="1: weighted F1; 2: micro F1.", min=1, max=2)]
Metric = Annotated[
    Literal["weighted", "micro", "macro"] | None, typer.Option(help="Of clips of your own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def check_submission(
    submission: Submission,
    data_dir: Annotated[str, typer.Option(help="Challenge folder, whose lists say.")] = "",
    profile: Annotated[str, typer.Option(help="Built-in profile or a YAML file.")] = "demo",
    ids: Annotated[str, typer.Option(help="Or a text file with a clip id a line.")] = "",
    json: Json = False,
) -> None:
    """Check a submission as strictly as the scorer would.

    Everything wrong at once, each with its line and remedy; and what looks absurd beside train.
    """
    from json import dumps

    from meiju_utils.submission.checker import check_submission as check
    from meiju_utils.submission.ledger import known_earlier

    try:
        clip_ids, setting, train = _expected(data_dir, profile, ids)
        known = known_earlier(but=submission.stem)
        found = check(submission, clip_ids, setting, train, known)
    except (MeijuError, OSError) as error:
        if json:
            typer.echo(dumps({"valid": False, "error": str(error)}, ensure_ascii=False))
        else:
            typer.secho(wrapped(f"{type(error).__name__}: {error}"), fg="red", err=True)
        raise typer.Exit(2) from None
    if json:
        rows = found.table().astype(object).where(lambda table: table.notna(), None)
        values = {"valid": found.ok, "rows": found.rows, "expected": found.expected_rows}
        typer.echo(dumps(values | {"findings": rows.to_dict("records")}, ensure_ascii=False))
    else:
        typer.echo(wrapped(literal(str(found))))
    if not found.ok:
        raise typer.Exit(1)


def score(
    submission: Submission,
    labels: LabelsFile,
    track: Track = 1,
    metric: Metric = None,
    json: Json = False,
) -> None:
    """Score a submission where the true labels are known.

    F1 of each task and the joint score, as the challenge has them, with 95 % intervals over clips.
    """
    from meiju_utils.submission.judging import judged, score_rows

    found = judged([submission], labels)
    table = score_rows(found, _average(track, metric))
    _tell(table, json, f"{submission.name}: {len(found.clip_ids)} clips", {})


def compare(
    first: Submission,
    second: Submission,
    labels: LabelsFile,
    track: Track = 1,
    metric: Metric = None,
    json: Json = False,
) -> None:
    """Say whether a second submission beats the first.

    Paired bootstrap and McNemar's test over the same clips, and which clips flipped.
    """
    from meiju_utils.submission.judging import comparison, flips, judged

    found = judged([first, second], labels)
    table, flipped = comparison(found, _average(track, metric)), flips(found)
    head = f"{second.name} against {first.name}: {len(found.clip_ids)} clips"
    _tell(table, json, head, {"flips": flipped})


@ledger.callback()
def show_ledger(context: typer.Context) -> None:
    """The ledger's last lines, and how many submissions are left."""
    if context.invoked_subcommand is not None:
        return
    from meiju_utils.submission.ledger import read_ledger, remaining

    table = read_ledger()
    if table.empty:
        typer.echo("No submission yet: notebook 06 writes the first line.")
        return
    for row in table.tail(10).to_dict("records"):
        told = f"{row['date_utc'][:10]}  {row['sha256'][:8]}  {row['run']}: {row['recipe']}"
        scores = [f"valid {row['valid_joint']}"] if row["valid_joint"] else []
        scores += [f"board {row['board_joint']}"] if row["board_joint"] else []
        typer.echo(literal(", ".join([told, *scores])))
    for line in remaining(table):
        typer.echo(line)


@ledger.command("score")
def score_of_board(
    digest: Annotated[str, typer.Argument(help="The beginning of the submission's hash.")],
    joint: Annotated[float, typer.Argument(help="The joint score the board showed.")],
) -> None:
    """Write down what the board said of a submission."""
    from meiju_utils.submission.ledger import record_score

    for row in record_score(digest, joint).to_dict("records"):
        expected = f", expected {row['valid_joint']} on valid" if row["valid_joint"] else ""
        typer.echo(literal(f"{row['run']}: {row['recipe']}: board {row['board_joint']}{expected}"))


def _average(track: int, metric: Literal["weighted", "micro", "macro"] | None) -> Any:
    return metric or ("weighted" if track == 1 else "micro")


def _expected(data_dir: str, profile: str, ids: str) -> tuple[list[str], Any, Any]:
    """The test clips, the setting, and train's labels by task where a folder tells them."""
    from meiju_utils.corpus.official import read_corpus
    from meiju_utils.opening import plan_run
    from meiju_utils.predictions import labelled
    from meiju_utils.submission.checker import OFFICIAL, read_bounded

    if ids:
        from meiju_utils.submission.faults import Findings
        from meiju_utils.submission.reading import decode

        data = read_bounded(Path(ids))
        if data is None:
            raise SubmissionError(f"{ids} is far too large for a list of clips.")
        text = decode(data, Findings())
        cells = [line.split(",")[0].strip().strip('"') for line in text.splitlines()]
        return [cell for cell in cells if cell and cell.lower() != "filename"], OFFICIAL, None
    own = profile.endswith((".yaml", ".yml"))
    named = str(Path(profile).expanduser().absolute()) if own else profile
    run = plan_run(named, str(Path(data_dir).expanduser().absolute()) if data_dir else "")
    clips = read_corpus(run.data_dir, run.setting).clips
    known = labelled(clips, run.setting.tasks, "train")
    train = {task: known[task].tolist() for task in run.setting.tasks}
    return clips.loc[clips["split"] == "test", "clip_id"].tolist(), run.setting, train


def _tell(table: "pd.DataFrame", json: bool, head: str, more: dict[str, "pd.DataFrame"]) -> None:
    from json import dumps, loads

    if json:
        values = {"scores": loads(table.to_json(orient="records"))}
        values |= {name: loads(part.to_json(orient="records")) for name, part in more.items()}
        typer.echo(dumps(values, ensure_ascii=False, indent=1))
        return
    typer.echo(literal(head))
    typer.echo(table.to_string(index=False, float_format="{:.3f}".format))
    for name, part in more.items():
        typer.echo(f"{len(part)} {name}" + (", the first:" if len(part) > 20 else ":"))
        if len(part):
            typer.echo(literal(part.head(20).to_string(index=False)))
