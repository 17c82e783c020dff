"""Players for notebooks: sound from an array, a small video from its file.

Both are embedded in the page, so that an executed notebook can be passed on alone. Imports `html`.
"""

import base64
from html import escape
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython import display
from numpy.typing import NDArray

from meiju_utils.html import LITERAL

_HTML: Any = display.HTML  # IPython's constructors carry no types
_Audio: Any = display.Audio
# A clip of the challenge has about 1 MB; embedding much more makes a notebook slow to open.
_LARGEST_VIDEO = 8_000_000


def audio_player(samples: NDArray[np.float32], rate: int) -> Any:
    """A player for a mono signal [samples] in -1..1 at `rate` Hz; a note where it is empty.

    The level is left as it is, since loudness tells emotions apart.
    """
    if len(samples) == 0:
        return _note("no audio")
    return _Audio(np.clip(samples, -1, 1), rate=rate, normalize=False)


def clip_player(data_dir: Path, clip: pd.Series) -> Any:
    """A player for a row of the clips table, whose video lies below the data folder."""
    if not clip["video"]:
        return _note(f"{clip['clip_id']} has no video")
    return video_player(data_dir / clip["video"], start_s=clip["start_s"], end_s=clip["end_s"])


def video_player(
    path: Path, width: int = 320, start_s: float = float("nan"), end_s: float = float("nan")
) -> Any:
    """A player, `width` pixels wide, for a video or a part of it; a note where none can be shown.

    `start_s` and `end_s` in seconds of the video, NaN: from its start, to its end.
    """
    if not path.is_file():
        return _note(f"no video {path.name}")
    size = path.stat().st_size
    if size > _LARGEST_VIDEO:
        return _note(f"{path.name}: {size / 1e6:.0f} MB, too large to embed")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    start, end = ("" if isnan(second) else f"{second:.3f}" for second in (start_s, end_s))
    part = f"#t={start or 0}{end and f',{end}'}" if start or end else ""
    return _HTML(
        f'<video controls preload="metadata" width="{width}" title="{escape(path.name)}">'
        f'<source src="data:video/mp4;base64,{data}{part}" type="video/mp4"></video>'
    )


def _note(text: str) -> Any:
    return _HTML(f"<em {LITERAL}>{escape(text)}</em>")
