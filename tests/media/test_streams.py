"""Which file, stream, size and time are meant, where a file leaves room for doubt."""

import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from meiju_utils.corpus.fingerprints import look_at
from meiju_utils.errors import MediaError
from meiju_utils.media.reading import Part, read_media
from meiju_utils.media.streams import open_source
from tests.clips import numbered_frames
from tests.media.test_reading import numbers, problems

MakeClip = Callable[..., Path]


def write_two_videos(path: Path, other_rate: Fraction, other_first: bool, marked: bool) -> Path:
    """Two seconds of numbered frames, 64x48 at 25 a second, and a wide stream at another rate."""
    with av.open(str(path), "w") as container:
        streams = {}
        for kind in ("other", "main") if other_first else ("main", "other"):
            rate = Fraction(25) if kind == "main" else other_rate
            streams[kind] = stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height = (64, 48) if kind == "main" else (160, 90)
            stream.pix_fmt = "yuv420p"
            if kind == "other" and marked:
                stream.disposition = av.stream.Disposition.default
        for kind, rate in (("other", other_rate), ("main", Fraction(25))):
            stream = streams[kind]
            size = (stream.width, stream.height)
            for index, picture in enumerate(numbered_frames(max(1, int(2 * rate)), *size)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, 1 / rate
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
@pytest.mark.parametrize("rate", [Fraction(1, 4), Fraction(1)], ids=["poster", "preview"])
@pytest.mark.parametrize("first", [True, False])
def test_neither_poster_nor_preview_is_the_main_stream(
    tmp_path: Path, name: str, rate: Fraction, first: bool
) -> None:
    path = write_two_videos(tmp_path / name, rate, other_first=first, marked=first)
    media = read_media(path)
    assert (media.width, media.height, media.video_frames) == (64, 48, 50)
    with open_source(path) as source:
        assert source.video.width == 64


def test_of_two_full_streams_the_one_players_take_is_read(tmp_path: Path) -> None:
    path = write_two_videos(tmp_path / "a.mkv", Fraction(24), other_first=False, marked=True)
    with av.open(str(path)) as container:
        assert read_media(path).width == container.streams.best("video").width


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(64, 45), Fraction(8, 9)])
def test_pixels_that_are_not_square_are_shown_in_proportion(
    make_clip: MakeClip, name: str, aspect: Fraction
) -> None:
    media = read_media(make_clip(name, 12, aspect=aspect), tracking_side=40)
    shown = (48, round(64 * aspect))
    assert (media.height, media.width) == media.frames.shape[1:3] == shown
    for pictures in (media.tracking, media.thumbnails):
        height, width = pictures.shape[1:3]
        assert width / height == pytest.approx(shown[1] / shown[0], rel=0.03)  # whole pixels


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_pixels_are_put_in_proportion_before_the_picture_is_turned(
    make_clip: MakeClip, turned: int
) -> None:
    straight = read_media(make_clip("a.mp4", 2, aspect=Fraction(3, 2)))
    media = read_media(make_clip("b.mp4", 2, aspect=Fraction(3, 2), turned=turned))
    assert np.array_equal(media.frames[0], np.rot90(straight.frames[0], turned // 90))
    assert (media.height, media.width) == media.frames.shape[1:3]
    assert media.tracking.shape[1:] == media.frames.shape[1:3]


@pytest.mark.parametrize("aspect", [Fraction(1000), Fraction(1001, 1000)])
def test_a_pixel_no_camera_has_and_a_rounded_square_are_square(
    make_clip: MakeClip, aspect: Fraction
) -> None:
    assert read_media(make_clip("a.mkv", 2, aspect=aspect)).width == 64


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_sound_before_the_first_picture_is_kept(make_clip: MakeClip, name: str) -> None:
    sound = np.zeros(32000, np.float32)
    sound[4800:6400] = 0.5  # 0.3 to 0.4 s
    codec = "flac" if name == "a.mkv" else "aac"
    times = [1.0 + i / 25 for i in range(25)]
    path = make_clip(name, 25, sound, times=times, audio_codec=codec)
    media = read_media(path)
    assert np.flatnonzero(np.abs(media.audio) > 0.2)[[0, -1]] / 16000 == pytest.approx(
        [0.3, 0.4], abs=0.01
    )
    assert problems(media) == ["video-late"]
    assert numbers(media.tracking).tolist() == [0] * 25 + list(range(25))
    assert media.duration_s == pytest.approx(2.0)
    early = read_media(path, part=Part(0.0, 0.5))
    assert numbers(early.tracking).tolist() == [0] * 13
    assert early.frame_times.tolist() == [0.0]
    assert problems(early) == ["video-late"]
    assert problems(read_media(path, part=Part(1.2, 1.6))) == []


def test_a_little_sound_before_the_first_picture_is_the_codecs(make_clip: MakeClip) -> None:
    times = [0.2 + i / 25 for i in range(25)]
    media = read_media(make_clip("a.mkv", 25, 1.2, times=times, audio_codec="flac"))
    assert media.flags == ()
    assert media.audio.size == 16000
    assert len(media.tracking) == 25


def test_sound_that_starts_late_is_flagged(make_clip: MakeClip) -> None:
    path = make_clip("a.mkv", 50, 1.0, sound_from=0.5, audio_codec="flac")
    assert problems(read_media(path)) == ["audio-late"]
    early = read_media(path, part=Part(0.0, 0.4))
    assert early.audio.tolist() == [0.0] * 6400
    assert problems(read_media(path, part=Part(1.0, 1.4))) == []


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.flv", "aac"), ("a.ts", "mp2")],
)
def test_a_gap_in_the_times_of_the_sound_is_silence(
    make_clip: MakeClip, name: str, codec: str
) -> None:
    sound = (0.25 * np.sign(np.sin(np.arange(32000) / 9))).astype(np.float32)
    path = make_clip(name, 70, sound, sound_gap=(1.0, 0.8), audio_codec=codec)
    media = read_media(path)
    loud = np.abs(media.audio[: media.audio.size // 160 * 160]).reshape(-1, 160).max(axis=1) > 0.1
    edges = np.flatnonzero(np.diff(loud)) / 100
    assert problems(media) == ["audio-gap"]
    assert media.audio.size / 16000 == pytest.approx(2.8, abs=0.08)
    silent = edges[-2:] if name != "a.ts" else edges[edges > 0.5][:2]
    assert silent[1] - silent[0] == pytest.approx(0.8, abs=0.05)
    assert silent[0] == pytest.approx(1.0, abs=0.1)  # a frame of 1152 samples may straddle it
    assert problems(read_media(path, part=Part(0.2, 0.8))) == []


def test_a_clock_that_drifts_makes_no_gap(make_clip: MakeClip) -> None:
    path = make_clip("a.mkv", 25, 1.0, sound_gap=(0.5, 0.05), audio_codec="flac")
    assert read_media(path).audio.size == 16000
    assert read_media(path).flags == ()


def test_a_gap_in_the_times_of_the_pictures_keeps_the_last_one(make_clip: MakeClip) -> None:
    times = [i / 25 + (i >= 20) * 0.6 for i in range(35)]
    media = read_media(make_clip("a.mp4", 35, 2.0, times=times))
    assert problems(media) == ["video-gap"]
    assert numbers(media.tracking).tolist() == [*range(20), *[19] * 15, *range(20, 35)]
    assert media.audio.size == 32000


@pytest.mark.parametrize("name", ["a.avi", "a.asf", "a.mxf"])
def test_times_of_decoding_order_are_replaced_by_equal_steps(tmp_path: Path, name: str) -> None:
    texture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(40):
            picture = np.roll(texture, 2 * index, axis=1)  # moves, for the encoder to see
            picture[-16:, -16:] = 20 + 4 * index
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    with av.open(str(path)) as container:
        said = [frame.pts for frame in container.decode(video=0)]
    assert said != sorted(said)  # the encoder made B-frames
    media = read_media(path)
    assert problems(media) == ["no-audio", "timestamps"]
    assert numbers(media.tracking).tolist() == list(range(40))
    assert media.video_frames == 40
    part = read_media(path, part=Part(0.4, 0.8))
    assert numbers(part.tracking).tolist() == list(range(10, 20))


def test_times_that_start_again_go_on(make_clip: MakeClip) -> None:
    """Two recordings, one after the other in a stream of broadcast."""
    one = make_clip("one.ts", 25)
    path = make_clip("two.ts", 25)
    path.write_bytes(one.read_bytes() + path.read_bytes())
    media = read_media(path)
    assert problems(media) == ["no-audio", "timestamps"]
    assert numbers(media.tracking).tolist() == [*range(25), *range(25)]


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_list_of_other_media_opens_nothing(make_clip: MakeClip, name: str) -> None:
    inside = make_clip("inside.ts", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for listed in (address, inside.name, str(inside)):
            for text in (
                f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{listed}\n#EXT-X-ENDLIST\n",
                f"ffconcat version 1.0\nfile {listed}\n",
            ):
                path = inside.with_name(name)
                path.write_text(text)
                with pytest.raises(MediaError, match="does not open"):
                    read_media(path)
                assert look_at(path, deep=True).fault
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_name_is_never_an_address(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip("a.mp4", 2)
    odd = path.with_name("concat:a%d #1{}.mp4")
    path.rename(odd)
    monkeypatch.chdir(odd.parent)
    assert read_media(Path(odd.name)).video_frames == 2
