"""What was said in clips without a transcript? Speech recognition, spread and resumable.

What is heard stands in tables, one a group of clips as soon as it is heard, which are put together
in the end. Imports `whisper`, `store`, `parallel`, `files`, `errors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meiju_utils.challenge import Language
from meiju_utils.config import Parallel
from meiju_utils.errors import DamagedError
from meiju_utils.files import fingerprint, read_table, safe_name, write_table
from meiju_utils.parallel import Failure, failure_of, map_items, model_places, stop_if_systemic
from meiju_utils.parallel.faults import FEW, WorkerDied, is_of_the_run
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.preprocessing.whisper import (
    COMPRESSION,
    LOG_PROBABILITY,
    NO_SPEECH,
    PROMPTS,
    Heard,
    check_whisper,
    load_whisper,
)
from meiju_utils.references import parse_target

STAGE = "Recognising speech"
GROUP = 32  # clips heard, and kept, together


def recognise_speech(
    clips: Preprocessed,
    clip_ids: Sequence[str],
    model: str,
    language: Language,
    device: str = "auto",
    of: int = 0,
    parallel: Parallel | None = None,
) -> tuple[dict[str, Heard], list[Failure]]:
    """What was heard by clip id, and the clips that failed.

    Clips without sound are left out. What was heard is kept group by group and heard anew only when
    the clip's audio, the model or what is believed of it changes; a clip that failed is tried again
    the next time. Raises ConfigError for a model that does not load and a device that is not there,
    SystemicError where too many fail.

    Args:
        clips: whose audio is heard.
        clip_ids: those that lack a text.
        model: a Whisper model on the hub or a folder.
        language: that is spoken.
        device: as `preprocessing.device`.
        of: how many clips the corpus has, by which failures are judged (see `parallel.faults`).
        parallel: where; by default in this process. The model is never loaded here where a
            cluster is named.
    """
    check_whisper(model)
    believed = PROMPTS[language], NO_SPEECH, LOG_PROBABILITY, COMPRESSION
    named = parse_target(model)
    key = fingerprint(named.identity, language, *believed)
    folder = clips.folder / f"asr-{safe_name(Path(named.target).name)}-{key}"
    with_sound = [clip_id for clip_id in clip_ids if clips.has(clip_id, "audio")]
    kept = _kept(folder, clips)
    pending = [clip_id for clip_id in with_sound if clip_id not in kept]
    if not pending:
        return {clip_id: kept[clip_id] for clip_id in with_sound}, []
    settings = model_places(parallel or Parallel(backend="serial"), device, "preprocessing.device")
    work = _Recognition(clips, model, language, device, folder)
    failures: list[Failure] = []
    died: list[str] = []

    def hear(groups: list[list[str]]) -> None:
        def take(place: int, made: _Made | None, error: Exception | None) -> bool:
            if isinstance(error, WorkerDied) and len(groups[place]) > 1:
                died.extend(groups[place])  # each alone, to find whose fault it is
                return True
            if isinstance(error, WorkerDied):
                failures.append(failure_of(groups[place][0], error))
            heard, failed = made or ({}, [])
            kept.update(heard)
            failures.extend(failed)
            stop_if_systemic(failures, max(of, len(pending)), STAGE)
            return isinstance(error, WorkerDied)

        names = [f"clips {group[0]} to {group[-1]}" for group in groups]
        sizes = [len(group) for group in groups]
        map_items(work, groups, names, settings, STAGE, tolerant=False, then=take, sizes=sizes)

    groups = [pending[i : i + GROUP] for i in range(0, len(pending), GROUP)]
    try:
        hear(groups)
        if len(died) == len(pending) and len(groups) > FEW:  # it is not one clip in each
            deaths = [Failure(group[0], "WorkerDied", "its process died") for group in groups]
            stop_if_systemic(deaths, len(groups), STAGE)
        hear([[clip_id] for clip_id in died])
    finally:
        _put_together(folder, clips, kept)
    return {clip_id: kept[clip_id] for clip_id in with_sound if clip_id in kept}, failures


_Made = tuple[dict[str, Heard], list[Failure]]


@dataclass(frozen=True)
class _Recognition:
    """Hears a group of clips and keeps what it hears; returns it, and the clips that failed."""

    clips: Preprocessed
    model: str
    language: Language
    device: str
    folder: Path

    def __call__(self, clip_ids: Sequence[str]) -> _Made:
        whisper = load_whisper(self.model, self.device)
        failures = []
        try:
            sounds = [self.clips.audio(clip_id) for clip_id in clip_ids]
            heard = dict(zip(clip_ids, whisper.hear(sounds, self.language), strict=True))
        except Exception as error:  # whoever's fault it is, the others must not suffer
            if is_of_the_run(error):
                raise
            heard = {}
            for clip_id in clip_ids:
                try:
                    sound = self.clips.audio(clip_id)
                    (heard[clip_id],) = whisper.hear([sound], self.language)
                except Exception as own:
                    failures.append(failure_of(clip_id, own))
        _keep(self.folder, self.clips, heard)
        return heard, failures


def _keep(folder: Path, clips: Preprocessed, heard: dict[str, Heard]) -> Path:
    """Write what was heard as one table, named by its clips."""
    stamps = [clips.stamp(clip_id) for clip_id in heard]
    rows = [
        {"clip_id": clip_id, "clip": stamp, "text": one.text, "doubt": one.doubt}
        for (clip_id, one), stamp in zip(heard.items(), stamps, strict=True)
    ]
    path = folder / f"{fingerprint(sorted(zip(heard, stamps, strict=True)))}.parquet"
    if rows:
        write_table(path, pd.DataFrame(rows))
    return path


def _kept(folder: Path, clips: Preprocessed) -> dict[str, Heard]:
    """What was heard of clips as they are now; a damaged table counts as not there."""
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        try:
            rows = read_table(path)[["clip_id", "clip", "text", "doubt"]]
        except (DamagedError, KeyError):
            path.unlink(missing_ok=True)  # it is heard again
            continue
        for clip_id, stamp, text, doubt in rows.itertuples(index=False, name=None):
            if clip_id in clips.texts and clips.stamp(clip_id) == stamp:
                found[clip_id] = Heard(text, doubt)
    return found


def _put_together(folder: Path, clips: Preprocessed, kept: dict[str, Heard]) -> None:
    """One table in place of many, with the clips that are there."""
    parts = set(folder.glob("*.parquet"))
    if len(parts) > 1:
        whole = _keep(folder, clips, dict(sorted(kept.items())))
        for path in parts - {whole}:
            path.unlink(missing_ok=True)
