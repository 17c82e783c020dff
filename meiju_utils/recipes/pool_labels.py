"""Pseudo labels of a run on disk: made from a teacher experiment once, audited, kept by key.

Imports `experiment`, `pool`, `run`.
"""

import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from meiju_utils.components import Component, build, make_component
from meiju_utils.errors import TrainingError
from meiju_utils.files import fingerprint, read_json, safe_name, write_json
from meiju_utils.pool import RULES, Selection, audit, audit_candidates, audit_pseudo_labels
from meiju_utils.predictions import Targets, class_columns, labelled
from meiju_utils.recipes.experiment import Experiment, write_table
from meiju_utils.run import Run
from meiju_utils.sources import code_key

_TABLES = ("labels", "thresholds", "audit", "audit_in_force")


@dataclass(frozen=True)
class PseudoLabelSet:
    """Pseudo labels in the run folder: tables as described in `pool.selection`."""

    key: str
    folder: Path
    fold: int | None = None  # of the teacher's trainings; None: all of them

    @property
    def done(self) -> bool:
        names = [*(f"{name}.parquet" for name in _TABLES), "notes.json"]
        return all((self.folder / name).is_file() for name in names)

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

    def targets(self, teacher: Experiment, soft: bool, weight: float) -> Targets:
        """Targets of the chosen clips: their pseudo labels or, where `soft`, the teacher's
        probabilities; each with `weight`."""
        chosen = self.table[self.table["selected"]].reset_index(drop=True)
        answers = teacher.fold_answers(self.fold).of_split("unlabeled")
        hard = Targets.of_labels(chosen, answers.classes).table
        if soft:
            names = [c for t in answers.tasks for c in class_columns(answers.classes, t)]
            own = answers.table.set_index("clip_id").loc[chosen["clip_id"], names]
            hard[names] = own.to_numpy(dtype=np.float64)
        for task in answers.tasks:
            hard[f"{task}_weight"] = np.where(chosen[f"use_{task}"], weight, 0.0)
        return Targets(hard)


def has_pool(clips: pd.DataFrame) -> bool:
    """Whether there are unlabelled clips (Track 2 has none)."""
    return bool((clips["split"] == "unlabeled").any())


def pseudo_label_set(
    run: Run, teacher: Experiment, rule: Component | str = "quantile", fold: int | None = None
) -> PseudoLabelSet:
    """The pseudo labels a teacher gives by a rule with the run's settings, made or not."""
    rule = make_component(rule, RULES, "rule") if isinstance(rule, str) else rule
    settings = run.config.pseudo_labels.model_dump()
    code = code_key(RULES[rule.name], audit, sys.modules[__name__])
    key = fingerprint(code, teacher.key, rule.model_dump(), settings, fold)
    folder = run.path("pseudo_labels", f"{safe_name(teacher.name)}-{key}")
    return PseudoLabelSet(key, folder, fold)


def make_pseudo_labels(
    run: Run, teacher: Experiment, rule: Component | str = "quantile", fold: int | None = None
) -> PseudoLabelSet:
    """Label the pool by a teacher's answers (those of its trainings of a `fold`), unless done.

    The audit is on validation clips, which chose the teacher's epochs: it is a little too kind.
    Warns of classes whose threshold fell. Raises TrainingError where there is no pool, or the
    teacher has no results.
    """
    rule = make_component(rule, RULES, "rule") if isinstance(rule, str) else rule
    found = pseudo_label_set(run, teacher, rule, fold)
    if found.done:
        return found
    clips = run.table("clips")
    if not has_pool(clips):
        raise TrainingError(
            f"{run.config.name} ({run.setting.name}) has no unlabelled clips to pseudo-label. "
            "Train the recipes without pseudo labels."
        )
    component = build(rule, RULES, run.config.pseudo_labels)
    answers = teacher.fold_answers(fold)
    selection: Selection = component(answers.of_split("unlabeled"))
    held_out = (answers.of_split("valid"), labelled(clips, run.setting.tasks, "valid"))
    made_from = {
        "teacher": teacher.name,
        "teacher_key": teacher.key,
        "rule": rule.model_dump(),
        "fold": fold,
    }
    settings = component.settings
    write_json(found.folder / "config.json", {**made_from, "settings": settings.model_dump()})
    tables = (
        selection.table,
        selection.thresholds,
        audit_pseudo_labels(*held_out, settings),
        audit_candidates(*held_out, selection.thresholds, settings),
    )
    for name, table in zip(_TABLES, tables, strict=True):
        write_table(found.folder / f"{name}.parquet", table)
    write_json(found.folder / "notes.json", selection.notes)
    if selection.notes:
        warnings.warn(
            f"Pseudo labels: {len(selection.notes)} classes are short of confident clips; their "
            f"thresholds fell or they get none, see the thresholds. First: {selection.notes[0]}",
            stacklevel=2,
        )
    return found
