"""Moving and turning heads of two people: pieces a person, whether the speaker's face is shown.

    python benchmarks/tracks.py [--clips N] [--every N] [--detector yunet:PATH] [--pictures FOLDER]
    python benchmarks/tracks.py --cost [--clips N] [--detector yunet:PATH]

Each clip of eight seconds has one person who speaks and one who moves the mouth as if saying
something else; both walk about and turn away now and then. In one run and on the same clips the
tracks with linking and without it. Prints, over all clips, tracks a person, the share of them that
show both people, and for which part of the clip the face that stands for it is the speaker's, the
other's, or none.

With --cost seconds of CPU a second of 1280 x 720 pixels, median over the clips: reading, finding
faces as by default and as it was before (a look in five frames of 960 pixels), and what TalkNet
would take for the same tracks (of random weights, which cost as much as any).
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from meiju_utils.config import Preprocessing
from meiju_utils.config.sections import Faces
from meiju_utils.corpus.demo.clips import actor
from meiju_utils.corpus.demo.expressions import draw_expression, draw_face
from meiju_utils.corpus.demo.heads import CENTRE, SCALE
from meiju_utils.corpus.demo.mp4 import write_mp4
from meiju_utils.corpus.demo.scenes import _backdrop
from meiju_utils.corpus.demo.voice import SAMPLE_RATE, mouth_opening, speak
from meiju_utils.media.reading import read_media
from meiju_utils.preprocessing import tracks
from meiju_utils.preprocessing.faces import ClipFaces, find_faces
from meiju_utils.preprocessing.talknet import TalkNet
from meiju_utils.preprocessing.talknet_scoring import score_tracks
from meiju_utils.preprocessing.tracks import scored_crops

RATE, SECONDS, SIZE = 25, 8, (960, 540)
FRAMES = RATE * SECONDS


Walk = NDArray[np.float64]  # centre x, y and angle of turning in degrees, frame by frame: [T, 3]


def walk(rng: np.random.Generator, home: float, width: float) -> Walk:
    """About somewhere, turning away twice."""
    time = np.arange(FRAMES) / RATE
    x = home + width * rng.uniform(0.5, 0.9) * np.sin(
        rng.uniform(0.8, 1.6) * time + rng.uniform(0, 6)
    )
    y = 250 + 0.3 * width * np.sin(rng.uniform(1, 2) * time + rng.uniform(0, 6))
    angle = 15 * np.sin(1.1 * time + rng.uniform(0, 6))
    for moment in rng.uniform(1, SECONDS - 1, 2):
        angle += rng.choice([-75, 75]) * np.exp(-(((time - moment) / rng.uniform(0.3, 0.6)) ** 2))
    return np.stack([x, y, np.clip(angle, -80, 80)], axis=1)


def people(
    seed: int, size: tuple[int, int] = SIZE
) -> tuple[list[NDArray[np.float64]], Iterator[NDArray[np.uint8]], NDArray]:
    """Where two people are, the first of whom speaks; the pictures; the sound."""
    rng = np.random.default_rng([9, seed])
    who = [actor(1, int(p)) for p in rng.choice(24, 2, replace=False)]
    sound = speak(who[0].voice, "happy", "neutral", 0.8, SECONDS, rng)
    other = speak(who[1].voice, "neutral", "neutral", 0.0, SECONDS, rng)
    mouths = mouth_opening(sound, FRAMES), 0.8 * mouth_opening(other, FRAMES)
    width = rng.uniform(110, 170)
    homes = rng.permutation([0.27, 0.73]) * size[0]
    paths = [walk(rng, home, width) for home in homes]
    shown = [draw_expression(e, "neutral", 0.8, rng) for e in ("happy", "neutral")]
    backdrop = _backdrop(size, rng)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for index in range(FRAMES):
            picture = backdrop.copy()
            for person in range(2):
                head = who[person].head
                face = draw_face(head, shown[person], mouths[person][index], 0.0)
                scale = width / (2 * head.half_width * SCALE)
                x, y, angle = paths[person][index]
                squeeze = np.cos(np.radians(angle))
                shift = 0.35 * width * np.sin(np.radians(angle))
                matrix = np.array(
                    [
                        [scale * squeeze, 0, x + shift - CENTRE[0] * SCALE * scale * squeeze],
                        [0, scale, y - CENTRE[1] * SCALE * scale],
                    ]
                )
                warped = cv2.warpAffine(face, matrix, size, flags=cv2.INTER_LINEAR)
                alpha = warped[..., 3:].astype(np.uint16)
                picture[:] = warped[..., :3] + (picture * (255 - alpha) // 255).astype(np.uint8)
            yield picture

    return paths, pictures(), sound


def measure(found: ClipFaces, paths: list[NDArray[np.float64]], scale: float) -> dict[str, float]:
    """Of one clip: tracks a person, those of both, where the crops of the kept frames come from."""

    def person_at(frame: int, x: float, y: float) -> int:
        """Whose head is nearest."""
        ways = [np.hypot(path[frame, 0] - x / scale, path[frame, 1] - y / scale) for path in paths]
        return int(np.argmin(ways))

    owners = []
    for track in found.tracks:
        at = track.geometry()
        seen = {
            person_at(frame, *at[frame - track.start, :2])
            for frame in track.detected
            if track.start <= frame < min(track.stop, FRAMES)
        }
        owners.append(seen)
    shown = [
        person_at(min(FRAMES - 1, round(time * RATE)), x * scale, y * scale)
        for time, x, y, _ in found.track
    ]
    return {
        "tracks a person": len(found.tracks) / 2,
        "of both": mean(len(seen) > 1 for seen in owners) if owners else 0.0,
        "speaker": shown.count(0) / FRAMES,
        "other": shown.count(1) / FRAMES,
        "none": 1 - len(shown) / FRAMES,
        "by voice": float(found.choice == "speaker"),
    }


def cost(path: Path, detector: str) -> dict[str, float]:
    """Seconds of CPU for each second of a clip, by part."""

    def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
        began = time.process_time()
        made = work()
        return (time.process_time() - began) / SECONDS, made

    spent: dict[str, float] = {}
    for name, faces in (("", {}), (" before", {"detect_every": 5, "tracking_side": 960})):
        settings = Preprocessing.model_validate({"faces": {"detector": detector, **faces}})
        side = settings.faces.tracking_side
        spent[f"reading{name}"], media = seconds(lambda s=side: read_media(path, 16000, 30, s))
        spent[f"faces{name}"], found = seconds(lambda m=media, s=settings: find_faces(m, s))
        if not name:
            crops = [scored_crops(media.tracking, track) for track in found.tracks]
            sounds = [media.audio[track.start * 640 :] for track in found.tracks]
            pairs = list(zip(sounds, crops, strict=True))
            torch.set_num_threads(1)
            spent["TalkNet"], _ = seconds(lambda p=pairs: score_tracks(TalkNet().eval(), p))
    return spent


def measure_cost(clips: int, detector: str) -> None:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(clips):
            path = Path(folder) / f"{seed}.mp4"
            _, pictures, sound = people(seed, (1280, 720))
            write_mp4(path, pictures, RATE, (1280, 720), sound, 16000, 16000, "mono", 8_000_000)
            found.append(cost(path, detector))
    for part in found[0]:
        print(f"{part:<16} {median(one[part] for one in found):.3f}")
    before, now = (
        median(one[f"reading{s}"] + one[f"faces{s}"] for one in found) for s in (" before", "")
    )
    print(f"{'together':<16} {now:.3f}, {now / before:.2f} of before")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--detector", default="dlib-hog")
    parser.add_argument("--every", type=int, default=Faces().detect_every)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--pictures", type=Path, help="where the first clip is kept")
    asked = parser.parse_args()
    faces = {"detector": asked.detector, "detect_every": asked.every}
    settings = Preprocessing.model_validate({"faces": faces})
    if asked.cost:
        measure_cost(asked.clips, asked.detector)
        return
    rows: dict[str, list[dict[str, float]]] = {"without linking": [], "linked": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.first, asked.first + asked.clips):
            paths, pictures, sound = people(seed)
            place = asked.pictures if asked.pictures and seed == asked.first else Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            path = place / "clip.mp4"
            write_mp4(
                path, pictures, RATE, SIZE, sound, SAMPLE_RATE, SAMPLE_RATE, "mono", 8_000_000
            )
            media = read_media(
                path, settings.sample_rate, settings.frame_stride, settings.faces.tracking_side
            )
            scale = media.tracking.shape[2] / SIZE[0]
            linked = tracks.link_pieces
            for name in rows:
                tracks.link_pieces = linked if name == "linked" else lambda pieces, _: list(pieces)
                rows[name].append(measure(find_faces(media, settings), paths, scale))
            tracks.link_pieces = linked
    for name, found in rows.items():
        figures = ", ".join(f"{key} {mean(one[key] for one in found):.2f}" for key in found[0])
        print(f"{name:<16} {figures}")


if __name__ == "__main__":
    main()
