"""Clips of one's own: a table as people and spreadsheets write it, and videos beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meiju_utils.challenge import MODALITIES
from meiju_utils.config import validate_profile
from meiju_utils.corpus.own import survey_own
from meiju_utils.corpus.schema import validate_clips
from meiju_utils.corpus.settling import settled
from meiju_utils.corpus.survey import Survey
from meiju_utils.errors import ConfigError, CorpusError, MeijuError
from meiju_utils.opening import plan_run

HEAD = "clip_id,video,text,split,emotion,intent"
SPLITS = ("train", "train", "train", "valid", "test")


def rows(count: int = 10, **columns: Callable[[int], str]) -> pd.DataFrame:
    """A sound table of so many clips, with some columns otherwise."""
    standard: dict[str, Callable[[int], str]] = {
        "clip_id": lambda i: f"c{i}",
        "video": lambda i: f"c{i}.mp4",
        "text": lambda i: f"words {i}",
        "split": lambda i: SPLITS[i % 5],
        "emotion": lambda i: ("calm", "tense")[i % 2],
        "intent": lambda i: ("ask", "tell", "beg")[i % 3],
    }
    return pd.DataFrame(
        {name: [make(i) for i in range(count)] for name, make in {**standard, **columns}.items()}
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(table)`: a folder with that table, a frame or its text, and c0.mp4 to c9.mp4."""

    def make(table: pd.DataFrame | str | bytes, videos: int = 10) -> Path:
        folder = tmp_path / "clips"
        folder.mkdir(exist_ok=True)
        for i in range(videos):
            (folder / f"c{i}.mp4").write_bytes(b"film")
        if isinstance(table, pd.DataFrame):
            table = table.to_csv(index=False)
        content = table if isinstance(table, bytes) else table.encode()
        (folder / "clips.csv").write_bytes(content)
        return folder

    return make


def look(folder: Path, dealt: dict[str, Any] | None = None, **settings: Any) -> Survey:
    config = settled(validate_profile({"name": "mine", **settings}), folder)
    survey = survey_own(config, folder, dealt or {})
    if not survey.faults:
        validate_clips(survey.corpus.clips, config.setting)
    return survey


def faults(folder: Path, **settings: Any) -> str:
    """What a user is told of a folder that cannot be used."""
    try:
        found = look(folder, **settings).faults
    except MeijuError as error:
        return str(error)
    assert found
    return "\n".join(found)


def kinds(survey: Survey) -> list[str]:
    return survey.corpus.problems["problem"].tolist()


def test_a_whole_table_becomes_the_clips_table(write: Callable[..., Path]) -> None:
    folder = write(rows())
    config = settled(validate_profile({"name": "mine", "metric": "macro"}), folder)
    assert config.setting.classes == {
        "emotion": ("calm", "tense"),
        "intent": ("ask", "beg", "tell"),
    }
    assert (config.setting.average, config.setting.name) == ("macro", "own-mandarin")
    survey = look(folder)
    clips = survey.corpus.clips.set_index("clip_id")
    assert kinds(survey) == []
    assert clips["split"].value_counts().to_dict() == {"train": 6, "valid": 2, "test": 2}
    assert clips.loc["c4"][["video", "text", "emotion", "intent"]].tolist() == [
        *("c4.mp4", "words 4", "calm", "tell"),  # of a test clip, too: its label is known
    ]


@pytest.mark.parametrize(
    "table",
    [
        "\ufeff" + rows().to_csv(index=False, sep=";").replace("\n", "\r\n"),
        "sep=;\n" + rows().to_csv(index=False, sep=";"),
        rows().to_csv(index=False, sep="\t"),
        rows().to_csv(index=False).encode("utf-16"),
        rows().rename(columns=lambda c: f" {c.upper().replace('_', ' ')} ").to_csv(index=False),
        rows(
            split=lambda i: {"valid": "Dev", "train": "TRAINING"}.get(SPLITS[i % 5], "Test")
        ).to_csv(),
        rows(emotion=lambda i: ("Calm", "tense ")[i % 2]).to_csv(index=False),
    ],
    ids=["excel", "sep line", "tabs", "utf-16", "headings", "words for splits", "spaces"],
)
def test_a_table_as_spreadsheets_write_it_reads_the_same(
    write: Callable[..., Path], table: str | bytes
) -> None:
    clips = look(write(table), labels={"emotion": ["calm", "tense"], "intent": []}).corpus.clips
    standard = look(write(rows())).corpus.clips
    pd.testing.assert_frame_equal(clips, standard)


def test_a_missing_column_is_done_without(write: Callable[..., Path]) -> None:
    of_names = look(write(rows().drop(columns=["video", "text"])))
    assert (
        of_names.corpus.clips["video"].tolist()
        == look(write(rows())).corpus.clips["video"].tolist()
    )
    assert (of_names.corpus.clips["text"] == "").all()
    of_files = look(write(rows().drop(columns=["clip_id"])))
    assert set(of_files.corpus.clips["clip_id"]) == {f"c{i}" for i in range(10)}
    survey = look(
        write(rows().drop(columns="intent")), labels={"emotion": [], "intent": ["a", "b"]}
    )
    assert "emotion" in survey.corpus.clips
    assert "intent" not in survey.corpus.clips
    assert "no column intent; the task is off" in survey.corpus.problems["reason"].iloc[0]


def test_a_task_of_another_name_is_named_in_the_profile(write: Callable[..., Path]) -> None:
    table = rows().rename(columns={"emotion": "sentiment"}).drop(columns="intent")
    table["sentiment"] = ["2", "-1", "10", "-1", "2"] * 2
    folder = write(table)
    told = faults(folder)
    assert "no column of labels" in told
    assert "'sentiment'" in told
    assert "labels: {sentiment: []}" in told
    config = settled(validate_profile({"name": "mine", "labels": {"sentiment": None}}), folder)
    assert config.setting.classes == {"sentiment": ("-1", "2", "10")}
    assert config.setting.submission_columns == ("clip_id", "sentiment")
    assert look(folder, labels={"sentiment": [-1, 2, 10]}).faults == []


def test_odd_labels_are_labels(write: Callable[..., Path]) -> None:
    names = ["no, never", "喜欢", "a  b", "x:y", '"quoted"']
    table = rows(
        20, emotion=lambda i: names[i % 5], video=lambda i: "", split=lambda i: SPLITS[i // 4]
    )
    survey = look(write(table))
    assert set(survey.corpus.clips["emotion"]) == {"no, never", "喜欢", "a b", "x:y", '"quoted"'}
    many = rows(
        400, emotion=lambda i: f"e{i % 200}", video=lambda i: "", split=lambda i: SPLITS[i % 5]
    )
    assert not look(write(many)).faults


def test_clips_without_labels_go_to_the_pool(write: Callable[..., Path]) -> None:
    table = rows(emotion=lambda i: "" if i == 0 else ("calm", "tense")[i % 2])
    table.loc[1, ["emotion", "intent"]] = ""
    survey = look(write(table))
    pool = survey.corpus.clips.query("split == 'unlabeled'")
    assert pool["clip_id"].tolist() == ["c0", "c1"]
    assert (pool[["emotion", "intent"]] == "").all(axis=None)
    reasons = "\n".join(survey.corpus.problems["reason"])
    assert "2 train clips lack a label" in reasons
    assert "1 clips have one label of two" in reasons


def test_parts_of_videos(write: Callable[..., Path]) -> None:
    table = rows(video=lambda i: f"c{i // 5}.mp4").drop(columns="clip_id")
    table["start_s"] = [f"{i % 5},5" for i in range(10)]
    table["end_s"] = [f"0:0{i % 5 + 1}.25" for i in range(10)]
    clips = look(write(table.to_csv(index=False, sep=";"))).corpus.clips.set_index("clip_id")
    assert clips.loc["c1_0003500"][["video", "start_s", "end_s"]].tolist() == ["c1.mp4", 3.5, 4.25]
    assert len(clips) == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start_s": "5", "end_s": "3"}, r"clips.csv:4: start_s 5 is not before end_s 3"),
        ({"start_s": "soon", "end_s": ""}, r"clips.csv:4: start_s 'soon' is no time"),
        ({"clip_id": "c1"}, r"clips.csv:4: c1 stands here for the second time \(first in line 3\)"),
        ({"clip_id": "3/4/2024"}, "is no clip name.*It looks like a date"),
        ({"clip_id": "", "video": ""}, "clips.csv:4: no clip_id and no video"),
        ({"emotion": "tens"}, "clips.csv:4: unknown emotion 'tens': did you mean 'tense'"),
        ({"split": "trian"}, "clips.csv:4: unknown split 'trian': did you mean 'train'"),
        ({"split": ""}, "1 labelled clips have no split"),
    ],
)
def test_a_wrong_row_is_named_with_its_remedy(
    write: Callable[..., Path], change: dict[str, str], words: str
) -> None:
    table = rows().assign(start_s="", end_s="")
    table.loc[2, list(change)] = list(change.values())
    labels = {"emotion": ["calm", "tense"], "intent": []}
    assert_found(words, faults(write(table), labels=labels))


def assert_found(words: str, told: str) -> None:
    import re

    assert re.search(words, told, re.DOTALL), told
    assert len(told) < 2000


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "clips.csv is empty"),
        (HEAD + "\n", "a heading and no row"),
        (rows().rename(columns={"emotion": "emotoin"}), "unknown column 'emotoin': did you mean"),
        (rows().assign(Emotion="calm"), "two columns emotion"),
        (rows(split=lambda i: SPLITS[3 + i % 2]), "no train clips, to learn from"),
        (rows(split=lambda i: "train"), "no valid clips.*no test clips"),
        (rows(emotion=lambda i: "calm"), "the column emotion has only 'calm'"),
        (rows(emotion=lambda i: ""), "the column emotion has none"),
        (rows(1500, emotion=lambda i: f"It was {i}"), "1500 different labels"),
        (rows(emotion=lambda i: ("calm", "Calm")[i % 2]), "differ in case alone"),
        (
            rows(emotion=lambda i: "tense" if i == 9 else "calm"),
            "all 6 train clips have the emotion",
        ),
        (rows(video=lambda i: f"films/{i}.mp4"), "None of 10 videos is in"),
        (rows(video=lambda i: f"{i + 1}-Mar"), "None of 10 videos.*It looks like a date"),
        (
            rows(emotion=lambda i: "" if i == 3 else ("calm", "tense")[i % 2]),
            r"valid clips lack .*c3",
        ),
        (b"clip_id,emotion\n\x00\x01\x02,x\n", "NUL"),
        ('clip_id,text,emotion\na,"open,calm\n', "not valid CSV"),
        ("clip_id,text,emotion\na,well, yes,calm\n", "double quotes"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_words(
    write: Callable[..., Path], table: Any, words: str
) -> None:
    assert_found(words, faults(write(table)))


def test_a_video_that_is_missing_is_a_problem_of_its_clip(write: Callable[..., Path]) -> None:
    survey = look(write(rows(video=lambda i: f"c{i}.mp4" if i != 4 else "gone.mp4")))
    assert survey.faults == []
    (row,) = survey.corpus.problems.query("problem == 'absent'").to_dict("records")
    assert row["clip_id"] == "c4"
    assert "clips.csv:6: video 'gone.mp4': not in the folder" in row["reason"]


def test_videos_are_found_by_name_and_by_path(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(rows())
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("c0.mp4", "c1.mp4"):
        (folder / name).rename(folder / "deep" / "er" / name)
    (folder / "c2.mp4").rename(folder / "c2.MOV")
    ways = [
        *("C0", "deep\\er\\c1.mp4", "c2", "./c3.mp4", str(folder / "c4.mp4"), "../clips/c5.mp4"),
        *(f"c{i}.mp4" for i in range(6, 10)),
    ]
    clips = look(write(rows(video=lambda i: ways[i]), videos=0)).corpus.clips.set_index("clip_id")
    found = clips.loc[[f"c{i}" for i in range(10)], "video"].tolist()
    assert found == [
        "deep/er/c0.mp4",
        "deep/er/c1.mp4",
        "c2.MOV",
        *(f"c{i}.mp4" for i in range(3, 10)),
    ]
    (folder / "other").mkdir()
    (folder / "other" / "c0.mp4").write_bytes(b"film")
    problems = look(folder).corpus.problems
    assert "2 videos bear that name" in problems.set_index("clip_id").loc["c0", "reason"]


@pytest.mark.parametrize(
    ("dropped", "settings", "left"),
    [
        ([], {}, ["audio", "visual", "text"]),
        (["text"], {}, ["audio", "visual"]),
        (["text"], {"preprocessing": {"transcripts": {"asr": "some/whisper"}}}, [*MODALITIES]),
        (["text"], {"embeddings": {"text": "npy:somewhere"}}, [*MODALITIES]),
        (["video"], {}, [*MODALITIES]),  # found by the clips' names
    ],
)
def test_a_modality_that_no_clip_has_is_off(
    write: Callable[..., Path], dropped: list[str], settings: dict[str, Any], left: list[str]
) -> None:
    folder = write(rows().drop(columns=dropped))
    profile = validate_profile({"name": "mine", **settings})
    assert list(settled(profile, folder).embeddings.chosen()) == left
    if dropped == ["text"]:
        assert "no text" in kinds(look(folder, **settings))


def test_words_alone_turn_sound_and_picture_off(write: Callable[..., Path]) -> None:
    folder = write(rows(video=lambda i: ""))
    profile = validate_profile({"name": "mine", "embeddings": {"compare": {"audio": ["prosody"]}}})
    found = settled(profile, folder)
    assert list(found.embeddings.chosen()) == ["text"]
    assert found.embeddings.compare == {}
    assert settled(profile, folder.parent / "gone", found).embeddings == found.embeddings
    assert "no video" in kinds(look(folder))


def test_three_clips_are_too_few_which_is_said(write: Callable[..., Path]) -> None:
    told = faults(write(rows(3).drop(columns=["split", "intent"])))
    assert "all 1 train clips have the emotion" in told
    assert "Label more clips" in told


def test_labels_need_their_table_and_a_metric_clips_of_ones_own(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match="meiju init"):
        settled(validate_profile({"name": "mine", "labels": {"mood": []}}), tmp_path)
    with pytest.raises(ConfigError, match="the metric of track1-mandarin is the challenge's"):
        settled(validate_profile({"name": "demo", "metric": "macro"}), tmp_path)
    official = validate_profile({"name": "demo"})
    assert settled(official, tmp_path) is official


def test_a_finished_run_knows_its_labels_without_its_data(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    from meiju_utils.opening import open_run

    folder, run_dir = write(rows()), tmp_path / "run"
    run = open_run("text-only", str(folder), str(run_dir))
    assert run.setting.tasks == ["emotion", "intent"]
    run.path("manifest.parquet").touch()
    folder.rename(tmp_path / "elsewhere")
    again = plan_run("text-only", str(folder), str(run_dir))
    assert again.setting == run.setting


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "names 0 tasks"),
        ({"a": [], "b": [], "c": []}, "names 3 tasks"),
        ({"joint": []}, "'joint' cannot name a task"),
        ({"my task": []}, "'my task' cannot name a task"),
        ({"mood": ["calm"]}, "one label"),
        ({"mood": ["calm", "calm"]}, "stands there twice"),
        ({"mood": ["calm", " tense"]}, "is no label"),
        ({"mood": [True, False]}, "put them in quotes"),
    ],
)
def test_labels_of_a_profile_that_cannot_be(labels: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validate_profile({"name": "mine", "labels": labels})
