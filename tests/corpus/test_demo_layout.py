"""The folder a synthetic corpus makes: official layout, quirks of the wild, sound clips."""

import csv
from collections.abc import Iterator
from pathlib import Path

import av
import pandas as pd
import pytest

from meiju_utils.corpus.demo import read_true_labels, truth_folder


@pytest.fixture(scope="module")
def mandarin(tiny_corpus: Path) -> Path:
    return tiny_corpus / "Track1" / "Mandarin"


def rows(path: Path, encoding: str) -> list[list[str]]:
    with path.open(encoding=encoding, newline="") as lines:
        return list(csv.reader(lines))


def test_training_list_has_windows_line_ends_and_a_tenth_of_wrong_labels(
    tiny_corpus: Path, mandarin: Path
) -> None:
    text = (mandarin / "Annotation" / "Training_files.txt").read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == 30
    listed = [line.split() for line in text.splitlines()]
    assert all(name.endswith(".mp4") for name, *_ in listed)
    truth = pd.DataFrame(read_true_labels(tiny_corpus)).set_index("clip_id")
    for task, column in (("emotion", 1), ("intent", 2)):
        wrong = [row[column] != truth.loc[row[0][:-4], task] for row in listed]
        assert sum(wrong) == 3


def test_validation_list_has_bare_names_and_right_labels(tiny_corpus: Path, mandarin: Path) -> None:
    lines = (mandarin / "Annotation" / "Validation_files.txt").read_text().splitlines()
    truth = pd.DataFrame(read_true_labels(tiny_corpus))
    valid = truth[truth["split"] == "valid"]
    assert lines == [" ".join(row) for row in valid[["clip_id", "emotion", "intent"]].to_numpy()]


def test_test_clips_are_listed_without_labels(mandarin: Path) -> None:
    annotation = mandarin / "Annotation"
    lines = (annotation / "Testing_files.txt").read_text().splitlines()
    assert lines == sorted(path.name for path in (annotation / "Testing").iterdir())
    assert len(lines) == 10
    header, *table = rows(annotation / "Mandarin_Testing_files.csv", "utf-8")
    assert header == ["FileName", "Subtitle"]
    assert {name for name, _ in table} <= set(lines)


def test_transcripts_come_in_the_encodings_and_shapes_of_the_wild(mandarin: Path) -> None:
    training = mandarin / "Annotation" / "Training_transcription.csv"
    assert training.read_bytes().startswith(b"\xef\xbb\xbf")
    assert rows(training, "utf-8-sig")[0] == ["FileName", "Subtitle"]
    validation = mandarin / "Annotation" / "Validation_transcription.csv"
    with pytest.raises(UnicodeDecodeError):
        validation.read_text(encoding="utf-8")
    header, *table = rows(validation, "gb18030")
    assert header == ["", "FileName", "Subtitle"]
    assert [row[0] for row in table] == [str(index) for index in range(len(table))]
    pool = rows(mandarin / "NoAnnotation" / "transcription.csv", "utf-8")
    assert all(len(row) == 2 and not row[0].lower().endswith(".mp4") for row in pool)


def test_few_subtitles_are_missing(tiny_corpus: Path, mandarin: Path) -> None:
    table = rows(mandarin / "Annotation" / "Training_transcription.csv", "utf-8-sig")[1:]
    given = {name[:-4]: text for name, text in table if text not in ("", "NaN")}
    assert 27 <= len(given) < 30
    scenes = pd.read_csv(truth_folder(tiny_corpus) / "scenes.csv", keep_default_na=False)
    subtitles = scenes.set_index("clip_id")["subtitle"]
    assert all(subtitles[clip_id] == text for clip_id, text in given.items())


def test_one_clip_is_unlisted_and_one_does_not_decode(tiny_corpus: Path, mandarin: Path) -> None:
    truth = set(pd.DataFrame(read_true_labels(tiny_corpus))["clip_id"])
    clips = [path for path in mandarin.rglob("*") if path.suffix.lower() == ".mp4"]
    others = {path.name for path in clips if path.stem not in truth}
    assert others == {"Track1_Training_00031.mp4", "ep00_damaged.mp4"}
    assert len(clips) == len(truth) + 2
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(mandarin / "NoAnnotation" / "ep00_damaged.mp4"))


def decoded(mandarin: Path) -> Iterator[tuple[Path, int, int]]:
    for path in [*sorted((mandarin / "Annotation").rglob("*.mp4"))[::5]]:
        with av.open(str(path)) as container:
            pictures, samples = 0, 0
            for frame in container.decode():
                pictures += isinstance(frame, av.VideoFrame)
                samples += frame.samples if isinstance(frame, av.AudioFrame) else 0
            yield path, pictures, samples


def test_clips_are_h264_and_aac_at_25_frames_a_second(mandarin: Path) -> None:
    for path, pictures, samples in decoded(mandarin):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert video.average_rate == 25
            assert 1.2 <= pictures / 25 <= 3.0
            # AAC comes in blocks of 1024 samples, the last one padded
            assert 0 <= samples - pictures / 25 * audio.rate <= 2048


def test_audio_comes_in_several_rates_and_layouts(mandarin: Path) -> None:
    formats = set()
    for path in (mandarin / "Annotation").rglob("*.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            formats.add((stream.rate, stream.layout.name))
    assert len({rate for rate, _ in formats}) > 2
    assert {layout for _, layout in formats} == {"mono", "stereo"}
