"""Small releases in the official layout, with any of its quirks, for the reader and the doctor."""

import csv
import functools
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meiju_utils.challenge import EMOTIONS, INTENTS, Setting

WORDS = {"train": "Training", "valid": "Validation", "test": "Testing"}
SIZES = {"train": 9, "valid": 8, "test": 4, "unlabeled": 5}
SENTENCES = {
    "mandarin": ("你怎么来了？？", "好吧，我听你的", "别怕！！有我在", "我不知道…", "“谁”，说的"),
    "english": ("What are you doing here??", "Well, fine", "Don't worry!", 'He said "no", twice'),
}
RATE = 16000


@dataclass(frozen=True)
class Release:
    """A written release: what to give as data_dir, its language folder, what it says of each clip.

    `clips` maps clip id to (split, text, emotion, intent).
    """

    data_dir: Path
    folder: Path
    clips: dict[str, tuple[str, str, str, str]]

    def ids(self, split: str) -> list[str]:
        return [clip_id for clip_id, clip in self.clips.items() if clip[0] == split]

    def file(self, name: str) -> Path:
        """The one file of a name anywhere in the release."""
        (path,) = self.folder.rglob(name)
        return path


WriteRelease = Callable[..., Release]


def _write_release(
    folder: Path,
    setting: Setting,
    *,
    track_name: str = "",
    encoding: str = "utf-8",
    newline: str = "\n",
    heading: tuple[str, str] | None = ("FileName", "Subtitle"),
    index_column: bool = False,
    label_columns: bool = False,
    listed_suffix: str = ".mp4",
    video_suffix: str = ".mp4",
    testing_list: str = "Annotation/Testing_files.txt",
    testing_table: str = "Annotation/Testing_transcription.csv",
    testing_folder: str = "Annotation/Testing",
    pool_folder: str = "NoAnnotation",
    pool_table: str = "",
    pool_heading: tuple[str, str] | None = ("name", "sentence"),
    film: Callable[[str], bytes] | None = lambda _: b"",
) -> Release:
    """Write a release of SIZES clips; by default the tidy layout with empty files as videos.

    `film` gives a clip's file content, None writes no videos. In track 2 "Annotation/" is dropped
    from all paths.
    """
    language = setting.language.capitalize()
    home = folder / (track_name or f"Track{setting.track}") / language
    annotation = "Annotation/" if setting.track == 1 else ""
    clips: dict[str, tuple[str, str, str, str]] = {}
    for split, size in SIZES.items():
        if split == "unlabeled" and not setting.has_unlabeled:
            continue
        for number in range(1, size + 1):
            clip_id = (
                f"第{number}集 片段 {number}"
                if split == "unlabeled"
                else f"Track{setting.track}_{WORDS[split]}_{number:05d}"
            )
            labelled = split in ("train", "valid")
            text = SENTENCES[setting.language][number % len(SENTENCES[setting.language])]
            clips[clip_id] = (
                split,
                text if split != "unlabeled" or pool_table else "",
                EMOTIONS[number % 7] if labelled else "",
                INTENTS[number % 8] if labelled else "",
            )

    def write(relative: str, text: str) -> None:
        path = home / relative.replace("Annotation/", annotation, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("\n", newline).encode(encoding))

    def table(split: str, columns: tuple[str, str] | None, labels: bool) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        index = [""] if index_column else []
        if columns:
            writer.writerow([*index, *columns, *(["emotion", "intent"] if labels else [])])
        for number, (clip_id, clip) in enumerate(clips.items()):
            if clip[0] == split:
                numbered = [str(number)] if index else []
                name = clip_id + (listed_suffix if split != "unlabeled" else "")
                writer.writerow([*numbered, name, clip[1], *(clip[2:] if labels else [])])
        return out.getvalue()

    for split, word in WORDS.items():
        ids = [clip_id for clip_id, clip in clips.items() if clip[0] == split]
        if split == "test":
            if testing_table:
                write(testing_table, table(split, heading, labels=False))
            if testing_list.endswith(".csv"):
                write(testing_list, table(split, heading, labels=False))
            else:
                write(testing_list, "".join(f"{clip_id}{listed_suffix}\n" for clip_id in ids))
        else:
            write(f"Annotation/{word}_transcription.csv", table(split, heading, label_columns))
            rows = [f"{clip_id}{listed_suffix} {' '.join(clips[clip_id][2:])}" for clip_id in ids]
            write(f"Annotation/{word}_files.txt", "\n".join(rows) + "\n")
    if pool_table:
        write(pool_table, table("unlabeled", pool_heading, labels=False))
    if film is not None:
        places = {
            "train": f"{annotation}Training",
            "valid": f"{annotation}Validation",
            "test": testing_folder.replace("Annotation/", annotation),
            "unlabeled": pool_folder,
        }
        for clip_id, clip in clips.items():
            if places[clip[0]]:
                path = home / places[clip[0]] / f"{clip_id}{video_suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(film(clip_id))
    return Release(folder, home, clips)


@pytest.fixture(scope="session")
def write_release() -> WriteRelease:
    """`write_release(folder, setting, **quirks) -> Release`, see _write_release."""
    return _write_release


def utter(seed: int, seconds: float = 1.5) -> NDArray[np.float32]:
    """A sound [samples] at RATE unlike that of any other seed: syllables of a buzzing voice."""
    rng = np.random.default_rng(seed)
    pieces = []
    while sum(map(len, pieces)) < seconds * RATE:
        time = np.arange(int(rng.uniform(0.12, 0.3) * RATE)) / RATE
        pitch = rng.uniform(90, 250) * (1 + rng.uniform(-0.2, 0.2) * time / time[-1])
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = rng.uniform(300, 2500, 3)
        syllable = sum(
            np.exp(-(((harmonic * pitch.mean() - formants) / 250) ** 2)).sum()
            * np.sin(harmonic * phase)
            for harmonic in range(1, 25)
        )
        pieces.append(syllable * np.hanning(len(time)) * rng.uniform(0.3, 1))
    sound = np.concatenate(pieces)[: int(seconds * RATE)]
    sound = sound / np.abs(sound).max() * 0.5 + 0.002 * rng.standard_normal(len(sound))
    return sound.astype(np.float32)


def encode(
    sound: NDArray[np.float32] | None,
    picture_seed: int | None = 0,
    *,
    size: tuple[int, int] = (96, 64),
    rate: int = RATE,
    bit_rate: int = 64000,
    crf: int = 23,
    times: Sequence[float] = tuple(i / 10 for i in range(10)),
) -> bytes:
    """An MP4 of a sound (None: mute) and frames of a blurred pattern (None: sound only).

    The frames are shown at `times`, in seconds.
    """
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        streams = []
        if picture_seed is not None:
            video = container.add_stream("libx264", rate=10, options={"crf": str(crf)})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            coarse = np.random.default_rng(picture_seed).integers(0, 256, (6, 8, 3), np.uint8)
            still = av.VideoFrame.from_ndarray(coarse).reformat(*size, "yuv420p")
            for time in times:
                still.pts, still.time_base = round(10 * time), Fraction(1, 10)
                container.mux(video.encode(still))
            streams.append(video)
        if sound is not None:
            audio = container.add_stream("aac", rate=rate, layout="mono")
            audio.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            resampler = av.AudioResampler("fltp", "mono", rate)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            streams.append(audio)
        for stream in streams:
            container.mux(stream.encode())
    return out.getvalue()


@pytest.fixture(scope="session")
def film() -> Callable[[str], bytes]:
    """`film(clip_id)`: a small real MP4, unlike that of any other clip; made once."""

    @functools.cache
    def make(clip_id: str) -> bytes:
        seed = zlib.crc32(clip_id.encode())
        return encode(utter(seed), seed)

    return make


@pytest.fixture(scope="session")
def media() -> SimpleNamespace:
    """`media.utter(seed)` and `media.encode(sound, picture_seed, **settings)`."""
    return SimpleNamespace(utter=utter, encode=encode, rate=RATE)
