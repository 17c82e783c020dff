"""What were audio, faces and tables made from? Keys that change with whatever shapes them.

Imports `corrections`, `corpus.layout`, `config`, `files`, `run`.
"""

from typing import Any

from meiju_utils.config import Preprocessing
from meiju_utils.corpus.layout import find_layout
from meiju_utils.files import fingerprint, listing
from meiju_utils.preprocessing.corrections import corrections_folders, find_corrections
from meiju_utils.references import parse_reference, resolve
from meiju_utils.run import Run

# Raise it when the same settings give other audio, faces or records.
VERSION = 2


def preprocessing_key(settings: Preprocessing) -> str:
    """What names the folder of audio and faces: all that shapes them, and the code's version.

    Of a model that is a file, as `talknet:<path>`, its content counts, not where it lies.
    """
    plain = settings.model_dump(
        mode="json", exclude={"transcripts": True, "speaker": True, "faces": {"detector"}}
    )
    models = [_model(name) for name in (settings.faces.detector, settings.speaker)]
    return fingerprint(VERSION, plain, models)


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
        "settings": settings.model_dump(mode="json"),
        "asr": fingerprint(listing(resolve(asr))) if (asr := settings.transcripts.asr) else "",
        "data_dir": str(run.data_dir.resolve()),
        "lists": fingerprint([listing(run.data_dir / path) for path in told]),
        "videos": fingerprint(layout.videos),
        "corrections": corrections.read_text("utf-8", errors="replace") if corrections else "",
    }


def _model(name: str) -> tuple[str, str]:
    """What a name such as `talknet:<path>` stands for: its kind, and what the model holds."""
    reference = parse_reference(name)
    return reference.kind, reference.identity
