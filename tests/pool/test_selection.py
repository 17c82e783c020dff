"""Pseudo labels: threshold, fallback, balanced sampling, and the rule that takes everything."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.config import PseudoLabels
from meiju_utils.pool import RULES, Selection
from meiju_utils.predictions import Answers, Classes
from tests.vocabularies import EMOTION, Row, answers, every_setting


def select(rows: list[Row], classes: Classes = CLASSES, **options: Any) -> Selection:
    rule = RULES["quantile"](PseudoLabels(**options))
    selection = rule(answers(rows, classes))
    assert isinstance(selection, Selection)
    return selection


def chosen(rows: list[Row], **options: Any) -> list[int]:
    return np.flatnonzero(select(rows, **options).table["selected"]).tolist()


def _rows(classes: Classes) -> st.SearchStrategy[list[Row]]:
    labels = [st.sampled_from(names) for names in classes.values()]
    sure = [st.floats(0.2, 1.0) for _ in classes]
    return st.lists(st.tuples(*labels, *sure), min_size=1, max_size=60)


@every_setting
@settings(max_examples=12)
@given(data=st.data())
def test_no_class_is_over_its_cap_or_empty_in_silence(classes: Classes, data: Any) -> None:
    rows = data.draw(_rows(classes))
    most = data.draw(st.integers(1, 6))
    tasks = data.draw(st.sampled_from(["both", "per-task"]))
    selection = select(rows, classes, per_class=most, tasks=tasks, least=2, threshold=0.9)
    table, notes = selection.table, " ".join(selection.notes)
    for task, labels in classes.items():
        counts = Counter(table.loc[table[f"use_{task}"], task])
        assert max(counts.values(), default=0) <= most
        own = selection.thresholds[selection.thresholds["task"] == task].set_index("label")
        assert own.index.tolist() == list(labels)
        for label in labels:
            assert own.loc[label, "selected"] == counts[label]
            if counts[label] == 0:
                assert f"{task} {label}" in notes
            if tasks == "per-task" and own.loc[label, "predicted"]:
                assert counts[label] > 0
    # Nothing more could have been taken: every candidate left has a full class.
    if tasks == "both":
        full = {
            (t, c)
            for t in classes
            for c, n in Counter(table.loc[table["selected"], t]).items()
            if n == most
        }
        left = table[table["candidate"] & ~table["selected"]]
        assert all(any((t, row[t]) in full for t in classes) for row in left.to_dict("records"))


@settings(max_examples=10)
@given(_rows(CLASSES), st.integers(0, 1000))
def test_the_order_of_clips_does_not_matter(rows: list[Row], state: int) -> None:
    straight = answers(rows)
    shuffled = Answers(straight.table.sample(frac=1, random_state=state))
    rule = RULES["quantile"](PseudoLabels(per_class=3, least=2))
    kept = [
        set(s.table.loc[s.table["selected"], "clip_id"]) for s in (rule(straight), rule(shuffled))
    ]
    assert kept[0] == kept[1]


def test_the_smaller_confidence_must_reach_the_threshold() -> None:
    rows = [("sad", "neutral", 0.99, 0.99), ("sad", "neutral", 1.0, 0.98)]
    assert chosen(rows, least=1) == [0]
    # With each task for itself the second clip's emotion counts, its intent does not.
    table = select(rows, least=1, tasks="per-task").table
    assert table["use_emotion"].tolist() == [True, True]
    assert table["use_intent"].tolist() == [True, False]


@pytest.mark.parametrize("tasks", ["both", "per-task"])
def test_one_task_alone_is_chosen_by_its_own_confidence(tasks: Any) -> None:
    rows = [("sad", 0.99), ("sad", 0.98), ("fear", 1.0)]
    table = select(rows, EMOTION, least=1, tasks=tasks).table
    assert table["use_emotion"].tolist() == table["selected"].tolist() == [True, False, True]
    assert table["confidence"].tolist() == table["emotion_confidence"].tolist()


def test_a_short_class_falls_to_its_quantile_and_says_so() -> None:
    sure = [("sad", "neutral", 0.999, 0.999)] * 4
    unsure = [("fear", "neutral", 0.3 + 0.1 * i, 0.9) for i in range(5)]
    selection = select(sure + unsure, least=4, fallback_quantile=0.7)
    # Quantile 0.7 of 0.3, ..., 0.7 that is one of them: 0.6; the two best pass.
    assert np.flatnonzero(selection.table["selected"]).tolist() == [0, 1, 2, 3, 7, 8]
    fear = next(note for note in selection.notes if note.startswith("emotion fear"))
    assert "0 of 5 predicted clips reach 0.99" in fear
    assert "0.600" in fear
    assert not any(note.startswith(("emotion sad", "intent neutral")) for note in selection.notes)
    assert "emotion happy is never predicted" in " ".join(selection.notes)


def test_a_short_class_is_noted_even_where_its_quantile_is_no_lower() -> None:
    selection = select([("sad", "neutral", 0.999, 0.999)] * 3, least=8)
    assert selection.table["selected"].sum() == 3
    notes = [note for note in selection.notes if note.startswith("emotion sad")]
    assert "3 of 3 predicted clips reach 0.99, fewer than 8" in notes[0]
    assert "no lower" in notes[0]


def test_a_class_shows_the_lowest_confidence_another_class_brought_in() -> None:
    sure = [("sad", "neutral", 0.999, 0.999)] * 8
    classes = select([*sure, ("sad", "wishing", 0.45, 0.45)], least=8).thresholds
    sad = classes.set_index(["task", "label"]).loc[("emotion", "sad")]
    assert sad["threshold"] == 0.99
    assert (sad["selected"], sad["lowest"]) == (9, 0.45)
    assert np.isnan(classes.set_index(["task", "label"]).loc[("emotion", "fear"), "lowest"])


def test_rare_classes_come_first_where_caps_bind() -> None:
    # Three clips of intent neutral may be taken; the rare emotion gets its one before sad's rest.
    rows = [("sad", "neutral", 0.999, 0.999)] * 5 + [("fear", "neutral", 0.995, 0.995)]
    kept = chosen(rows, per_class=3, least=1)
    assert len(kept) == 3
    assert 5 in kept


def test_a_class_whose_candidates_other_classes_are_full_is_noted() -> None:
    # Of a tie the first class in order has its turn first, and fills intent neutral.
    rows = [("happy", "neutral", 0.999, 0.999), ("sad", "neutral", 0.999, 0.999)]
    selection = select(rows, per_class=1, least=1)
    assert selection.table["selected"].tolist() == [True, False]
    assert "emotion sad: its candidates' other classes are full; none is chosen." in selection.notes


def test_options_of_the_rule_go_over_the_profiles() -> None:
    profile = PseudoLabels(threshold=0.9, per_class=2, least=5, tasks="per-task")
    rule = RULES["quantile"]
    assert rule(profile).settings == profile
    own = rule(profile, threshold=0.5, tasks="both", least=1, fallback_quantile=0.3, per_class=7)
    assert own.settings == PseudoLabels(
        threshold=0.5, tasks="both", least=1, fallback_quantile=0.3, per_class=7
    )
    rows = [("sad", "neutral", 0.6, 0.6)] * 4
    one = rule(profile, threshold=0.5, least=1)
    assert one.settings == profile.model_copy(update={"threshold": 0.5, "least": 1})
    assert one(answers(rows)).table["selected"].sum() == 2
    assert own(answers(rows)).table["selected"].sum() == 4
    assert profile.threshold == 0.9


@every_setting
def test_everything_takes_every_clip_and_notes_only_classes_without_any(classes: Classes) -> None:
    pair = [names[0] for names in classes.values()]
    rows = [(*pair, *[0.3] * len(classes)), (*pair, *[0.9] * len(classes))]
    selection = RULES["everything"](PseudoLabels(least=8, per_class=1))(answers(rows, classes))
    table = selection.table
    assert table["selected"].tolist() == table["candidate"].tolist() == [True, True]
    counted = selection.thresholds
    for task, names in classes.items():
        assert table[f"use_{task}"].all()
        own = counted[counted["task"] == task]
        assert own["label"].tolist() == list(names)
        for column in ("predicted", "passed", "selected"):
            assert own[column].tolist() == [2] + [0] * (len(names) - 1)
        assert own["lowest"].iloc[0] == 0.3
    assert len(selection.notes) == sum(len(names) - 1 for names in classes.values())
    assert all("is never predicted" in note for note in selection.notes)


@every_setting
@pytest.mark.parametrize("rule", RULES)
def test_an_empty_pool_gives_an_empty_table(classes: Classes, rule: str) -> None:
    selection = RULES[rule](PseudoLabels())(answers([], classes))
    assert selection.table.empty
    assert len(selection.notes) == sum(map(len, classes.values()))
    assert {"selected", "candidate", *(f"use_{task}" for task in classes)} <= set(selection.table)


def test_the_table_has_labels_confidences_and_uses_of_each_task() -> None:
    table = select([("sad", "wishing", 0.7, 0.6)], threshold=0.5, least=1).table
    row = table.iloc[0]
    assert [row[task] for task in TASKS] == ["sad", "wishing"]
    assert [row[f"{task}_confidence"] for task in TASKS] == [0.7, 0.6]
    assert row["confidence"] == 0.6
