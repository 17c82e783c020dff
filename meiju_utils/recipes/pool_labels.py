"""Pseudo labels of a run on disk: made from a teacher experiment once, audited, kept by key.

Imports `experiment`, `pool`, `run`.
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meiju_utils.components import Component, build, make_component
from meiju_utils.files import (
    fingerprint,
    read_record,
    read_table,
    safe_name,
    write_record,
    write_table,
)
from meiju_utils.integrity import intact
from meiju_utils.pool import (
    RULES,
    Selection,
    audit,
    audit_selection,
    audit_thresholds,
    remark,
    sampling,
    shift,
    targets_of,
    tell,
    with_truth,
)
from meiju_utils.pool import selection as selecting
from meiju_utils.pool.label_shift import shifted_answers
from meiju_utils.predictions import (
    Answers,
    Classes,
    Predictions,
    Targets,
    labelled,
)
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.recipe import PoolTargets
from meiju_utils.run import Run
from meiju_utils.sources import code_key

_CONFIG = "config.json"


@dataclass(frozen=True)
class PseudoLabelSet:
    """Pseudo labels in the run folder. Without a pool they are none, and a note says why.

    Where a method takes `truth` (clip_id and a label a task; None: not known), as `read_truth`
    gives it of a synthetic corpus, what it tells of the pool's own clips stands beside the audit.
    """

    key: str
    folder: Path
    fold: int | None = None  # of the teacher's trainings; None: all of them

    @property
    def done(self) -> bool:
        """Whether all is there and intact; that of a teacher without results is made again."""
        files = [self.folder / name for name in ("labels.parquet", "thresholds.parquet", _CONFIG)]
        if self.shown:
            files += [self._audited("audit"), self._audited("audit_in_force")]
        return all(intact(path) for path in files) and not self._config["failure"]

    @property
    def shown(self) -> bool:
        """Whether it is audited: of folds the first stands for all."""
        return not self.fold

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_record(self.folder / _CONFIG)

    @property
    def rule(self) -> Component:
        """The rule and its options."""
        return Component.model_validate(self._config["rule"])

    @cached_property
    def selection(self) -> Selection:
        """Every clip of the pool with what was chosen, and every class (see `Selection`)."""
        return Selection(
            table=read_table(self.folder / "labels.parquet"),
            thresholds=read_table(self.folder / "thresholds.parquet"),
            **{name: self._config[name] for name in ("notes", "asked", "together")},
        )

    def audit(self, truth: pd.DataFrame | None = None) -> pd.DataFrame:
        """Coverage and precision against threshold on validation clips (`audit_thresholds`)."""
        found = read_table(self._audited("audit"))
        return with_truth(found, self.selection, truth)

    def audit_in_force(self, truth: pd.DataFrame | None = None) -> pd.DataFrame:
        """The same at each class's threshold in force (`audit_selection`)."""
        found = read_table(self._audited("audit_in_force"))
        return with_truth(found, self.selection, truth)

    def by_class(self, truth: pd.DataFrame | None = None) -> pd.DataFrame:
        """The selection's `thresholds`, and of validation clips how many pass and are right."""
        audit = self.audit_in_force(truth).rename(columns={"passed": "held_out"})
        columns = ["task", "label", "held_out", "precision", "precision_low", "precision_high"]
        columns += [column for column in ["in_truth"] if column in audit]
        return self.selection.thresholds.merge(audit[columns], on=["task", "label"])

    def told(self, truth: pd.DataFrame | None = None) -> list[str]:
        """What the rule did on this pool and why, in sentences."""
        return tell(self.selection, self.audit(truth), self.audit_in_force(truth))

    @property
    def remarks(self) -> list[str]:
        """What a reader of scores must know of what was trained on these labels; at most one."""
        found = remark(self.selection)
        return [found] if found else []

    def targets(self, teacher: Experiment, asked: PoolTargets, known: pd.DataFrame) -> Targets:
        """Targets of the chosen clips: their pseudo labels or, where `soft`, the teacher's
        probabilities, with `shift` as they are under the pool's own shares of classes where these
        can be told by the `known` train clips; each with `weight`."""
        answers = teacher.fold_answers(self.fold).of_split("unlabeled")
        if asked.soft and asked.shift:
            answers = shifted_answers(answers, teacher.answers.of_split("train"), known)
        return targets_of(self.selection, answers, asked.soft, asked.weight)

    def _audited(self, name: str) -> Path:
        """An audit's file, named after the code that audits: it chooses nothing."""
        return self.folder / f"{name}-{code_key(audit, shift)}.parquet"


def has_pool(clips: pd.DataFrame) -> bool:
    """Whether there are unlabelled clips (Track 2 has none)."""
    return bool((clips["split"] == "unlabeled").any())


def pseudo_label_set(
    run: Run, teacher: Experiment, rule: Component | str = "quantile", fold: int | None = None
) -> PseudoLabelSet:
    """The pseudo labels a teacher gives by a rule, made or not."""
    rule = make_component(rule, RULES, "rule") if isinstance(rule, str) else rule
    code = code_key(sampling, selecting, RULES[rule.name])
    key = fingerprint(code, teacher.key, rule.model_dump(), fold)
    folder = run.path("pseudo_labels", f"{safe_name(teacher.name)}-{key}")
    return PseudoLabelSet(key, folder, fold)


def make_pseudo_labels(
    run: Run,
    teacher: Experiment,
    rule: Component | str = "quantile",
    fold: int | None = None,
    known: pd.DataFrame | None = None,
) -> PseudoLabelSet:
    """Label the pool by a teacher's answers (those of its trainings of a `fold`), unless done.

    `known` are the train clips whose labels a rule may count, in a fold those that it does not hold
    out; all by default. Without a pool, or where the teacher has no results, the set is empty and
    its note says so. The audit is on validation clips: a little too kind where these chose the
    teacher's epochs. Warns once where classes are short of confident clips or nothing is chosen.
    """
    rule = make_component(rule, RULES, "rule") if isinstance(rule, str) else rule
    found = pseudo_label_set(run, teacher, rule, fold)
    if found.done:
        return found
    clips, tasks = run.table("clips"), run.setting.tasks
    answers = _no_answers(run.setting.classes) if teacher.failure else teacher.fold_answers(fold)
    choose = build(rule, RULES)
    known = labelled(clips, tasks, "train") if known is None else known
    selection: Selection = choose(answers.of_split("unlabeled"), known)
    if teacher.failure:
        note = f"{teacher.name}, the teacher, has no results: {teacher.failure}"
        selection = replace(selection, notes=[note])
    write_table(found.folder / "labels.parquet", selection.table)
    write_table(found.folder / "thresholds.parquet", selection.thresholds)
    if found.shown:
        held_out = (answers.of_split("valid"), labelled(clips, tasks, "valid"))
        write_table(found._audited("audit"), audit_thresholds(*held_out, selection))
        write_table(found._audited("audit_in_force"), audit_selection(*held_out, selection))
    config = {
        "teacher": teacher.name,
        "teacher_key": teacher.key,
        "rule": rule.model_dump(),
        "fold": fold,
        "asked": selection.asked,
        "together": selection.together,
        "notes": selection.notes,
        "failure": teacher.failure,
    }
    write_record(found.folder / _CONFIG, config)
    found = PseudoLabelSet(found.key, found.folder, fold)
    if len(selection.table) and found.remarks:
        warnings.warn(f"Pseudo labels of {rule.name}: {found.remarks[0]}", stacklevel=2)
    return found


def _no_answers(classes: Classes) -> Answers:
    nobody = {task: np.zeros((0, len(labels))) for task, labels in classes.items()}
    none = Predictions.of_arrays([], [], nobody, classes, fitted=np.zeros(0, dtype=bool))
    return Answers.of_predictions(none, {task: np.zeros(0, dtype=np.int64) for task in classes})
