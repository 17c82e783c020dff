"""How long will a run take, and what will it leave on the disk? From a timing of a few clips.

What cannot be timed here is said; no number is made up. Imports `checks`, `corpus`, `embeddings`,
`preprocessing`, `references`, `run`.
"""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import pandas as pd

from meiju_utils.challenge import Modality
from meiju_utils.checks import check_asr
from meiju_utils.completeness import lacking
from meiju_utils.config import EncoderConfig
from meiju_utils.corpus.survey import Corpus
from meiju_utils.embeddings.checkpoints import hub_id_of
from meiju_utils.embeddings.encoders import all_encoders, encoder_label, make_encoder
from meiju_utils.embeddings.encoding import ClipEncoding, code_of, forget_model
from meiju_utils.embeddings.extract import encoder_places
from meiju_utils.embeddings.planning import context_of
from meiju_utils.errors import MeijuError
from meiju_utils.files import fingerprint
from meiju_utils.media.reading import part_of
from meiju_utils.parallel import model_places
from meiju_utils.preprocessing.asr import recognise_speech
from meiju_utils.preprocessing.clips import VideoTask, preprocess_video
from meiju_utils.preprocessing.making import places
from meiju_utils.preprocessing.manifest import ShardWriter, read_rows
from meiju_utils.preprocessing.store import Preprocessed, serve
from meiju_utils.preprocessing.whisper import load_whisper
from meiju_utils.references import cached_commit, cached_snapshot, parse_reference, parse_target
from meiju_utils.run import Run
from meiju_utils.stamping import spread_over

TIMED = 6  # clips
# Artefact of preprocessing → the parts of a clip that it is.
ARTEFACTS = {
    "sound": ("audio",),
    "frames": ("frames", "frame_ends", "frame_times"),
    "face crops": ("crops", "crop_times"),
    "face tracks": ("track",),
}
TRAININGS = (
    "Trainings (notebooks 03 to 05) are not timed: recipes, epochs and early stopping decide. "
    "Notebook 03 with --set training.epochs=1 shows what an epoch costs."
)


@dataclass(frozen=True)
class Stage:
    """What a stage takes: timed on so many clips, for `clips` in all, in so many processes."""

    stage: str
    timed_on: int
    s_a_clip: float
    clips: int
    hours: float
    workers: int


@dataclass(frozen=True)
class Artefact:
    """What is left on the disk of each clip and of all."""

    artefact: str
    mb_a_clip: float
    gb: float


@dataclass
class Estimate:
    """Hours by stage and disk by artefact; `notes` say what was not timed, and why.

    folder: of whose disk so much is free.
    """

    folder: str
    free_gb: float
    stages: list[Stage] = field(default_factory=list)
    artefacts: list[Artefact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def needed_gb(self) -> float:
        return sum(one.gb for one in self.artefacts)

    @property
    def suffices(self) -> bool:
        return self.needed_gb < self.free_gb

    def values(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {**asdict(self), "needed_gb": self.needed_gb, "suffices": self.suffices}

    def add_stage(
        self, stage: str, seconds: float, timed_on: int, clips: int, workers: int
    ) -> None:
        a_clip = seconds / timed_on
        hours = a_clip * clips / workers / 3600
        self.stages.append(Stage(stage, timed_on, a_clip, clips, hours, workers))

    def add_artefact(self, artefact: str, size: int, timed_on: int, clips: int) -> None:
        megabytes = size / timed_on / 1e6
        self.artefacts.append(Artefact(artefact, megabytes, megabytes * clips / 1e3))


def estimate_run(run: Run, corpus: Corpus, unreadable: Collection[str] = ()) -> Estimate:
    """Time a few clips, spread over the sizes of their files, with the run's settings.

    Nothing is fetched, and nothing is left in the run folder. Clips that are `unreadable` are not
    counted. What earlier runs have finished already is.
    """
    existing = next(path for path in (run.folder, *run.folder.parents) if path.is_dir())
    found = Estimate(str(existing), shutil.disk_usage(existing).free / 1e9)
    clips = corpus.clips.drop_duplicates("clip_id")
    filmed = clips[(clips["video"] != "") & ~clips["clip_id"].isin(unreadable)]
    sizes = {video: (corpus.layout.stamp(video) or (0, 0))[0] for video in filmed["video"]}
    by_size = filmed.assign(size=filmed["video"].map(sizes)).sort_values(["size", "clip_id"])
    worded = clips.loc[clips["text"] != "", "clip_id"].tolist()
    chosen = spread_over(by_size["clip_id"].tolist(), TIMED)
    texts = dict(zip(clips["clip_id"], clips["text"], strict=True))
    with TemporaryDirectory(prefix="meiju-") as folder:
        rows = filmed[filmed["clip_id"].isin(chosen)]
        _time_clips(found, run, corpus, rows, len(filmed), Path(folder))
        made = read_rows(Path(folder))
        source = serve("estimate", Path(folder), {one: texts[one] for one in chosen}, made)
        words = {one: texts[one] for one in spread_over(worded, TIMED)}
        of_text = replace(source, texts=words)  # those chosen may be without
        wordless = filmed[filmed["text"] == ""]
        _time_recognition(found, run, source, len(wordless))
        counts: dict[Modality, int] = {
            "audio": len(filmed),
            "visual": len(filmed),
            "text": len(worded),
        }
        for modality, encoder in all_encoders(run.config.embeddings):
            read = of_text if modality == "text" else source
            _time_encoder(found, run, read, modality, encoder, counts[modality], corpus)
    found.notes.append(TRAININGS)
    return found


def _time_clips(
    found: Estimate, run: Run, corpus: Corpus, rows: pd.DataFrame, clips: int, folder: Path
) -> None:
    """Decoding and faces of each clip; what they give goes to shards in the folder."""
    tasks = [
        VideoTask(
            corpus.root / video,
            video,
            ((clip_id, part_of(start, end)),),
            run.config.preprocessing,
            "estimate",
        )
        for clip_id, video, start, end in rows[["clip_id", "video", "start_s", "end_s"]].itertuples(
            index=False, name=None
        )
    ]
    if not tasks:
        found.notes.append("There is no video that can be read: decoding is not timed.")
        return
    preprocess_video(tasks[0])  # libraries are loaded, and files read, once
    seconds, sizes, usable = 0.0, dict.fromkeys(ARTEFACTS, 0), 0
    with ShardWriter(folder) as writer:
        for task in tasks:
            began = perf_counter()
            made = preprocess_video(task)
            seconds += perf_counter() - began
            for row, media in made.clips:
                writer.add(row, media)
                usable += not row.get("problem")
                for name, parts in ARTEFACTS.items():
                    sizes[name] += sum(media[part].nbytes for part in parts if part in media)
    found.add_stage("01 decoding and faces", seconds, len(tasks), clips, places(run).processes)
    if usable < len(tasks):
        found.notes.append(f"{len(tasks) - usable} of {len(tasks)} clips timed cannot be used.")
    for name, size in sizes.items():
        found.add_artefact(name, size, len(tasks), clips)


def _time_recognition(found: Estimate, run: Run, source: Preprocessed, clips: int) -> None:
    """Whisper on the sound of the clips, where the profile names a model and clips lack words."""
    settings = run.config.preprocessing
    model = settings.transcripts.asr
    if not model or not clips:
        return
    stage = f"01 speech: {encoder_label(f'asr:{model}')[4:]}"
    heard = [clip_id for clip_id in source.clip_ids if source.has(clip_id, "audio")]
    reasons = [*check_asr(model)]
    reference = parse_target(model)
    reasons = reasons or [
        *_not_here("" if reference.path else reference.target, reference.revision, "recognition")
    ]
    if not heard:
        reasons.append("no clip timed has sound")
    try:
        if not reasons:
            load_whisper(model, settings.device)
            began = perf_counter()
            language = run.setting.language
            recognise_speech(source, heard, model, language, settings.device, clips)
            workers = model_places(run.config.parallel, settings.device, "preprocessing.device")
            found.add_stage(stage, perf_counter() - began, len(heard), clips, workers.processes)
    except MeijuError as error:
        reasons.append(str(error))
    found.notes += [f"{stage} is not timed: {reason}" for reason in reasons[:1]]


def _time_encoder(
    found: Estimate,
    run: Run,
    source: Preprocessed,
    modality: Modality,
    config: EncoderConfig,
    clips: int,
    corpus: Corpus,
) -> None:
    label = f"{modality}: {encoder_label(config.name)}"
    reason = _lacks(run, modality, config) or ("" if clips else f"no clip has {modality}")
    if not reason:
        try:
            seconds, size, workers = _encode(run, source, modality, config, corpus)
        except MeijuError as error:
            reason = str(error)
        else:
            count = len(source.clip_ids)
            found.add_stage(f"02 {label}", seconds, count, clips, workers)
            found.add_artefact(f"features, {label}", size, count, clips)
            return
    found.notes.append(f"02 {label} is not timed: {reason}")


def _encode(
    run: Run, source: Preprocessed, modality: Modality, config: EncoderConfig, corpus: Corpus
) -> tuple[float, int, int]:
    """Seconds that an encoder takes for the clips of a source, bytes it leaves of them, and over
    how many processes it is spread."""
    if hub_id := hub_id_of(config.name):
        commit = cached_commit(hub_id, config.revision)
        config = config.model_copy(update={"revision": commit or config.revision})
    clips = corpus.clips
    texts = clips.loc[clips["split"].isin(["train", "unlabeled"]), "text"].tolist()
    encoder = make_encoder(modality, config, context_of(run, lambda: texts))
    key = fingerprint("estimate", modality, config.model_dump(mode="json"))
    encoding = ClipEncoding(source, encoder, config, key, code_of(encoder))
    try:
        encoding(source.clip_ids[:1])  # loads the model
        began = perf_counter()
        made = encoding(source.clip_ids)
        seconds = perf_counter() - began
    finally:
        forget_model()
    workers = encoder_places(run, encoder).processes
    return seconds, sum(array.nbytes for array in made.arrays.values()), workers


def _lacks(run: Run, modality: Modality, config: EncoderConfig) -> str:
    """Why an encoder cannot be loaded on this machine as it is; "" where it can be tried."""
    reference = parse_reference(config.name, run.folder, config.revision)
    if reference.path and not reference.path.exists():
        later = run.folder in reference.path.parents
        return "it is made in the run folder by a notebook" if later else "it is not there"
    return next(_not_here(hub_id_of(config.name), config.revision, modality), "")


def _not_here(hub_id: str, revision: str, use: Any) -> Iterator[str]:
    """Whether a model on the hub would have to be fetched first."""
    snapshot = cached_snapshot(hub_id, revision) if hub_id else None
    if hub_id and (snapshot is None or [*lacking(snapshot, use)]):
        yield f"{hub_id} is not here yet (hf download {hub_id})"
