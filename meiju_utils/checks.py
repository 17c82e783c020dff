"""Can everything be used that a profile names? Looked at in a moment, before hours depend on it.

Nothing is loaded, downloaded or written. Imports `embeddings`, `devices`, `references`, `run`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from meiju_utils.challenge import Modality
from meiju_utils.completeness import (
    Use,
    folder_problems,
    lacking,
    read_config,
    sampling_rate,
    unfit,
)
from meiju_utils.config import EncoderConfig, Profile
from meiju_utils.devices import check_device
from meiju_utils.embeddings.base import EncoderContext
from meiju_utils.embeddings.checkpoints import hub_id_of
from meiju_utils.embeddings.encoders import all_encoders, make_encoder
from meiju_utils.embeddings.planning import has_store
from meiju_utils.embeddings.store import META, FeatureStore
from meiju_utils.embeddings.tiny import TINY_CHECKPOINTS
from meiju_utils.errors import ConfigError, DamagedError, FeatureError, MeijuError, nearest
from meiju_utils.files import read_table
from meiju_utils.preprocessing import detectors
from meiju_utils.preprocessing.speaker import check_scorer
from meiju_utils.preprocessing.whisper import check_whisper
from meiju_utils.references import (
    RUN_DIR,
    cached_snapshot,
    is_hub_id,
    parse_reference,
    parse_target,
    project_root,
)

# What a clip of 4.5 s leaves on the disk, in bytes: 16-bit sound, some frames, face crops ...
PREPROCESSED = 600_000
# ... and of features, by modality, 1024 wide in float32: 50 frames of speech a second, a crop for
# every frame kept, a text of 20 tokens; one vector where the level is the utterance.
FRAMES: dict[Modality, int] = {"audio": 920_000, "visual": 60_000, "text": 80_000}
UTTERANCE = 6_000


def check_profile(config: Profile, data_dir: Path | None, run_dir: Path) -> list[str]:
    """What cannot be used of all that a profile names: a sentence or some for each problem.

    Recipes are looked at by `recipes.checking.check_recipes`. What only an earlier notebook needs,
    and the run folder holds the results of, is not asked for.
    """
    return list(_problems(config, data_dir, run_dir))


def _problems(config: Profile, data_dir: Path | None, run_dir: Path) -> Iterator[str]:
    if not (run_dir / "manifest.parquet").is_file():
        if data_dir is not None and not data_dir.is_dir():
            yield f"No data folder {data_dir}."
        yield from check_detector(config.preprocessing.faces.detector)
        settings = config.preprocessing
        yield from _told(check_scorer, settings.speaker, settings.sample_rate, settings.device)
    if not (run_dir / "transcripts.parquet").is_file():
        yield from check_asr(config.preprocessing.transcripts.asr)
    for modality, encoder in all_encoders(config.embeddings):
        for problem in check_encoder(config, modality, encoder, run_dir):
            yield f"embeddings, {modality}: {problem}"
    for section in ("preprocessing", "embeddings", "training"):
        device = getattr(config, section).device
        yield from _told(check_device, device, f"{section}.device")
    yield from check_disk(config, run_dir)
    yield from check_submissions()


def check_encoder(
    config: Profile, modality: Modality, encoder: EncoderConfig, run_dir: Path
) -> Iterator[str]:
    """Problems of one encoder: its name, its options, its checkpoint or folder."""
    if _is_still_to_be_made(encoder.name, config, run_dir):
        return
    context = EncoderContext(run_dir, sample_rate=config.preprocessing.sample_rate)
    try:
        make_encoder(modality, encoder, context)
    except (ConfigError, FeatureError) as error:
        yield str(error)
        return
    reference = parse_reference(encoder.name, run_dir, encoder.revision)
    use: Use = modality
    if reference.kind == "npy" and reference.path:
        yield from _not_covering(encoder.name, reference.path, _clip_ids(run_dir))
    elif reference.kind in ("hf", "timm") and reference.path:
        yield from folder_problems(encoder.name, reference.path, use)
        yield from _option_problems(config, encoder, reference.path, use)
    elif hub_id := hub_id_of(encoder.name):
        if has_store(run_dir, encoder):
            return
        snapshot = cached_snapshot(hub_id, encoder.revision)
        yield from _hub_problems(encoder.name, hub_id, snapshot, use)
        if snapshot:
            yield from _option_problems(config, encoder, snapshot, use)
        elif reference.kind == "timm" and not is_offline():
            yield from _unknown_to_timm(reference.target)


def check_detector(name: str) -> Iterator[str]:
    """Problems of the face detector."""
    yield from _told(detectors.check_detector, name)
    reference = parse_reference(name)
    if reference.target and not reference.path and is_offline() and not reference.commit:
        yield f"preprocessing.faces.detector = {name!r}: {_advice(reference.target)}"


def check_asr(model: str) -> Iterator[str]:
    """Problems of the model that recognises speech; none where none is named."""
    if not model:
        return
    reference = parse_target(model)
    if reference.path:
        yield from _told(check_whisper, model)
    else:
        setting = f"preprocessing.transcripts.asr = {model!r}"
        snapshot = cached_snapshot(reference.target, reference.revision)
        yield from _hub_problems(setting, reference.target, snapshot, "recognition")


def _told(check: Callable[..., None], *arguments: Any) -> Iterator[str]:
    """What a check raises, as a problem."""
    try:
        check(*arguments)
    except ConfigError as error:
        yield str(error)


def estimated_bytes(config: Profile, clips: int) -> int:
    """About what a run of so many clips leaves on the disk; longer clips take more."""
    a_clip = PREPROCESSED
    for modality, encoder in all_encoders(config.embeddings):
        size = FRAMES[modality] if encoder.level == "frame" else UTTERANCE
        a_clip += size // 2 if encoder.dtype == "float16" else size
    return a_clip * clips


def check_disk(config: Profile, run_dir: Path, clips: int = 0) -> Iterator[str]:
    """Whether the disk holds what a run will leave, as far as the number of clips is known."""
    clips = clips or len(_clip_ids(run_dir))
    if (run_dir / "encoders.parquet").is_file():
        return  # all of that is there
    existing = next(folder for folder in (run_dir, *run_dir.parents) if folder.is_dir())
    made = [f for kind in ("preprocessed", "features") for f in (run_dir / kind).rglob("*.*")]
    free, needed = shutil.disk_usage(existing).free, estimated_bytes(config, clips)
    if free < needed - sum(file.stat().st_size for file in made):
        yield (
            f"{existing} has {free / 1e9:.1f} GB free; {clips} clips with these encoders take "
            f"about {needed / 1e9:.1f} GB. Make room, or give a run_dir on a larger disk."
        )


def check_submissions() -> Iterator[str]:
    """Whether what is handed in can be written beside the project."""
    folder = project_root() / "submissions"
    place = folder if folder.exists() else folder.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield f"{folder} is no folder that can be written to; notebook 06 leaves submissions there."


def covered(folder: Path, clip_ids: Sequence[str]) -> int:
    """How many clips a folder of .npy files, or a feature store, has embeddings of.

    FeatureError or DamagedError for a store that cannot be read.
    """
    if (folder / META).is_file():
        there = set(FeatureStore(folder).clip_ids)
    else:
        with os.scandir(folder) as entries:
            there = {e.name.removesuffix(".npy") for e in entries if e.name.endswith(".npy")}
    return sum(clip_id in there for clip_id in clip_ids)


def _is_still_to_be_made(name: str, config: Profile, run_dir: Path) -> bool:
    """Whether a name stands for what a notebook will put into the run folder."""
    target = name.partition(":")[2]
    path = parse_reference(name, run_dir).path
    if not target.startswith(RUN_DIR) or path is None or path.exists():
        return False
    if path.parent == run_dir / "checkpoints":
        return config.embeddings.tiny_checkpoints and path.name in TINY_CHECKPOINTS
    return True


def _option_problems(
    config: Profile, encoder: EncoderConfig, folder: Path, use: Use
) -> Iterator[str]:
    """Of options that the checkpoint's files show to be wrong."""
    depth = read_config(folder).get("num_hidden_layers")
    if use != "visual" and isinstance(depth, int):
        wrong = [layer for layer in encoder.layers if not -depth - 1 <= layer <= depth]
        if wrong:
            yield f"{encoder.name!r} has no layers {wrong}: 0 to {depth}, or {-depth - 1} to -1."
    rate, ours = sampling_rate(folder), config.preprocessing.sample_rate
    if use == "audio" and rate not in (None, ours):
        yield (
            f"{encoder.name!r} expects audio at {rate} Hz, but preprocessing.sample_rate is {ours}."
        )


def _hub_problems(what: str, hub_id: str, snapshot: Path | None, use: Use) -> Iterator[str]:
    if not is_hub_id(hub_id):
        yield f"{what}: {hub_id!r} is neither a folder nor a hub's id of a model, as owner/name."
    elif snapshot is None:
        if is_offline():
            yield f"{what}: {_advice(hub_id)}"
    elif wrong := [*unfit(snapshot, use)]:
        yield f"{what} cannot be used. {' '.join(wrong)}"
    elif is_offline() and (lost := [*lacking(snapshot, use)]):
        yield f"{what}: the cache holds it in part. {' '.join(lost)} {_advice(hub_id)}"


def _advice(hub_id: str) -> str:
    return (
        f"{hub_id} is not wholly in the cache of hub models, and the hub may not be asked "
        f"(HF_HUB_OFFLINE). On a machine with a network run `hf download {hub_id} --local-dir "
        "FOLDER`, copy FOLDER here and name it in place of the model."
    )


def _unknown_to_timm(name: str) -> Iterator[str]:
    """Only of a model that was not fetched before: timm takes seconds to be imported."""
    import timm

    names = timm.list_pretrained()
    if name not in {*names, *(known.partition(".")[0] for known in names)}:
        stem = name.partition("_")[0]
        like = [known for known in names if known.startswith(stem)] or names
        yield f"timm has no pretrained model {name!r}: {nearest(name, like)}"


def _not_covering(what: str, folder: Path, clip_ids: Sequence[str]) -> Iterator[str]:
    """Where a folder has no embedding of any clip, as far as the clips are known yet."""
    try:
        if not covered(folder, clip_ids) and clip_ids:
            yield (
                f"{what}: {folder} has an embedding of none of the {len(clip_ids)} clips, the "
                f"first of which is {clip_ids[0]}. Expected one [T, D] array a clip, named by it."
            )
    except MeijuError as error:
        yield f"{what}: {error}"


def _clip_ids(run_dir: Path) -> list[str]:
    """The clips of a run, where notebook 01 has listed them."""
    path = run_dir / "clips.parquet"
    try:
        return list(read_table(path, columns=["clip_id"])["clip_id"]) if path.is_file() else []
    except DamagedError:
        return []  # whoever needs the table will say so


def is_offline() -> bool:
    """Whether the hub's client is told to use its cache alone."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)
