"""The first stage: every clip of a corpus to audio, frames, faces and text, in the run folder.

A run that was stopped, at any point and in any way, goes on where it was: what is done stands in
the manifest's shards. Imports its neighbours, `corpus`, `run`, `parallel`.
"""

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import pandas as pd

from meiju_utils.corpus.layout import Layout
from meiju_utils.corpus.opening import layout_of
from meiju_utils.corpus.schema import FOUND
from meiju_utils.corpus.survey import Corpus
from meiju_utils.corpus.videos import match_videos
from meiju_utils.errors import ConfigError, DamagedError, MeijuError
from meiju_utils.files import read_record, write_record
from meiju_utils.media.reading import Media, part_of, read_media
from meiju_utils.parallel import Failure
from meiju_utils.preprocessing.asr import recognise_speech
from meiju_utils.preprocessing.corrections import (
    corrections_folders,
    find_corrections,
    read_corrections,
    stray_corrections,
)
from meiju_utils.preprocessing.detectors import make_detector
from meiju_utils.preprocessing.faces import ClipFaces, find_faces
from meiju_utils.preprocessing.making import is_still_made, make_manifest
from meiju_utils.preprocessing.review import (
    CHANGES,
    SUGGESTIONS,
    ReviewedTexts,
    review_texts,
    save_review,
)
from meiju_utils.preprocessing.speaker import check_scorer
from meiju_utils.preprocessing.state import (
    STATE_NAME,
    held,
    refuse_other_corpus,
    renew_store,
    settings_key_of,
    state_of,
    store_of,
    stores_of,
)
from meiju_utils.preprocessing.store import Preprocessed, serve
from meiju_utils.preprocessing.whisper import SAMPLE_RATE, Heard, fetch_whisper
from meiju_utils.references import cached_snapshot, parse_target
from meiju_utils.run import CORRECTIONS_NAME, Run
from meiju_utils.run_folder import writing

NOTEBOOK = "01_preprocessing"
WHERE = f"expected {CORRECTIONS_NAME} in the run folder or beside the setting's lists"


def preprocess_corpus(run: Run, corpus: Corpus) -> Preprocessed:
    """Preprocess what is not done yet, then write the tables of the run folder.

    Tables: `manifest` (one row a clip with a video: what was made of it, from what, and which face
    stands for it; see `manifest.ROW`), `clips` (duration and choice of face filled in),
    `transcripts`, `problems` (the corpus's and the clips'), `transcript_changes` (every change of a
    text) and `transcript_suggestions` (end marks for review), both also as `.csv`. A clip that
    cannot be used, even one that kills its process, is a problem and not an error; SystemicError is
    raised where unexpected faults strike too many, MeijuError where no clip can be used. Before any
    work: ConfigError and CorpusError for a detector, a scorer or corrections that are not sound and
    for a run folder of another corpus, BusyError where another process writes it.
    """
    run = held(run)
    settings = run.config.preprocessing
    if settings.transcripts.asr and settings.sample_rate != SAMPLE_RATE:
        raise ConfigError(
            f"preprocessing.sample_rate = {settings.sample_rate}: Whisper needs {SAMPLE_RATE}; "
            "change it, or set preprocessing.transcripts.asr to ''."
        )
    if (corpus.clips["video"] != "").any():
        make_detector(settings.faces.detector)
        check_scorer(settings.speaker, settings.sample_rate, settings.device)
    with writing(run.folder, NOTEBOOK):
        refuse_other_corpus(run, corpus.clips)
        return _preprocess(run, corpus)


def _preprocess(run: Run, corpus: Corpus) -> Preprocessed:
    path = find_corrections(corrections_folders(run, corpus.layout))
    clip_ids = set(corpus.clips["clip_id"])
    corrections = read_corrections(path, clip_ids, run.setting.language) if path else {}
    identity, folder = renew_store(run, lambda folder: is_still_made(run, corpus, folder))
    _fetch_whisper(run, corpus)
    state = state_of(run, identity, corpus.layout)  # before the work: later changes are noticed
    manifest = make_manifest(run, corpus, folder, identity)
    texts = dict(zip(corpus.clips["clip_id"], corpus.clips["text"], strict=True))
    clips = serve(identity, folder, texts, manifest)
    heard, unheard = _recognise(run, clips)
    doubts = [
        (clip_id, "doubtful speech", one.doubt) for clip_id, one in heard.items() if one.doubt
    ]
    failed = [*((one.name, one.error, one.reason) for one in unheard), *doubts]
    rises = manifest["clip_id"], manifest["final_rise"]
    reviewed = review_texts(
        texts,
        run.setting.language,
        run.config.preprocessing.transcripts.apply_suggestions,
        {clip_id: rise for clip_id, rise in zip(*rises, strict=True) if not isnan(rise)},
        corrections,
        {clip_id: one.text for clip_id, one in heard.items()},
    )
    # Meanwhile nothing counts as done: tables of two runs must not pass for those of one.
    write_record(run.path("preprocessed", STATE_NAME), {"asr": state["asr"]})
    _save_tables(run, corpus, manifest, reviewed, failed)
    write_record(run.path("preprocessed", STATE_NAME), state)
    return serve(identity, folder, _texts(reviewed.transcripts), manifest)


def open_preprocessed(run: Run) -> Preprocessed:
    """What `preprocess_corpus` left.

    MissingStageError where it has not run with these settings, on this data folder as it is now (a
    video, a list or a correction that was changed, added or taken away), unless the data folder is
    not there any more: then on what it was.
    """
    missing = run.missing("preprocessed clips for these settings and data", NOTEBOOK)
    run = held(run)
    store = store_of(run)
    try:
        known = read_record(run.path("preprocessed", STATE_NAME))
        manifest, transcripts = run.table("manifest"), run.table("transcripts")
    except (OSError, DamagedError) as error:
        raise missing from error
    if store is None:
        raise missing
    identity, folder = store
    layout = None
    if run.data_dir.is_dir():
        layout = layout_of(run)
    if {**known, **state_of(run, identity, layout, known)} != known:
        raise missing
    if layout is not None and not _same_videos(manifest, layout):
        raise missing
    return serve(identity, folder, _texts(transcripts), manifest)


def _texts(transcripts: pd.DataFrame) -> dict[str, str]:
    return dict(zip(transcripts["clip_id"], transcripts["text"], strict=True))


def _same_videos(manifest: pd.DataFrame, layout: Layout) -> bool:
    """Whether the data folder's videos are those that the manifest's clips were made from."""
    videos = {clip_id: path for split in layout.videos.values() for clip_id, path in split.items()}
    columns = ["clip_id", "video", "source_size", "source_modified_ns"]
    made = manifest.loc[manifest["source_size"] >= 0, columns]
    videos = match_videos(videos, made["clip_id"].tolist())
    return all(
        # under another path where another folder of the release was given
        (layout.stamp(video) or layout.stamp(videos.get(clip_id, ""))) == (size, modified_ns)
        for clip_id, video, size, modified_ns in made.itertuples(index=False, name=None)
    )


def written_files(run: Run) -> list[Path]:
    """What `preprocess_corpus` writes with the run's settings beside its tables.

    The first is what says that all is done.
    """
    key = settings_key_of(held(run))
    stores = [folder for folder, stamp in stores_of(run).items() if stamp.settings == key]
    texts = [run.path(f"{name}.csv") for name in (CHANGES, SUGGESTIONS)]
    return [run.path("preprocessed", STATE_NAME), *stores, *texts]


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
    settings = held(run).config.preprocessing
    clip = clips.loc[clip_id]
    media = read_media(
        run.data_dir / str(clip["video"]),
        settings.sample_rate,
        settings.frame_stride,
        settings.faces.tracking_side,
        part_of(float(str(clip["start_s"])), float(str(clip["end_s"]))),
    )
    return media, find_faces(media, settings)


def _fetch_whisper(run: Run, corpus: Corpus) -> None:
    """Fetch a hub's model that is to be used, as only then its commit, which counts, is known.

    Its files alone: on the login node of a cluster no model is loaded.
    """
    settings = run.config.preprocessing
    model = parse_target(settings.transcripts.asr)
    needed = (corpus.clips["text"] == "") & (corpus.clips["video"] != "")
    if not model.target or model.path is not None or not needed.any():
        return
    if cached_snapshot(model.target, model.revision) is None:
        fetch_whisper(settings.transcripts.asr)


def _recognise(run: Run, clips: Preprocessed) -> tuple[dict[str, Heard], list[Failure]]:
    """What is heard of clips without text, if the profile names a model, and those that failed."""
    settings = run.config.preprocessing
    textless = [clip_id for clip_id in clips.clip_ids if not clips.text(clip_id)]
    if not settings.transcripts.asr or not textless:
        return {}, []
    return recognise_speech(
        clips,
        textless,
        settings.transcripts.asr,
        run.setting.language,
        settings.device,
        len(clips.clip_ids),
        run.config.parallel,
    )


def _save_tables(
    run: Run,
    corpus: Corpus,
    manifest: pd.DataFrame,
    reviewed: ReviewedTexts,
    unheard: Sequence[tuple[str, str, str]],
) -> None:
    usable = manifest[manifest["problem"] == ""].set_index("clip_id")
    found = {column: corpus.clips["clip_id"].map(usable[column]) for column in FOUND}
    clips = corpus.clips.assign(**found).fillna({"face_choice": "", "face_reason": ""})
    run.save_table("clips", clips.astype(corpus.clips.dtypes))
    run.save_table("manifest", manifest)
    run.save_table("problems", _problems(run, corpus, manifest, unheard))
    save_review(run, reviewed)


def _problems(
    run: Run, corpus: Corpus, manifest: pd.DataFrame, unheard: Sequence[tuple[str, str, str]]
) -> pd.DataFrame:
    rows = [
        ("", "transcripts", "unused corrections", f"{path} is not read; {WHERE}")
        for path in stray_corrections(run, corpus.layout)
    ]
    rows += [(clip_id, "asr", problem, reason) for clip_id, problem, reason in unheard]
    columns = ["clip_id", "problem", "reason", "flags"]
    for clip_id, problem, reason, flags in manifest[columns].itertuples(index=False, name=None):
        rows += [(clip_id, "media", problem, reason)] if problem else []
        rows += [(clip_id, "media", *flag) for flag in json.loads(flags)]
    own = pd.DataFrame(rows, columns=list(corpus.problems.columns), dtype="str")
    return pd.concat([corpus.problems, own], ignore_index=True)
