"""Clips made for these tests: any picture and sound, in any container and layout."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.preprocessing.manifest import ShardWriter, read_rows
from meiju_utils.preprocessing.store import Preprocessed, serve

MakeClip = Callable[..., Path]


def numbered_frames(count: int, width: int = 64, height: int = 48) -> list[NDArray[np.uint8]]:
    """Grey frames, each 4 brighter than the last, with a red upper left quarter."""
    made = []
    for index in range(count):
        frame = np.full((height, width, 3), 20 + 4 * (index % 50), np.uint8)
        frame[: height // 2, : width // 2] = (220, 30, 30)
        made.append(frame)
    return made


def tone(seconds: float, rate: int = 16000, hertz: float = 440.0) -> NDArray[np.float32]:
    """A sine of half the full scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def write_clip(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] = (),
    sound: NDArray[np.float32] | None = None,
    *,
    times: Sequence[float] | None = None,
    rate: int = 16000,
    layout: str = "mono",
    sound_from: float = 0.0,
    sound_gap: tuple[float, float] = (0.0, 0.0),
    sound_first: bool = False,
    aspect: Fraction | None = None,
    turned: int | None = None,
    mirrored: bool = False,
    video_codec: str = "libx264",
    pixels: str = "yuv420p",
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """Write RGB frames at 25 a second (or shown at `times`, s) and mono sound in [-1, 1].

    `sound_gap`: from which time on how many seconds are missing in the sound's time stamps.
    `sound_first`: all sound lies before all pictures in the file. `aspect`: of a pixel.
    """
    if sound_first:
        options = {"max_interleave_delta": "1"} | (options or {})
    with av.open(str(path), "w", options=options or {}) as container:
        video = audio = None
        if len(frames):
            video = container.add_stream(video_codec, rate=25)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = pixels
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
            if turned is not None or mirrored:
                video.set_display_rotation(turned or 0, hflip=mirrored)
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)

        def write_pictures() -> None:
            for index, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts = round(1000 * times[index]) if times is not None else 40 * index
                picture.time_base = Fraction(1, 1000)
                container.mux(video.encode(picture))
            if video:
                container.mux(video.encode())

        def write_sound() -> None:
            if sound is None:
                return
            size = audio.codec_context.frame_size or 1024
            pack = av.AudioResampler(audio.codec_context.format.name, layout, rate, size)
            voice = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            voice.sample_rate, voice.time_base = rate, Fraction(1, rate)
            voice.pts = round(sound_from * rate)
            for packed in [*pack.resample(voice), *pack.resample(None)]:
                if packed.pts >= sound_gap[0] * rate:
                    packed.pts += round(sound_gap[1] * rate)
                container.mux(audio.encode(packed))
            container.mux(audio.encode())

        for write in (
            (write_sound, write_pictures) if sound_first else (write_pictures, write_sound)
        ):
            write()
    return path


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """`write_clip` by name in the test's folder; a number stands for frames or seconds of tone."""

    def make(
        name: str,
        frames: int | Sequence[NDArray[np.uint8]] = 0,
        sound: float | NDArray[np.float32] | None = None,
        **options: Any,
    ) -> Path:
        size = options.pop("size", (64, 48))
        if isinstance(frames, int):
            frames = numbered_frames(frames, *size)
        if isinstance(sound, (int, float)):
            sound = tone(sound, options.get("rate", 16000))
        return write_clip(tmp_path / name, frames, sound, **options)

    return make


def store_clips(
    folder: Path,
    sounds: Mapping[str, NDArray[np.floating]] | None = None,
    crops: Mapping[str, NDArray[np.uint8]] | None = None,
    texts: Mapping[str, str] | None = None,
    key: str = "preprocessed-1",
) -> Preprocessed:
    """Clips as preprocessing keeps them: sound in [-1, 1), face crops, texts of all."""
    sounds, crops, texts = sounds or {}, crops or {}, dict(texts or {})
    with ShardWriter(folder) as writer:
        for clip_id in texts:
            sound = np.asarray(sounds.get(clip_id, ()))
            faces = crops.get(clip_id, np.empty((0, 0, 0, 3), np.uint8))
            media = {
                "audio": np.rint(sound * 32768).clip(-32768, 32767).astype(np.int16),
                "crops": faces,
                "crop_times": np.arange(len(faces), dtype=float),
            }
            source = {"source_size": len(sound), "source_digest": str(media["audio"].sum())}
            writer.add({"clip_id": clip_id, **source, "flags": "[]"}, media)
    return serve(key, folder, texts, read_rows(folder))
