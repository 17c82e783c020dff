"""What a network is given, stream by stream: checked, with zeros behind the end of each clip.

Shapes: B clips, T steps, D features. Imports `errors` and torch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from meiju_utils.errors import FeatureError

# Features [B, T, D] with zeros behind the end of each clip, real steps [B], and who has the stream
# at all (bool [B], None: everybody).
Stream = tuple[Tensor, Tensor, Tensor | None]


def padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Which steps of [B, T, D] lie behind the end of their clip: bool [B, T, 1]."""
    return (torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(1)).unsqueeze(2)


def read_streams(
    widths: Mapping[str, int],
    features: Mapping[str, Tensor],
    lengths: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    masking: bool,
) -> tuple[dict[str, Stream], int]:
    """The streams that are there, of those in `widths`; and the number of clips.

    Without `masking` padded steps count as real ones. Raises FeatureError for another width than
    in `widths`, and where nothing is there.
    """
    found: dict[str, Stream] = {}
    clips = None
    for name, width in widths.items():
        x = features.get(name)
        if x is None:
            continue
        if x.ndim != 3 or x.shape[2] != width:
            raise FeatureError(
                f"The network takes {name} features [B, T, {width}]; got {list(x.shape)}. "
                "Use the encoder it was trained with, or train anew."
            )
        clips = len(x)
        if not x.shape[1]:
            continue
        length, has = lengths.get(name), present.get(name)
        if has is None and length is not None:
            has = length > 0
        if length is None or not masking:
            length = x.new_full((clips,), x.shape[1], dtype=torch.long)
        else:
            x = x.masked_fill(padding(x, length), 0)
        found[name] = (x, length, has)
    if clips is None:
        raise FeatureError(f"The network needs features of at least one of: {', '.join(widths)}.")
    return found, clips
