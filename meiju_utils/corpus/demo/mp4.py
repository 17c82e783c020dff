"""Writing one clip: H.264 and AAC in an MP4 file whose size and metadata say nothing of it.

Imports the package's `files` and `errors` only.
"""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from meiju_utils.errors import MediaError
from meiju_utils.files import atomic_path

_VIDEO = {"crf": "26", "preset": "veryfast"}
_AUDIO_BIT_RATE = 48_000


def write_mp4(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: int,
    size: tuple[int, int],
    samples: NDArray[np.float64],
    sample_rate: int,
    audio_rate: int,
    audio_layout: str,
    file_size: int,
) -> None:
    """Encode frames [H, W, 3] BGR and mono samples, and pad the file to `file_size` bytes.

    `size` is (width, height). The audio is resampled to `audio_rate` Hz and `audio_layout` (mono,
    stereo). One encoder thread and bit-exact muxing: the same input gives the same bytes, but for
    a few clips whose picture libx264 does not encode alike every time. Raises MediaError where the
    clip does not fit in `file_size`.
    """
    with atomic_path(path) as temporary:
        with av.open(
            str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}
        ) as container:
            video = container.add_stream("libx264", rate=frame_rate, options=_VIDEO)
            video.width, video.height = size
            video.pix_fmt = "yuv420p"
            video.codec_context.thread_count = 1
            audio = container.add_stream("aac", rate=audio_rate, layout=audio_layout)
            audio.bit_rate = _AUDIO_BIT_RATE
            for index, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
                picture.pts, picture.time_base = index, Fraction(1, frame_rate)
                container.mux(video.encode(picture))
            container.mux(video.encode())
            sound = av.AudioFrame.from_ndarray(
                samples.astype(np.float32)[None], format="fltp", layout="mono"
            )
            sound.sample_rate, sound.pts = sample_rate, 0
            sound.time_base = Fraction(1, sample_rate)
            resampler = av.AudioResampler("fltp", audio_layout, audio_rate)
            for part in [*resampler.resample(sound), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            container.mux(audio.encode())
        _pad(temporary, file_size, path.name)


def _pad(path: Path, size: int, name: str) -> None:
    """Append an MP4 `free` box, which players skip, so that the file has `size` bytes."""
    rest = size - path.stat().st_size
    if rest < 8:  # a box is at least its length and its type
        raise MediaError(f"{name}: the encoded clip is {-rest} bytes too long for {size} bytes.")
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", rest, b"free") + bytes(rest - 8))
