"""`meiju predict` and `meiju export`: what a trained recipe says of new clips, and taking it along.

Heavy imports stay inside the commands. Imports `console`, `errors`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meiju_utils.errors import ConfigError, PredictionError

if TYPE_CHECKING:
    from meiju_utils.bundle import Predictor, Reading

WHISPER = "openai/whisper-small"  # where the profile names none

Recipe = Annotated[str, typer.Option(help="A recipe of the run; default: what it hands in.")]


def predict(
    videos: Annotated[list[str], typer.Argument(help="Videos, or folders of videos.")],
    run_dir: Annotated[str, typer.Option(help="A run that has trained; default: runs/demo.")] = "",
    bundle: Annotated[str, typer.Option(help="Or a folder that `meiju export` wrote.")] = "",
    recipe: Recipe = "",
    text: Annotated[str, typer.Option(help="What is said in the (one) video.")] = "",
    texts: Annotated[str, typer.Option(help="Of many: a CSV with clip_id and text.")] = "",
    asr: Annotated[
        bool, typer.Option("--asr", help="Let Whisper hear what is said where no text is given.")
    ] = False,
    asr_model: Annotated[str, typer.Option(help="Which; default: the profile's.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    csv: Annotated[str, typer.Option(help="Write labels and probabilities to this file.")] = "",
    figure: Annotated[str, typer.Option(help="Write a picture of clip and answer, .png.")] = "",
    workers: Annotated[int, typer.Option(help="Processes that decode.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Say what a trained recipe thinks of new videos.

    The pair of labels with calibrated probabilities, what each modality alone would say, and which
    face was looked at. Exits with 1 where no video can be read.
    """
    from json import dumps

    from meiju_utils.bundle.telling import as_csv, clip_values, told
    from meiju_utils.config import Parallel
    from meiju_utils.console import literal
    from meiju_utils.files import write_text

    if figure and not figure.lower().endswith(".png"):
        raise ConfigError(f"--figure {figure}: expected a name that ends in .png.")
    with _opened(run_dir, bundle, recipe, device) as predictor:
        model = asr_model or predictor.frozen.preprocessing.transcripts.asr or WHISPER
        reading = predictor.read(
            videos,
            _texts(text, texts),
            model if asr or asr_model else "",
            Parallel(workers=workers),
            keep_media=bool(figure),
        )
    values, tasks = clip_values(reading), reading.answers.tasks
    typer.echo(
        dumps(values, ensure_ascii=False, indent=1) if json else literal(told(values, tasks))
    )
    if csv:
        write_text(Path(csv), as_csv(reading))
    if figure:
        _draw(Path(figure), reading, values["clips"])
    if not len(reading.answers):
        raise typer.Exit(1)


def export(
    run_dir: Annotated[Path, typer.Argument(help="A run folder that has trained.")],
    folder: Annotated[Path, typer.Argument(help="The bundle's folder, a new one.")],
    recipe: Recipe = "",
    with_encoders: Annotated[
        bool, typer.Option(help="Copy checkpoints into it: no network is needed then.")
    ] = False,
) -> None:
    """Write what a run has learnt as a bundle, to take along.

    A folder of weights, fitted states, settings and a model card; `meiju predict --bundle` reads
    it on any machine.
    """
    from meiju_utils.bundle import Predictor
    from meiju_utils.cleaning import open_folder

    saved = Predictor.from_run(open_folder(run_dir), recipe).save(folder, with_encoders)
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    typer.echo(f"{saved}: {size / 1e6:.1f} MB; read model-card.md before you pass it on.")


def _opened(run_dir: str, bundle: str, recipe: str, device: str) -> "Predictor":
    from meiju_utils.bundle import Predictor

    if bundle and (run_dir or recipe):
        raise ConfigError("Give --bundle, or --run-dir with perhaps --recipe, not both.")
    if bundle:
        return Predictor.load(Path(bundle).expanduser(), device)
    from meiju_utils.cleaning import open_folder
    from meiju_utils.references import resolve

    folder = Path(run_dir).expanduser() if run_dir else resolve("runs/demo")
    if not run_dir and not folder.is_dir():
        raise ConfigError(
            "There is no run of the demo yet. Make one with `make demo`, or give --run-dir or "
            "--bundle."
        )
    return Predictor.from_run(open_folder(folder), recipe, device=device)


def _texts(text: str, table: str) -> str | dict[str, str] | None:
    if text and table:
        raise ConfigError("Give --text of one video, or --texts of many, not both.")
    if not table:
        return text or None
    import pandas as pd

    try:
        found = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        return dict(zip(found["clip_id"], found["text"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise PredictionError(
            f"--texts {table}: expected a CSV in UTF-8 with the columns clip_id and text "
            f"({type(error).__name__}: {error})."
        ) from error


def _draw(path: Path, reading: "Reading", values: dict[str, Any]) -> None:
    """A picture of every clip: of one under the name given, of several with the clip's behind."""
    from meiju_utils.files import atomic_path, safe_name
    from meiju_utils.preprocessing.pitch import pitch_track
    from meiju_utils.reporting.plots import ShownClip, clip_answer, png

    for clip_id, own in values.items():
        media, row = reading.clips.media[clip_id], reading.clips.rows[clip_id]
        samples, rate = reading.clips.audio(clip_id), int(row["sample_rate"])
        shown = ShownClip(
            clip_id,
            reading.clips.frames(clip_id),
            media["frame_times"],
            media["track"],
            samples,
            rate,
            pitch_track(samples, rate),
            own["text"],
            f"{own['face']['choice']}, {own['face']['reason']}",
        )
        answer = {task: own[task] for task in reading.answers.tasks}
        one = len(values) == 1
        name = path if one else path.with_name(f"{path.stem}-{safe_name(clip_id)}{path.suffix}")
        with atomic_path(name) as temporary:
            temporary.write_bytes(png(clip_answer(shown, answer, own["alone"])))
