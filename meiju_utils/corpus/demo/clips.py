"""One synthetic clip, from its specification to its file: the unit of work of the builder.

A specification is small and picklable; everything random in the clip follows from its seed.
Imports the drawing, voice and writing modules of this package.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from meiju_utils.corpus.demo.expressions import draw_expression
from meiju_utils.corpus.demo.heads import Head, draw_head
from meiju_utils.corpus.demo.mp4 import write_mp4
from meiju_utils.corpus.demo.scenes import FRAME_RATE, Person, draw_frames
from meiju_utils.corpus.demo.voice import SAMPLE_RATE, Voice, draw_voice, mouth_opening, speak


@dataclass(frozen=True)
class FaceSpec:
    """A face of a clip: who, where (centre and width in pixels), what it shows.

    `mouth`: "speech" follows the clip's audio, "still" hardly moves, "unrelated" moves as if it
    said something else. `intent` is "" for a listener.
    """

    person: int
    centre: tuple[float, float]
    width: float
    emotion: str
    intent: str
    intensity: float
    mouth: Literal["speech", "still", "unrelated"]


@dataclass(frozen=True)
class ClipSpec:
    """All that makes a clip; `seed` and `index` fix what is drawn at random."""

    path: Path
    seed: int
    index: int
    frames: int
    size: tuple[int, int]
    audio_rate: int
    audio_layout: str
    file_size: int
    voice_emotion: str
    voice_intent: str
    voice_intensity: float
    faces: tuple[FaceSpec, ...]

    @property
    def speaker_face(self) -> int:
        """Index of the speaker among the faces, left to right."""
        return [face.mouth for face in self.faces].index("speech")


@dataclass(frozen=True)
class Actor:
    """A person of the corpus: a head and a voice."""

    head: Head
    voice: Voice


@lru_cache(maxsize=64)
def actor(seed: int, person: int) -> Actor:
    """Person number `person` of the corpus with this seed."""
    rng = np.random.default_rng([seed, 1, person])
    return Actor(draw_head(rng), draw_voice(rng))


def make_clip(spec: ClipSpec) -> None:
    """Synthesise and write one clip."""
    cv2.setNumThreads(1)  # builders run side by side, one core each
    rng = np.random.default_rng([spec.seed, 2, spec.index])
    duration = spec.frames / FRAME_RATE
    speaker = actor(spec.seed, spec.faces[spec.speaker_face].person)
    samples = speak(
        speaker.voice, spec.voice_emotion, spec.voice_intent, spec.voice_intensity, duration, rng
    )
    people = []
    for face in spec.faces:
        who = actor(spec.seed, face.person)
        if face.mouth == "speech":
            speech = mouth_opening(samples, spec.frames)
        elif face.mouth == "unrelated":
            other = speak(who.voice, "neutral", "neutral", 0.0, duration, rng)
            speech = 0.8 * mouth_opening(other, spec.frames)
        else:
            speech = 0.04 * np.abs(np.sin(0.2 * np.arange(spec.frames) + rng.uniform(0, 3)))
        shown = draw_expression(face.emotion, face.intent or "neutral", face.intensity, rng)
        people.append(Person(who.head, face.centre, face.width, shown, face.intent, speech))
    write_mp4(
        spec.path,
        draw_frames(spec.size, people, spec.frames, rng),
        FRAME_RATE,
        spec.size,
        samples,
        SAMPLE_RATE,
        spec.audio_rate,
        spec.audio_layout,
        spec.file_size,
    )
