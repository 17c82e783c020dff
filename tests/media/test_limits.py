"""Long and large files cost bounded memory and reading, and say so."""

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from meiju_utils.corpus.fingerprints import RATE, look_at, sound_fingerprint
from meiju_utils.media import frames as frames_module
from meiju_utils.media import parts as parts_module
from meiju_utils.media.packets import Packets
from meiju_utils.media.reading import read_media
from meiju_utils.media.streams import open_source
from tests.clips import tone
from tests.media.test_reading import problems

MakeClip = Callable[..., Path]
MINUTES = 10


@pytest.fixture(scope="module")
def long_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten minutes of sound beside two seconds of pictures, in several orders."""
    folder = tmp_path_factory.mktemp("long")
    still = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
    still = still.reformat(format="yuv420p")
    second = np.zeros((1, 8000), np.int16)
    second[0, ::7] = 8000
    files = {}
    for name in ("pictures-first.mkv", "sound-first.mkv", "sound-first.avi", "sound-only.mkv"):
        files[name] = folder / name
        with av.open(str(files[name]), "w", options={"max_interleave_delta": "1"}) as container:
            video = container.add_stream("mpeg4", rate=25) if "only" not in name else None
            if video:
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")

            def write_sound(container: object = container, audio: object = audio) -> None:
                for index in range(60 * MINUTES):
                    frame = av.AudioFrame.from_ndarray(second, format="s16", layout="mono")
                    frame.sample_rate, frame.time_base = 8000, Fraction(1, 8000)
                    frame.pts = 8000 * index
                    container.mux(audio.encode(frame))  # type: ignore[attr-defined]

            if name.startswith("sound"):
                write_sound()
            for index in range(50 if video else 0):
                still.pts, still.time_base = index, Fraction(1, 25)
                container.mux(video.encode(still))
            if video:
                container.mux(video.encode())
            if not name.startswith("sound"):
                write_sound()
    return files


@pytest.mark.parametrize("name", ["pictures-first.mkv", "sound-first.mkv", "sound-first.avi"])
def test_long_sound_beside_a_short_picture(long_files: dict[str, Path], name: str) -> None:
    tracemalloc.start()
    media = read_media(long_files[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problems(media) == ["too-long", "audio-overrun"]
    assert (media.video_frames, media.audio.size) == (50, 60 * 16000)
    assert peak < 16e6  # a minute as int16 and, at the end, float: 6 MB; ten take 60


def test_long_sound_without_pictures(long_files: dict[str, Path]) -> None:
    media = read_media(long_files["sound-only.mkv"])
    assert problems(media) == ["too-long", "no-video"]
    assert media.audio.size == 60 * 16000


@pytest.mark.parametrize("name", ["pictures-first.mkv", "sound-only.mkv"])
def test_no_more_is_read_of_a_long_file_than_is_used(
    long_files: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    note = Packets._note

    def counting(self: Packets, index: int, packet: av.Packet | None) -> None:
        taken.append(packet)
        note(self, index, packet)

    monkeypatch.setattr(Packets, "_note", counting)
    read_media(long_files[name])
    with open_source(long_files[name]) as source:
        assert len(taken) < sum(1 for _ in source.container.demux()) / 4


def test_pictures_that_come_after_all_sound_are_read(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "MAX_SECONDS", 1.0)
    options = {"video_codec": "mpeg4", "audio_codec": "flac"}
    path = make_clip("a.mkv", 300, 12.0, sound_first=True, **options)
    media = read_media(path)
    assert problems(media) == ["too-long"]
    assert (media.video_frames, media.audio.size) == (25, 16000)
    monkeypatch.undo()
    apart, together = read_media(path), read_media(make_clip("b.mkv", 300, 12.0, **options))
    assert apart.flags == together.flags == ()
    assert np.array_equal(apart.audio, together.audio)
    assert np.array_equal(apart.tracking, together.tracking)


def test_large_frames_are_scaled_down_to_a_stated_number_of_pixels(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("a.mp4", 5, size=(320, 240))
    assert read_media(path).frames.shape[1:3] == (240, 320)
    monkeypatch.setattr(frames_module, "MAX_PIXELS", 160 * 120)
    media = read_media(path, tracking_side=160)
    assert problems(media) == ["too-large", "no-audio"]
    assert media.frames.shape[1:3] == (120, 160)
    assert (media.width, media.height) == (320, 240)
    assert media.tracking.shape[1:] == (120, 160)
    assert look_at(path, deep=True).remarks == ("too-large", "no-audio")


def test_the_doctor_hears_no_more_than_is_used(long_files: dict[str, Path]) -> None:
    tracemalloc.start()
    glimpse = look_at(long_files["sound-only.mkv"], deep=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert glimpse.remarks == ("no-video", "too-long")
    assert len(glimpse.sound) == (60 * RATE - 2960) // 93
    assert peak < 20e6


def test_a_fingerprint_by_blocks_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = (8000 * tone(8, RATE) * np.linspace(0, 1, 8 * RATE)).astype(np.int16)
    by_blocks = sound_fingerprint(samples)
    monkeypatch.setattr("meiju_utils.corpus.fingerprints.HOPS_AT_ONCE", 10**6)
    assert np.array_equal(by_blocks, sound_fingerprint(samples))
