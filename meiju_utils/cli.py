"""`meiju`: a thin layer; every command is one call into the package.

Heavy imports stay inside the commands, so that `meiju --help` answers at once.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from meiju_utils import __version__
from meiju_utils.asking import export, predict
from meiju_utils.commands import clean, clips, features, init, verify
from meiju_utils.console import Interrupted, heed_signals, tolerate_encoding, wrapped
from meiju_utils.errors import MeijuError
from meiju_utils.handing_in import check_submission, compare, ledger, score
from meiju_utils.machine import raise_limits, told_faults

app = typer.Typer(
    name="meiju",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From clips of dialogue to a MEIJU@2025 submission.",
)

app.add_typer(features, name="features")
app.add_typer(clips, name="clips")
app.command()(init)
app.command()(clean)
app.command()(verify)
app.command()(predict)
app.command()(export)
app.command()(check_submission)
app.command()(score)
app.command()(compare)
app.add_typer(ledger, name="ledger")

INTERRUPTED = 130  # typer's exit code after Ctrl-C, and that of shells

DataDir = Annotated[str, typer.Option(help="Challenge folder; default: the profile's.")]
ProfileName = Annotated[str, typer.Option(help="Built-in profile or path of a YAML file.")]
RunFolder = Annotated[str, typer.Option(help="Run folder; default: runs/<profile>.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, as training.epochs=5; repeat it.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meiju {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command("demo-corpus")
def demo_corpus(
    folder: Annotated[Path, typer.Argument(help="Where the challenge folder is made.")],
    size: Annotated[
        Literal["tiny", "demo", "medium"], typer.Option(help="How many clips.")
    ] = "demo",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    workers: Annotated[
        int,
        typer.Option(help="Processes of one thread; default: all.", min=0, show_default=False),
    ] = 0,
) -> None:
    """Make a synthetic corpus of real MP4 clips.

    Its layout is the official one of Track 1 Mandarin.
    """
    from meiju_utils.config import Parallel
    from meiju_utils.corpus.demo import build_demo_corpus

    started = time.perf_counter()
    corpus = build_demo_corpus(folder, size, seed, Parallel(workers=workers or "auto"))
    counts = ", ".join(f"{count} {split}" for split, count in corpus.counts.items())
    typer.echo(f"{corpus.folder}: {counts} clips ({time.perf_counter() - started:.0f} s)")
    typer.echo(f"True labels of all clips, outside the challenge folder: {corpus.truth}")


@app.command()
def run(
    profile: ProfileName = "demo",
    data_dir: DataDir = "",
    run_dir: RunFolder = "",
    only: Annotated[str, typer.Option(help="Notebooks by number, as 03,04.")] = "",
    overrides: Overrides = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Compute anew also what is there already: hours on real data."
        ),
    ] = False,
) -> None:
    """Execute the notebooks in order; skip what is up to date.

    A notebook is up to date while all that it or an earlier one reads is as it was: settings, files
    and code. With --force the results that the notebooks of --only have with these settings are
    removed first. Those of other settings and of other notebooks stay.
    """
    from meiju_utils.config import parse_overrides
    from meiju_utils.execution import run_notebooks
    from meiju_utils.reporting.summary import final_summary

    started = time.perf_counter()
    opened, executed = run_notebooks(
        _profile(profile),
        _absolute(data_dir),
        _absolute(run_dir),
        parse_overrides(overrides or []),
        only.split(",") if only else [],
        force,
    )
    for notebook in executed:
        if notebook.status != "run":
            typer.echo(f"{notebook.name:<28}: {notebook.status}")
    summary = final_summary(opened, current=executed[-1].status != "outdated")
    typer.echo(f"\n{summary}\n\nDone in {time.perf_counter() - started:.0f} s.")


@app.command()
def doctor(
    data_dir: DataDir = "",
    profile: ProfileName = "demo",
    run_dir: RunFolder = "",
    overrides: Overrides = None,
    workers: Annotated[
        int, typer.Option(help="Processes that look at clips; default: the profile's.", min=0)
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    quick: Annotated[bool, typer.Option(help="Decode no clip whole, seek no copies.")] = False,
    against: Annotated[
        str, typer.Option(help="Another folder: which recordings are there as well?")
    ] = "",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Time a few clips: hours by stage, disk by artefact.")
    ] = False,
) -> None:
    """Examine a challenge folder: what would spoil a run?

    Whatever the profile names is looked at, too. What was seen of each clip is kept in the run
    folder, for the next time and for notebook 01.
    Exits with 1 where a run would be unsound, or where there is no such folder or profile; with
    --json that is an object with `sound` and `faults`, too.
    """
    from json import dumps

    from meiju_utils.config import parse_overrides
    from meiju_utils.corpus.opening import survey_run
    from meiju_utils.diagnosing import diagnose, render
    from meiju_utils.opening import plan_run

    told = ""
    try:
        settings = parse_overrides(overrides or [])
        settings |= {"parallel.workers": workers} if workers else {}
        run = plan_run(_profile(profile), _absolute(data_dir), _absolute(run_dir), settings)
        survey = survey_run(run)
        other = Path(_absolute(against)) if against else None
        found = diagnose(run, survey, not quick, other)
        values = found.values()
        if estimate:
            from meiju_utils.estimate_text import render_estimate
            from meiju_utils.estimating import estimate_run

            timed = estimate_run(run, survey.corpus, found.unreadable)
            values, told = values | {"estimate": timed.values()}, f"\n\n{render_estimate(timed)}"
    except MeijuError as error:
        if not json:
            raise
        typer.echo(dumps({"sound": False, "faults": [str(error)]}, ensure_ascii=False, indent=1))
        raise typer.Exit(1) from None
    typer.echo(dumps(values, ensure_ascii=False, indent=1) if json else render(found) + told)
    if not found.sound:
        raise typer.Exit(1)


def _profile(name: str) -> str:
    return _absolute(name) if name.endswith((".yaml", ".yml")) else name


def _absolute(path: str) -> str:
    """On the command line a relative path is meant from where the user stands."""
    return str(Path(path).expanduser().absolute()) if path else ""


def main() -> None:
    """Run the command line; the package's own errors become one readable message, exit code 1.

    An interrupted command ends with one line and, as shells have it, with exit code 130 after
    Ctrl-C, 143 after SIGTERM, 129 where the terminal was closed.
    """
    tolerate_encoding()
    heed_signals()
    raise_limits()
    try:
        with told_faults():
            app(prog_name="meiju")  # also as `python -m meiju_utils`
    except MeijuError as error:
        typer.secho(wrapped(f"{type(error).__name__}: {error}"), fg="red", err=True)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            with suppress(OSError):  # the terminal may be gone
                typer.echo("\nInterrupted; the same command goes on from there.", err=True)
            sys.exit(128 + Interrupted.latest)
        raise


if __name__ == "__main__":
    main()
