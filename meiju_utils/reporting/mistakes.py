"""The most confident mistakes, with what one needs to judge them: a picture, the words, the sound.

Imports `predictions`, `reporting.palette` and, of `preprocessing`, what reads clips.
"""

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import soundfile
from markupsafe import Markup
from numpy.typing import NDArray

from meiju_utils.errors import MeijuError
from meiju_utils.predictions import Answers
from meiju_utils.preprocessing import Preprocessed
from meiju_utils.reporting.palette import capital

SHOWN = 6
MOST_S = 12.0  # of sound


@dataclass(frozen=True)
class Mistake:
    """A clip that was answered wrongly: of each task label, answer and its probability; the bytes
    of a JPEG and of a WAV, b"" where there is none."""

    clip_id: str
    text: str
    tasks: dict[str, tuple[str, str, float]]
    picture: bytes
    sound: bytes


def confident_mistakes(
    answers: Answers,
    truth: pd.DataFrame,
    clips: Preprocessed | None,
    most: int = SHOWN,
    rate: int = 16000,
) -> list[Mistake]:
    """The clips of `truth` (clip_id, a label a task) whose wrong answers are most probable; of a
    clip the surer wrong task counts. `clips` has their media, if they are there."""
    own = answers.table.set_index("clip_id")
    known = truth[truth["clip_id"].isin(own.index)].set_index("clip_id")
    rows = Answers(own.loc[known.index].reset_index())
    sure = {task: rows.confidence(task) for task in rows.tasks}
    wrong = {task: rows.table[task].to_numpy() != known[task].to_numpy() for task in rows.tasks}
    if not len(rows):
        return []
    worst = np.max([np.where(wrong[task], sure[task], 0.0) for task in rows.tasks], axis=0)
    found = []
    for place in np.argsort(-worst, kind="stable")[:most]:
        if not worst[place]:
            break
        clip_id = str(known.index[place])
        tasks = {
            task: (
                str(known[task].iloc[place]),
                str(rows.table[task].iloc[place]),
                float(sure[task][place]),
            )
            for task in rows.tasks
        }
        text = clips.text(clip_id) if clips is not None else ""
        found.append(Mistake(clip_id, text, tasks, *_media(clips, clip_id, rate)))
    return found


def _media(clips: Preprocessed | None, clip_id: str, rate: int) -> tuple[bytes, bytes]:
    """Picture and sound; nothing of what is not there or damaged."""
    with suppress(MeijuError):
        if clips is not None:
            jpegs = clips.jpegs(clip_id)
            picture = jpegs[len(jpegs) // 2].tobytes() if jpegs else b""
            return picture, wav(clips.samples(clip_id), rate)
    return b"", b""


def wav(samples: NDArray[np.int16], rate: int = 16000) -> bytes:
    """The bytes of a WAV file of mono samples, its beginning; b"" of none."""
    if not len(samples):
        return b""
    buffer = io.BytesIO()
    beginning = samples[: round(MOST_S * rate)]
    soundfile.write(buffer, beginning, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def cards(mistakes: Sequence[Mistake]) -> Markup:
    """Mistakes as cards of HTML, whole in themselves; all that is data is escaped."""
    return Markup('<div class="clips">{}</div>').format(Markup("").join(map(_card, mistakes)))


def _card(mistake: Mistake) -> Markup:
    parts = [Markup("<h3>{}</h3>").format(mistake.clip_id)]
    if mistake.picture:
        data = base64.b64encode(mistake.picture).decode("ascii")
        parts.append(
            Markup('<img alt="A frame of {}" src="data:image/jpeg;base64,{}">').format(
                mistake.clip_id, data
            )
        )
    for task, (label, answer, probability) in mistake.tasks.items():
        right = label == answer
        told = f"{answer}, right" if right else f"{answer} for {label}"
        parts.append(
            Markup("<p><b>{}</b> {} ({:.0%})</p>").format(capital(task), told, probability)
        )
    if mistake.text:
        parts.append(Markup('<p class="words">{}</p>').format(mistake.text))
    if mistake.sound:
        data = base64.b64encode(mistake.sound).decode("ascii")
        parts.append(
            Markup('<audio controls preload="none" src="data:audio/wav;base64,{}"></audio>').format(
                data
            )
        )
    return Markup('<div class="clip">{}</div>').format(Markup("").join(parts))
