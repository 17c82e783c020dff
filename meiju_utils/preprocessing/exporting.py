"""Clips of a run as plain files, as the paper has them: WAV and JPEG.

Imports `clips`, `manifest`, `store`.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from meiju_utils.corpus.lists import clip_id_of
from meiju_utils.errors import MissingStageError
from meiju_utils.files import atomic_path, read_table
from meiju_utils.preprocessing.clips import jpeg
from meiju_utils.preprocessing.manifest import MANIFEST_NAME
from meiju_utils.preprocessing.store import NOTEBOOK, Preprocessed, serve


def open_clips(run_folder: Path) -> tuple[Preprocessed, dict[str, int]]:
    """The clips of a run folder, by its manifest alone, and the rate of each one's sound in Hz.

    MissingStageError where there is no manifest.
    """
    path = run_folder / MANIFEST_NAME
    if not path.is_file():
        raise MissingStageError(
            f"{run_folder} has no {MANIFEST_NAME}. Give a run folder in which notebook {NOTEBOOK} "
            "has run."
        )
    manifest = read_table(path)
    identity = manifest["setting"].iloc[0] if len(manifest) else ""
    texts = {clip_id_of(clip_id): "" for clip_id in manifest["clip_id"]}
    clips = serve(identity, run_folder / "preprocessed" / identity, texts, manifest)
    return clips, dict(zip(manifest["clip_id"], manifest["sample_rate"], strict=True))


def export_clips(run_folder: Path, folder: Path) -> dict[str, int]:
    """Write `audio/<clip>.wav` (16 bit, mono), `frames/<clip>/00000.jpg` and
    `faces/<clip>/00000.jpg` (the speaker's face in each frame that shows it) below `folder`.

    Returns the number of files of each kind. Raises what `open_clips` and reading raise.
    """
    clips, rates = open_clips(run_folder)
    counts = dict.fromkeys(("audio", "frames", "faces"), 0)
    for clip_id in clips.clip_ids:
        samples = clips.samples(clip_id)
        if samples.size:
            with atomic_path(folder / "audio" / f"{clip_id}.wav") as temporary:
                soundfile.write(temporary, samples, rates[clip_id], subtype="PCM_16")
            counts["audio"] += 1
        counts["frames"] += _write(folder / "frames" / clip_id, clips.jpegs(clip_id))
        counts["faces"] += _write(folder / "faces" / clip_id, map(jpeg, clips.faces(clip_id)))
    return counts


def _write(folder: Path, jpegs: Iterable[NDArray[np.uint8]]) -> int:
    count = 0
    for picture in jpegs:
        with atomic_path(folder / f"{count:05d}.jpg") as temporary:
            temporary.write_bytes(picture.tobytes())
        count += 1
    return count
