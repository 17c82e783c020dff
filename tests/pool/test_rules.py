"""Rules: threshold, fallback, caps, balance, what limits a class, and pools of one clip or none."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.components import make_component
from meiju_utils.errors import ConfigError
from meiju_utils.pool import RULES, Selection
from meiju_utils.pool.selection import NO_POOL
from meiju_utils.predictions import Answers, Classes
from tests.pool.choices import choice, train_labels
from tests.vocabularies import EMOTION, Row, answers, every_setting


def select(rows: list[Row], classes: Classes = CLASSES, **options: Any) -> Selection:
    return choice(answers(rows, classes), **options)


def chosen(rows: list[Row], **options: Any) -> list[int]:
    return np.flatnonzero(select(rows, **options).table["selected"]).tolist()


def of_class(selection: Selection, task: str, label: str) -> pd.Series:
    return selection.thresholds.set_index(["task", "label"]).loc[(task, label)]


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
    options: dict[str, Any] = {"per_class": most, "least": 2}
    if rule := data.draw(st.sampled_from(["", "paper"])):
        options = {"rule": rule, "cap": most / 10, "fallback": 0.8}
    selection = select(rows, classes, tasks=tasks, threshold=0.9, **options)
    table, notes = selection.table, " ".join(selection.notes)
    for task, labels in classes.items():
        counts = Counter(table.loc[table[f"use_{task}"], task])
        assert max(counts.values(), default=0) <= most
        own = selection.thresholds[selection.thresholds["task"] == task].set_index("label")
        assert own.index.tolist() == list(labels)
        assert set(own["cap"]) == {most}
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
    rule = RULES["quantile"](per_class=3, least=2)
    kept = [
        set(s.table.loc[s.table["selected"], "clip_id"])
        for s in (rule(a, train_labels()) for a in (straight, shuffled))
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("rule", [{"least": 1}, {"rule": "paper"}])
def test_the_smaller_confidence_must_reach_the_threshold(rule: dict[str, Any]) -> None:
    rows = [("sad", "neutral", 0.99, 0.99), ("sad", "neutral", 1.0, 0.98)]
    assert chosen(rows, **rule) == [0]
    # With each task for itself the second clip's emotion counts, its intent does not.
    table = select(rows, tasks="per-task", **rule).table
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
    selection = select([*sure, ("sad", "wishing", 0.45, 0.45)], least=8)
    sad = of_class(selection, "emotion", "sad")
    assert sad["threshold"] == 0.99
    assert (sad["passed"], sad["candidates"], sad["selected"], sad["lowest"]) == (8, 9, 9, 0.45)
    assert np.isnan(of_class(selection, "emotion", "fear")["lowest"])


def test_rare_classes_come_first_where_caps_bind() -> None:
    # Three clips of intent neutral may be taken; the rare emotion gets its one before sad's rest.
    rows = [("sad", "neutral", 0.999, 0.999)] * 5 + [("fear", "neutral", 0.995, 0.995)]
    kept = chosen(rows, per_class=3, least=1)
    assert len(kept) == 3
    assert 5 in kept


def test_the_strict_rule_takes_nothing_where_nothing_is_sure_unless_a_fallback_is_asked_for() -> (
    None
):
    rows = [("sad", "neutral", 0.9 - i / 10, 0.98) for i in range(5)]
    strict = select(rows, rule="paper")
    assert strict.table["selected"].sum() == 0
    assert set(strict.thresholds["threshold"]) == {0.99}
    assert strict.thresholds["limited_by"].value_counts().to_dict() == {
        "never predicted": 13,
        "threshold": 2,
    }
    assert (
        "emotion sad: 0 of 5 predicted clips reach 0.99, fewer than 1; there is no fallback. "
        "0 chosen." in strict.notes
    )
    asked = select(rows, rule="paper", fallback=0.5)
    assert np.flatnonzero(asked.table["selected"]).tolist() == [0, 1, 2]
    # One clip that is sure is enough: the class keeps the asked threshold.
    sure = select([*rows, ("sad", "neutral", 0.99, 0.99)], rule="paper", fallback=0.5)
    assert np.flatnonzero(sure.table["selected"]).tolist() == [5]


def test_caps_of_the_strict_rule_are_shares_of_the_train_clips_of_a_class() -> None:
    rows = [("sad", "neutral", 0.999, 0.999)] * 6 + [("fear", "wishing", 0.999, 0.999)] * 6
    labels = train_labels(emotion_sad=3, emotion_fear=0)
    selection = select(rows, rule="paper", labels=labels, cap=0.5)
    kept = selection.table[selection.table["selected"]]["emotion"].value_counts().to_dict()
    assert kept == {"sad": 2}  # a half of three, rounded up; train has no fear
    caps = [of_class(selection, "emotion", label)["cap"] for label in ("sad", "fear", "anger")]
    assert caps == [2, 0, 5]
    assert "emotion fear: its cap is 0; none is chosen." in selection.notes
    assert of_class(selection, "intent", "wishing")["limited_by"] == "other class full"
    free = select(rows, rule="paper", labels=labels, cap=None)
    assert free.table["selected"].all()
    assert free.thresholds["cap"].isna().all()


def test_each_class_says_what_limits_it() -> None:
    rows = [
        *[("sad", "neutral", 0.9, 0.9)] * 2,  # one of them fills neutral
        *[("happy", "wishing", 0.8, 0.8), ("happy", "neutral", 0.7, 0.7)],
        *[("fear", "agreeing", 0.9, 0.9), ("anger", "agreeing", 0.3, 0.3)],
    ]
    labels = train_labels(intent_neutral=5)
    selection = select(rows, rule="paper", threshold=0.6, labels=labels, cap=0.2)
    assert selection.table["selected"].tolist() == [True, False, True, False, True, False]
    limits = {
        ("emotion", "sad"): "other class full",
        ("emotion", "happy"): "other class full",
        ("intent", "neutral"): "cap",
        ("intent", "wishing"): "pool",
        ("emotion", "anger"): "threshold",
        ("intent", "agreeing"): "threshold",
        ("intent", "suggesting"): "never predicted",
    }
    for key, expected in limits.items():
        assert of_class(selection, *key)["limited_by"] == expected, key


def test_a_class_whose_candidates_other_classes_are_full_is_noted() -> None:
    # Of a tie the first class in order has its turn first, and fills intent neutral.
    rows = [("happy", "neutral", 0.999, 0.999), ("sad", "neutral", 0.999, 0.999)]
    selection = select(rows, per_class=1, least=1)
    assert selection.table["selected"].tolist() == [True, False]
    assert "emotion sad: its candidates' other classes are full; none is chosen." in selection.notes


@every_setting
def test_everything_takes_every_clip_and_notes_only_classes_without_any(classes: Classes) -> None:
    pair = [names[0] for names in classes.values()]
    rows = [(*pair, *[0.3] * len(classes)), (*pair, *[0.9] * len(classes))]
    selection = select(rows, classes, rule="everything")
    table = selection.table
    assert table["selected"].tolist() == table["candidate"].tolist() == [True, True]
    counted = selection.thresholds
    for task, names in classes.items():
        assert table[f"use_{task}"].all()
        own = counted[counted["task"] == task]
        assert own["label"].tolist() == list(names)
        for column in ("predicted", "passed", "candidates", "selected"):
            assert own[column].tolist() == [2] + [0] * (len(names) - 1)
        assert own["lowest"].iloc[0] == 0.3
        assert own["limited_by"].iloc[0] == "pool"
    assert len(selection.notes) == sum(len(names) - 1 for names in classes.values())
    assert all("is never predicted" in note for note in selection.notes)


@every_setting
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("error")
def test_without_a_pool_a_rule_gives_an_empty_choice_with_a_note(
    classes: Classes, rule: str
) -> None:
    selection = select([], classes, rule=rule)
    assert selection.table.empty
    assert selection.thresholds.empty
    assert selection.notes == [NO_POOL]
    assert {"selected", "candidate", *(f"use_{task}" for task in classes)} <= set(selection.table)
    assert selection.table["selected"].dtype == bool


@pytest.mark.parametrize(("rule", "taken"), [("quantile", 1), ("paper", 0), ("everything", 1)])
@pytest.mark.filterwarnings("error")
def test_a_pool_of_one_clip_is_chosen_from_as_any_other(rule: str, taken: int) -> None:
    selection = select([("sad", "wishing", 0.7, 0.6)], rule=rule)
    assert selection.table["selected"].sum() == taken
    assert of_class(selection, "emotion", "sad")["selected"] == taken


def test_the_table_has_labels_confidences_and_uses_of_each_task() -> None:
    table = select([("sad", "wishing", 0.7, 0.6)], threshold=0.5, least=1).table
    row = table.iloc[0]
    assert [row[task] for task in TASKS] == ["sad", "wishing"]
    assert [row[f"{task}_confidence"] for task in TASKS] == [0.7, 0.6]
    assert row["confidence"] == 0.6


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"paper": {"threshold": 1.5}}, "paper: threshold = 1.5"),
        ({"paper": {"cap": 0}}, "paper: cap = 0"),
        ({"paper": {"per_class": 60}}, "no option 'per_class'"),
        ({"quantile": {"tasks": "each"}}, "quantile: tasks = 'each'"),
        ({"everything": 0.9}, "everything has no options"),
        ("papr", "no 'papr'. Did you mean 'paper'"),
    ],
)
def test_what_a_rule_cannot_be_is_refused(rule: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_component(rule, RULES, "rule")
    assert message in str(caught.value)
