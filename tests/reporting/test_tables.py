"""Tables say what they were given, escaped, with Chinese, the same bytes every time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import EMOTIONS, INTENTS, SETTINGS, Setting
from meiju_utils.metrics import Interval, ScoreIntervals
from meiju_utils.reporting.palette import EMOTION_COLORS
from meiju_utils.reporting.tables import (
    count_table,
    published_table,
    recipe_table,
    score_table,
    seed_table,
    show_check,
    show_clips,
    show_scores,
    show_table_one,
)
from meiju_utils.submission.checker import check_bytes


def intervals(joint: float) -> ScoreIntervals:
    emotion = Interval(0.5, 0.45, 0.55)
    return ScoreIntervals(emotion, emotion, Interval(joint, joint - 0.05, joint + 0.05))


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


def test_the_score_table_has_each_bound_in_a_column() -> None:
    table = score_table({"ours": intervals(0.6), "theirs": intervals(0.4)})
    assert table["name"].tolist() == ["ours", "theirs"]
    assert table["joint"].tolist() == [0.6, 0.4]
    assert table["joint_low"].tolist() == pytest.approx([0.55, 0.35])
    assert table["emotion_high"].tolist() == [0.55, 0.55]
    assert list(score_table({}).columns) == list(table.columns)


def test_scores_are_shown_with_their_intervals_and_the_best_in_bold() -> None:
    html = show_scores(score_table({"ours": intervals(0.6), "x": intervals(0.4)})).to_html()
    assert "0.600 [0.550, 0.650]" in html
    bold = html[: html.index("</style>")]
    assert bold.count("font-weight: bold") == 2  # the caption's, and that of the best
    assert "Joint score" in html


def test_scores_without_bounds_or_unknown_are_shown_plainly() -> None:
    table = pd.DataFrame({"name": ["a", "b"], "joint": [0.5, np.nan]})
    html = show_scores(table).to_html()
    assert ">0.500<" in html
    assert ">–<" in html


def test_clips_are_counted_by_split() -> None:
    table = count_table(clips()).set_index("split")
    assert table.loc["train"].to_dict() == {
        "clips": 2,
        "labelled": 2,
        "with text": 2,
        "with video": 1,
        "minutes": 0.05,
    }
    assert table.loc["test", "labelled"] == table.loc["test", "with text"] == 0


def test_clips_are_shown_with_chinese_text_coloured_labels_and_nothing_unescaped() -> None:
    html = show_clips(clips()).to_html()
    assert "你怎么来了？？" in html
    assert "Noto Sans CJK SC" in html
    assert EMOTION_COLORS["surprise"] in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert ">–<" in html  # the unknown duration


def test_equal_tables_give_equal_html_and_different_ones_different_ids() -> None:
    first, second = (show_clips(clips()).to_html() for _ in range(2))
    assert first == second
    other = show_clips(clips()[:1]).to_html()
    assert first.split("#T_")[1][:12] != other.split("#T_")[1][:12]


def test_table_one_puts_the_papers_figure_beside_ours() -> None:
    html = show_table_one(
        score_table({"ensemble": intervals(0.6), "mine": intervals(0.5)})
    ).to_html()
    assert "0.600 [0.550, 0.650]" in html
    assert ">0.5532<" in html
    assert ">–<" in html


@dataclass(frozen=True)
class Trained:
    """Stands for an experiment."""

    name: str
    joint: float

    @property
    def single_intervals(self) -> ScoreIntervals:
        return intervals(self.joint)

    @property
    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        return {"seeds": {"0": {"emotion": 0.5, "intent": 0.5, "joint": self.joint}}}


def test_a_recipe_that_another_stands_for_names_it() -> None:
    baseline, ensemble = Trained("baseline", 0.5), Trained("ensemble", 0.6)
    own: Any = {"baseline": baseline, "ensemble": ensemble}
    assert "trained_as" not in recipe_table(own)
    shared: Any = {"baseline": baseline, "+pseudo-label": baseline, "ensemble": ensemble}
    table = recipe_table(shared)
    assert table["trained_as"].tolist() == ["baseline", "baseline", "ensemble"]
    assert table["joint"].tolist() == [0.5, 0.5, 0.6]
    assert "Trained as" in show_table_one(table).to_html()
    assert seed_table(list(shared.values()))["name"].tolist() == ["baseline", "ensemble"]


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
