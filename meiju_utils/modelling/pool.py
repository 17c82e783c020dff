"""Pseudo labels of a run on disk: made from a teacher experiment once, audited, kept by key.

Imports `experiments`, `pseudo_labels`, `run`.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.challenge import TASKS, Task, class_index
from meiju_utils.config import PseudoLabels
from meiju_utils.errors import TrainingError
from meiju_utils.files import atomic_path, fingerprint, read_json, safe_name, write_json
from meiju_utils.modelling.dataset import UNKNOWN, Dataset
from meiju_utils.modelling.experiments import Experiment
from meiju_utils.modelling.pseudo_labels import (
    audit_candidates,
    audit_pseudo_labels,
    select_pseudo_labels,
)
from meiju_utils.run import Run

VERSION = 2  # raise it when the same settings would give other labels


@dataclass(frozen=True)
class PseudoLabelSet:
    """Pseudo labels in the run folder: tables as described in `pseudo_labels`."""

    key: str
    folder: Path

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every clip of the pool: predicted labels, confidences, what was chosen."""
        return pd.read_parquet(self.folder / "labels.parquet")

    @cached_property
    def thresholds(self) -> pd.DataFrame:
        """Every class: clips predicted, passed, the threshold in force, chosen."""
        return pd.read_parquet(self.folder / "thresholds.parquet")

    @cached_property
    def audit(self) -> pd.DataFrame:
        """Coverage and precision against threshold on the validation clips."""
        return pd.read_parquet(self.folder / "audit.parquet")

    @cached_property
    def audit_in_force(self) -> pd.DataFrame:
        """The same at each class's threshold in force."""
        return pd.read_parquet(self.folder / "audit_in_force.parquet")

    @property
    def by_class(self) -> pd.DataFrame:
        """`thresholds`, and of validation clips how many would have been chosen and were right."""
        audit = self.audit_in_force.rename(columns={"passed": "held_out"})
        columns = ["task", "label", "held_out", "precision", "precision_low", "precision_high"]
        return self.thresholds.merge(audit[columns], on=["task", "label"])

    @cached_property
    def notes(self) -> list[str]:
        found: list[str] = read_json(self.folder / "notes.json")
        return found

    def labels(self, dataset: Dataset) -> dict[Task, NDArray[np.int64]]:
        """Label indices [N] of a dataset's clips, -1 where no pseudo label is to be used."""
        found: dict[Task, NDArray[np.int64]] = {}
        for task in TASKS:
            used = self.table[self.table[f"use_{task}"]]
            index = used.set_index("clip_id")[task].map(class_index(task))
            aligned = index.reindex(dataset.clip_ids).fillna(UNKNOWN)
            found[task] = np.asarray(aligned, dtype=np.int64)
        return found


def has_pool(clips: pd.DataFrame) -> bool:
    """Whether there are unlabelled clips (Track 2 has none)."""
    return bool((clips["split"] == "unlabeled").any())


def pseudo_label_set(run: Run, teacher_name: str, teacher_key: str) -> PseudoLabelSet:
    """The pseudo labels a teacher gives with the run's settings, made or not."""
    settings: PseudoLabels = run.config.pseudo_labels
    key = fingerprint(VERSION, teacher_key, settings.model_dump())
    return PseudoLabelSet(key, run.path("pseudo_labels", f"{safe_name(teacher_name)}-{key}"))


def make_pseudo_labels(run: Run, teacher: Experiment) -> PseudoLabelSet:
    """Label the pool by the mean over a teacher's seeds, unless that is done already.

    The audit is on validation clips, which chose the teacher's epochs: it is a little too kind.
    Warns of classes whose threshold fell. Raises TrainingError where there is no pool.
    """
    found = pseudo_label_set(run, teacher.name, teacher.key)
    if (found.folder / "notes.json").is_file():
        return found
    clips = run.table("clips")
    if not has_pool(clips):
        raise TrainingError(
            f"{run.config.name} ({run.setting.name}) has no unlabelled clips to pseudo-label. "
            "Train the recipes without pseudo labels."
        )
    settings = run.config.pseudo_labels.model_dump(mode="json")
    made_from = {"teacher": teacher.name, "teacher_key": teacher.key, "settings": settings}
    write_json(found.folder / "config.json", made_from)
    selection = select_pseudo_labels(teacher.predictions("unlabeled"), run.config.pseudo_labels)
    known = clips[(clips["emotion"] != "") & (clips["intent"] != "")]
    held_out = (teacher.predictions("valid"), known)
    for name, table in (
        ("labels", selection.table),
        ("thresholds", selection.thresholds),
        ("audit", audit_pseudo_labels(*held_out, run.config.pseudo_labels)),
        (
            "audit_in_force",
            audit_candidates(*held_out, selection.thresholds, run.config.pseudo_labels),
        ),
    ):
        with atomic_path(found.folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    write_json(found.folder / "notes.json", selection.notes)
    if selection.notes:
        warnings.warn(
            f"Pseudo labels: {len(selection.notes)} classes are short of confident clips; their "
            f"thresholds fell or they get none, see the thresholds. First: {selection.notes[0]}",
            stacklevel=2,
        )
    return found
