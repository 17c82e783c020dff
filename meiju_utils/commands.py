"""`meiju init`, and looking after what a run has made: `meiju features`, `clips`, `clean`.

Heavy imports stay inside the commands. Imports `console`, `errors`.
"""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from meiju_utils.console import wrapped
from meiju_utils.errors import MeijuError

features = typer.Typer(no_args_is_help=True, help="Look after feature stores.")
clips = typer.Typer(no_args_is_help=True, help="Look after preprocessed clips.")

RunDir = Annotated[Path, typer.Argument(help="A run folder, or one feature store.")]
Store = Annotated[Path, typer.Argument(help="The folder of a feature store.")]


@features.command("ls")
def list_features(folder: RunDir) -> None:
    """List the feature stores of a run, with size and time."""
    from meiju_utils.embeddings.describe import stores_in, stores_table

    rows = stores_table(stores_in(folder)).to_dict("records")
    if not rows:
        typer.echo(f"No feature stores in {folder}.")
    for row in rows:
        typer.echo(row["store"])
        told = (
            f"  {row['modality']}, {row['encoder']}: {row['clips']} clips, {row['absent']} absent; "
            f"{row['width']} wide, {row['dtype']}; {row['megabytes']:.1f} MB, "
            f"{row['seconds']:.1f} s"
        )
        typer.echo(wrapped(told))


@features.command("verify")
def verify_features(folder: RunDir) -> None:
    """Read every embedding; exits with 1 where one is damaged.

    A store that holds constants counts as damaged. Clips with the same embedding are counted but no
    fault: subtitles recur.
    """
    from meiju_utils.embeddings.describe import store_folders
    from meiju_utils.embeddings.store import FeatureStore

    sound = True
    for place in store_folders(folder):
        try:
            store = FeatureStore(place)
        except MeijuError as error:  # the others are still looked at
            sound = False
            typer.echo(f"{place.name}: DAMAGED; {error}")
            continue
        found = store.verify()
        faults = found[found["problem"] != "duplicate"]
        sound &= faults.empty
        verdict = "sound" if faults.empty else "DAMAGED"
        recurring = len(found) - len(faults)
        typer.echo(f"{store.folder.name}: {verdict}; {len(store)} clips, {recurring} duplicates")
        for clip_id, _, problem, reason in faults.to_numpy():
            typer.echo(f"  - {clip_id or 'store'}: {problem}: {reason}")
    if not sound:
        raise typer.Exit(1)


@features.command("export")
def export_features(
    store: Store,
    folder: Annotated[Path, typer.Argument(help="Where <clip_id>.npy files are written.")],
) -> None:
    """Write a store as <clip_id>.npy files.

    That is the layout of the official baseline.
    """
    from meiju_utils.embeddings.store import FeatureStore

    typer.echo(f"{FeatureStore(store).export(folder)} files in {folder}")


@features.command("import")
def import_features(
    folder: Annotated[Path, typer.Argument(help="A folder of <clip_id>.npy files.")],
    store: Annotated[Path, typer.Argument(help="The store to make, or to go on with.")],
    modality: Annotated[Literal["audio", "visual", "text"], typer.Option()],
    dtype: Annotated[Literal["float32", "float16"], typer.Option()] = "float32",
) -> None:
    """Make a store of <clip_id>.npy files.

    A profile uses it as npy:<store>.
    """
    from meiju_utils.embeddings.npy import import_folder

    made = import_folder(folder, store, modality, dtype)
    typer.echo(f"{store}: {len(made)} clips, {made.width} wide, {made.megabytes:.1f} MB")
    for clip_id, reason in made.missing.items():
        typer.echo(f"  - {clip_id}: {reason}")


@clips.command("export")
def export_clips(
    run_dir: Annotated[Path, typer.Argument(help="A run folder in which 01 has run.")],
    folder: Annotated[Path, typer.Argument(help="Where audio/, frames/ and faces/ are written.")],
) -> None:
    """Write the clips' sound as WAV, their frames and faces as JPEG.

    That is how the paper has them: 16 kHz, one frame of thirty, the speaker's face.
    """
    from meiju_utils.preprocessing.exporting import export_clips as export

    counts = export(run_dir, folder)
    named = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    typer.echo(f"{folder}: {named}")


def init(
    folder: Annotated[Path, typer.Argument(help="A folder of videos.")],
    language: Annotated[
        Literal["english", "mandarin", "other"], typer.Option(help="Of what is said in them.")
    ] = "english",
) -> None:
    """Write a first clips.csv and profile for your videos.

    Both are to be filled in: labels, texts if there are any, splits if they are to be yours. What
    is there already stays as it is.
    """
    from meiju_utils.corpus.initial import initialise

    made = initialise(folder, language)
    for path in made.written:
        typer.echo(f"Written: {path}")
    for line in made.told:
        typer.echo(wrapped(line))


def clean(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
) -> None:
    """List what no setting of a run uses, or remove it.

    Present settings are those the run was last opened with (config.yaml in its folder). Only with
    --yes is anything removed.
    """
    from meiju_utils.cleaning import find_unused, open_folder, remove

    run = open_folder(run_dir)
    unused = find_unused(run)
    for path, size in unused.paths.items():
        typer.echo(f"{size / 1e6:10.1f} MB  {path.relative_to(run.folder)}")
    for kind in unused.unknown:
        typer.echo(f"{kind}: left alone, as earlier notebooks have not run with these settings")
    total = sum(unused.paths.values()) / 1e6
    if yes:
        remove(run, list(unused.paths))
        typer.echo(f"{total:10.1f} MB removed")
    else:
        typer.echo(f"{total:10.1f} MB in all" + ("; --yes removes them" if unused.paths else ""))


def verify(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    mend: Annotated[
        bool, typer.Option("--mend", help="Set aside what is damaged and can be made again.")
    ] = False,
) -> None:
    """Read all that a run has made, and say what is damaged.

    Exits with 1 where something is. Each file has a checksum, which stages look at too when they
    read it: a flipped bit or a file cut short is noticed. What the next `meiju run` makes again is
    set aside with --mend, and what was set aside before is removed.
    """
    from meiju_utils.verifying import mend as remove
    from meiju_utils.verifying import verify as read_all

    began = time.monotonic()
    found, gone = remove(run_dir) if mend else (read_all(run_dir), [])
    seconds = time.monotonic() - began
    typer.echo(f"{found.files} files, {found.size / 1e6:.1f} MB read in {seconds:.1f} s")
    for path, reason in found.damaged.items():
        told = reason.replace(f"{run_dir}/", "")
        again = " The next `meiju run` makes it again." if path in found.made_again else ""
        typer.echo(wrapped(f"  - {told}{again}"))
    if found.left:
        typer.echo(f"{len(found.left)} set aside before, or half written")
    if mend:
        typer.echo(f"{len(gone)} set aside or removed")
    elif found.made_again or found.left:
        typer.echo("--mend sets aside what can be made again, removes what was set aside before")
    if found.damaged.keys() - (set(found.made_again) if mend else set()):
        raise typer.Exit(1)
