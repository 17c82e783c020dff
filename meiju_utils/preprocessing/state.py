"""What were audio, faces and tables made from? Keys that change with whatever shapes them.

Imports `corrections`, `corpus`, `config`, `files`, `run`.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from meiju_utils.config import Preprocessing
from meiju_utils.corpus.layout import Layout
from meiju_utils.errors import ConfigError, DamagedError, MissingStageError
from meiju_utils.files import fingerprint, read_record, write_record
from meiju_utils.preprocessing.corrections import corrections_folders, find_corrections
from meiju_utils.references import Reference, parse_reference, parse_target, pinned
from meiju_utils.run import Run
from meiju_utils.sources import code_key
from meiju_utils.stamping import Stamp, renewed, stamp_in

STORE_NAME = "store.json"
STATE_NAME = "current.json"  # what the tables of the run folder were made from
# What shapes audio and faces: modules of this package, and those of TalkNet where it is used.
_MODULES = (
    *(f"media.{name}" for name in ("decoding", "frames", "packets", "parts", "reading", "sound")),
    *(f"media.{name}" for name in ("streams", "times")),
    *(
        f"preprocessing.{name}"
        for name in ("clips", "detectors", "faces", "linking", "pitch", "shots")
    ),
    *(f"preprocessing.{name}" for name in ("speaker", "tracks")),
)
_TALKNET = tuple(
    f"preprocessing.{name}" for name in ("talknet", "talknet_layers", "talknet_scoring")
)
SHARED = 0.5  # of a corpus' clips that must recur for another to be the same, grown


def settings_key(settings: Preprocessing, known: Mapping[str, str] | None = None) -> str:
    """What changes with the settings that shape audio and faces, and with the models they name.

    Of a model that is a file, as `talknet:<path>`, its content counts, wherever it lies; of one
    that is not here, what is `known` of it (see `_identities`).
    """
    without = settings.model_dump(mode="json", exclude={"transcripts", "speaker", "device"})
    without["faces"].pop("detector")
    kinds = [model.kind for model in _models(settings)]
    identities = _identities(_models(settings), known or {}).values()
    return fingerprint(without, list(zip(kinds, identities, strict=True)))


def _models(settings: Preprocessing) -> list[Reference]:
    return [parse_reference(name) for name in (settings.faces.detector, settings.speaker)]


def _identities(models: Iterable[Reference], known: Mapping[str, str]) -> dict[str, str]:
    """Names of models and what they hold; of those that are not here, what is known of them: a run
    folder may have come here without its models."""
    return {
        model.name: model.identity if model.is_here else known.get(model.name, model.identity)
        for model in models
    }


def code_of(settings: Preprocessing) -> str:
    """What changes with the code that makes audio and faces, and with its libraries' versions."""
    modules = [*_MODULES, *(_TALKNET if settings.speaker.startswith("talknet:") else ())]
    return code_key(*(import_module(f"meiju_utils.{name}") for name in modules))


def held(run: Run) -> Run:
    """The run with hub models at the commits that it was first made with, though they moved on."""
    known = dict(_known_models(run))
    with suppress(OSError, DamagedError):
        known |= read_record(run.path("preprocessed", STATE_NAME)).get("asr", {})
    settings = run.config.preprocessing

    def at_commit(name: str, reference: Reference) -> str:
        return pinned(name, known.get(reference.name, ""))

    detector, asr = settings.faces.detector, settings.transcripts.asr
    faces = {"detector": at_commit(detector, parse_reference(detector))}
    transcripts = {"asr": at_commit(asr, parse_target(asr))}
    update = {
        "faces": settings.faces.model_copy(update=faces),
        "transcripts": settings.transcripts.model_copy(update=transcripts),
    }
    preprocessing = settings.model_copy(update=update)
    return replace(run, config=run.config.model_copy(update={"preprocessing": preprocessing}))


def settings_key_of(run: Run) -> str:
    """`settings_key` with what the run folder's clips were made with, should it not be here."""
    return settings_key(run.config.preprocessing, _known_models(run))


def stores_of(run: Run) -> dict[Path, Stamp]:
    """The folders of clips in a run folder and what each was made with, the latest last."""
    return {folder: stamp_in(record) for folder, record in _records(run).items()}


def _known_models(run: Run) -> dict[str, str]:
    """Names of models and what they held when the run's first clips were made with them."""
    known: dict[str, str] = {}
    for record in reversed(_records(run).values()):
        known |= record.get("models", {})
    return known


def _records(run: Run) -> dict[Path, dict[str, Any]]:
    found = {}
    for path in run.folder.glob(f"preprocessed/*/{STORE_NAME}"):
        with suppress(DamagedError):
            found[path] = read_record(path)
    ordered = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    return {path.parent: found[path] for path in ordered}


def store_of(run: Run) -> tuple[str, Path] | None:
    """Identity and folder of the clips that these settings and this code make, if there are any."""
    wanted = (settings_key_of(run), code_of(run.config.preprocessing))
    for folder, stamp in stores_of(run).items():
        if (stamp.settings, stamp.code) == wanted:
            return stamp.identity, folder
    return None


def renew_store(run: Run, equal: Callable[[Path], bool]) -> tuple[str, Path]:
    """The same, made where there are none: those of other code are kept if some of them are `equal`
    to what the present code makes of them."""
    kept = stores_of(run)
    settings, code = settings_key_of(run), code_of(run.config.preprocessing)
    folders = {stamp.identity: folder for folder, stamp in kept.items()}
    stamp = renewed(
        list(kept.values()), settings, code, lambda known: equal(folders[known.identity])
    )
    folder = run.path("preprocessed", stamp.identity)
    if kept.get(folder) != stamp:
        models = _identities(_models(run.config.preprocessing), _known_models(run))
        write_record(folder / STORE_NAME, {**asdict(stamp), "models": models})
    return stamp.identity, folder


def state_of(
    run: Run, identity: str, layout: Layout | None, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the run folder's tables are made from: settings, models, lists, corrections.

    Without a `layout` (the data folder is not there any more) the corpus plays no part. What the
    tables' `known` state says of a model stands for one that is not here.
    """
    settings = run.config.preprocessing
    state: dict[str, Any] = {
        "identity": identity,
        "transcripts": settings.transcripts.model_dump(mode="json", exclude={"asr"}),
        "asr": _identities([parse_target(settings.transcripts.asr)], (known or {}).get("asr", {})),
    }
    if layout is not None:
        told = [
            (kind, split, hashlib.sha256((layout.root / path).read_bytes()).hexdigest())
            for kind, part in (("list", layout.lists), ("table", layout.tables))
            for split, paths in part.items()
            for path in paths
        ]
        corrections = find_corrections(corrections_folders(run, layout))
        state["told"] = fingerprint(told)
        state["videos"] = fingerprint({s: sorted(found) for s, found in layout.videos.items()})
        state["corrections"] = fingerprint(corrections.read_bytes().hex()) if corrections else ""
    return state


def refuse_other_corpus(run: Run, clips: Any) -> None:
    """ConfigError where the run folder's clips are another corpus'.

    The same corpus may have grown or have some labels and texts mended: of its clips at least half
    must be there, and of those that have words or labels at least half must have the same.
    """
    try:
        old = run.table("clips")
    except MissingStageError:  # or it was damaged
        return
    told = [name for name in ("text", *run.setting.tasks) if name in old]
    both = old[["clip_id", *told]].merge(clips[["clip_id", *told]], on="clip_id")
    then, now = (both[[f"{name}_{end}" for name in told]].to_numpy() for end in ("x", "y"))
    telling = (then != "").any(axis=1)
    same = (then == now).all(axis=1) & telling
    if len(both) < SHARED * len(old) or same.sum() < SHARED * telling.sum():
        raise ConfigError(
            f"{run.folder} belongs to another corpus: of its {len(old)} clips {len(both)} "
            f"are in {run.data_dir}, {int(same.sum())} with the same words and labels. Give "
            "another run_dir, or delete this one."
        )
