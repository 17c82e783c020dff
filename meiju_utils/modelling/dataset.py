"""What a run knows of its clips, in memory: features of every modality, labels, splits.

Imports `embeddings`, `predictions`, `run`, `sequences`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import CLASSES, MODALITIES, Modality, Task
from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings import FeatureStore, open_features
from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.files import fingerprint
from meiju_utils.modelling.sequences import Sequences
from meiju_utils.predictions import Classes, Targets
from meiju_utils.references import absolute_name
from meiju_utils.run import Run

UNKNOWN = -1  # label index of a clip whose label is not known


@dataclass(frozen=True)
class Dataset:
    """All clips of a run: ids, splits, features, label indices in official order (-1: unknown).

    `key` changes with anything the clips, their labels or their features were made from. `texts`
    are the clips' words, "" where there are none.
    """

    clip_ids: NDArray[Any]
    split: NDArray[Any]
    features: dict[str, Sequences]
    labels: dict[Task, NDArray[np.int64]]
    classes: Classes
    key: str
    texts: tuple[str, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        return {stream: sequences.width for stream, sequences in self.features.items()}

    @cached_property
    def place(self) -> dict[str, int]:
        """Clip id → row number."""
        return {clip_id: row for row, clip_id in enumerate(self.clip_ids.tolist())}

    def rows_of(self, clip_ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers of some clips, in the dataset's order; of those that are there."""
        found = {self.place[clip_id] for clip_id in clip_ids if clip_id in self.place}
        return np.array(sorted(found), dtype=np.int64)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == split)

    def labelled(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the clips of a split whose label is known in every task."""
        known = np.logical_and.reduce([labels != UNKNOWN for labels in self.labels.values()])
        return np.flatnonzero((self.split == split) & known)

    def truth(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Label indices of some rows."""
        return {task: labels[rows] for task, labels in self.labels.items()}

    def targets(self, rows: NDArray[np.int64]) -> Targets:
        """The true labels of some rows."""
        table = pd.DataFrame({"clip_id": self.clip_ids[rows]})
        for task, labels in self.classes.items():
            table[task] = np.array([*labels, ""], dtype=object)[self.labels[task][rows]]
        return Targets.of_labels(table, self.classes)

    def on_disk(self, folder: str) -> "Dataset":
        """The same with its frames in files of a folder, which processes map instead of copying."""
        features = {}
        for stream, sequences in self.features.items():
            path = Path(folder) / f"{self.key}-{stream}.npy"
            np.save(path, sequences.frames)
            frames = np.load(path, mmap_mode="r")
            features[stream] = replace(sequences, frames=frames)
        return replace(self, features=features)


def make_dataset(
    clips: pd.DataFrame,
    features: Mapping[str, Sequences],
    key: str = "",
    classes: Classes = CLASSES,
    texts: Mapping[str, str] | None = None,
) -> Dataset:
    """A dataset of a clips table (clip_id, split, a label a task) and its features, checked.

    Raises FeatureError where features do not fit the clips or are not finite, TrainingError where
    nothing could be trained or judged: no labelled train clip, or no labelled valid clip.
    """
    if not features:
        raise FeatureError("No modality is in use. Choose an encoder in the profile's embeddings.")
    labels: dict[Task, NDArray[np.int64]] = {}
    for task, names in classes.items():
        known = {label: index for index, label in enumerate(names)}
        labels[task] = np.array(
            [known.get(label, UNKNOWN) for label in clips[task]], dtype=np.int64
        )
    dataset = Dataset(
        clips["clip_id"].to_numpy(dtype=object).astype(str),
        clips["split"].to_numpy(dtype=object).astype(str),
        {**{m: features[m] for m in MODALITIES if m in features}, **features},
        labels,
        classes,
        key,
        tuple((texts or {}).get(clip_id, "") for clip_id in clips["clip_id"]),
    )
    train = dataset.labelled("train")
    for split in ("train", "valid"):
        if not len(dataset.labelled(split)):
            raise TrainingError(
                f"No clip of the {split} split is labelled. Expected {' and '.join(classes)} in "
                "the clips table; see the problems table of notebook 01."
            )
    for modality, sequences in dataset.features.items():
        if len(sequences.lengths) != len(clips):
            raise FeatureError(
                f"{modality} features cover {len(sequences.lengths)} clips, the clips table has "
                f"{len(clips)}. Run notebook 02 again."
            )
        _check_finite(dataset.clip_ids, modality, sequences)
        if not sequences.present[train].any():
            raise FeatureError(
                f"No labelled train clip has {modality} features: nothing can be learned from "
                f"them. Set embeddings.{modality} to null, or see why 02 lists them as missing."
            )
    return dataset


def _check_finite(clip_ids: NDArray[Any], modality: str, sequences: Sequences) -> None:
    # A sum, as it needs no second array of that size; in float64 finite features cannot overflow.
    bad_frames = ~np.isfinite(sequences.frames.sum(axis=1, dtype=np.float64))
    if bad_frames.any():
        owner = np.repeat(np.arange(len(clip_ids)), sequences.lengths)
        bad = clip_ids[np.unique(owner[bad_frames])]
        raise FeatureError(
            f"{modality} features of {len(bad)} clips hold NaN or infinity, the first of "
            f"{', '.join(bad[:3])}. Delete the feature store and run notebook 02 again; if they "
            "come back, the encoder's input is at fault."
        )


def dataset_notes(dataset: Dataset) -> list[str]:
    """What a reader of scores must know: what is left out or not there, what cannot differ."""
    notes = []
    train = dataset.labelled("train")
    left_out = len(dataset.rows("train")) - len(train)
    if left_out:
        notes.append(f"{left_out} train clips lack a label and are left out of training.")
    for task, names in dataset.classes.items():
        seen = set(dataset.labels[task][train].tolist())
        absent = [label for i, label in enumerate(names) if i not in seen]
        if absent:
            notes.append(
                f"No train clip has {task} {', '.join(absent)}: it cannot be learned, and its "
                "probability is set to zero."
            )
    valid = dataset.labelled("valid")
    for task, labels in dataset.truth(valid).items():
        if len(set(labels.tolist())) == 1:
            only = dataset.classes[task][labels[0]]
            notes.append(
                f"All {len(valid)} validation clips have {task} {only}: scores on them say nothing "
                "of other classes."
            )
    for modality, sequences in dataset.features.items():
        for split in ("train", "valid", "test", "unlabeled"):
            rows = dataset.rows(split)
            missing = int((~sequences.present[rows]).sum())
            if missing:
                notes.append(
                    f"{missing} of {len(rows)} {split} clips have no {modality}: "
                    "a learned token stands for it."
                )
    if len(dataset.features) == 1:
        notes.append(
            f"Only {next(iter(dataset.features))} is in use: the fusion attends over one token, so "
            "another number of its heads changes nothing but chance."
        )
    if "text" in dataset.features and dataset.features["text"].lengths.max() == 1:
        notes.append(
            "A text is one vector here, which a kernel of any height reads alone: TextCNNs differ "
            "in their number of filters only."
        )
    return notes


def chosen_encoders(
    run: Run, overrides: Mapping[Modality, Mapping[str, Any] | None]
) -> dict[Modality, EncoderConfig]:
    """The profile's encoders, some replaced by others it lists, or (None) left out.

    An override is the settings that tell an encoder from the others of its modality, its name at
    least. Raises FeatureError where the profile lists none, or several, with these settings.
    """
    chosen = run.config.embeddings.chosen()
    for modality, wanted in overrides.items():
        main = chosen.pop(modality, None)
        if wanted is None:
            continue
        listed = [*([main] if main else []), *run.config.embeddings.compare.get(modality, [])]
        named = {**wanted, "name": absolute_name(wanted["name"])}  # as those of an opened run
        found = [e for e in listed if e.model_dump().items() >= named.items()]
        if not found:
            names = ", ".join(encoder.name for encoder in listed) or "none"
            raise FeatureError(
                f"The recipe wants the {modality} encoder {_settings(wanted)}, which profile "
                f"{run.config.name} does not extract. It has: {names}. Add it under "
                f"embeddings.compare.{modality} and run notebook 02."
            )
        if len(found) > 1:
            raise FeatureError(
                f"Profile {run.config.name} extracts {len(found)} {modality} encoders with "
                f"{_settings(wanted)}. Say which, as {{name: ..., level: frame}} or by its layers."
            )
        chosen[modality] = found[0]
    return {modality: chosen[modality] for modality in MODALITIES if modality in chosen}


def _settings(wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in wanted.items())


def dataset_key(run: Run, encoders: Mapping[Modality, EncoderConfig] | None = None) -> str:
    """The key of the dataset `load_dataset` would make, without reading features."""
    stores = _open_stores(run, encoders)
    return _key(run.table("clips"), run.setting.classes, stores, _texts(run, stores))


def load_dataset(run: Run, encoders: Mapping[Modality, EncoderConfig] | None = None) -> Dataset:
    """All clips of a run with the features of the given (default: the profile's) encoders.

    An encoder of level "utterance" gives one mean a clip, one of level "frame" its sequence.
    Raises MissingStageError where 01 or 02 has not run, FeatureError for unusable features.
    """
    clips = run.table("clips")
    clip_ids = clips["clip_id"].tolist()
    features: dict[str, Sequences] = {}
    stores = _open_stores(run, encoders)
    for modality, (store, level) in stores.items():
        if level == "utterance":
            features[modality] = Sequences.of_means(*store.means(clip_ids))
        else:
            held = set(store.clip_ids)
            lengths = [store.frames(clip_id) if clip_id in held else 0 for clip_id in clip_ids]
            arrays = (store.get(clip_id) if clip_id in held else None for clip_id in clip_ids)
            dtype = store.meta["dtype"]
            features[modality] = Sequences.of_parts(arrays, lengths, store.width, dtype)
    classes, texts = run.setting.classes, _texts(run, stores)
    return make_dataset(clips, features, _key(clips, classes, stores, texts), classes, texts)


def _texts(run: Run, stores: Mapping[Modality, Any]) -> dict[str, str]:
    """Every clip's words, where text is in use."""
    if "text" not in stores or not run.has("transcripts"):
        return {}
    transcripts = run.table("transcripts")
    return dict(zip(transcripts["clip_id"], transcripts["text"], strict=True))


def _open_stores(
    run: Run, encoders: Mapping[Modality, EncoderConfig] | None
) -> dict[Modality, tuple[FeatureStore, str]]:
    """Each modality's store and level."""
    chosen = (encoders or run.config.embeddings.chosen()).items()
    return {modality: (open_features(run, modality, e), e.level) for modality, e in chosen}


def _key(
    clips: pd.DataFrame,
    classes: Classes,
    stores: Mapping[Modality, tuple[FeatureStore, str]],
    texts: Mapping[str, str],
) -> str:
    known = clips[["clip_id", "split", *classes]].to_numpy(dtype=object).tolist()
    states = {modality: (store.state, level) for modality, (store, level) in stores.items()}
    return fingerprint(known, dict(classes), states, [texts.get(row[0], "") for row in known])
