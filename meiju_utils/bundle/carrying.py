"""The checkpoints of a bundle: which models it needs, and copies of them that travel with it.

Imports `frozen`, `embeddings`, `references`.
"""

import shutil
from pathlib import Path

from meiju_utils.bundle.frozen import Frozen, FrozenEncoder
from meiju_utils.config import Preprocessing
from meiju_utils.embeddings.base import EncoderContext
from meiju_utils.embeddings.checkpoints import hub_id_of
from meiju_utils.embeddings.encoders import make_encoder
from meiju_utils.errors import BundleError
from meiju_utils.references import RUN_DIR, cached_snapshot, parse_reference, parse_target

CHECKPOINTS = "checkpoints"
# Hidden files, pickles and code.
_NOT_COPIED = (".*", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.py")


def carried(frozen: Frozen, source: Path, target: Path, every: bool) -> Frozen:
    """The same with its checkpoints in `target`, named from there: all of them where `every`, else
    those that lie in `source`, the run's folder or an older bundle.

    BundleError for one that is to be copied and is not here.
    """
    encoders = []
    for number, encoder in enumerate(frozen.encoders):
        reference = parse_reference(encoder.config.name, source, encoder.config.revision)
        wanted = reference.target and (every or RUN_DIR in encoder.config.name)
        encoders.append(_copied(encoder, number, source, target) if wanted else encoder)
    preprocessing = _without_recognition(frozen.preprocessing)
    preprocessing = _with_files(preprocessing, target, None if every else source)
    return frozen.model_copy(update={"encoders": encoders, "preprocessing": preprocessing})


def placed(frozen: Frozen, folder: Path) -> Frozen:
    """The same read from a bundle's folder: what was copied there is named by its path."""
    faces = frozen.preprocessing.faces
    detector = faces.detector.replace(RUN_DIR, str(folder))
    preprocessing = frozen.preprocessing.model_copy(
        update={
            "faces": faces.model_copy(update={"detector": detector}),
            "speaker": frozen.preprocessing.speaker.replace(RUN_DIR, str(folder)),
        }
    )
    return frozen.model_copy(update={"preprocessing": preprocessing})


def _copied(encoder: FrozenEncoder, number: int, source: Path, target: Path) -> FrozenEncoder:
    config = encoder.config
    reference = parse_reference(config.name, source, config.revision)
    folder = reference.path or cached_snapshot(hub_id_of(config.name), config.revision)
    if folder is None or not folder.is_dir():
        raise BundleError(
            f"The checkpoint of {config.name!r} is not on this machine and cannot be copied into "
            "the bundle. Run notebook 02 here, or export without --with-encoders."
        )
    place = f"{CHECKPOINTS}/{number}-{encoder.modality}"
    if not any(folder.glob("*.safetensors")):
        raise BundleError(
            f"The checkpoint of {config.name!r} has no weights as safetensors, and a bundle holds "
            "no pickles. Save it anew with save_pretrained, or export without --with-encoders."
        )
    shutil.copytree(folder, target / place, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    name = f"{reference.kind}:{RUN_DIR}/{place}"
    config = config.model_copy(update={"name": name, "revision": "main"})
    made = make_encoder(encoder.modality, config, EncoderContext(run_dir=target))
    settings = {**encoder.settings, **_identity(made.settings)}
    for key in {"model", "revision"} - _identity(made.settings).keys():
        settings.pop(key, None)
    return encoder.model_copy(update={"config": config, "settings": settings})


def _identity(settings: dict[str, object]) -> dict[str, object]:
    """What tells a checkpoint's weights among an encoder's settings."""
    return {key: settings[key] for key in ("contents", "model", "revision") if key in settings}


def _without_recognition(settings: Preprocessing) -> Preprocessing:
    """Without a Whisper model that is a folder of this machine: it does not travel."""
    if parse_target(settings.transcripts.asr).path is None:
        return settings
    transcripts = settings.transcripts.model_copy(update={"asr": ""})
    return settings.model_copy(update={"transcripts": transcripts})


def _with_files(settings: Preprocessing, target: Path, only: Path | None) -> Preprocessing:
    """The face detector's and the speaker scorer's files copied, where they have any and these lie
    below `only`, if given."""
    faces = settings.faces
    detector = _file_copied(faces.detector, "detector", target, only)
    return settings.model_copy(
        update={
            "faces": faces.model_copy(update={"detector": detector}),
            "speaker": _file_copied(settings.speaker, "speaker", target, only),
        }
    )


def _file_copied(name: str, what: str, target: Path, only: Path | None) -> str:
    reference = parse_reference(name)
    path = reference.path
    if not reference.target:
        return name
    if only and not (path and path.is_relative_to(only.absolute())):
        return name
    if path is None:
        from meiju_utils.preprocessing.detectors import yunet_path

        path = yunet_path(reference.target)
    place = f"{CHECKPOINTS}/{what}{path.suffix}"
    (target / CHECKPOINTS).mkdir(exist_ok=True)
    shutil.copyfile(path, target / place)
    return f"{reference.kind}:{RUN_DIR}/{place}"
