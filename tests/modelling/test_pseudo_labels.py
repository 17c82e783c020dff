"""Pseudo labels: threshold, fallback, balanced sampling, audit."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES, TASKS
from meiju_utils.config import PseudoLabels
from meiju_utils.modelling.pseudo_labels import (
    audit_candidates,
    audit_pseudo_labels,
    select_pseudo_labels,
)

Row = tuple[str, str, float, float]


def predictions(rows: list[Row]) -> pd.DataFrame:
    """Rows of emotion, intent and their confidences."""
    columns = ["emotion", "intent", "emotion_confidence", "intent_confidence"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(clip_id=[f"c{i:03d}" for i in range(len(rows))])


def chosen(rows: list[Row], **options: Any) -> list[int]:
    table = select_pseudo_labels(predictions(rows), PseudoLabels(**options)).table
    return np.flatnonzero(table["selected"]).tolist()


rows_of_clips = st.lists(
    st.tuples(
        st.sampled_from(CLASSES["emotion"]),
        st.sampled_from(CLASSES["intent"]),
        st.floats(0.2, 1.0),
        st.floats(0.2, 1.0),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60)
@given(rows_of_clips, st.integers(1, 6), st.sampled_from(["both", "per-task"]))
def test_no_class_is_over_its_cap_or_empty_in_silence(
    rows: list[Row], most: int, tasks: str
) -> None:
    options = PseudoLabels(per_class=most, tasks=tasks, least=2, threshold=0.9)
    selection = select_pseudo_labels(predictions(rows), options)
    table, notes = selection.table, " ".join(selection.notes)
    for task in TASKS:
        counts = Counter(table.loc[table[f"use_{task}"], task])
        assert max(counts.values(), default=0) <= most
        for label in CLASSES[task]:
            row = selection.thresholds.query("task == @task and label == @label").iloc[0]
            assert row["selected"] == counts[label]
            if counts[label] == 0:
                assert f"{task} {label}" in notes
            if tasks == "per-task" and row["predicted"]:
                assert counts[label] > 0
    # Nothing more could have been taken: every candidate left has a full class.
    if tasks == "both":
        full = {
            (t, c)
            for t in TASKS
            for c, n in Counter(table.loc[table.selected, t]).items()
            if n == most
        }
        left = table[table["candidate"] & ~table["selected"]]
        assert all(any((t, row[t]) in full for t in TASKS) for row in left.to_dict("records"))


@settings(max_examples=20)
@given(rows_of_clips, st.randoms())
def test_the_order_of_clips_does_not_matter(rows: list[Row], random: Any) -> None:
    table = predictions(rows)
    shuffled = table.sample(frac=1, random_state=random.randrange(1000))
    options = PseudoLabels(per_class=3, least=2)
    kept = [
        set(s.table.loc[s.table["selected"], "clip_id"])
        for s in (select_pseudo_labels(t, options) for t in (table, shuffled))
    ]
    assert kept[0] == kept[1]


def test_the_smaller_confidence_must_reach_the_threshold() -> None:
    rows = [("sad", "neutral", 0.99, 0.99), ("sad", "neutral", 1.0, 0.98)]
    assert chosen(rows, least=1) == [0]
    # With each task for itself the second clip's emotion counts, its intent does not.
    table = select_pseudo_labels(predictions(rows), PseudoLabels(least=1, tasks="per-task")).table
    assert table["use_emotion"].tolist() == [True, True]
    assert table["use_intent"].tolist() == [True, False]


def test_a_short_class_falls_to_its_quantile_and_says_so() -> None:
    sure = [("sad", "neutral", 0.999, 0.999)] * 4
    unsure = [("fear", "neutral", 0.3 + 0.1 * i, 0.9) for i in range(5)]
    selection = select_pseudo_labels(
        predictions(sure + unsure), PseudoLabels(least=4, fallback_quantile=0.7)
    )
    # Quantile 0.7 of 0.3, ..., 0.7 that is one of them: 0.6; the two best pass.
    assert np.flatnonzero(selection.table["selected"]).tolist() == [0, 1, 2, 3, 7, 8]
    fear = next(note for note in selection.notes if note.startswith("emotion fear"))
    assert "0 of 5 predicted clips reach 0.99" in fear
    assert "0.600" in fear
    assert not any(note.startswith(("emotion sad", "intent neutral")) for note in selection.notes)
    assert "emotion happy is never predicted" in " ".join(selection.notes)


def test_a_short_class_is_noted_even_where_its_quantile_is_no_lower() -> None:
    rows = [("sad", "neutral", 0.999, 0.999)] * 3
    selection = select_pseudo_labels(predictions(rows), PseudoLabels(least=8))
    assert selection.table["selected"].sum() == 3
    notes = [note for note in selection.notes if note.startswith("emotion sad")]
    assert "3 of 3 predicted clips reach 0.99, fewer than 8" in notes[0]
    assert "no lower" in notes[0]


def test_a_class_shows_the_lowest_confidence_another_class_brought_in() -> None:
    sure = [("sad", "neutral", 0.999, 0.999)] * 8
    rows = [*sure, ("sad", "wishing", 0.45, 0.45)]
    classes = select_pseudo_labels(predictions(rows), PseudoLabels(least=8)).thresholds
    sad = classes.set_index(["task", "label"]).loc[("emotion", "sad")]
    assert sad["threshold"] == 0.99
    assert (sad["selected"], sad["lowest"]) == (9, 0.45)
    assert np.isnan(classes.set_index(["task", "label"]).loc[("emotion", "fear"), "lowest"])


def test_what_is_trained_on_is_audited_at_the_thresholds_in_force() -> None:
    sure = [("sad", "neutral", 0.999, 0.999)] * 8
    pool = predictions([*sure, ("fear", "neutral", 0.45, 0.45)])
    settings = PseudoLabels(least=8)
    classes = select_pseudo_labels(pool, settings).thresholds
    held_out = predictions(
        [
            ("sad", "neutral", 0.999, 0.999),
            ("sad", "neutral", 0.98, 0.98),  # does not reach its threshold
            ("fear", "neutral", 0.5, 0.9),
            ("fear", "neutral", 0.6, 0.9),
        ]
    )
    truth = held_out[["clip_id"]].assign(emotion=["sad", "sad", "fear", "happy"], intent="neutral")
    found = audit_candidates(held_out, truth, classes, settings).set_index(["task", "label"])
    assert found.loc[("emotion", "fear"), ["passed", "right"]].tolist() == [2, 1]
    assert found.loc[("emotion", "sad"), ["clips", "passed", "right"]].tolist() == [2, 1, 1]
    assert found.loc[("both", "all"), "precision"] == pytest.approx(2 / 3)


def test_rare_classes_come_first_where_caps_bind() -> None:
    # Three clips of intent neutral may be taken; the rare emotion gets its one before sad's rest.
    rows = [("sad", "neutral", 0.999, 0.999)] * 5 + [("fear", "neutral", 0.995, 0.995)]
    kept = chosen(rows, per_class=3, least=1)
    assert len(kept) == 3
    assert 5 in kept


def test_an_empty_pool_gives_an_empty_table() -> None:
    selection = select_pseudo_labels(predictions([]), PseudoLabels())
    assert selection.table.empty
    assert len(selection.notes) == 15


def test_the_audit_counts_coverage_and_precision_by_threshold() -> None:
    table = predictions(
        [
            ("sad", "neutral", 0.99, 0.95),
            ("sad", "wishing", 0.95, 0.97),
            ("fear", "wishing", 0.60, 0.99),
            ("fear", "neutral", 0.40, 0.40),
        ]
    )
    truth = table[["clip_id"]].assign(
        emotion=["sad", "happy", "fear", "fear"],
        intent=["neutral", "wishing", "wishing", "wishing"],
    )
    audit = audit_pseudo_labels(table, truth, PseudoLabels(threshold=0.9), thresholds=(0.5,))
    rows = audit.set_index(["threshold", "task", "label"])
    assert sorted(audit["threshold"].unique()) == [0.5, 0.9]
    both = rows.loc[(0.5, "both", "all")]
    assert (both["clips"], both["passed"], both["right"]) == (4, 3, 2)
    assert both["coverage"] == pytest.approx(0.75)
    assert both["precision"] == pytest.approx(2 / 3)
    assert both["precision_low"] < 2 / 3 < both["precision_high"]
    assert rows.loc[(0.9, "emotion", "sad"), "precision"] == pytest.approx(0.5)
    assert rows.loc[(0.9, "intent", "all"), "precision"] == pytest.approx(1)
    assert np.isnan(rows.loc[(0.9, "emotion", "fear"), "precision"])
    # Each task for itself: the third clip's intent alone passes 0.9.
    alone = audit_pseudo_labels(table, truth, PseudoLabels(threshold=0.9, tasks="per-task"))
    found = alone.set_index(["threshold", "task", "label"]).loc[(0.9, "intent", "all")]
    assert found["passed"] == 3
