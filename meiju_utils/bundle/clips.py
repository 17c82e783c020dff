"""New videos through the first stages: found, decoded, their words cleaned, encoded.

By the code that the run's own clips went through, without a corpus around them. Imports
`preprocessing`, `embeddings`, `media`, `parallel`.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import Language
from meiju_utils.config import Parallel, Preprocessing
from meiju_utils.corpus.lists import VIDEO_SUFFIXES
from meiju_utils.errors import ConfigError, MediaError
from meiju_utils.media.parts import Part
from meiju_utils.parallel import map_items, model_places
from meiju_utils.preprocessing.clips import Made, VideoTask, preprocess_video
from meiju_utils.preprocessing.manifest import Row
from meiju_utils.preprocessing.review import review_texts
from meiju_utils.preprocessing.speaker import has_weights
from meiju_utils.preprocessing.store import as_audio, picture_of, unpacked
from meiju_utils.preprocessing.whisper import SAMPLE_RATE, load_whisper

AT_ONCE = 16  # clips whose sound and pictures are in memory

Audio = NDArray[np.float32]


def find_videos(given: Sequence[str | Path]) -> dict[str, Path]:
    """Clip id → video, of files and of folders with all below them, in order of their paths.

    An id is the file's name without its extension; where two share it, the file's path. MediaError
    for what is not there and for a folder without videos.
    """
    found: list[Path] = []
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _is_video(p))
            if not inside:
                raise MediaError(f"{path} holds no video ({', '.join(VIDEO_SUFFIXES[:6])}, …).")
            found += inside
        elif path.is_file():
            found.append(path)  # whatever it is called: reading it shows what it is
        else:  # or a pipe, which would be waited for
            raise MediaError(f"There is no file or folder {path}.")
    found = list(dict.fromkeys(found))
    stems = Counter(path.stem for path in found)
    return {path.stem if stems[path.stem] == 1 else path.as_posix(): path for path in found}


def _is_video(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in VIDEO_SUFFIXES and not hidden and path.is_file()


@dataclass
class NewClips:
    """Clips that are in no corpus, read: a source for encoders (see `embeddings.base.ClipSource`).

    rows: what became of each (see `manifest.ROW`); media: its sound, frames and face; texts: its
    words, "" where none are known.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    media: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    key: str = ""

    @property
    def clip_ids(self) -> list[str]:
        return list(self.rows)

    def stamp(self, clip_id: str) -> str:
        return str(self.rows[clip_id]["source_digest"])

    def audio(self, clip_id: str) -> Audio:
        samples = self.media[clip_id].get("audio", np.empty(0, np.int16))
        return as_audio(samples)

    def faces(self, clip_id: str) -> NDArray[np.uint8]:
        return np.asarray(self.media[clip_id].get("crops", np.empty((0, 0, 0, 3), np.uint8)))

    def text(self, clip_id: str) -> str:
        return self.texts[clip_id]

    def frames(self, clip_id: str) -> list[NDArray[np.uint8]]:
        """The sampled frames, RGB [height, width, 3]."""
        media = self.media[clip_id]
        return [picture_of(jpeg) for jpeg in unpacked(media["frames"], media["frame_ends"])]


def read_clips(
    videos: Mapping[str, Path],
    texts: Mapping[str, str],
    settings: Preprocessing,
    language: Language,
    take: Callable[[NewClips], None],
    asr: str = "",
    parallel: Parallel | None = None,
    device: str = "auto",
) -> dict[str, str]:
    """Decode videos (clip id → file), follow their faces, clean what is said in them.

    A few at a time are given to `take`, so that memory does not grow with their number; why the
    others cannot be used is returned. texts: of those where it is known; of the others `asr` hears
    it (a Whisper model), if given. Raises ConfigError for a model that does not load.
    """
    if asr and settings.sample_rate != SAMPLE_RATE:
        raise ConfigError(
            f"Speech recognition hears {SAMPLE_RATE} Hz, and these models were trained on sound at "
            f"{settings.sample_rate} Hz: give the texts instead."
        )
    tasks = [
        VideoTask(path, path.name, ((clip_id, Part()),), settings, "")
        for clip_id, path in videos.items()
    ]
    problems: dict[str, str] = {}
    clips = NewClips()

    def hand_over() -> None:
        nonlocal clips
        given = {clip_id: texts.get(clip_id, "") for clip_id in clips.clip_ids}
        silent = [clip_id for clip_id, text in given.items() if asr and not text.strip()]
        sound = {clip_id: clips.audio(clip_id) for clip_id in silent}
        heard = load_whisper(asr, device).hear([*sound.values()], language) if sound else []
        words = {clip_id: one.text for clip_id, one in zip(sound, heard, strict=True)}
        for clip_id, one in zip(sound, heard, strict=True):
            doubt = [["doubtful speech", one.doubt]] if one.doubt else []
            row = clips.rows[clip_id]
            row["flags"] = json.dumps([*json.loads(row["flags"]), *doubt])
        clips.texts = _reviewed(given, words, clips.rows, settings, language)
        take(clips)
        clips = NewClips()

    def then(place: int, made: Made | None, error: Exception | None) -> None:
        if made is None:
            return
        problems.update({f.name: f"{f.error}: {f.reason}" for f in made.failures})
        for row, media in made.clips:
            if row.get("problem"):
                problems[row["clip_id"]] = f"{row['problem']}: {row['reason']}"
            else:
                clips.rows[row["clip_id"]], clips.media[row["clip_id"]] = row, media
        if len(clips.rows) >= AT_ONCE:
            hand_over()

    names, where = list(videos), parallel or Parallel(backend="serial")
    if has_weights(settings.speaker):
        where = model_places(where, settings.device, "preprocessing.device")
    mapped = map_items(preprocess_video, tasks, names, where, "Reading", then=then, keep=False)
    if clips.rows:
        hand_over()
    return problems | {one.name: f"{one.error}: {one.reason}" for one in mapped.failures}


def _reviewed(
    given: Mapping[str, str],
    heard: Mapping[str, str],
    rows: Mapping[str, Row],
    settings: Preprocessing,
    language: Language,
) -> dict[str, str]:
    rises = {clip_id: float(row["final_rise"]) for clip_id, row in rows.items()}
    reviewed = review_texts(
        given,
        language,
        settings.transcripts.apply_suggestions,
        {clip_id: rise for clip_id, rise in rises.items() if not isnan(rise)},
        recognised=heard,
    )
    table = reviewed.transcripts
    return dict(zip(table["clip_id"], table["text"], strict=True))
