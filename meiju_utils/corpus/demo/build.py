"""Building a synthetic corpus: the challenge folder, and the truth beside it.

What is there already is kept, so an interrupted build goes on where it stopped and a finished one
returns at once. Imports the modules of this package, `parallel`, `files`, `config`, `errors`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meiju_utils.challenge import SPLITS, Split
from meiju_utils.config import Parallel
from meiju_utils.corpus.demo.clips import make_clip
from meiju_utils.corpus.demo.layout import official_files
from meiju_utils.corpus.demo.plan import SIZES, PlannedClip, Size, plan_corpus, plan_unlisted
from meiju_utils.corpus.demo.scenes import FRAME_RATE
from meiju_utils.errors import CorpusError, nearest
from meiju_utils.files import atomic_path, read_json, write_json
from meiju_utils.parallel import map_items

GENERATOR = 1  # raise it when the same size and seed give other content
_PARALLEL = Parallel()
_MARKER = "corpus.json"
_MODIFIED = 1_735_689_600  # 2025-01-01: when a file was written is no hint of its content


@dataclass(frozen=True)
class DemoCorpus:
    """A synthetic corpus: its challenge folder, the truth beside it, clips by split."""

    folder: Path
    truth: Path
    counts: dict[Split, int]


def truth_folder(folder: Path) -> Path:
    """Where the truth about the corpus in `folder` lies: outside it, so no reader finds it."""
    folder = folder.absolute()
    return folder.with_name(folder.name + "-truth")


def read_true_labels(data_dir: Path) -> pd.DataFrame | None:
    """True labels (clip_id, split, emotion, intent) of a synthetic corpus, None for any other."""
    path = truth_folder(data_dir) / "labels.csv"
    if not path.is_file():
        return None
    return pd.read_csv(path, dtype="str", keep_default_na=False)


def read_true_texts(data_dir: Path) -> dict[str, str]:
    """What is really said, undamaged (clip id → text), in a synthetic corpus; empty for others."""
    path = truth_folder(data_dir) / "scenes.csv"
    if not path.is_file():
        return {}
    scenes = pd.read_csv(path, dtype="str", keep_default_na=False)
    return dict(zip(scenes["clip_id"], scenes["text"], strict=True))


def build_demo_corpus(
    folder: Path, size: Size = "demo", seed: int = 0, parallel: Parallel = _PARALLEL
) -> DemoCorpus:
    """Make, or finish, the synthetic corpus of a size and seed in `folder`.

    Beside the listed clips the folder holds one clip no list names (training split) and one file
    that does not decode (unlabelled pool); neither is in the truth or in the counts. Raises
    CorpusError for an unknown size and for a folder that holds anything else; nothing is deleted.
    """
    if size not in SIZES:
        raise CorpusError(f"No synthetic corpus of size {size!r}: {nearest(size, SIZES)}")
    folder = Path(folder).expanduser().absolute()
    truth = truth_folder(folder)
    marker = {"size": size, "seed": seed, "generator": GENERATOR}
    finished = _check_folder(folder, truth, marker)
    corpus = DemoCorpus(folder, truth, dict(zip(SPLITS, SIZES[size], strict=True)))

    clips = plan_corpus(folder, size, seed)
    specs = [clip.spec for clip in (*clips, plan_unlisted(folder, size, seed))]
    pending = [spec for spec in specs if not spec.path.is_file()]
    tables = {folder / path: content for path, content in official_files(clips, seed).items()}
    tables |= {truth / "labels.csv": _labels(clips), truth / "scenes.csv": _scenes(clips)}
    missing = [path for path in tables if not path.is_file()]
    if finished and not pending and not missing:
        return corpus
    write_json(truth / _MARKER, {**marker, "finished": False})
    _remove_partial_files(folder)
    names = [spec.path.stem for spec in pending]
    map_items(make_clip, pending, names, parallel, "Synthetic clips", tolerant=False)
    for path in missing:
        with atomic_path(path) as temporary:
            temporary.write_bytes(tables[path])
    for path in [spec.path for spec in specs] + list(tables):
        os.utime(path, (_MODIFIED, _MODIFIED))
    write_json(truth / _MARKER, {**marker, "finished": True})
    return corpus


def _check_folder(folder: Path, truth: Path, marker: dict[str, Any]) -> bool:
    """Whether the corpus is there and finished; CorpusError where the folder holds another."""
    path = truth / _MARKER
    if not path.is_file():
        for place in (folder, truth):
            if place.exists() and (not place.is_dir() or any(place.iterdir())):
                raise CorpusError(
                    f"{place} is not empty and not a synthetic corpus of this package; nothing "
                    "was changed. Give a new folder, or empty this one yourself."
                )
        return False
    found = read_json(path)
    if {key: found.get(key) for key in marker} != marker:
        raise CorpusError(
            f"{folder} holds the synthetic corpus of size {found.get('size')}, seed "
            f"{found.get('seed')}, generator {found.get('generator')}; asked for was size "
            f"{marker['size']}, seed {marker['seed']}, generator {marker['generator']}. Nothing "
            f"was changed. Give another folder, or delete {folder} and {truth.name} beside it."
        )
    return bool(found.get("finished"))


def _remove_partial_files(folder: Path) -> None:
    """Remove what a killed build left half written; the names are those of `atomic_path`."""
    for path in folder.rglob(".partial-*"):
        path.unlink()


def _labels(clips: Sequence[PlannedClip]) -> bytes:
    """The true labels of every clip, as CSV."""
    rows = [(clip.clip_id, clip.split, *clip.truth) for clip in clips]
    return _csv(pd.DataFrame(rows, columns=["clip_id", "split", "emotion", "intent"]))


def _scenes(clips: Sequence[PlannedClip]) -> bytes:
    """What is in each clip, as CSV: listed labels, people, words, what each modality shows.

    `speaker_face` counts the faces from the left; left, top, right, bottom (pixels) frame the
    speaker's face at rest; `text` is the clean sentence, `subtitle` what the tables give.
    """
    rows = []
    for clip in clips:
        spec = clip.spec
        face = spec.faces[spec.speaker_face]
        x, y, half = *face.centre, face.width / 2
        rows.append(
            {
                "clip_id": clip.clip_id,
                "split": clip.split,
                "listed_emotion": clip.listed[0] if clip.split != "unlabeled" else "",
                "listed_intent": clip.listed[1] if clip.split != "unlabeled" else "",
                "duration_s": spec.frames / FRAME_RATE,
                "n_faces": len(spec.faces),
                "speaker_face": spec.speaker_face,
                "speaker": face.person,
                "left": round(x - half),
                "top": round(y - half),
                "right": round(x + half),
                "bottom": round(y + 1.3 * half),
                "other_mouth": next((f.mouth for f in spec.faces if f is not face), ""),
                "text": clip.text,
                "subtitle": clip.subtitle,
                **vars(clip.evidence),
            }
        )
    return _csv(pd.DataFrame(rows))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
