"""What were audio, faces and tables made from? Keys that change with whatever shapes them.

Imports `corrections`, `corpus.layout`, `config`, `files`, `run`.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from meiju_utils.config import Preprocessing
from meiju_utils.corpus.layout import find_layout
from meiju_utils.files import fingerprint, listing
from meiju_utils.preprocessing.corrections import corrections_folders, find_corrections
from meiju_utils.run import Run, resolve

# Raise it when the same settings give other audio, faces or records.
VERSION = 2


def preprocessing_key(settings: Preprocessing) -> str:
    """What names the folder of audio and faces: all that shapes them, and the code's version.

    Of a model that is a file, as `talknet:<path>`, its content counts.
    """
    models = [
        _digest(name.partition(":")[2]) for name in (settings.faces.detector, settings.speaker)
    ]
    return fingerprint(
        VERSION, settings.model_dump(mode="json", exclude={"transcripts", "device"}), models
    )


def state_of(run: Run) -> dict[str, Any]:
    """What the run folder's tables are made from: settings, models, corpus, corrections."""
    settings = run.config.preprocessing
    layout = find_layout(run.data_dir, run.setting)
    told = [
        path for part in (layout.lists, layout.tables) for paths in part.values() for path in paths
    ]
    corrections = find_corrections(corrections_folders(run))
    return {
        "key": preprocessing_key(settings),
        "settings": settings.model_dump(mode="json", exclude={"device"}),
        "asr": fingerprint(listing(resolve(asr))) if (asr := settings.transcripts.asr) else "",
        "data_dir": str(run.data_dir.resolve()),
        "lists": fingerprint([listing(run.data_dir / path) for path in told]),
        "videos": fingerprint(layout.videos),
        "corrections": corrections.read_text("utf-8", errors="replace") if corrections else "",
    }


def _digest(model: str) -> str:
    """Of a file's content; "" for the name of a model on the hub, or none."""
    path = resolve(model)
    if not model or not path.is_file():
        return ""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _file_digest(path: Path, size: int, modified_ns: int) -> str:
    """Asked for again and again in a run, and a checkpoint takes a while to read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
