"""Figures show the numbers they were given, name their axes, and leave no state behind."""

import warnings
from collections.abc import Callable
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, PAPER_TABLE_I, TASKS, Scores
from meiju_utils.pool.label_shift import LabelShift
from meiju_utils.reporting import plots
from meiju_utils.reporting.palette import EMOTION_COLORS


def clips() -> pd.DataFrame:
    """Sixteen training clips of all labels, four test clips without labels."""
    rows = [(f"clip{i}", "train", EMOTIONS[i % 7], INTENTS[i % 8], 1.0 + i / 10) for i in range(16)]
    rows += [(f"test{i}", "test", "", "", float("nan")) for i in range(4)]
    return pd.DataFrame(rows, columns=["clip_id", "split", "emotion", "intent", "duration_s"])


def scores(*names: str) -> pd.DataFrame:
    table = pd.DataFrame({"name": names})
    for i, score in enumerate(("emotion", "intent", "joint")):
        values = 0.3 + 0.1 * i + 0.05 * np.arange(len(names))
        table[score] = values
        table[f"{score}_low"], table[f"{score}_high"] = values - 0.04, values + 0.03
    return table


def history(seeds: int = 2) -> pd.DataFrame:
    rows = [
        {
            "seed": seed,
            "stage": stage,
            "epoch": epoch,
            "learning_rate": 1e-3,
            "train_loss": 2 / epoch,
            "valid_loss": 3 / epoch,
            "valid_emotion": 0.1 * epoch,
            "valid_intent": 0.12 * epoch,
            "valid_joint": 0.11 * epoch + 0.01 * seed,
        }
        for seed in range(seeds)
        for stage, epochs in (("one", 4 + seed), ("two", 3))
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def probes() -> pd.DataFrame:
    table = scores("char-ngram", "prosody", "hog", "hf:tiny").rename(columns={"name": "encoder"})
    table["modality"] = ["text", "audio", "visual", "text"]
    return table


def audit() -> pd.DataFrame:
    rows = [
        (task, label, t, 1 - t, 0.5 + t / 2, 0.4, 0.99, 0.6, 0.3)
        for task in TASKS
        for label in ("all", "neutral")
        for t in (0.5, 0.9)
    ]
    columns = ["task", "label", "threshold", "pool_coverage", "precision", "precision_low"]
    return pd.DataFrame(rows, columns=[*columns, "precision_high", "raw_precision", "in_truth"])


def choice(cap: int | None = 6) -> pd.DataFrame:
    rows = [
        (task, label, 10 + i, 8, cap, 4 + i % 3, "other class full")
        for task in TASKS
        for i, label in enumerate(CLASSES[task])
    ]
    columns = ["task", "label", "predicted", "candidates", "cap", "selected", "limited_by"]
    return pd.DataFrame(rows, columns=columns).astype({"cap": "Int64"})


def members(*names: str) -> pd.DataFrame:
    rows = [(task, a, b, 0.75) for task in TASKS for a, b in combinations(names, 2)]
    return pd.DataFrame(rows, columns=["task", "first", "second", "agreement"])


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, 24, 32, 3), dtype=np.uint8))


def tone() -> np.ndarray:
    return np.sin(np.arange(8000) / 10).astype(np.float32) / 2


def weights(*members: str) -> pd.DataFrame:
    rows = [(task, name, 0.5 / (i + 1)) for task in TASKS for i, name in enumerate(members)]
    return pd.DataFrame(rows, columns=["task", "member", "weight"])


def shift(p: float = 0.3) -> dict[str, LabelShift]:
    found = {}
    for task, names in CLASSES.items():
        even = dict.fromkeys(("train", "told", "pool"), 1 / len(names))
        columns = {"label": list(names), **even}
        shares = pd.DataFrame(columns).assign(low=0.05, high=0.3)
        found[task] = LabelShift(task, shares, p)
    return found


def reliable() -> dict[str, pd.DataFrame]:
    rows = [(task, i, 5, i / 10, i / 12) for task in TASKS for i in range(10)]
    table = pd.DataFrame(rows, columns=["task", "bin", "clips", "confidence", "accuracy"])
    return {"before": table, "after calibration": table.assign(confidence=table["accuracy"])}


ALL: dict[str, Callable[[], Figure]] = {
    "opinion_weights": lambda: plots.opinion_weights(weights("a", "b", "c")),
    "label_shares": lambda: plots.label_shares(shift(), clips().assign(split="unlabeled")),
    "reliability_diagram": lambda: plots.reliability_diagram(reliable()),
    "label_pair_heatmap": lambda: plots.label_pair_heatmap(clips(), CLASSES),
    "label_histograms": lambda: plots.label_histograms(clips(), CLASSES),
    "duration_histogram": lambda: plots.duration_histogram(clips()),
    "probe_scores": lambda: plots.probe_scores(probes()),
    "projection": lambda: plots.projection(
        np.ones((20, 2)), clips()["emotion"], "emotion", EMOTIONS
    ),
    "training_curves": lambda: plots.training_curves(history()),
    "confusion_matrices": lambda: plots.confusion_matrices(clips()[:16], clips()[:16], CLASSES),
    "pseudo_label_balance": lambda: plots.pseudo_label_balance(choice()),
    "coverage_precision": lambda: plots.coverage_precision(audit(), 0.99),
    "score_bars": lambda: plots.score_bars(scores("a", "b"), "Title"),
    "table_one": lambda: plots.table_one(scores("baseline", "ensemble")),
    "agreement_heatmap": lambda: plots.agreement_heatmap(members("a", "b", "c")),
    "frame_strip": lambda: plots.frame_strip(images(8), [f"{i} s" for i in range(8)]),
    "face_crops": lambda: plots.face_crops({"a": np.stack(images(3)), "b": np.stack(images(1))}),
    "waveform_and_mel": lambda: plots.waveform_and_mel(tone(), 16000, "clip"),
}
PICTURES = {"frame_strip", "face_crops"}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("error")
def test_a_plot_draws_as_png_with_named_axes_and_touches_no_global_state(name: str) -> None:
    settings, open_figures = mpl.rcParams.copy(), plt.get_fignums()
    figure = ALL[name]()
    data = figure._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert plt.get_fignums() == open_figures
    assert mpl.rcParams == settings
    if name not in PICTURES:
        assert any(ax.get_title(loc="left") for ax in figure.axes)
        assert any(ax.get_xlabel() for ax in figure.axes)


def test_equal_data_gives_equal_bytes() -> None:
    first, second = (plots.png(plots.label_pair_heatmap(clips(), CLASSES)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.label_pair_heatmap(clips().assign(emotion=""), CLASSES),
        lambda: plots.label_histograms(clips().assign(intent=""), CLASSES),
        lambda: plots.duration_histogram(clips().assign(duration_s=float("nan"))),
        lambda: plots.opinion_weights(weights()),
        lambda: plots.label_shares({}),
        lambda: plots.reliability_diagram({"before": reliable()["before"][:0]}),
        lambda: plots.probe_scores(probes()[:0]),
        lambda: plots.projection(np.ones((0, 2)), [], "intent", INTENTS),
        lambda: plots.training_curves(history()[:0]),
        lambda: plots.confusion_matrices(clips()[:0], clips()[:0], CLASSES),
        lambda: plots.pseudo_label_balance(choice()[:0]),
        lambda: plots.coverage_precision(audit()[:0]),
        lambda: plots.score_bars(scores()),
        lambda: plots.table_one(scores()),
        lambda: plots.agreement_heatmap(members("alone")),
        lambda: plots.frame_strip([], []),
        lambda: plots.face_crops({"clip": np.zeros((0, 8, 8, 3), np.uint8)}),
        lambda: plots.waveform_and_mel(np.zeros(0, np.float32), 16000),
    ],
)
def test_nothing_to_show_is_said_in_words(figure: Callable[[], Figure]) -> None:
    made = figure()
    assert made.axes[0].texts[0].get_text().endswith((".", "in."))
    assert made._repr_png_().startswith(b"\x89PNG")


def numbers(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_pair_heatmap_counts_labelled_clips_in_official_order() -> None:
    ax = plots.label_pair_heatmap(clips(), CLASSES).axes[0]
    counts = np.array(numbers(ax), dtype=int).reshape(7, 8)
    expected = np.zeros((7, 8), dtype=int)
    for i in range(16):
        expected[i % 7, i % 8] += 1
    np.testing.assert_array_equal(counts, expected)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(EMOTIONS)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(INTENTS)
    assert "40 of 56 never occur" in ax.get_title(loc="left")


def test_label_bars_have_their_labels_colour_and_share() -> None:
    ax = plots.label_histograms(clips(), CLASSES).axes[0]
    happy = ax.patches[0]
    assert happy.get_height() == pytest.approx(100 * 3 / 16)
    assert mpl.colors.to_hex(happy.get_facecolor()).upper() == EMOTION_COLORS["happy"]
    assert len(ax.patches) == 7  # the test split has no labels


def test_confusions_are_shares_of_the_true_class_with_counts() -> None:
    truth = pd.DataFrame({"emotion": ["sad"] * 4, "intent": ["wishing"] * 4})
    predicted = pd.DataFrame(
        {"emotion": ["sad", "sad", "sad", "fear"], "intent": ["wishing"] * 4}, index=[7, 8, 9, 10]
    )
    ax = plots.confusion_matrices(truth, predicted, CLASSES).axes[0]
    row = numbers(ax)  # of the only class that occurs; the others stay blank
    assert {label: cell for label, cell in zip(EMOTIONS, row, strict=True) if cell} == {
        "sad": "75\n(3)",
        "fear": "25\n(1)",
    }
    assert [label.get_text() for label in ax.get_yticklabels()][2:4] == ["sad (4)", "disgust (0)"]
    assert ax.get_title(loc="left") == "Emotion: 3 of 4 right"
    with pytest.raises(ValueError, match="4 true and 3 predicted"):
        plots.confusion_matrices(truth, predicted[:3], CLASSES)


@pytest.mark.parametrize("figure", [lambda: plots.probe_scores(probes()), ALL["score_bars"]])
def test_every_score_and_interval_lies_within_its_panel(figure: Callable[[], Figure]) -> None:
    for ax in figure().axes:
        low, high = ax.get_xlim()
        for line in ax.lines:
            places = np.asarray(line.get_xdata(), dtype=float)
            assert (places >= low).all()
            assert (places[places != 1] <= high).all()  # 1: separators across the panel


def test_encoders_are_listed_by_modality_and_then_by_score() -> None:
    ax = plots.probe_scores(probes()).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "audio · prosody",
        "visual · hog",
        "text · hf:tiny",
        "text · char-ngram",
    ]


def test_curves_run_on_through_the_stages_and_break_between_them() -> None:
    figure = plots.training_curves(history())
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert {"train loss", "valid loss"} <= set(lines)
    joint = next(line for line in right.lines if line.get_label() == "Joint score")
    # Stage one: the mean is drawn while both seeds train (epochs 1 to 4 of 4 and 5).
    np.testing.assert_array_equal(joint.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(joint.get_ydata(), [0.115, 0.225, 0.335, 0.445])
    assert any(list(line.get_xdata()) == [6, 7, 8] for line in right.lines)


def test_a_dot_marks_the_epoch_that_was_kept() -> None:
    table = history().assign(best=lambda t: t["epoch"] == 3)
    left, right = plots.training_curves(table).axes
    for ax, column in ((left, "valid_loss"), (right, "valid_joint")):
        (dots,) = (line for line in ax.lines if line.get_marker() == "o")
        assert len(dots.get_xdata()) == 4  # of two seeds in two stages
        np.testing.assert_allclose(sorted(dots.get_ydata()), sorted(table[table["best"]][column]))


def test_a_history_without_seed_and_stage_is_one_curve() -> None:
    table = history(1)
    table = table[table["stage"] == "one"].drop(columns=["seed", "stage"])
    assert len(plots.training_curves(table).axes[0].lines) == 4  # two losses, each with its mean


def test_the_audit_shows_all_classes_together_in_percent() -> None:
    left, right = plots.coverage_precision(audit(), 0.8).axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("Emotion", "Intent")
    precision, raw, truth, coverage, asked = left.lines
    np.testing.assert_allclose(precision.get_ydata(), [75, 95])
    np.testing.assert_allclose(raw.get_ydata(), [60, 60])
    np.testing.assert_allclose(truth.get_ydata(), [30, 30])
    np.testing.assert_allclose(coverage.get_ydata(), [50, 10])
    assert list(asked.get_xdata()) == [0.8, 0.8]
    # Without truth and without an asked threshold there is nothing of them.
    assert len(plots.coverage_precision(audit().drop(columns="in_truth"), 0).axes[0].lines) == 3


def test_the_choice_by_class_shows_counts_caps_and_what_limits_it() -> None:
    figure = plots.pseudo_label_balance(choice())
    emotion = figure.axes[0]
    assert numbers(emotion)[:2] == ["4 of 10: other class full", "5 of 11: other class full"]
    assert [bar.get_width() for bar in emotion.containers[2]] == [4 + i % 3 for i in range(7)]
    assert {x for line in emotion.lines for x in line.get_xdata()} == {6}
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "cap"
    # A cap out of sight would leave no room for the clips, and none has no line.
    for cap in (500, None):
        drawn = plots.pseudo_label_balance(choice(cap)).axes[0].lines
        assert all(np.isnan(line.get_xdata()).all() for line in drawn)


def test_table_one_keeps_the_papers_order_and_shows_its_figures() -> None:
    figure = plots.table_one(scores("mine", "ensemble", "baseline"))
    emotion = figure.axes[0]
    assert [t.get_text() for t in emotion.get_yticklabels()] == ["baseline", "ensemble", "mine"]
    published = next(line for line in emotion.lines if line.get_marker() == "D")
    expected = [PAPER_TABLE_I["baseline"].emotion, PAPER_TABLE_I["ensemble"].emotion, np.nan]
    np.testing.assert_array_equal(published.get_xdata(), expected)


def test_a_recipe_the_paper_has_no_figure_for_leaves_a_gap() -> None:
    paper = {"a": Scores(float("nan"), 0.5, float("nan"))}
    assert plots.table_one(scores("a"), paper)._repr_png_()


def test_agreement_is_shown_both_ways_round() -> None:
    ax = plots.agreement_heatmap(members("a", "b")).axes[0]
    mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
    values = np.ma.filled(mesh.get_array().astype(float), np.nan).reshape(2, 2)
    np.testing.assert_array_equal(values, [[np.nan, 75], [75, np.nan]])


def test_yardsticks_are_grey() -> None:
    ours, majority = plots.score_bars(scores("ours", "majority")).axes[0].patches[:2]
    assert len(set(ours.get_facecolor()[:3])) > 1
    assert len(set(majority.get_facecolor()[:3])) == 1


def test_the_spectrogram_shows_a_tone_at_its_frequency() -> None:
    rate, hertz = 16000, 1000
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    mel = plots.waveform_and_mel(wave.astype(np.float32), rate).axes[1]
    loudest = int(np.argmax(mel.images[0].get_array().mean(axis=1)))
    marks = dict(zip((t.get_text() for t in mel.get_yticklabels()), mel.get_yticks(), strict=True))
    assert marks["1"] == pytest.approx(loudest + 0.5, abs=1)


def test_digital_silence_is_drawn_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    plots.waveform_and_mel(np.zeros(1600, np.float32), 16000)._repr_png_()
    assert not recwarn.list


def test_names_are_shown_as_they_stand() -> None:
    """As formulas "$x^$" raises and "$x$" comes out slanted, without its signs."""
    clip_id, as_it_is = "片段 {a} $x^$ %#", ("$x$", r"\$x\$")
    for draw in (
        lambda: plots.frame_strip(images(1), [clip_id]),
        lambda: plots.face_crops({clip_id: np.stack(images(1))}),
        lambda: plots.waveform_and_mel(tone(), 16000, clip_id),
        lambda: plots.score_bars(scores("$x^$", "b"), "$x^$"),
        lambda: plots.agreement_heatmap(members("$x^$", "b")),
        lambda: plots.message(clip_id),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert draw()._repr_png_()
    shown = [plots.frame_strip(images(1), [title])._repr_png_() for title in as_it_is]
    assert shown[0] != shown[1]  # a formula would drop the backslashes
