"""The reader: every quirk of the wild gives the same table, every contradiction a clear error."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meiju_utils.challenge import SETTINGS
from meiju_utils.corpus.official import read_corpus, survey_corpus
from meiju_utils.corpus.schema import clip_columns, validate_clips
from meiju_utils.errors import CorpusError

MANDARIN = SETTINGS[1, "mandarin"]
INSIDE = "NoAnnotation/transcription.csv"


def told(clips: pd.DataFrame) -> dict[str, tuple[str, str, str, str]]:
    rows = clips[["clip_id", "split", "text", "emotion", "intent"]].itertuples(index=False)
    return {row.clip_id: (row.split, row.text, row.emotion, row.intent) for row in rows}


def problems(corpus: Any, problem: str) -> list[str]:
    return corpus.problems.query("problem == @problem")["clip_id"].tolist()


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
@pytest.mark.parametrize("given", ["root", "track", "language", "flat"])
def test_each_setting_reads_from_each_folder_one_may_give(
    tmp_path: Path, write_release: Any, setting: Any, given: str
) -> None:
    release = write_release(tmp_path / "data", setting)
    if given == "flat":
        release.folder.rename(tmp_path / "flat")
    folder = {
        "root": release.data_dir,
        "track": release.folder.parent,
        "language": release.folder,
        "flat": tmp_path / "flat",
    }[given]
    corpus = read_corpus(folder, setting)
    assert told(corpus.clips) == release.clips
    assert all((folder / video).is_file() for video in corpus.clips["video"])
    assert corpus.problems.empty
    assert not corpus.features_only


def test_the_table_has_the_contracts_columns_and_order(tmp_path: Path, write_release: Any) -> None:
    clips = read_corpus(write_release(tmp_path, MANDARIN).data_dir, MANDARIN).clips
    assert list(clips.columns) == clip_columns(["emotion", "intent"])
    assert clips["split"].drop_duplicates().tolist() == ["train", "valid", "test", "unlabeled"]
    for _, part in clips.groupby("split"):
        assert part["clip_id"].is_monotonic_increasing
    later = clips[["start_s", "end_s", "duration_s", "face_score"]]
    assert later.isna().all(axis=None)
    assert not clips.drop(columns=later).isna().any(axis=None)
    assert (clips[["face_choice", "face_reason"]] == "").all(axis=None)


@pytest.mark.parametrize(
    "quirks",
    [
        {"track_name": "Track 1"},
        {"encoding": "utf-8-sig"},
        {"encoding": "gb18030"},
        {"encoding": "utf-16"},
        {"newline": "\r\n"},
        {"newline": "\r"},
        {"encoding": "utf-8-sig", "newline": "\r\n", "index_column": True},
        {"heading": ("name", "sentence")},
        {"heading": ("FILENAME", " subtitle ")},
        {"heading": None},
        {"index_column": True},
        {"label_columns": True},
        {"listed_suffix": ""},
        {"listed_suffix": ".MP4"},
        {"video_suffix": ".MP4"},
        {"testing_list": "Testing_files.txt"},
        {"testing_list": "Annotation/Mandarin_Testing_files.csv", "testing_table": ""},
        {"testing_list": "Track1_Mandarin_Testing_files.csv", "testing_table": ""},
        {"testing_list": "Testing/Testing_files.txt", "testing_folder": "Testing"},
        {"testing_table": "Testing/Testing_transcription.csv"},
        {"testing_folder": "Testing/Testing"},
        {"testing_folder": "../Testing"},
        {"testing_folder": "../../Testing"},
        {"testing_folder": "../../Testing/Mandarin"},
        {"pool_folder": "Annotation/NoAnnotation"},
    ],
    ids=lambda quirks: " ".join(map(str, quirks.values())),
)
def test_a_quirk_changes_nothing_in_the_table(
    tmp_path: Path, write_release: Any, quirks: dict[str, Any]
) -> None:
    release = write_release(tmp_path / "数据 集", MANDARIN, **quirks)
    corpus = read_corpus(release.data_dir, MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.problems.empty
    assert all((release.data_dir / video).is_file() for video in corpus.clips["video"])


@pytest.mark.parametrize(
    "table",
    [
        INSIDE,
        "NoAnnotation/NoAnnotation_transcription.csv",
        "NoAnnotation_transcription.csv",
        "Annotation/NoAnnotation_transcription.csv",
    ],
)
@pytest.mark.parametrize("heading", [("name", "sentence"), ("FileName", "Subtitle"), None])
@pytest.mark.parametrize("filmed", [True, False])
def test_pool_transcripts_are_found_and_define_the_pool_where_nothing_is_filmed(
    tmp_path: Path, write_release: Any, table: str, heading: Any, filmed: bool
) -> None:
    film = {} if filmed else {"film": None}
    release = write_release(tmp_path, MANDARIN, pool_table=table, pool_heading=heading, **film)
    corpus = read_corpus(tmp_path, MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.features_only is not filmed
    assert corpus.problems["problem"].tolist() == ([] if filmed else ["features only"])


def test_a_pool_of_text_alone_beside_filmed_clips_is_noted_once(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, pool_table=INSIDE)
    for path in release.folder.glob("NoAnnotation/*.mp4"):
        path.unlink()
    corpus = read_corpus(tmp_path, MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.problems["problem"].tolist() == ["no videos"]


def test_a_pool_transcript_without_a_clip_is_only_a_problem(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, pool_table=INSIDE)
    lost = release.ids("unlabeled")[0]
    release.file(f"{lost}.mp4").unlink()
    corpus = read_corpus(tmp_path, MANDARIN)
    assert lost not in set(corpus.clips["clip_id"])
    assert problems(corpus, "unlisted transcript") == [lost]


def test_missing_subtitles_are_empty_and_noted(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    table = release.file("Training_transcription.csv")
    header, nan, bare, gone, *rest = table.read_text(encoding="utf-8").splitlines()
    lines = [header, nan.split(",")[0] + ",NaN", bare.split(",")[0], *rest]
    table.write_text("\n".join(lines), encoding="utf-8")
    corpus = read_corpus(tmp_path, MANDARIN)
    without = release.ids("train")[:3]
    assert gone.startswith(without[2])
    assert corpus.clips.set_index("clip_id").loc[without, "text"].tolist() == ["", "", ""]
    assert problems(corpus, "no subtitle") == without


def test_a_test_table_may_lack_clips_of_the_test_list(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, testing_table="")
    some = release.ids("test")[1]
    table = release.folder / "Annotation" / "Mandarin_Testing_files.csv"
    table.write_text(f"FileName,Subtitle\n{some}.mp4,好\n", encoding="utf-8")
    corpus = read_corpus(tmp_path, MANDARIN)
    test = corpus.clips.query("split == 'test'").set_index("clip_id")["text"]
    assert len(test) == 4
    assert test[some] == "好"
    assert len(problems(corpus, "no subtitle")) == 3


def test_absent_and_unlisted_clips_are_noted(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    lost = release.ids("train")[2]
    release.file(f"{lost}.mp4").unlink()
    release.file(f"{release.ids('valid')[0]}.mp4").with_name("stray.mp4").touch()
    (release.folder / "Annotation/Training/._hidden.mp4").touch()
    corpus = read_corpus(tmp_path, MANDARIN)
    assert problems(corpus, "absent") == [lost]
    assert corpus.clips.set_index("clip_id").loc[lost, "video"] == ""
    assert problems(corpus, "unlisted") == ["stray"]
    assert told(corpus.clips) == release.clips


def test_a_clip_with_video_and_transcript_but_in_no_list_is_only_noted(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    lists = ("Training_files.txt", "Testing_files.txt")
    for split, name in zip(("train", "test"), lists, strict=True):
        path, dropped = release.file(name), release.ids(split)[-1]
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(line for line in lines if dropped not in line), encoding="utf-8")
    corpus = read_corpus(tmp_path, MANDARIN)
    dropped = [release.ids(split)[-1] for split in ("train", "test")]
    assert problems(corpus, "unlisted") == dropped
    assert problems(corpus, "unlisted transcript") == dropped
    assert not set(dropped) & set(corpus.clips["clip_id"])


def test_a_test_list_in_csv_form_may_name_a_clip_more_than_the_plain_one(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, testing_table="")
    rows = "".join(f"{clip_id}.mp4,好\n" for clip_id in [*release.ids("test"), "one more"])
    table = release.folder / "Annotation" / "Mandarin_Testing_files.csv"
    table.write_text(f"FileName,Subtitle\n{rows}", encoding="utf-8")
    corpus = read_corpus(tmp_path, MANDARIN)
    assert problems(corpus, "unlisted transcript") == ["one more"]
    assert (corpus.clips["split"] == "test").sum() == 4


def test_the_test_clips_may_not_be_there_yet(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, testing_folder="", testing_table="")
    corpus = read_corpus(tmp_path, MANDARIN)
    test = corpus.clips.query("split == 'test'")
    assert test["clip_id"].tolist() == release.ids("test")
    assert problems(corpus, "absent") == release.ids("test")
    assert problems(corpus, "no transcripts") == [""]


def test_where_test_clips_were_looked_for_is_said(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    for path in release.folder.rglob("Track1_Testing_*.mp4"):
        path.unlink()
    noted = read_corpus(tmp_path, MANDARIN).problems.query("problem == 'no videos'")
    assert noted["reason"].tolist() == [
        "test: none of 4; looked in: Track1/Mandarin/Annotation/Testing"
    ]


def test_test_clips_that_may_be_of_either_language_are_not_taken(
    tmp_path: Path, write_release: Any
) -> None:
    write_release(tmp_path, SETTINGS[1, "english"], testing_folder="")
    release = write_release(tmp_path, MANDARIN, testing_folder="../Testing")
    corpus = read_corpus(tmp_path, MANDARIN)
    assert problems(corpus, "absent") == release.ids("test")
    (reason,) = corpus.problems.query("problem == 'ambiguous folder'")["reason"]
    assert reason == "Track1/Testing may be of either language; move it into Mandarin; not read"


def test_without_a_test_list_the_folder_makes_the_split(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, testing_table="")
    release.file("Testing_files.txt").unlink()
    corpus = read_corpus(tmp_path, MANDARIN)
    assert corpus.clips.query("split == 'test'")["clip_id"].tolist() == release.ids("test")


def test_labels_may_stand_in_the_table_alone(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN, label_columns=True)
    release.file("Training_files.txt").unlink()
    assert told(read_corpus(tmp_path, MANDARIN).clips) == release.clips


def test_track_two_leaves_a_pool_alone(tmp_path: Path, write_release: Any) -> None:
    setting = SETTINGS[2, "english"]
    release = write_release(tmp_path, setting)
    (release.folder / "NoAnnotation").mkdir()
    (release.folder / "NoAnnotation" / "x.mp4").touch()
    corpus = read_corpus(tmp_path, setting)
    assert told(corpus.clips) == release.clips
    assert corpus.problems["problem"].tolist() == ["unused pool"]


Harm = Callable[[Any], None]


def rewrite(name: str, change: Callable[[str], str]) -> Harm:
    def harm(release: Any) -> None:
        path = release.file(name)
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return harm


def append(name: str, line: str) -> Harm:
    return rewrite(name, lambda text: text + line + "\n")


def move_clips_away(release: Any) -> None:
    folder = release.folder / "Annotation" / "Training"
    folder.rename(release.data_dir.parent / "elsewhere")
    folder.symlink_to(release.data_dir.parent / "elsewhere")


def link_one_clip(release: Any) -> None:
    outside = release.data_dir.parent / "secret.mp4"
    outside.touch()
    (release.folder / "Annotation" / "Training" / "Track1_Training_00001.mp4").unlink()
    (release.folder / "Annotation" / "Training" / "Track1_Training_00001.mp4").symlink_to(outside)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (
            rewrite("Training_files.txt", lambda t: t.replace("sad", "saad")),
            ["Annotation/Training_files.txt:2: unknown emotion 'saad'", "did you mean 'sad'?"],
        ),
        (
            rewrite("Validation_files.txt", lambda t: t.replace("wishing", "whishing")),
            ["Validation_files.txt:6: unknown intent 'whishing'", "did you mean 'wishing'?"],
        ),
        (
            append("Training_files.txt", "Track1_Training_00002.MP4 sad neutral"),
            ["Training_files.txt:10: Track1_Training_00002", "second time (first in line 2)"],
        ),
        (
            append("Training_files.txt", "Track1_Validation_00002.mp4 sad neutral"),
            ["1 clips are in train and valid at once (Track1_Validation_00002)"],
        ),
        (
            append("Testing_files.txt", "Track1_Training_00007.mp4"),
            ["in train and test at once (Track1_Training_00007)"],
        ),
        (
            append("Training_transcription.csv", "Track1_Training_99999.mp4,谁"),
            ["Training_transcription.csv:11: 1 transcripts", "Track1_Training_99999"],
        ),
        (
            append("Testing_transcription.csv", "Track1_Testing_00099.mp4,谁"),
            ["Testing_transcription.csv:6: 1 transcripts", "Track1_Testing_00099"],
        ),
        (
            append("Training_transcription.csv", "Track1_Training_00001.mp4,又"),
            ["Training_transcription.csv:11", "second time"],
        ),
        (
            append("Training_files.txt", "Track1_Training_00010.mp4 sad"),
            ["Training_files.txt:10: 'Track1_Training_00010.mp4 sad'", "'clip.mp4 emotion intent'"],
        ),
        (
            append("Training_files.txt", "../../../etc/passwd sad neutral"),
            ["Training_files.txt:10: '../../../etc/passwd' is no clip name"],
        ),
        (
            append("Testing_files.txt", "/etc/passwd"),
            ["Testing_files.txt:5: '/etc/passwd' is no clip name"],
        ),
        (
            append("Testing_transcription.csv", "..\\x.mp4,谁"),
            ["Testing_transcription.csv:6", "is no clip name"],
        ),
        (
            append("Training_transcription.csv", 'Track1_Training_00001.mp4,"谁'),
            ["Training_transcription.csv:11: not valid CSV"],
        ),
        (
            rewrite("Training_transcription.csv", lambda t: t.replace("好吧，", "好吧,")),
            ["Training_transcription.csv:2: 3 fields, expected 2", "double quotes"],
        ),
        (
            rewrite("Training_transcription.csv", lambda t: t.replace("FileName", "Clip")),
            ["Training_transcription.csv:1: no column FileName or name", "'Clip'"],
        ),
        (rewrite("Training_files.txt", lambda t: ""), ["No training clips", "names none"]),
        (
            lambda release: release.file("Training_files.txt").unlink(),
            ["No train labels: there is no Training_files.txt", "it holds Annotation"],
        ),
        (
            lambda release: release.file("Validation_files.txt").unlink(),
            ["No valid labels: there is no Validation_files.txt"],
        ),
        (
            rewrite("Training_files.txt", lambda t: t.replace("Track1", "Track2")),
            ["9 train clips bear another track's name (Track2_Training_00001, "],
        ),
        (
            lambda release: release.file("Training_files.txt").write_bytes(b"\xff\xfe\x00"),
            ["Training_files.txt:1: byte 0x00 is no utf-16 text", "UTF-8 or GB18030"],
        ),
        (
            lambda release: release.file("Training_files.txt").write_bytes(b"a\nb\0c\n"),
            ["Training_files.txt:2: holds a NUL character"],
        ),
        (move_clips_away, ["Annotation/Training links to", "outside the data folder"]),
        (link_one_clip, ["Track1_Training_00001.mp4 links to", "outside the data folder"]),
    ],
)
def test_a_contradiction_stops_with_file_line_and_value(
    tmp_path: Path, write_release: Any, harm: Harm, expected: list[str]
) -> None:
    release = write_release(tmp_path / "data", MANDARIN)
    harm(release)
    with pytest.raises(CorpusError) as caught:
        read_corpus(release.data_dir, MANDARIN)
    for part in expected:
        assert part in str(caught.value)


def test_links_that_stay_inside_and_a_linked_data_folder_are_followed(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path / "data", MANDARIN)
    folder = release.folder / "Annotation" / "Training"
    folder.rename(release.data_dir / "clips")
    folder.symlink_to(release.data_dir / "clips")
    (tmp_path / "link").symlink_to(release.data_dir)
    corpus = read_corpus(tmp_path / "link", MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.problems.empty


def test_a_line_with_a_fault_is_reported_once(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    rewrite("Training_files.txt", lambda text: text.replace("sad", "saad"))(release)
    append("Training_files.txt", "Track1_Training_00010.mp4 sad")(release)
    append("Training_transcription.csv", "Track1_Training_00010.mp4,谁")(release)
    survey = survey_corpus(tmp_path, MANDARIN)
    assert len(survey.faults) == 3  # clips 2 and 9 are "saad", clip 10 is short
    assert len(survey.corpus.clips) == len(release.clips) + 1


def test_all_contradictions_are_reported_together(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    append("Training_files.txt", "Track1_Training_00002.mp4 sad neutral")(release)
    append("Validation_files.txt", "Track1_Validation_00099.mp4 sad waving")(release)
    append("Testing_transcription.csv", "Track1_Testing_00099.mp4,谁")(release)
    with pytest.raises(CorpusError) as caught:
        read_corpus(tmp_path, MANDARIN)
    for part in ("3 fault(s)", "Track1_Training_00002", "waving", "Track1_Testing_00099"):
        assert part in str(caught.value)


def test_many_faults_of_a_file_are_counted_not_all_listed(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    rewrite("Training_files.txt", lambda text: text.replace(" ", " very "))(release)
    with pytest.raises(CorpusError, match=r"Training_files.txt: 4 more faults"):
        read_corpus(tmp_path, MANDARIN)


def test_labels_that_differ_between_list_and_table_are_refused(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, label_columns=True)
    rewrite("Training_transcription.csv", lambda text: text.replace(",sad,", ",fear,"))(release)
    with pytest.raises(CorpusError) as caught:
        read_corpus(tmp_path, MANDARIN)
    for part in ("Training_transcription.csv:3", "emotion 'fear'", "Training_files.txt:2", "'sad'"):
        assert part in str(caught.value)


def test_test_lists_that_disagree_are_refused(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    other = release.folder / "Testing_files.txt"
    other.write_text("Track1_Testing_00001.mp4\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="names 3 clips that"):
        read_corpus(tmp_path, MANDARIN)


@pytest.mark.parametrize(
    ("make", "setting", "expected"),
    [
        (lambda folder: folder / "nowhere", (1, "mandarin"), "No data folder"),
        (lambda folder: folder, (2, "mandarin"), "No Track2/Mandarin in .*it holds Track1"),
        (lambda folder: folder, (1, "english"), "No English in .*it holds Mandarin"),
        (lambda folder: folder / "Track1", (2, "mandarin"), "named after another setting"),
        (lambda folder: folder / "Track1/Mandarin", (1, "english"), "named after another setting"),
        (lambda folder: folder / "Track1/Mandarin", (2, "mandarin"), "named after another setting"),
    ],
)
def test_a_folder_without_the_setting_is_refused_naming_what_is_there(
    tmp_path: Path, write_release: Any, make: Any, setting: Any, expected: str
) -> None:
    write_release(tmp_path, MANDARIN)
    with pytest.raises(CorpusError, match=expected):
        read_corpus(make(tmp_path), SETTINGS[setting])


def test_two_folders_of_one_track_are_refused(tmp_path: Path, write_release: Any) -> None:
    write_release(tmp_path, MANDARIN)
    write_release(tmp_path, MANDARIN, track_name="Track 1")
    with pytest.raises(CorpusError, match="holds both Track 1/Mandarin and Track1/Mandarin"):
        read_corpus(tmp_path, MANDARIN)


def rename(release: Any, change: Callable[[Path], Path]) -> None:
    for path in sorted(release.folder.rglob("Track1_*.mp4")):
        new = change(path)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.parent / path.stem[-5:] / path.name,
        lambda path: path.parent / "a" / "b" / path.name.upper(),
        lambda path: path.with_name(path.name.lower()),
        *(
            lambda path, suffix=suffix: path.with_suffix(suffix)
            for suffix in (".MP4", ".mov", ".mkv", ".AVI", ".webm", ".m4v")
        ),
        lambda path: path.with_name(f"\u200b{path.stem}\u200e{path.suffix}"),
    ],
)
def test_a_video_is_found_further_down_in_any_case_and_of_any_kind(
    tmp_path: Path, write_release: Any, change: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    rename(release, change)
    corpus = read_corpus(tmp_path, MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.problems.empty
    assert all((tmp_path / video).is_file() for video in corpus.clips["video"])


@pytest.mark.parametrize("file_form", ["NFC", "NFD"])
@pytest.mark.parametrize("list_form", ["NFC", "NFD"])
def test_a_decomposed_name_is_the_composed_one(
    tmp_path: Path, write_release: Any, file_form: Any, list_form: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    old, new = "Track1_Training_00001", "Café {1}#%$"
    for name in ("Training_files.txt", "Training_transcription.csv"):
        written = unicodedata.normalize(list_form, new.replace(" ", "_"))
        rewrite(name, lambda text, written=written: text.replace(old, written))(release)
    video = release.file(f"{old}.mp4")
    video.rename(video.with_stem(unicodedata.normalize(file_form, new.replace(" ", "_"))))
    corpus = read_corpus(tmp_path, MANDARIN)
    assert corpus.problems.empty
    row = corpus.clips.set_index("clip_id").loc[new.replace(" ", "_")]
    assert (tmp_path / row["video"]).is_file()
    assert row["text"]


def test_the_file_in_place_comes_first_and_of_two_further_down_none(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    first, second, third = release.ids("train")[:3]
    folder = release.folder / "Annotation" / "Training"
    for name in (f"crops/{first}.mp4", f"x/{second}.mp4", f"y/{second}.MP4", f"{third}.avi"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / f"{second}.mp4").unlink()
    corpus = read_corpus(tmp_path, MANDARIN)
    videos = corpus.clips.set_index("clip_id")["video"]
    assert videos[first].endswith(f"Training/{first}.mp4")
    assert videos[second] == ""
    assert videos[third].endswith(f"{third}.mp4")
    doubled = corpus.problems.query("problem == 'doubled video'")
    assert doubled["clip_id"].tolist() == [third, second, second]
    assert told(corpus.clips) == release.clips


def test_names_that_differ_in_case_alone_do_not_take_each_others_video(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    append("Training_files.txt", "track1_training_00001.mp4 sad neutral")(release)
    append("Training_transcription.csv", "track1_training_00001.mp4,谁")(release)
    videos = read_corpus(tmp_path, MANDARIN).clips.set_index("clip_id")["video"]
    assert videos["Track1_Training_00001"]
    assert videos["track1_training_00001"] == ""
    release.file("Track1_Training_00001.mp4").rename(
        release.folder / "Annotation/Training/TRACK1_training_00001.mp4"
    )
    videos = read_corpus(tmp_path, MANDARIN).clips.set_index("clip_id")["video"]
    assert videos["Track1_Training_00001"] == videos["track1_training_00001"] == ""


def test_the_pool_takes_subfolders_only_where_it_has_no_clips_itself(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    pool = release.folder / "NoAnnotation"
    (pool / "raw").mkdir()
    (pool / "raw" / "episode.mkv").touch()
    assert told(read_corpus(tmp_path, MANDARIN).clips) == release.clips
    (pool / "raw" / "episode.mkv").unlink()
    for number, path in enumerate(sorted(pool.glob("*.mp4"))):
        (pool / f"{number}").mkdir()
        path.rename(pool / f"{number}" / path.name)
    corpus = read_corpus(tmp_path, MANDARIN)
    assert told(corpus.clips) == release.clips
    assert corpus.problems.empty


def test_test_clips_of_another_language_further_down_are_not_taken(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN, testing_folder="../../Testing/English")
    corpus = read_corpus(tmp_path, MANDARIN)
    assert problems(corpus, "absent") == release.ids("test")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "Track1_*.mp4",
            "21 videos lie in Track1/Mandarin/Annotation, the first "
            "'Track1/Mandarin/Annotation/Testing/1.mp4', and none belongs to a listed clip; "
            "expected Training/Track1_Training_00001.mp4",
        ),
        (
            "Track1_Test*.mp4",
            "4 videos lie in Track1/Mandarin/Annotation/Testing, the first "
            "'Track1/Mandarin/Annotation/Testing/1.mp4', and none belongs to a test clip; "
            "expected Testing/Track1_Testing_00001.mp4",
        ),
    ],
)
def test_videos_of_which_none_is_used_are_a_fault(
    tmp_path: Path, write_release: Any, pattern: str, expected: str
) -> None:
    release = write_release(tmp_path, MANDARIN)
    for path in release.folder.glob("NoAnnotation/*.mp4"):
        path.unlink()
    for path in sorted(release.folder.rglob(pattern)):
        path.rename(path.with_stem(path.stem[-5:].lstrip("0")))
    survey = survey_corpus(tmp_path, MANDARIN)
    assert [fault for fault in survey.faults if fault.startswith(expected)] == survey.faults
    assert len(survey.faults) == 1
    assert "features only" not in set(survey.corpus.problems["problem"])


def test_a_folder_of_another_name_that_holds_a_splits_videos_is_named(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    folder = release.folder / "Annotation" / "Validation"
    folder.rename(folder.with_name("dev"))
    with pytest.raises(CorpusError, match=r"8 videos lie in .*/dev, .* none belongs to a valid"):
        read_corpus(tmp_path, MANDARIN)


def test_a_damaged_subtitle_is_noted(tmp_path: Path, write_release: Any) -> None:
    release = write_release(tmp_path, MANDARIN)
    rewrite("Training_transcription.csv", lambda text: text.replace("有我在", "有\ufffd在"))(
        release
    )
    corpus = read_corpus(tmp_path, MANDARIN)
    noted = corpus.problems.query("problem == 'damaged subtitle'")
    assert noted["reason"].tolist() == [r"holds '\ufffd'"] * 2
    assert set(noted["clip_id"]) <= set(release.ids("train"))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("clip_id", "../x", "plain file name"),
        ("clip_id", "..", "plain file name"),
        ("clip_id", "a\x85", "plain file name"),
        ("clip_id", "Track1_Training_00002", "each value once"),
        ("split", "dev", "train, valid, test"),
        ("video", "/etc/x.mp4", "in the data folder"),
        ("video", "a/../../x.mp4", "in the data folder"),
        ("emotion", "angry", "a label of emotion"),
        ("intent", "", "all labels in train"),
        ("duration_s", -1.0, "0 to 3600 seconds"),
    ],
)
def test_a_broken_clips_table_is_refused(
    tmp_path: Path, write_release: Any, column: str, value: Any, rule: str
) -> None:
    clips = read_corpus(write_release(tmp_path, MANDARIN).data_dir, MANDARIN).clips
    clips["duration_s"] = 1.5
    assert validate_clips(clips, MANDARIN) is clips
    clips.loc[0, column] = value
    with pytest.raises(CorpusError, match=rule):
        validate_clips(clips, MANDARIN)


def test_a_clips_table_with_other_columns_is_refused(tmp_path: Path, write_release: Any) -> None:
    clips = read_corpus(write_release(tmp_path, MANDARIN).data_dir, MANDARIN).clips
    for other in (clips.drop(columns="text"), clips.assign(extra=1), clips[clips.columns[::-1]]):
        with pytest.raises(CorpusError, match="column"):
            validate_clips(other, MANDARIN)
