"""How surely does each face of a clip speak, frame by frame? TalkNet's windowed scores.

Windows of equal length share a pass, whichever track they are of; one for which the device's memory
does not suffice goes in halves. Imports numpy, torch, `devices`, `errors`, `talknet`.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meiju_utils.devices import Halving
from meiju_utils.errors import FeatureError
from meiju_utils.preprocessing.talknet import (
    FACE_SIZE,
    FRAME_LENGTH,
    FRAME_RATE,
    FRAME_STEP,
    MFCC_PER_FRAME,
    TalkNet,
    mfcc,
)

# Window lengths in seconds, all of equal weight, as the published demo scores: it lists some
# lengths several times, but in a Python set, where repetitions vanish.
WINDOW_SECONDS = (1, 2, 3, 4, 5, 6)
SMOOTHING = 5  # frames

# Frames a pass, however many and long the tracks: the visual trunk takes 3 MB for one.
_TRUNK_FRAMES = 4 * FRAME_RATE
_WINDOW_FRAMES = 60 * FRAME_RATE

Track = tuple[NDArray[np.float32], NDArray[np.uint8]]


def score_tracks(model: TalkNet, tracks: Sequence[Track]) -> list[NDArray[np.float32]]:
    """How surely the face of each track is speaking: float32 [T] each, above 0 = speaking.

    A track is its sound at 16 kHz in -1..1, from its first frame on, and its grey crops
    [T, 112, 112] at 25 a second; sound missing at the end counts as silence, sound after the end
    is ignored. The class-1 logit is averaged over windows of 1 to 6 s (WINDOW_SECONDS), laid end to
    end from the first frame, the last one being what remains, and then over 5 frames, fewer at the
    ends. Other tracks in the call do not change a track's scores.

    A track shorter than a window length is scored as one window, so one under a second is scored
    once, as a whole. TalkNet is weak there: a caller should not let such a score alone decide.
    Raises FeatureError for faces of another shape or an empty track.
    """
    for _, faces in tracks:
        if not len(faces) or faces.shape != (len(faces), FACE_SIZE, FACE_SIZE):
            raise FeatureError(
                f"A face track has shape {list(faces.shape)}; expected [T, {FACE_SIZE}, "
                f"{FACE_SIZE}] with at least one frame."
            )
    device = next(model.parameters()).device
    lengths = [s * FRAME_RATE for s in WINDOW_SECONDS]
    weights = [Counter(min(length, len(faces)) for length in lengths) for _, faces in tracks]
    scores = [np.zeros(len(faces)) for _, faces in tracks]
    with torch.inference_mode():
        coefficients = [_track_mfcc(audio, len(faces)).to(device) for audio, faces in tracks]
        seen = _frame_embeddings(model, [torch.tensor(faces, device=device) for _, faces in tracks])
        for length in sorted(set().union(*weights)):
            which = [index for index, counts in enumerate(weights) if length in counts]
            inputs = [(coefficients[index], *seen[index]) for index in which]
            logits = _window_scores(model, inputs, length)
            for index, of_track in zip(which, logits, strict=True):
                scores[index] += weights[index][length] * of_track.cpu().numpy()
    return [_smooth(score / len(WINDOW_SECONDS)) for score in scores]


def _track_mfcc(audio: NDArray[np.float32], frames: int) -> Tensor:
    """MFCCs [4T, 13] of a track of T video frames, from the samples all their windows cover."""
    samples = (MFCC_PER_FRAME * frames - 1) * FRAME_STEP + FRAME_LENGTH
    audio = audio[:samples]
    return torch.from_numpy(mfcc(np.pad(audio, (0, samples - len(audio)))))


def _frame_embeddings(model: TalkNet, tracks: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Frame embeddings [T, 512] of each whole track, and of the track cut at every second.

    The visual trunk is most of the work, and of a frame it sees only two neighbours to each side.
    So windows of any length share its output except two frames before and after their bounds,
    which all lie at whole seconds. That is T frames and 8 for each seam between seconds, 1.3 T in
    all, in place of T for each window length.
    """
    seams = [range(FRAME_RATE, len(faces), FRAME_RATE) for faces in tracks]
    pieces = [second for faces in tracks for second in _split(faces, FRAME_RATE)]
    pieces += [
        faces[seam - 4 : seam + 4] for faces, of in zip(tracks, seams, strict=True) for seam in of
    ]
    made = iter(_batched(model.embed_frames, [(piece,) for piece in pieces], _TRUNK_FRAMES))
    cut = [torch.cat([next(made) for _ in _split(faces, FRAME_RATE)]) for faces in tracks]
    joined = [frames.clone() for frames in cut]
    for frames, of in zip(joined, seams, strict=True):
        for seam in of:
            frames[seam - 2 : seam + 2] = next(made)[2:6]
    return list(zip(joined, cut, strict=True))


def _window_scores(
    model: TalkNet, tracks: Sequence[tuple[Tensor, Tensor, Tensor]], length: int
) -> list[Tensor]:
    """Class-1 logits [T] of each track's MFCCs, joined and cut frames, in windows of `length`."""

    def score(audio: Tensor, visual: Tensor) -> Tensor:
        attended = model.attend(model.embed_audio(audio), model.embed_motion(visual))
        return model.classify(*attended)[..., 1]

    windows: list[tuple[Tensor, Tensor]] = []
    for coefficients, joined, cut in tracks:
        frames = joined.clone()
        for bound in range(length, len(frames), length):
            frames[bound - 2 : bound + 2] = cut[bound - 2 : bound + 2]
        audio = _split(coefficients, MFCC_PER_FRAME * length)
        windows += zip(audio, _split(frames, length), strict=True)
    made = iter(_batched(score, windows, _WINDOW_FRAMES))
    return [torch.cat([next(made) for _ in _split(joined, length)]) for _, joined, _ in tracks]


def _split(x: Tensor, length: int) -> tuple[Tensor, ...]:
    """Whole windows of `length` and, last, what remains."""
    return tuple(torch.split(x, length))


def _batched(
    function: Callable[..., Tensor], pieces: Sequence[tuple[Tensor, ...]], frames: int
) -> list[Tensor]:
    """`function` of each piece, in their order; those of equal length go together.

    A pass takes at most so many `frames`, counted by a piece's last part.
    """
    results: dict[int, Tensor] = {}
    batches = Halving()

    def together(batch: Sequence[int]) -> Tensor:
        parts = zip(*(pieces[index] for index in batch), strict=True)
        return function(*(torch.stack(part) for part in parts))

    by_length: dict[int, list[int]] = {}
    for index, piece in enumerate(pieces):
        by_length.setdefault(len(piece[-1]), []).append(index)
    for length, indices in by_length.items():
        size = max(1, frames // length)
        for start in range(0, len(indices), size):
            batch = indices[start : start + size]
            results |= dict(zip(batch, batches.in_halves(together, batch), strict=True))
    return [results[index] for index in range(len(pieces))]


def _smooth(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Centred running mean over SMOOTHING frames, over those there are at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    at = np.arange(len(scores))
    start = np.maximum(at - SMOOTHING // 2, 0)
    stop = np.minimum(at + SMOOTHING // 2 + 1, len(scores))
    return np.asarray((sums[stop] - sums[start]) / (stop - start), np.float32)
