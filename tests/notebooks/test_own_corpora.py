"""All six notebooks on clips of one's own: parts of long videos, other labels, one task alone."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from meiju_utils.cli import app
from meiju_utils.config import validate_profile
from meiju_utils.execution import run_notebooks
from meiju_utils.reporting.results import read_results
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT, wide
from meiju_utils.submission.ledger import read_ledger
from tests.clips import numbered_frames, write_clip
from tests.corpus.conftest import utter
from tests.notebooks.conftest import ROOT

PAGE = (ROOT / "docs/your-own-clips.md").read_text(encoding="utf-8")
# Enough to pass through every branch; what is learned does not matter here.
QUICK = {
    "training.seeds": [0],
    "training.epochs": 1,
    "parallel.backend": "serial",
    "preprocessing.faces.detect_every": 50,
}
MOODS = ("calm", "tense, very", "高兴", "sad", "odd")
ACTS = tuple(f"act {i}" for i in range(9))


@pytest.fixture
def quick(quick_recipes: str) -> dict[str, Any]:
    return {**QUICK, "recipes": quick_recipes}


def write_table(folder: Path, rows: list[Mapping[str, Any]]) -> None:
    with (folder / "clips.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def run_all(folder: Path, profile: str, overrides: dict[str, Any]) -> tuple[Run, str]:
    """The run, and all that its notebooks told."""
    run_dir = folder.parent / "runs" / folder.name
    run, executed = run_notebooks(profile, str(folder), str(run_dir), overrides)
    return run, "".join(one.html.read_text(encoding="utf-8") for one in executed)


def test_five_times_nine_labels_cut_from_three_long_videos(
    project: Path, here: None, tmp_path: Path, quick: dict[str, Any]
) -> None:
    folder, rows = tmp_path / "films", []
    folder.mkdir()
    for film in range(3):
        voices = [utter(30 * film + i, 0.5) for i in range(30)]
        frames = numbered_frames(60)
        times = [i / 4 for i in range(60)]
        write_clip(folder / f"film {film}.mp4", frames, np.concatenate(voices), times=times)
        for i in range(30):
            pair = 30 * film + i
            split = ("train", "train", "train", "train", "train", "dev", "test")[pair // 2 % 7]
            rows.append(
                {
                    "clip_id": f"f{film}_{i:02d}",
                    "video": f"film {film}.mp4",
                    "start_s": f"{i / 2:.1f}".replace(".", ","),
                    "end_s": f"{(i + 1) / 2:.1f}".replace(".", ","),
                    "text": f"words {pair % 7} and {pair % 5}",
                    "split": split,
                    "emotion": "" if split == "test" else MOODS[pair % 5],  # not known
                    "intent": "" if split == "test" else ACTS[pair % 9],
                    "speaker": f"s{pair // 2}",
                }
            )
    for row in rows[:10]:
        row["intent"] = ""  # the pool
    write_table(folder, rows)
    overrides = {**quick, "language": "english", "metric": "macro", "embeddings.compare": {}}
    overrides |= {"embeddings.tiny_checkpoints": False, "embeddings.visual": None}
    run, shown = run_all(folder, "demo", overrides)
    clips = run.table("clips").set_index("clip_id")
    counts = {"train": 56, "valid": 12, "test": 12, "unlabeled": 10}
    assert clips["split"].value_counts().to_dict() == counts
    assert clips["duration_s"].between(0.45, 0.55).all()
    assert clips.groupby("group")["split"].nunique().max() <= 2  # of a split and the pool
    submission = pd.read_csv(run.path("submission.csv"))
    assert list(submission.columns) == ["clip_id", "emotion", "intent"]
    assert set(submission["clip_id"]) == set(clips.index[clips["split"] == "test"])
    assert set(submission["emotion"]) <= set(MOODS)
    assert read_results(run).test_clips == 0
    assert "The true labels of the test clips are not known" in shown
    assert "高兴" in shown
    assert "5 emotions and 9 intents; the metric is macro F1" in shown


def test_a_task_called_sentiment_on_words_alone(
    project: Path, here: None, tmp_path: Path, quick: dict[str, Any]
) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    names = ("negative", "neutral", "positive")
    write_table(
        folder,
        [
            {
                "clip_id": f"r{i}",
                "text": f"it was {names[i % 3]} {i % 4}",
                "sentiment": names[i % 3],
            }
            for i in range(60)
        ],
    )
    profile = tmp_path / "reviews.yaml"
    profile.write_text("labels: {sentiment: []}\nlanguage: other\n")  # sound and picture go off
    run, shown = run_all(folder, str(profile), quick)
    submission = pd.read_csv(run.path("submission.csv"))
    assert list(submission.columns) == ["clip_id", "sentiment"]
    scores = wide(read_results(run).on("test")).set_index("name")
    assert (scores["sentiment"] == scores[JOINT]).all()  # of the test clips in the table
    # the words say it; ten test clips or so
    assert scores.loc["logistic-regression", JOINT] > scores.loc["majority", JOINT] + 0.2
    report = run.path("report.html").read_text(encoding="utf-8")
    for page in (report, shown):
        assert "Sentiment F1" in page
        assert not re.search(r"Emotion F1|Intent F1", page)
        assert "One task, sentiment" in page
    (row,) = read_ledger().query("run == 'reviews'").to_dict("records")
    assert float(row["test_sentiment"]) == pytest.approx(float(row["test_joint"]))
    assert row["handed_in"] == "no"
    members = [member.split(" ")[0] for member in row["members"].split("; ")]
    assert members == ["svm-text", "nb-svm"]  # no audio, no pool and so no students
    for words in (
        "There are no unlabelled clips",
        "Pseudo labels by class: nothing to show.",
        ">1textcnn-clean<",
        "Only text is in use",
    ):
        assert words in shown
    assert "There are no unlabelled clips, so none are labelled" in report
    assert "Not computed in this run" not in report


def commands() -> list[list[str]]:
    lines = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
    return [line.split()[1:] for line in lines.splitlines() if line]


def test_every_command_of_the_page_runs_in_order_on_clips_with_emotion_alone(
    project: Path, here: None, quick: dict[str, Any]
) -> None:
    folder = project / "my_clips"
    for path in (folder / "anna", project / "other_clips"):
        path.mkdir(parents=True)
    for i in range(40):
        write_clip(folder / "anna" / f"{i:02d}.mp4", numbered_frames(8), utter(i, 0.4))
    write_clip(project / "other_clips" / "x9.mp4", numbered_frames(8), utter(3, 0.4))
    settings = [f"{key}={json.dumps(value)}" for key, value in quick.items()]
    told = []
    for command in commands():
        if command[0] == "run":
            command += [part for one in settings for part in ("--set", one)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
        told.append(result.output)
        if command[0] == "init":
            table = pd.read_csv(folder / "clips.csv", dtype=str, keep_default_na=False)
            assert table["video"].tolist() == [f"anna/{i:02d}.mp4" for i in range(40)]
            table["emotion"] = [("calm", "tense")[i % 2] for i in range(40)]
            table.drop(columns="intent").to_csv(folder / "clips.csv", index=False)
    assert re.search(r"03 \(\w+\) = x9: ", told[-1])
    run_dir = project / "runs" / "my_clips"
    assert list(pd.read_csv(run_dir / "submission.csv").columns) == ["clip_id", "emotion"]
    assert (run_dir / "report.html").is_file()


def test_the_profiles_of_the_page_are_sound() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    mine, mc_eiu = (validate_profile(yaml.safe_load(block)) for block in blocks)
    assert mine.labels == {"emotion": []}
    assert {t: len(names) for t, names in (mc_eiu.labels or {}).items()} == {
        "emotion": 7,
        "intent": 9,
    }
    assert all(block.split("\n", 1)[0] in PAGE for block in blocks)


@pytest.mark.parametrize("name", ["README.md", "docs/your-own-clips.md"])
def test_the_section_on_ones_own_clips_names_files_that_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / name).parent / target).exists(), target


def test_the_readme_says_it_in_twenty_lines() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Your own clips\n")[1].split("\n## ")[0]
    assert len(section.strip().splitlines()) <= 20
