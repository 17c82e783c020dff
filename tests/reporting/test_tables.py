"""Tables say what they were given, escaped, with Chinese, the same bytes every time."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, SETTINGS, Setting
from meiju_utils.reporting.palette import EMOTION_COLORS
from meiju_utils.reporting.plots.scores import score_bars, table_one
from meiju_utils.reporting.tables import (
    count_table,
    notes_table,
    published_table,
    recipe_scores,
    seed_table,
    show_check,
    show_clips,
    show_scores,
    show_table,
    show_table_one,
)
from meiju_utils.scoring import MARK_MEANS, SINGLE, failed_table
from meiju_utils.submission.checker import check_bytes

Tidy = Callable[..., pd.DataFrame]


def clips() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": ["a", "b", "c"],
            "split": ["train", "train", "test"],
            "video": ["a.mp4", "", "c.mp4"],
            "text": ["你怎么来了？？", "<script>alert(1)</script>", " "],
            "emotion": ["surprise", "sad", ""],
            "intent": ["questioning", "neutral", ""],
            "duration_s": [1.5, 1.5, np.nan],
        }
    )


def test_scores_are_shown_with_their_intervals_and_the_best_in_bold(tidy: Tidy) -> None:
    html = show_scores(tidy(ours=0.6, x=0.4, majority=0.1)).to_html()
    assert "0.600 [0.500, 0.700]" in html
    style = html[: html.index("</style>")]
    # the caption's, that of the best joint score, those of the tasks, where all are alike
    assert style.count("font-weight: bold") == 1 + 2
    assert "#777777" in style  # of the yardstick
    assert "Joint score" in html


def test_scores_on_clips_that_chose_the_epoch_are_marked_wherever_they_stand(tidy: Tidy) -> None:
    scores = pd.concat([tidy(chose="epoch", ensemble=0.6), tidy(linear=0.5)], ignore_index=True)
    for html in (
        show_scores(scores, "Networks").to_html(),
        show_table_one(scores.assign(trained_as=scores["system"], note="")).to_html(),
        show_scores(seed_table(tidy(seeds=2, chose="epoch", ensemble=0.6))).to_html(),
    ):
        assert "ensemble †<" in html
        assert MARK_MEANS in html
        assert "linear †" not in html
        assert ">epoch<" not in html
    for figure in (score_bars(scores), table_one(scores)):
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels == ["ensemble †", "linear"]
        assert any(MARK_MEANS in ax.get_xlabel() for ax in figure.axes)
    assert "†" not in show_scores(tidy(linear=0.5)).to_html()


def test_scores_without_bounds_or_unknown_are_shown_plainly() -> None:
    table = pd.DataFrame({"name": ["a", "b"], "emotion": [0.5, np.nan]})
    table["emotion_low"] = table["emotion_high"] = np.nan
    html = show_scores(table).to_html()
    assert ">0.500<" in html
    assert ">–<" in html


def test_clips_are_counted_by_split() -> None:
    table = count_table(clips(), CLASSES).set_index("split")
    assert table.loc["train"].to_dict() == {
        "clips": 2,
        "labelled": 2,
        "with text": 2,
        "with video": 1,
        "minutes": 0.05,
    }
    assert table.loc["test", "labelled"] == table.loc["test", "with text"] == 0


def test_clips_are_shown_with_chinese_text_coloured_labels_and_nothing_unescaped() -> None:
    html = show_clips(clips(), CLASSES).to_html()
    assert "你怎么来了？？" in html
    assert "Noto Sans CJK SC" in html
    assert EMOTION_COLORS["surprise"] in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert ">–<" in html  # the unknown duration


def test_equal_tables_give_equal_html_and_different_ones_different_ids() -> None:
    first, second = (show_clips(clips(), CLASSES).to_html() for _ in range(2))
    assert first == second
    other = show_clips(clips()[:1], CLASSES).to_html()
    assert first.split("#T_")[1][:12] != other.split("#T_")[1][:12]


def recipes(tidy: Tidy, **joint: float) -> dict[str, Any]:
    """Stand for experiments, of two seeds each."""
    return {
        name: SimpleNamespace(
            name=name, failure="", notes=["a note"], scores=tidy("valid", 2, **{name: value})
        )
        for name, value in joint.items()
    }


def test_table_one_puts_the_papers_figure_beside_ours(tidy: Tidy) -> None:
    html = show_table_one(recipe_scores(recipes(tidy, ensemble=0.6, mine=0.5))).to_html()
    assert "0.600 [0.500, 0.700]" in html
    assert ">0.5532<" in html
    assert ">–<" in html
    assert "Trained as" not in html


def test_a_recipe_that_another_stands_for_names_it(tidy: Tidy) -> None:
    own = recipes(tidy, baseline=0.5, ensemble=0.6)
    shared = {"baseline": own["baseline"], "+pseudo-label": own["baseline"], **own}
    scores = recipe_scores(shared)
    joint = scores[(scores["score"] == "joint") & (scores["kind"] == SINGLE)]
    assert joint["system"].tolist() == ["baseline", "+pseudo-label", "ensemble"]
    assert joint["trained_as"].tolist() == ["baseline", "baseline", "ensemble"]
    assert "Trained as" in show_table_one(scores).to_html()
    seeds = seed_table(scores)
    assert seeds["name"].tolist() == ["baseline"] * 2 + ["ensemble"] * 2
    assert seeds["seed"].tolist() == [0, 1, 0, 1]


def test_a_recipe_that_failed_is_a_row_that_says_why(tidy: Tidy) -> None:
    own = recipes(tidy, baseline=0.5, mine=0.5)
    own["mine"].failure = "The training <diverged>."
    own["mine"].scores = failed_table("mine", "valid", ["emotion", "intent"])
    scores = recipe_scores(own)
    html = show_table_one(scores).to_html()
    assert "The training &lt;diverged&gt;." in html
    assert "mine" in show_scores(scores).to_html()
    assert seed_table(scores)["name"].tolist() == ["baseline"] * 2


def test_notes_are_told_once_with_the_recipes_they_are_about(tidy: Tidy) -> None:
    own = recipes(tidy, a=0.5, b=0.5)
    own["b"].notes = ["a note", "another"]
    table = notes_table(own)
    assert table.to_numpy().tolist() == [["all", "a note"], ["b", "another"]]
    own["a"].notes = own["b"].notes = []
    assert notes_table(own)["note"].tolist() == ["nothing"]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
def test_published_scores_are_those_of_the_setting(setting: Setting) -> None:
    table = published_table(setting)
    assert table["joint"][0] == setting.official_baseline.joint
    winners = table["name"].str.contains("winners")
    assert winners.any() == (setting.name == "track1-mandarin")
    assert table.loc[winners, "joint"].tolist() == ([0.5532] if winners.any() else [])


def test_a_check_is_shown_as_its_verdict_or_its_faults() -> None:
    row = f"clip,{EMOTIONS[0]},{INTENTS[0]}\n".encode()
    valid = check_bytes("demo.csv", b"filename,emo_pred,int_pred\n" + row, ["clip"])
    assert ">valid<" in show_check(valid).to_html()
    faulty = check_bytes("demo.csv", row, ["clip", "other"])
    html = show_check(faulty).to_html()
    assert "the header is missing" in html
    assert "other has no row" in html
    assert "&lt;NA&gt;" not in html


def test_a_page_sets_no_formula_from_a_name() -> None:
    html = show_table(pd.DataFrame({"clip_id": ["$x^$ & $y$"]}), "$x$").to_html()
    assert re.search(r'<table[^>]* class="tex2jax_ignore mathjax_ignore"', html)
    assert "$x^$ &amp; $y$" in html
