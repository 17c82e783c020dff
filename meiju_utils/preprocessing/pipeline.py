"""The first stage: every clip of a corpus to audio, face crops and text, in the run folder.

Clips are independent and each leaves a record when it is done, so a run that was stopped, at any
point and in any way, goes on where it was. Imports its neighbours, `corpus`, `run`, `parallel`.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from meiju_utils.corpus.official import Corpus
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.files import fingerprint, read_json, write_json
from meiju_utils.media.reading import Media, read_media
from meiju_utils.parallel import map_items
from meiju_utils.preprocessing.asr import SAMPLE_RATE, Recognised, recognise_speech
from meiju_utils.preprocessing.clips import (
    ClipTask,
    Record,
    finished_record,
    preprocess_clip,
    remove_partial_files,
)
from meiju_utils.preprocessing.corrections import (
    corrections_folders,
    find_corrections,
    read_corrections,
    stray_corrections,
)
from meiju_utils.preprocessing.detectors import make_detector
from meiju_utils.preprocessing.faces import ClipFaces, find_faces
from meiju_utils.preprocessing.review import (
    CHANGES_FILE,
    SUGGESTIONS_FILE,
    ReviewedTexts,
    review_texts,
    save_review,
)
from meiju_utils.preprocessing.speaker import make_scorer
from meiju_utils.preprocessing.state import preprocessing_key, state_of
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.run import CORRECTIONS_NAME, Run

MEDIA_COLUMNS = {
    "clip_id": "str",
    "duration_s": "float64",
    "fps": "float64",
    "width": "int64",
    "height": "int64",
    "video_frames": "int64",
    "sampled_frames": "int64",
    "audio_rate": "int64",
    "audio_channels": "int64",
    "faces": "int64",
    "face_choice": "str",
    "face_score": "float64",
    "face_reason": "str",
}
FOUND = ("duration_s", "face_choice", "face_score", "face_reason")  # also in the clips table
_STATE = "current.json"
_STAMPS = "stamps.json"
WHERE = f"expected {CORRECTIONS_NAME} in the run folder or beside the setting's lists"


def preprocess_corpus(run: Run, corpus: Corpus) -> Preprocessed:
    """Preprocess what is not done yet, then write the tables of the run folder.

    Tables: `clips` (duration and choice of face filled in), `media` (one row a decoded clip),
    `transcripts`, `problems` (the corpus's and the clips'); beside them `transcript_changes.csv`
    (every change of a text) and `transcript_suggestions.csv` (end marks for review). A clip that
    cannot be used, even one that kills its process, is a problem and not an error; MeijuError is
    raised where none can be used, ConfigError and CorpusError, before any work, for a detector, a
    scorer or corrections that are not sound.
    """
    settings = run.config.preprocessing
    if settings.transcripts.asr and settings.sample_rate != SAMPLE_RATE:
        raise ConfigError(
            f"preprocessing.sample_rate = {settings.sample_rate}: Whisper needs {SAMPLE_RATE}; "
            "change it, or set preprocessing.transcripts.asr to ''."
        )
    state = state_of(run)  # before the work: what changes meanwhile is noticed afterwards
    path = find_corrections(corrections_folders(run))
    clip_ids = set(corpus.clips["clip_id"])
    corrections = read_corrections(path, clip_ids, run.setting.language) if path else {}
    records = _records(run, corpus)
    texts = dict(zip(corpus.clips["clip_id"], corpus.clips["text"], strict=True))
    recognised, failed = _recognise(run, texts)
    reviewed = review_texts(
        texts,
        run.setting.language,
        settings.transcripts.apply_suggestions,
        {
            clip_id: record["final_rise"]
            for clip_id, record in records.items()
            if record.get("final_rise") is not None
        },
        corrections,
        recognised,
    )
    # Without it nothing counts as done: tables of two runs must not pass for those of one.
    run.path("preprocessed", _STATE).unlink(missing_ok=True)
    _save_tables(run, corpus, records, reviewed, failed)
    stamps = {clip_id: fingerprint(record.get("source")) for clip_id, record in records.items()}
    write_json(run.path("preprocessed", _STAMPS), stamps)
    write_json(run.path("preprocessed", _STATE), state)
    return open_preprocessed(run)


def open_preprocessed(run: Run) -> Preprocessed:
    """What `preprocess_corpus` left.

    MissingStageError where it has not run with these settings, on this data folder as it is now,
    with these corrections.
    """
    path, stamps = (run.path("preprocessed", name) for name in (_STATE, _STAMPS))
    if not (path.is_file() and stamps.is_file() and read_json(path) == state_of(run)):
        raise run.missing("preprocessed clips for these settings and data", "01_preprocessing")
    transcripts = run.table("transcripts")
    key = preprocessing_key(run.config.preprocessing)
    return Preprocessed(
        key=key,
        folder=run.path("preprocessed", key),
        texts=dict(zip(transcripts["clip_id"], transcripts["text"], strict=True)),
        stamps=read_json(stamps),
    )


def written_files(run: Run) -> list[Path]:
    """What `preprocess_corpus` writes with the run's settings beside its tables.

    The first is what says that all is done.
    """
    names = (_STATE, _STAMPS, preprocessing_key(run.config.preprocessing))
    kept = [run.path("preprocessed", name) for name in names]
    return [*kept, run.path(CHANGES_FILE), run.path(SUGGESTIONS_FILE)]


def inspect_clip(run: Run, clip_id: str) -> tuple[Media, ClipFaces]:
    """Decode a clip again and follow its faces, with everything a picture of it needs.

    The tracks' boxes are in pixels of `Media.tracking`. Raises MissingStageError before 01 has
    run, MeijuError for an unknown clip or one without video, MediaError for one that is broken.
    """
    clips = run.table("clips").set_index("clip_id")
    if clip_id not in clips.index or not clips.loc[clip_id, "video"]:
        raise MeijuError(
            f"Clip {clip_id!r} has no video in this run; choose one of its media table."
        )
    settings = run.config.preprocessing
    media = read_media(
        run.data_dir / str(clips.loc[clip_id, "video"]),
        settings.sample_rate,
        settings.frame_stride,
        settings.faces.tracking_side,
    )
    return media, find_faces(media, settings)


def _records(run: Run, corpus: Corpus) -> dict[str, Record]:
    """Records of all clips with a video, those not done yet being made first."""
    settings = run.config.preprocessing
    folder = run.path("preprocessed", preprocessing_key(settings))
    filmed = corpus.clips[corpus.clips["video"] != ""]
    if filmed.empty:
        return {}
    make_detector(settings.faces.detector)
    make_scorer(settings.speaker, settings.sample_rate)
    remove_partial_files(folder)
    tasks = [
        ClipTask(clip_id, corpus.root / video, folder, settings)
        for clip_id, video in zip(filmed["clip_id"], filmed["video"], strict=True)
    ]
    records = {task.clip_id: finished_record(task) for task in tasks}
    pending = [task for task in tasks if records[task.clip_id] is None]
    made = map_items(
        preprocess_clip,
        pending,
        [task.clip_id for task in pending],
        run.config.parallel,
        "Preprocessing clips",
    )
    records |= {record["clip_id"]: record for record in made.succeeded()}
    # Clips whose processes died left no record, so the next run tries them again.
    records |= {
        f.name: {"clip_id": f.name, "problem": f.error, "reason": f.reason} for f in made.failures
    }
    whole = {clip_id: record for clip_id, record in records.items() if record is not None}
    if all(record["problem"] for record in whole.values()):
        first = next(iter(whole.values()))
        raise MeijuError(
            f"None of {len(whole)} clips can be used. The first, {first['clip_id']}: "
            f"{first['problem']}: {first['reason']}"
        )
    return whole


def _recognise(run: Run, texts: dict[str, str]) -> tuple[Recognised, list[tuple[str, str, str]]]:
    """Texts of clips that have none, if the profile names a model, and the clips that failed."""
    settings = run.config.preprocessing
    textless = [clip_id for clip_id, text in texts.items() if not text]
    if not settings.transcripts.asr or not textless:
        return {}, []
    key = preprocessing_key(settings)
    clips = Preprocessed(key, run.path("preprocessed", key), texts)
    return recognise_speech(clips, textless, settings.transcripts.asr, run.setting.language)


def _save_tables(
    run: Run,
    corpus: Corpus,
    records: dict[str, Record],
    reviewed: ReviewedTexts,
    unheard: Sequence[tuple[str, str, str]],
) -> None:
    rows = [record["media"] for record in records.values() if not record["problem"]]
    media = pd.DataFrame(rows, columns=list(MEDIA_COLUMNS)).astype(MEDIA_COLUMNS)
    decoded = media.set_index("clip_id")
    found = {column: corpus.clips["clip_id"].map(decoded[column]) for column in FOUND}
    clips = corpus.clips.assign(**found).fillna({"face_choice": "", "face_reason": ""})
    run.save_table("clips", clips.astype(corpus.clips.dtypes))
    run.save_table("media", media)
    run.save_table("problems", _problems(run, corpus, list(records.values()), unheard))
    save_review(run, reviewed)


def _problems(
    run: Run, corpus: Corpus, records: Sequence[Record], unheard: Sequence[tuple[str, str, str]]
) -> pd.DataFrame:
    rows = [
        ("", "transcripts", "unused corrections", f"{path} is not read; {WHERE}")
        for path in stray_corrections(run)
    ]
    rows += [(clip_id, "asr", problem, reason) for clip_id, problem, reason in unheard]
    for record in records:
        if record["problem"]:
            rows.append((record["clip_id"], "media", record["problem"], record["reason"]))
        rows += [(record["clip_id"], "media", *flag) for flag in record.get("flags", [])]
    own = pd.DataFrame(rows, columns=list(corpus.problems.columns), dtype="str")
    return pd.concat([corpus.problems, own], ignore_index=True)
