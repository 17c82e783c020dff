"""Clips a second: decoding each once with PyAV, against starting ffmpeg twice for each.

    python benchmarks/media_decoding.py [FOLDER]

Both ways give 16 kHz mono audio and one RGB frame of 30, and share two processes of one thread
each, in one run and on the same clips: those in FOLDER, or clips made for the occasion. Prints
the rates, their ratio, and how well the outputs agree. Needs ffmpeg on the PATH, which nothing
else in this project does.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from statistics import mean, median
from time import perf_counter, process_time

import av
import cv2
import numpy as np

from meiju_utils.errors import MediaError
from meiju_utils.media.reading import read_media

RATE = 16000
STRIDE = 30
WORKERS = 2
ROUNDS = 3
CLIPS = 60


def decode_once(path: Path) -> float:
    """Ours, as in preprocessing without face tracking; seconds of CPU."""
    started = process_time()
    read_media(path, RATE, STRIDE, tracking_side=0)
    return process_time() - started


def spawn_twice(path: Path) -> float:
    """The published systems' way, a WAV file and then pictures; seconds of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        run_ffmpeg(path, *audio_options(), f"{folder}/audio.wav")
        run_ffmpeg(path, *frame_options(), "-f", "image2", f"{folder}/%05d.bmp")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_ffmpeg(path: Path, *options: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", "-threads", "1", "-i", str(path), *options]
    return subprocess.run(command, check=True, capture_output=True).stdout


def audio_options() -> list[str]:
    return ["-vn", "-ac", "1", "-ar", str(RATE), "-c:a", "pcm_s16le"]


def frame_options() -> list[str]:
    chosen = f"select=not(mod(n\\,{STRIDE}))"
    return ["-an", "-threads", "1", "-filter_threads", "1", "-vf", chosen, "-vsync", "0"]


def rate_of(
    function: Callable[[Path], float], paths: list[Path], pool: ProcessPoolExecutor
) -> tuple[float, float]:
    """Clips a second by the clock, and milliseconds of CPU a clip."""
    started = perf_counter()
    cpu = list(pool.map(function, paths))
    return len(paths) / (perf_counter() - started), 1000 * mean(cpu)


def disagreement(path: Path) -> tuple[int, int, int]:
    """Largest difference of audio in steps of 16 bit; frames that differ; frames compared."""
    ours = read_media(path, RATE, STRIDE, tracking_side=0)
    sound = np.frombuffer(run_ffmpeg(path, *audio_options(), "-f", "s16le", "-"), np.int16)
    steps = np.rint(ours.audio * 32768).astype(int)
    shared = min(steps.size, sound.size)  # ours is trimmed to the picture's end
    raw = run_ffmpeg(path, *frame_options(), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    theirs = np.frombuffer(raw, np.uint8).reshape(-1, ours.height, ours.width, 3)
    worst = int(np.abs(steps[:shared] - sound[:shared]).max(initial=0))
    if len(theirs) != len(ours.frames):
        return worst, len(theirs), len(theirs)
    return worst, int((theirs != ours.frames).any(axis=(1, 2, 3)).sum()), len(theirs)


def make_clips(folder: Path) -> list[Path]:
    """Clips of 2 s, 480x270, a soft texture that pans, and a chirp at three rates and layouts."""
    chance = np.random.default_rng(0)
    picture = cv2.GaussianBlur(chance.normal(128, 900, (270, 480, 3)), (0, 0), 9)
    picture = np.clip(picture + chance.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    paths = []
    for number in range(CLIPS):
        rate, layout = [(16000, "mono"), (44100, "stereo"), (48000, "mono")][number % 3]
        paths.append(folder / f"{number:03}.mp4")
        with av.open(str(paths[-1]), "w") as container:
            video = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            video.width, video.height, video.pix_fmt = 480, 270, "yuv420p"
            audio = container.add_stream("aac", rate=rate, layout=layout)
            for index in range(50):
                frame = np.roll(picture, (1 + number % 3) * index, axis=1)
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(video.encode())
            time = np.arange(2 * rate) / rate
            sound = (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time)).astype(np.float32)
            chirp = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            chirp.sample_rate, chirp.time_base, chirp.pts = rate, Fraction(1, rate), 0
            pack = av.AudioResampler("fltp", layout, rate, 1024)
            for packed in [*pack.resample(chirp), *pack.resample(None)]:
                container.mux(audio.encode(packed))
            container.mux(audio.encode())
    return paths


def main() -> None:
    if shutil.which("ffmpeg") is None:
        print("Skipped: this benchmark compares with ffmpeg, and there is none on the PATH.")
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        paths = sorted(folder.rglob("*.mp4")) if len(sys.argv) > 1 else make_clips(folder)
        paths = [path for path in paths if decodes(path)]
        if not paths:
            print(f"Skipped: no .mp4 files that decode below {folder}.")
            return
        compare(paths)


def decodes(path: Path) -> bool:
    """Sound and picture are there: ffmpeg, told to extract a missing one, would stop."""
    try:
        return not read_media(path, RATE, STRIDE, tracking_side=0).flags
    except MediaError:
        return False


def compare(paths: list[Path]) -> None:
    with ProcessPoolExecutor(WORKERS) as pool:
        rate_of(decode_once, paths[: 4 * WORKERS], pool)  # start the processes, import PyAV
        ours, theirs = [], []
        for _ in range(ROUNDS):  # in turn, so that both meet the same load of the machine
            ours.append(rate_of(decode_once, paths, pool))
            theirs.append(rate_of(spawn_twice, paths, pool))
        agreement = list(pool.map(disagreement, paths))
    steps, differing, frames = zip(*agreement, strict=True)
    print(f"{len(paths)} clips, {WORKERS} processes of one thread, median of {ROUNDS} rounds")
    for name, rounds in (("one pass with PyAV", ours), ("ffmpeg, twice", theirs)):
        speed, cpu = (median(values) for values in zip(*rounds, strict=True))
        print(f"{name:<20}{speed:7.1f} clips/s {cpu:7.1f} ms CPU a clip")
    ratios = [one[0] / other[0] for one, other in zip(ours, theirs, strict=True)]
    of_cpu = median(other[1] / one[1] for one, other in zip(ours, theirs, strict=True))
    print(f"ratio of clips/s {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"ratio of CPU {of_cpu:.1f}")
    print(f"audio: largest difference {max(steps)} of 32768 steps")
    print(f"frames: {sum(frames) - sum(differing)} of {sum(frames)} identical")


if __name__ == "__main__":
    main()
