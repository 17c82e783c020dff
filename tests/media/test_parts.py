"""Clips that are parts of one video: as if cut out exactly, in one pass and bounded memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meiju_utils.errors import MediaError
from meiju_utils.media import parts as parts_module
from meiju_utils.media.reading import Media, Part, read_media, read_parts
from tests.media.test_reading import numbers, problems

MakeClip = Callable[..., Path]


def read(path: Path, parts: list[Part], **options: int) -> list[Media | MediaError]:
    found = dict(read_parts(path, parts, **options))
    return [found[index] for index in range(len(parts))]


def usable(media: Media | MediaError) -> Media:
    assert isinstance(media, Media), media
    return media


def assert_equal(one: Media, other: Media) -> None:
    for name, value in vars(one).items():
        same = np.array_equal if isinstance(value, np.ndarray) else lambda a, b: bool(a == b)
        assert same(value, getattr(other, name)), name


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_part_has_the_samples_and_frames_of_the_whole_from_its_start_on(
    make_clip: MakeClip, name: str
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 88200).astype(np.float32)
    path = make_clip(name, 50, noise, rate=44100, layout="stereo")
    whole = read_media(path)
    parts = [Part(1.0, 1.6), Part(0.4, 1.2), Part(), Part(0.0, 0.48), Part(1.2)]
    for part, found in zip(parts, read(path, parts, frame_stride=10), strict=True):
        media = usable(found)
        end = min(part.end_s, 2.0)
        low, high = round(part.start_s * 16000), round(end * 16000)
        assert np.array_equal(media.audio, whole.audio[low:high])
        low, high = round(part.start_s * 25), round(end * 25)
        assert np.array_equal(media.tracking, whole.tracking[low:high])
        assert np.array_equal(media.thumbnails, whole.thumbnails[low:high])
        assert numbers(media.frames).tolist() == list(range(low, high, 10))
        assert media.frame_times == pytest.approx(np.arange(0, high - low, 10) / 25)
        assert media.duration_s == pytest.approx(end - part.start_s)
        assert (media.video_frames, media.flags) == (high - low, ())


def test_a_part_that_is_the_whole_video_equals_it(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", 25, 2.0, rate=44100)
    whole, part = read(path, [Part(), Part(0.0, 9.0)])
    assert_equal(usable(whole), read_media(path))
    assert np.array_equal(usable(part).audio, usable(whole).audio)
    assert "outside" in problems(usable(part))


def test_a_part_between_two_frames_begins_with_the_one_on_screen(make_clip: MakeClip) -> None:
    times = [0.0, 0.5, 1.0, 1.5]
    media = read_media(make_clip("a.mkv", 4, times=times), frame_stride=1, part=Part(0.7, 1.2))
    assert numbers(media.frames).tolist() == [1, 2]
    assert media.frame_times == pytest.approx([0.0, 0.3])
    assert numbers(media.tracking).tolist() == [1] * 8 + [2] * 5
    assert media.duration_s == pytest.approx(0.5)


def test_parts_come_as_soon_as_they_are_complete(make_clip: MakeClip) -> None:
    parts = [Part(), Part(0.2, 0.6), Part(9.0, 9.5), Part(0.0, 0.4)]
    order = [index for index, _ in read_parts(make_clip("a.mp4", 50, 2.0), parts)]
    assert order == [3, 1, 0, 2]


def test_a_part_beyond_the_end_is_an_error_of_its_own(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", 25, 1.0)
    inside, outside, across = read(path, [Part(0.0, 0.5), Part(5.0, 6.0), Part(0.5, 3.0)])
    assert usable(inside).flags == ()
    assert isinstance(outside, MediaError)
    assert "nothing lies between 5.00 and 6.00 s" in str(outside)
    assert problems(usable(across)) == ["outside"]
    with pytest.raises(MediaError, match="nothing lies"):
        read_media(path, part=Part(5.0, 6.0))


def test_a_part_after_one_stream_has_ended_holds_the_other(make_clip: MakeClip) -> None:
    path = make_clip("a.mkv", 25, 3.0, audio_codec="flac")
    heard = read_media(path, part=Part(2.0, 2.5))
    assert (len(heard.frames), heard.audio.size) == (0, 8000)
    assert problems(heard) == ["no-video"]


def test_padding_after_the_picture_is_no_part_of_any_part(make_clip: MakeClip) -> None:
    path = make_clip("a.mkv", 25, 1.2, audio_codec="flac")
    assert read_media(path).audio.size == 16000
    assert read_media(path, part=Part(0.5, 1.1)).audio.size == 8000


def test_a_part_is_subject_to_the_limit(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "MAX_SECONDS", 1.0)
    path = make_clip("a.mp4", 75, 3.0)
    long, short, exact = read(path, [Part(0.5, 2.5), Part(1.0, 1.5), Part(2.0, 3.0)])
    assert problems(usable(long)) == ["too-long"]
    assert (usable(long).audio.size, len(usable(long).tracking)) == (16000, 25)
    assert usable(short).flags == usable(exact).flags == ()


@pytest.mark.parametrize(("start", "end"), [(-1.0, 2.0), (2.0, 2.0), (float("nan"), 3.0)])
def test_a_part_without_length_is_refused(start: float, end: float) -> None:
    with pytest.raises(MediaError, match=r"start_s and end_s"):
        Part(start, end)


def test_a_file_that_does_not_open_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        next(read_parts(tmp_path / "nowhere.mp4", [Part()]))


@pytest.mark.parametrize("sound_first", [False, True])
def test_memory_is_that_of_the_parts_that_are_open(make_clip: MakeClip, sound_first: bool) -> None:
    frame = np.full((144, 192, 3), 90, np.uint8)
    path = make_clip(
        "film.mkv",
        [frame] * 96,
        np.zeros(48 * 8000, np.float32),
        times=[i / 2 for i in range(96)],
        rate=8000,
        sound_first=sound_first,
        options={"max_interleave_delta": "1"},
        video_codec="mpeg4",
        audio_codec="pcm_s16le",
    )
    parts = [Part(2.0 * i, 2.0 * i + 2) for i in range(24)]
    tracemalloc.start()
    for _, media in read_parts(path, parts, frame_stride=1):
        assert usable(media).audio.size == 32000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one = usable(media)
    size = one.frames.nbytes + one.tracking.nbytes + one.thumbnails.nbytes + one.audio.nbytes
    # Of 24: up to LAG_S of one stream, five parts, are read before the other is looked for.
    assert peak < 9 * size
