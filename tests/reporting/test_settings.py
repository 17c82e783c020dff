"""Plots, tables and sentences follow the setting: other labels, one task, very many classes."""

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import SETTINGS, Setting, own_setting
from meiju_utils.reporting import plots, tables
from meiju_utils.reporting.palette import LABEL_COLORS, label_colors, score_colors, score_title
from meiju_utils.reporting.plots.base import MOST_CLASSES
from meiju_utils.scoring import JOINT, concatenated, score_table, wide

MANY = tuple(f"a long label, number {i} 标签" for i in range(200))
OWN = {
    "meiju": SETTINGS[1, "mandarin"],
    "5x9": own_setting(
        "english", "macro", {"emotion": tuple("abcde"), "intent": tuple("fghijklmn")}
    ),
    "sentiment": own_setting("other", "weighted", {"sentiment": ("bad, very", "$x$", "好")}),
    "many": own_setting("english", "micro", {"topic": MANY, "mood": ("calm", "tense")}),
}


@pytest.fixture(params=list(OWN))
def setting(request: pytest.FixtureRequest) -> Setting:
    return OWN[request.param]


def clips(setting: Setting, count: int = 240) -> pd.DataFrame:
    table = pd.DataFrame({"clip_id": [f"c{i}" for i in range(count)]})
    table["split"] = ["train", "valid", "test"] * (count // 3)
    table["text"], table["video"], table["duration_s"] = "words", "", 1.0
    for task, labels in setting.classes.items():
        table[task] = [labels[i % len(labels)] for i in range(count)]
    return table


def scores(setting: Setting) -> pd.DataFrame:
    table = clips(setting, 30)
    truth = {task: table[task].to_numpy() for task in setting.tasks}
    shuffled = {task: np.roll(labels, 1) for task, labels in truth.items()}
    return concatenated(
        [
            score_table(name, "valid", truth, answers, setting.average)
            for name, answers in (("mine", truth), ("majority", shuffled))
        ]
    )


def fits_a_page(figure: plots.Plot) -> bool:
    width, height = figure.get_size_inches()
    return bool(width <= 20 and height <= 20 and plots.png(figure))


def test_figures_of_labels_are_readable_however_many_there_are(setting: Setting) -> None:
    table = clips(setting)
    for figure in (
        plots.label_pair_heatmap(table, setting.classes),
        plots.label_histograms(table, setting.classes),
        plots.confusion_matrices(table, table, setting.classes),
    ):
        assert fits_a_page(figure)
        for ax in figure.axes:
            ticks = [tick.get_text() for tick in (*ax.get_xticklabels(), *ax.get_yticklabels())]
            assert all(len(tick) <= 32 for tick in ticks)  # with a count behind
            assert len(ax.get_xticklabels()) <= max(MOST_CLASSES, 12)
    for task, labels in setting.classes.items():
        points = np.zeros((len(table), 2))
        assert fits_a_page(plots.projection(points, table[task], task, labels))


def test_a_cut_to_the_most_frequent_labels_is_said_and_counts_all(setting: Setting) -> None:
    table = clips(setting)
    figure = plots.confusion_matrices(table, table, setting.classes)
    said = " ".join(ax.get_xlabel() for ax in figure.axes)
    assert (f"the {MOST_CLASSES} most frequent of 200 labels" in said) == (
        "topic" in setting.classes
    )
    assert f"{len(table)} of {len(table)} right" in figure.axes[0].get_title(loc="left")


def test_one_task_has_one_panel_and_no_pairs() -> None:
    setting = OWN["sentiment"]
    figure = plots.label_pair_heatmap(clips(setting), setting.classes)
    assert "One task, sentiment" in figure.axes[0].texts[0].get_text()
    for figure in (
        plots.label_histograms(clips(setting), setting.classes),
        plots.score_bars(scores(setting)),
    ):
        assert len(figure.axes) == 1
    html = tables.show_scores(scores(setting)).to_html()
    assert "Sentiment F1" in html
    assert "Joint" not in html
    assert "One task, sentiment" in setting.told


def test_scores_of_any_tasks_have_titles_and_colours(setting: Setting) -> None:
    table = wide(scores(setting))
    html = tables.show_scores(scores(setting)).to_html()
    for task in setting.tasks:
        assert score_title(task) in html
    assert len(set(score_colors([*setting.tasks, JOINT]).values())) == len(setting.tasks) + 1
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0]})
    for score in (*setting.tasks, JOINT):
        history[f"valid_{score}"] = [0.1, 0.2]
    drawn = plots.training_curves(history).axes[1].get_legend_handles_labels()[1]
    assert drawn[: len(setting.tasks)] == [score_title(task) for task in setting.tasks]
    assert len(drawn) == (1 if len(setting.tasks) == 1 else 3)
    assert table["name"].tolist() == ["mine", "majority"]


def test_the_papers_figures_stand_beside_its_own_tasks_alone(setting: Setting) -> None:
    official = setting.is_official
    own = scores(setting).query("system == 'mine'")
    one_training = own.assign(kind="single", trained_as="baseline", note="", system="baseline")
    html = tables.show_table_one(one_training).to_html()
    assert ("0.5265" in html) == (set(setting.tasks) == {"emotion", "intent"})
    assert len(tables.published_table(setting)) == (2 if official else 0)
    tables.show_scores(tables.published_table(setting))


def test_every_label_has_a_colour_of_its_own(setting: Setting) -> None:
    for task, labels in setting.classes.items():
        colors = label_colors(task, labels)
        assert list(colors) == list(labels)
        assert len(set(colors.values())) >= min(len(labels), 150)
        if setting.is_official:
            assert colors == LABEL_COLORS[task]
        assert colors == label_colors(task, labels)


def test_the_setting_is_told_with_its_metric(setting: Setting) -> None:
    told = setting.told
    assert setting.average in told
    assert ("of your own" in told) != setting.is_official
    for task, labels in setting.classes.items():
        assert f"{len(labels)} {task}s" in told
