"""What is written is what the challenge takes, and nothing else is written."""

import csv
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, TASKS, own_setting
from meiju_utils.config import Profile
from meiju_utils.errors import MissingStageError, SubmissionError
from meiju_utils.predictions import Answers
from meiju_utils.run import Run
from meiju_utils.run_folder import claim
from meiju_utils.submission.checker import check_submission
from meiju_utils.submission.writer import publish_submission, write_submission, zip_submission

IDS = [f"Track1_Testing_{i:05d}" for i in range(1, 9)]
LABELS = ([EMOTIONS[i % 7] for i in range(8)], [INTENTS[i] for i in range(8)])


def test_the_file_has_the_official_form_byte_for_byte(tmp_path: Path) -> None:
    labels = {"emotion": ["sad", "neutral"], "intent": ["wishing", "neutral"]}
    write_submission(tmp_path / "s.csv", IDS[:2], labels)
    assert (tmp_path / "s.csv").read_bytes() == (
        b"filename,emo_pred,int_pred\n"
        b"Track1_Testing_00001,sad,wishing\n"
        b"Track1_Testing_00002,neutral,neutral\n"
    )


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
                lambda name: name.strip() and "." not in name
            ),
            st.sampled_from(EMOTIONS),
            st.sampled_from(INTENTS),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
def test_whatever_is_written_passes_the_check_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("written") / "s.csv"
    ids, emotions, intents = map(list, zip(*rows, strict=True))
    write_submission(path, ids, {"emotion": emotions, "intent": intents})
    assert check_submission(path, ids).ok
    with path.open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == rows
    archive = zip_submission(path, path.with_suffix(".zip"))
    assert check_submission(archive, ids).ok


@pytest.mark.parametrize(
    ("ids", "emotions", "intents", "words"),
    [
        (IDS, ["joy"] * 8, LABELS[1], "emo_pred of Track1_Testing_00001 is 'joy'"),
        (IDS, LABELS[1], LABELS[0], "Swap the two columns"),
        ([f"{clip}.mp4" for clip in IDS], *LABELS, "file extension"),
        ([IDS[0]] * 8, *LABELS, "answered on line 2 already"),
        (IDS, LABELS[0][:-1], LABELS[1], "8 clips and 7 labels of emotion"),
        (IDS, [None, *LABELS[0][1:]], LABELS[1], "is empty"),
        (IDS, [float("nan"), *LABELS[0][1:]], LABELS[1], "is 'nan', not a label"),
        ([], [], [], "empty"),
    ],
)
def test_an_invalid_answer_is_refused_and_the_older_file_kept(
    tmp_path: Path, ids: list[str], emotions: list[str], intents: list[str], words: str
) -> None:
    path = tmp_path / "s.csv"
    path.write_text("older")
    with pytest.raises(SubmissionError, match=words):
        write_submission(path, ids, {"emotion": emotions, "intent": intents})
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_archive_holds_submission_csv_and_its_bytes_depend_on_content_only(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "one.csv", tmp_path / "two.csv"
    for path in (first, second):
        write_submission(path, IDS, dict(zip(TASKS, LABELS, strict=True)))
    archives = [zip_submission(path, path.with_suffix(".zip")) for path in (first, second)]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with zipfile.ZipFile(archives[0]) as archive:
        assert archive.namelist() == ["submission.csv"]
        assert archive.read("submission.csv") == first.read_bytes()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run named `mine` in a project folder of its own, its clips table written."""
    monkeypatch.chdir(tmp_path)
    opened = Run(Profile(name="demo"), tmp_path / "data", tmp_path / "runs" / "mine")
    opened.folder.mkdir(parents=True)
    splits = ["train", *["test"] * len(IDS)]
    clips = pd.DataFrame({"clip_id": ["Track1_Training_00001", *IDS], "split": splits})
    opened.save_table("clips", clips.assign(emotion="", intent="", sentiment=""))
    return opened


def table(ids: list[str] = IDS, labels: tuple[list[str], list[str]] = LABELS) -> pd.DataFrame:
    made = pd.DataFrame(
        {"clip_id": ids, "split": "test", "emotion": labels[0], "intent": labels[1]}
    )
    for task, classes in CLASSES.items():
        for label in classes:
            made[f"{task}:{label}"] = (made[task] == label).astype(float)
    return made


def answers() -> Answers:
    return Answers(table())


def test_a_run_leaves_its_submission_and_copies_named_after_its_folder(
    run: Run, tmp_path: Path
) -> None:
    published = publish_submission(run, Answers(table().sample(frac=1, random_state=1)))
    assert published.check.ok
    assert not published.check.warnings  # in the order of the test list, whatever came in
    assert published.in_run == run.folder / "submission.csv"
    assert published.csv == tmp_path / "submissions" / "mine.csv"
    assert published.zip == tmp_path / "submissions" / "mine.zip"
    assert published.in_run.read_bytes() == published.csv.read_bytes()
    before = published.zip.read_bytes()
    assert publish_submission(run, answers()).zip.read_bytes() == before


def test_two_run_folders_of_one_name_keep_their_copies_apart(run: Run, tmp_path: Path) -> None:
    claim(run.folder, run.setting.name)
    first = publish_submission(run, answers())
    other = Run(run.config, run.data_dir, tmp_path / "elsewhere" / "mine")
    shutil.copytree(run.folder, other.folder)
    changed = [*LABELS[0][1:], LABELS[0][0]], LABELS[1]
    second = publish_submission(other, Answers(table(labels=changed)))
    assert second.csv.name.startswith("mine-")
    assert second.csv == other.submission_files[1]
    assert first.csv.read_bytes() == run.path("submission.csv").read_bytes()
    assert second.csv.read_bytes() != first.csv.read_bytes()
    assert publish_submission(run, answers()).csv == first.csv  # each again under its own
    assert publish_submission(other, answers()).csv == second.csv
    shutil.rmtree(run.folder)  # or moved: the name is free
    assert publish_submission(other, answers()).csv == first.csv


def test_publishing_anything_but_the_test_clips_writes_nothing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="has no row"):
        publish_submission(run, Answers(table().iloc[:7]))
    assert not (tmp_path / "submissions").exists()
    assert not (run.folder / "submission.csv").exists()


def test_publishing_a_training_clip_is_a_fault(run: Run) -> None:
    extra = table(["Track1_Training_00001"], (["sad"], ["wishing"]))
    with pytest.raises(SubmissionError, match="'Track1_Training_00001' is not a test clip"):
        publish_submission(run, Answers(pd.concat([extra, table()])))


def test_answers_of_one_task_alone_are_no_submission(run: Run) -> None:
    emotion = table()[["clip_id", "split", "emotion", *(f"emotion:{e}" for e in EMOTIONS)]]
    with pytest.raises(SubmissionError, match="no intent"):
        publish_submission(run, Answers(emotion))


def test_publishing_before_preprocessing_names_the_notebook(run: Run) -> None:
    run.path("clips.parquet").unlink()
    with pytest.raises(MissingStageError, match="01_preprocessing"):
        publish_submission(run, answers())


def test_answers_on_clips_of_ones_own_follow_their_tasks_and_labels(
    run: Run, tmp_path: Path
) -> None:
    classes = {"sentiment": ("no, never", "喜欢", "Of course")}
    config = run.config.model_copy(update={"labels": {t: list(c) for t, c in classes.items()}})
    own = Run(config, run.data_dir, run.folder)
    given = pd.DataFrame({"clip_id": IDS, "split": "test"})
    given["sentiment"] = [classes["sentiment"][i % 3] for i in range(len(IDS))]
    for label in classes["sentiment"]:
        given[f"sentiment:{label}"] = (given["sentiment"] == label).astype(float)
    published = publish_submission(own, Answers(given))
    assert pd.read_csv(published.csv)["sentiment"].tolist() == given["sentiment"].tolist()
    assert published.csv.read_text("utf-8").startswith(
        'clip_id,sentiment\nTrack1_Testing_00001,"no'
    )
    setting = own_setting("english", "macro", classes)
    spelt = published.csv.read_text("utf-8").replace("Of course", "of course")
    published.csv.write_text(spelt.replace("喜欢", "2"), "utf-8")
    kinds = {fault.remedy for fault in check_submission(published.csv, IDS, setting).faults}
    assert kinds == {"Write 'Of course'", "Write the label, 'Of course'"}
    published.csv.write_text(spelt.replace(",", ";"), "utf-8")
    found = check_submission(published.csv, IDS, setting)
    assert "separated by ';'" in str(found)
