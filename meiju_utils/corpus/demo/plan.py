"""What a synthetic corpus of a size and seed holds: every clip's labels, words, people, form.

All random choices are made here or follow from a clip's seed, so a corpus is the same whatever
the number of workers and however often its building was interrupted. A clip's form (id, duration,
frame size, audio format, file size, people) is drawn apart from its labels. Imports `labels`,
`subtitles`, `clips` and `scenes` of this package, and `challenge`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from meiju_utils.challenge import EMOTIONS, SPLITS, Split
from meiju_utils.corpus.demo.clips import ClipSpec, FaceSpec
from meiju_utils.corpus.demo.labels import (
    Evidence,
    Pair,
    draw_evidence,
    draw_pairs,
    pair_counts,
    spoil_labels,
)
from meiju_utils.corpus.demo.scenes import FRAME_RATE
from meiju_utils.corpus.demo.subtitles import (
    PUNCTUATION_ERRORS,
    as_recognised,
    compose,
    spoil_punctuation,
)

Size = Literal["tiny", "demo", "medium"]

# Clips in train, valid, test, unlabeled.
SIZES: dict[Size, tuple[int, int, int, int]] = {
    "tiny": (30, 10, 10, 20),
    "demo": (240, 80, 160, 480),
    "medium": (600, 150, 400, 1500),
}
LANGUAGE_FOLDER = Path("Track1", "Mandarin")
_FOLDERS: dict[Split, Path] = {
    "train": Path("Annotation", "Training"),
    "valid": Path("Annotation", "Validation"),
    "test": Path("Annotation", "Testing"),
    "unlabeled": Path("NoAnnotation"),
}

# The cast of one series: the same people in every split, leads far more often than the others.
CAST = 24
_SCREEN_TIME = 1 / np.arange(3, CAST + 3)

_DURATION = (1.2, 3.0)  # seconds
_FRAME_SIZES = ((320, 240), (352, 240), (320, 256), (352, 288))
_AUDIO = ((16000, "mono"), (22050, "mono"), (44100, "stereo"), (48000, "mono"), (48000, "stereo"))
_TWO_FACES = 0.4
_UNRELATED_MOUTH = 0.35  # of the listeners
_FACE_WIDTH = (84.0, 108.0)  # pixels; dlib's smallest face is 80
_FILE_SIZE = (52_000, 60_000)  # bytes


@dataclass(frozen=True)
class PlannedClip:
    """A clip: true and listed labels, clean text, the subtitle as given, and how it is made."""

    clip_id: str
    split: Split
    truth: Pair
    listed: Pair
    evidence: Evidence
    text: str
    subtitle: str
    spec: ClipSpec


def plan_corpus(folder: Path, size: Size, seed: int) -> list[PlannedClip]:
    """The clips of a corpus in `folder`, by split and id."""
    clips: list[PlannedClip] = []
    for number, (split, count) in enumerate(zip(SPLITS, SIZES[size], strict=True)):
        rng = np.random.default_rng([seed, 3, number])
        counts = pair_counts(2, "mandarin", "train")
        if split != "unlabeled":
            counts = pair_counts(1, "mandarin", "valid" if split == "valid" else "train")
        truths = draw_pairs(counts, count, rng)
        listed = spoil_labels(truths, counts, rng) if split == "train" else truths
        names = _file_names(split, count, rng)
        for name, truth, shown in zip(names, truths, listed, strict=True):
            path = folder / LANGUAGE_FOLDER / _FOLDERS[split] / name
            clips.append(_plan_clip(path, split, truth, shown, seed, len(clips)))
    return clips


def plan_unlisted(folder: Path, size: Size, seed: int) -> PlannedClip:
    """A sound clip beside those of the training split that no list names."""
    train, *_ = SIZES[size]
    path = folder / LANGUAGE_FOLDER / _FOLDERS["train"] / f"Track1_Training_{train + 1:05d}.mp4"
    truth = ("neutral", "neutral")
    return _plan_clip(path, "train", truth, truth, seed, sum(SIZES[size]))


def _file_names(split: Split, count: int, rng: np.random.Generator) -> list[str]:
    """Official names, or for the unlabelled pool the kinds of names people give."""
    if split != "unlabeled":
        word = {"train": "Training", "valid": "Validation", "test": "Testing"}[split]
        return [f"Track1_{word}_{index + 1:05d}.mp4" for index in range(count)]
    styles = ("ep{0:02d}_{1:05d}.mp4", "片段 {1:05d}.mp4", "clip-{1:05d}.MP4", "{1:05d}.mp4")
    numbers = rng.permutation(10 * count)[:count]
    return sorted(
        styles[rng.integers(len(styles))].format(rng.integers(1, 41), number) for number in numbers
    )


def _plan_clip(
    path: Path, split: Split, truth: Pair, listed: Pair, seed: int, index: int
) -> PlannedClip:
    content = np.random.default_rng([seed, 4, index])
    evidence = draw_evidence(truth, content)
    text = compose(evidence.text_emotion, evidence.text_intent, content)
    subtitle = text
    if split == "unlabeled":
        subtitle = as_recognised(text, content)
    elif content.random() < PUNCTUATION_ERRORS:
        subtitle = spoil_punctuation(text, content)
    voice_intensity, face_intensity = content.uniform(0.6, 1.2, 2)

    form = np.random.default_rng([seed, 5, index])
    low, high = _DURATION
    frames = int(form.integers(round(low * FRAME_RATE), round(high * FRAME_RATE) + 1))
    size = _FRAME_SIZES[form.integers(len(_FRAME_SIZES))]
    audio_rate, audio_layout = _AUDIO[form.integers(len(_AUDIO))]
    spec = ClipSpec(
        path=path,
        seed=seed,
        index=index,
        frames=frames,
        size=size,
        audio_rate=audio_rate,
        audio_layout=audio_layout,
        file_size=int(form.integers(*_FILE_SIZE)),
        voice_emotion=evidence.voice_emotion,
        voice_intent=evidence.voice_intent,
        voice_intensity=float(voice_intensity),
        faces=_plan_faces(size, evidence, float(face_intensity), form),
    )
    return PlannedClip(path.stem, split, truth, listed, evidence, text, subtitle, spec)


def _plan_faces(
    size: tuple[int, int], evidence: Evidence, intensity: float, form: np.random.Generator
) -> tuple[FaceSpec, ...]:
    """One or two people, left to right; a listener's face has nothing to do with the labels."""
    count = 2 if form.random() < _TWO_FACES else 1
    speaker = int(form.integers(count))
    people = form.choice(CAST, count, replace=False, p=_SCREEN_TIME / _SCREEN_TIME.sum())
    width, height = size
    faces = []
    for place, person in enumerate(people):
        shift = (
            form.uniform(-12, 12) if count == 2 else form.uniform(-45, 45),
            form.uniform(-6, 6),
        )
        centre = (width * (place + 0.5) / count + shift[0], height * 0.49 + shift[1])
        face_width = float(form.uniform(*_FACE_WIDTH))
        listener_emotion = str(form.choice(EMOTIONS))
        listener_intensity = float(form.uniform(0.2, 1.0))
        moves = form.random() < _UNRELATED_MOUTH
        faces.append(
            FaceSpec(
                int(person),
                centre,
                face_width,
                evidence.face_emotion,
                evidence.face_intent,
                intensity,
                "speech",
            )
            if place == speaker
            else FaceSpec(
                int(person),
                centre,
                face_width,
                listener_emotion,
                "",
                listener_intensity,
                "unrelated" if moves else "still",
            )
        )
    return tuple(faces)
