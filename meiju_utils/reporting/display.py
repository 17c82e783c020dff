"""Players for notebooks: sound from an array, a small video from its file.

Both are embedded in the page, so that an executed notebook can be passed on alone. Imports nothing
of the package.
"""

import base64
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from IPython import display
from numpy.typing import NDArray

_HTML: Any = display.HTML  # IPython's constructors carry no types
_Audio: Any = display.Audio
# A clip of the challenge has about 1 MB; embedding much more makes a notebook slow to open.
_LARGEST_VIDEO = 8_000_000


def audio_player(samples: NDArray[np.float32], rate: int = 16000) -> Any:
    """A player for a mono signal [samples] in -1..1 at `rate` Hz; a note where it is empty.

    The level is left as it is, since loudness tells emotions apart.
    """
    if len(samples) == 0:
        return _HTML("<em>no audio</em>")
    return _Audio(np.clip(samples, -1, 1), rate=rate, normalize=False)


def video_player(path: Path, width: int = 320) -> Any:
    """A player, `width` pixels wide, for an MP4 file; a note where it is missing or too large."""
    if not path.is_file():
        return _HTML(f"<em>no video {escape(path.name)}</em>")
    size = path.stat().st_size
    if size > _LARGEST_VIDEO:
        return _HTML(f"<em>{escape(path.name)}: {size / 1e6:.0f} MB, too large to embed</em>")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return _HTML(
        f'<video controls preload="metadata" width="{width}" title="{escape(path.name)}">'
        f'<source src="data:video/mp4;base64,{data}" type="video/mp4"></video>'
    )
