"""The report is one page that needs nothing else, and says what it lacks."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pandas as pd
import pytest

from meiju_utils.challenge import EMOTIONS, INTENTS
from meiju_utils.config import Profile
from meiju_utils.reporting import plots
from meiju_utils.reporting.report import PoolParts, ReportParts, render_report
from meiju_utils.reporting.results import Results
from meiju_utils.run import Run
from meiju_utils.scoring import concatenated
from meiju_utils.submission.checker import check_bytes

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Finds tags that are not closed in order, and collects what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


Tidy = Callable[..., pd.DataFrame]


def results(tidy: Tidy, test: bool = True) -> Results:
    joint = {"mine": 0.584, "logistic_regression": 0.523, "majority": 0.11}
    parts = [tidy("valid", mine=0.612), *([tidy("test", **joint)] if test else [])]
    scores = concatenated(parts)
    clips = 160 if test else 0
    return Results("demo", "track1-mandarin", "weighted", "mine", "k", 80, clips, scores)


def full(tidy: Tidy) -> ReportParts:
    clips = pd.DataFrame(
        {
            "clip_id": [f"clip{i}" for i in range(10)],
            "split": ["train"] * 8 + ["test"] * 2,
            "video": "a.mp4",
            "text": "你好<b>",
            "emotion": [*EMOTIONS, "sad", "", ""],
            "intent": [*INTENTS, "", ""],
            "duration_s": 1.5,
        }
    )
    problem = {"clip_id": ["clip0"], "stage": ["media"], "problem": ["MediaError"]}
    data = b"filename,emo_pred,int_pred\nclip8,sad,wishing\n"
    return ReportParts(
        clips=clips,
        problems=pd.DataFrame({**problem, "reason": ["no <video> stream"]}),
        networks=tidy(network=0.5),
        pool=PoolParts(
            told=["None of 480 clips reaches 0.99.", "Nothing <is> chosen."],
            audit=pd.DataFrame(columns=["task", "label"]),
            asked=0.99,
            by_class=pd.DataFrame(columns=["task", "label", "cap"]),
            rules=tidy(strict=0.5),
        ),
        table_one=tidy(baseline=0.51, ensemble=0.53).assign(trained_as="baseline", note=""),
        recipe="mine",
        members=tidy(baseline=0.5, mine=0.6),
        truth=clips[:8],
        answers=clips[:8],
        check=check_bytes("demo.csv", data, ["clip8", "clip9"]),
        results=results(tidy),
        verdicts={
            "network": "On these clips A beats B.",
            "steps": "Of 7 steps <none> holds.",
            "test": "On the test clips C beats D.",
        },
        figures={"My <own> figure": plots.score_bars(tidy(a=0.5))},
        keys={"prosody": "abc123"},
        seconds=412,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("report")
    return Run(Profile(name="demo"), folder / "data", folder / "runs" / "mine")


@pytest.fixture(scope="module")
def full_page(run: Run, tidy: Tidy) -> str:
    return page(run, full(tidy))


def page(run: Run, parts: ReportParts) -> str:
    path = render_report(run, parts)
    assert path == run.folder / "report.html"
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_loads_nothing_from_elsewhere(full_page: str) -> None:
    check_page(full_page)


def check_page(text: str) -> None:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in parser.loads)
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)


def test_the_page_shows_the_parts_it_was_given(full_page: str) -> None:
    text = full_page
    for words in (
        "0.584",
        "What is handed in, mine",
        "0.110 of majority, 0.523 of logistic-regression",
        "Handed in: mine.",
        "95 % interval 0.484 to 0.684",
        "你好&lt;b&gt;",
        "no &lt;video&gt; stream",
        "0.5532",
        "clip9 has no row",
        "abc123",
        "6.9 minutes",
        "training:",
        "My &lt;own&gt; figure",
        "160 test clips",
        "None of 480 clips reaches 0.99.</p>",
        "Nothing &lt;is&gt; chosen.",
        "On these clips A beats B.",
        "Of 7 steps &lt;none&gt; holds.",
        "On the test clips C beats D.",
        "Rules side by side",
    ):
        assert words in text, words
    assert "<b>" not in text
    assert text.count("data:image/png") == 10


def test_parts_that_were_not_computed_name_their_notebook(run: Run) -> None:
    text = page(run, ReportParts())
    check_page(text)
    for number in range(1, 7):
        assert re.search(rf"notebooks/0{number}_\w+\.ipynb", text)
    assert "data:image" not in text
    assert "No submission scored yet" in text


def test_without_true_test_labels_the_headline_is_the_validation_score(
    run: Run, tidy: Tidy
) -> None:
    text = page(run, ReportParts(results=results(tidy, test=False)))
    assert "0.612" in text
    assert "on the 80 validation clips" in text
    assert "true labels of the test clips are not known" in text


def test_a_run_without_problems_says_so(run: Run) -> None:
    empty = pd.DataFrame(columns=["clip_id", "stage", "problem", "reason"], dtype="str")
    assert "No clip has a problem" in page(run, ReportParts(problems=empty))


def test_a_problem_of_the_whole_corpus_is_not_one_of_a_clip(run: Run) -> None:
    rows = [("", "corpus", "features only", "no clip has a video file")]
    problems = pd.DataFrame(rows, columns=["clip_id", "stage", "problem", "reason"])
    text = page(run, ReportParts(problems=problems))
    assert "No clip has a problem" in text
    assert "features only" in text
    two = pd.concat([problems, problems.assign(clip_id="a", problem="unreadable")])
    assert "Problems found in 1 clip." in page(run, ReportParts(problems=two))
