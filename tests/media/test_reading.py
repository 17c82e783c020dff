"""Every kind of clip has a defined outcome: the table in `preprocessing.media`, line by line."""

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.errors import MediaError
from meiju_utils.media import parts as parts_module
from meiju_utils.media import streams as streams_module
from meiju_utils.media.frames import FrameCollector, Screen
from meiju_utils.media.reading import Media, read_media
from meiju_utils.media.times import PictureClock

MakeClip = Callable[..., Path]


def problems(media: Media) -> list[str]:
    return [flag.problem for flag in media.flags]


def numbers(frames: NDArray[np.uint8]) -> NDArray[np.int_]:
    """Which of `numbered_frames` each frame is, by its lower right corner."""
    corner = frames[:, -8:, -8:].reshape(len(frames), -1).mean(axis=1)
    return np.rint((corner - 20) / 4).astype(int)


def spectrum_peak(audio: NDArray[np.float32], rate: int = 16000) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(audio))) * rate / audio.size)


def test_one_pass_gives_sound_sampled_frames_and_tracking_frames(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 50, 2.0), frame_stride=20)
    assert media.audio.dtype == np.float32
    assert media.audio.size == 32000
    assert spectrum_peak(media.audio) == pytest.approx(440, abs=1)
    assert media.frames.shape == (3, 48, 64, 3)
    assert numbers(media.frames).tolist() == [0, 20, 40]
    assert media.frame_times.tolist() == [0.0, 0.8, 1.6]
    assert media.tracking.shape == (50, 48, 64)
    assert numbers(media.tracking).tolist() == list(range(50))
    assert (media.duration_s, media.fps, media.video_frames) == (2.0, 25.0, 50)
    assert media.flags == ()


def test_audio_is_whole_16_bit_steps_so_that_a_stored_file_equals_it(make_clip: MakeClip) -> None:
    audio = read_media(make_clip("a.mp4", 25, 1.0)).audio * 32768
    assert np.array_equal(audio, np.rint(audio))


def test_colours_are_rgb(make_clip: MakeClip) -> None:
    red, green, blue = read_media(make_clip("a.mp4", 2)).frames[0][5, 5]
    assert red > 180
    assert green < 80
    assert blue < 80


def test_a_clip_shorter_than_the_stride_still_gives_its_first_frame(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 1, 0.04))
    assert len(media.frames) == len(media.tracking) == 1


def test_tracking_frames_are_left_out_on_request(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 10), tracking_side=0)
    assert not len(media.tracking)
    assert len(media.frames) == 1


def test_tracking_frames_are_scaled_down_to_the_given_side(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 5, size=(320, 240)), tracking_side=160)
    assert media.tracking.shape == (5, 120, 160)
    assert media.frames.shape == (1, 240, 320, 3)


@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [(8000, "mono", 1), (22050, "mono", 1), (44100, "stereo", 2), (48000, "5.1", 6)],
)
def test_any_rate_and_layout_becomes_16_khz_mono(
    make_clip: MakeClip, rate: int, layout: str, channels: int
) -> None:
    media = read_media(make_clip("a.mp4", 25, 1.0, rate=rate, layout=layout))
    assert media.audio.size == 16000
    assert spectrum_peak(media.audio) == pytest.approx(440, abs=1)
    assert (media.audio_rate, media.audio_channels) == (rate, channels)


def test_96_khz_is_resampled_without_aliasing(make_clip: MakeClip) -> None:
    high = 0.5 * np.sin(2 * np.pi * 20000 * np.arange(96000) / 96000)
    media = read_media(
        make_clip("a.mkv", 25, high.astype(np.float32), rate=96000, audio_codec="flac")
    )
    assert media.audio.size == 16000
    assert np.abs(media.audio[200:-200]).max() < 0.005  # away from the abrupt ends


def test_the_resampler_is_flushed(make_clip: MakeClip) -> None:
    sound = np.zeros(44100, np.float32)
    sound[-200:] = 0.5  # in the last 5 ms
    path = make_clip("a.mkv", (), sound, rate=44100, audio_codec="flac")
    audio = read_media(path).audio
    assert audio.size == pytest.approx(16000, abs=1)
    assert audio[-40:].max() > 0.3


def test_codec_padding_after_the_picture_is_trimmed(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", 30, 1.2)
    with av.open(str(path)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert decoded > 19200
    assert read_media(path).audio.size == 19200


def test_sound_long_after_the_picture_is_kept_and_flagged(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 25, 2.0))
    assert media.audio.size >= 32000
    assert media.duration_s >= 2
    assert problems(media) == ["audio-overrun"]


def test_sound_that_starts_late_is_put_in_its_place(make_clip: MakeClip) -> None:
    audio = read_media(make_clip("a.mkv", 50, 1.0, sound_from=0.5, audio_codec="flac")).audio
    assert not audio[:7900].any()
    assert np.abs(audio[8100:8500]).max() > 0.4


def test_without_sound_the_audio_is_empty_and_flagged(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 10))
    assert media.audio.size == 0
    assert problems(media) == ["no-audio"]


def test_without_picture_the_frames_are_empty_and_flagged(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 0, 1.0))
    assert media.frames.shape[0] == media.tracking.shape[0] == 0
    assert media.audio.size >= 16000
    assert media.duration_s == pytest.approx(1.0, abs=0.1)
    assert problems(media) == ["no-video"]


def test_variable_frame_rate_is_followed_by_time(make_clip: MakeClip) -> None:
    times = [0.0, 0.04, 0.3, 0.36, 0.9, 0.93]
    media = read_media(make_clip("a.mkv", 6, times=times), frame_stride=2)
    moments = np.arange(len(media.tracking)) / 25
    on_screen = np.searchsorted(times, moments + 1e-6, side="right") - 1
    assert numbers(media.tracking).tolist() == on_screen.tolist()
    assert media.frame_times == pytest.approx([0.0, 0.3, 0.9])
    assert numbers(media.frames).tolist() == [0, 2, 4]


def test_other_frame_rates_give_25_tracking_frames_a_second(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 48, times=[i / 23.976 for i in range(48)]))
    assert len(media.tracking) == pytest.approx(50, abs=1)


def test_absurd_times_are_replaced_by_the_frame_rate(make_clip: MakeClip) -> None:
    times = [i / 25 if i < 5 else 50_000 + i / 25 for i in range(10)]
    media = read_media(make_clip("a.mkv", 10, times=times))
    assert problems(media) == ["no-audio", "timestamps"]
    assert len(media.tracking) < 25


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_rotation_in_the_metadata_is_applied(make_clip: MakeClip, turned: int) -> None:
    upright = read_media(make_clip("upright.mp4", 2)).frames[0]
    media = read_media(make_clip("turned.mp4", 2, turned=turned))
    expected = np.rot90(upright, turned // 90)  # both count counter-clockwise
    assert np.array_equal(media.frames[0], expected)
    assert (media.height, media.width) == expected.shape[:2]
    assert media.tracking.shape[1:] == expected.shape[:2]


def test_mirroring_in_the_metadata_is_applied(make_clip: MakeClip) -> None:
    upright = read_media(make_clip("upright.mp4", 2)).frames[0]
    mirrored = read_media(make_clip("mirrored.mp4", 2, mirrored=True)).frames[0]
    assert np.array_equal(mirrored, upright[:, ::-1])


def test_odd_sizes_are_kept(make_clip: MakeClip) -> None:
    media = read_media(make_clip("a.mp4", 3, size=(67, 51), pixels="yuv444p"))
    assert media.frames.shape[1:3] == media.tracking.shape[1:] == (51, 67)


def test_a_truncated_clip_keeps_what_decodes(make_clip: MakeClip, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), dtype=np.uint8)
    whole = make_clip("whole.mp4", list(noise), 2.0, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    media = read_media(cut)
    assert "truncated" in problems(media)
    assert 5 < media.video_frames < 45
    assert np.array_equal(media.frames[0], read_media(whole).frames[0])


def test_a_damaged_clip_keeps_what_decodes(make_clip: MakeClip, tmp_path: Path) -> None:
    data = bytearray(make_clip("a.mp4", 50, 2.0, options={"movflags": "faststart"}).read_bytes())
    chance = random.Random(0)
    for _ in range(60):
        data[chance.randrange(len(data) // 2, len(data))] = chance.randrange(256)
    (tmp_path / "damaged.mp4").write_bytes(data)
    media = read_media(tmp_path / "damaged.mp4")
    assert "corrupt" in problems(media)
    assert media.video_frames > 10


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such file"), (b"", "0 bytes"), (b"not a clip" * 100, "does not open")],
)
def test_what_is_no_clip_is_a_media_error(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=complaint):
        read_media(path)


def test_a_clip_cut_before_its_index_is_a_media_error(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", 50, 2.0)  # its index lies at the end
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(MediaError, match="cut short"):
        read_media(path)


def test_only_the_beginning_of_an_endless_file_is_read(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "MAX_SECONDS", 1.0)
    media = read_media(make_clip("a.mp4", 100, 4.0))
    assert problems(media) == ["too-long"]
    assert media.duration_s < 1.3
    assert media.audio.size <= 16000


@pytest.mark.parametrize("said", [Fraction(1, 3_600_000), Fraction(90_000), None])
def test_a_frame_rate_no_camera_has_is_not_believed(said: Fraction | None) -> None:
    stream = SimpleNamespace(average_rate=said, guessed_rate=said)
    assert streams_module.frame_rate(stream) == 25
    stream.guessed_rate = Fraction(24000, 1001)
    assert streams_module.frame_rate(stream) == pytest.approx(24000 / 1001)


def test_frames_without_times_are_never_repeated_beyond_the_limit() -> None:
    frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
    frame.duration = 512  # of a time base nobody says
    screen = Screen(SimpleNamespace(sample_aspect_ratio=None), frame)
    clock = PictureClock(rate=0.2)
    collector = FrameCollector(stride=30, tracking_side=64, longest_s=2.0)
    for _ in range(4):
        time, repaired = clock.next(frame, others_s=0.0, rising=False)
        collector.add(frame, screen, time, time + clock.duration(frame), repaired)
    pictures = collector.finish()
    assert pictures.repaired == 3
    assert len(pictures.tracking) == len(pictures.thumbnails) == 50


def test_reading_twice_gives_the_same(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", 25, 1.0, rate=44100, layout="stereo")
    one, two = read_media(path), read_media(path)
    assert np.array_equal(one.audio, two.audio)
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.tracking, two.tracking)
