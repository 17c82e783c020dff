"""Does this face speak? Scores of a face track against the sound, behind one interface.

A scorer gives one number a video frame; above zero means speaking, and a track's score is their
mean. Imports numpy, `devices`, `errors`, `frames`, `run`; TalkNet and torch only where a scorer of
that name is made.
"""

import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meiju_utils.devices import check_device, torch_device
from meiju_utils.errors import ConfigError, nearest
from meiju_utils.media.frames import TRACKING_RATE
from meiju_utils.references import resolve

# Below one second neither scorer is to be trusted: it is not asked.
LEAST_FRAMES = TRACKING_RATE
SILENCE_DB = -60.0  # RMS of a whole clip, relative to full scale


Track = tuple[NDArray[np.float32], NDArray[np.uint8]]


class Scorer(Protocol):
    """Scores the face tracks of a clip."""

    def score_all(self, tracks: Sequence[Track]) -> list[NDArray[np.float32]]:
        """Scores [T] of each track: its sound in [-1, 1), its grey crops [T, 112, 112].

        The crops are shown at 25 a second, from the sound's first sample on.
        """


class Correlation:
    """Whether the mouth follows the voice, without any weights.

    Two correlations are added: the motion of the mouth region with the rate of change of the
    loudness (motion is the derivative of opening, so on a held vowel it does not follow loudness
    itself), and the share of dark pixels in it, its opening, with the loudness. What chance easily
    gives is taken off, so scores lie between -2.2 and 1.8.
    """

    # The mouth in a scored crop, which spans x ± 0.7 and y from -0.3 to 1.1 half sizes of the face.
    ROWS = slice(54, 110)
    COLUMNS = slice(22, 90)
    DARK = 0.45  # of the mean brightness of the region
    CHANCE = 0.2
    WINDOW = TRACKING_RATE  # one second: products of single frames say nothing

    def __init__(self, sample_rate: int) -> None:
        self.hop = sample_rate // TRACKING_RATE

    def score_all(self, tracks: Sequence[Track]) -> list[NDArray[np.float32]]:
        return [self.score(audio, faces) for audio, faces in tracks]

    def score(self, audio: NDArray[np.float32], faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores [T] of one track."""
        loudness = _loudness(audio, self.hop, len(faces))
        mouth = faces[:, self.ROWS, self.COLUMNS].astype(np.float32)
        mouth /= mouth.mean() + 1e-6
        motion = _rate_of_change(mouth).mean(axis=(1, 2))
        opening = (mouth < self.DARK).mean(axis=(1, 2))
        together = _standard(_smooth(motion)) * _standard(_smooth(_rate_of_change(loudness)))
        together += _standard(_smooth(opening)) * _standard(_smooth(loudness))
        return np.asarray(_running_mean(together, self.WINDOW) - self.CHANCE, np.float32)


class TalkNetScorer:
    """TalkNet with published weights: logits of speaking."""

    def __init__(self, checkpoint: str, device: str) -> None:
        from meiju_utils.preprocessing.talknet import TalkNet

        where = torch_device(device, "preprocessing.device")
        self.model = TalkNet.from_checkpoint(resolve(checkpoint)).to(where)

    def score_all(self, tracks: Sequence[Track]) -> list[NDArray[np.float32]]:
        from meiju_utils.preprocessing.talknet_scoring import score_tracks

        return score_tracks(self.model, tracks)


SCORERS: dict[str, Callable[[str, int, str], Scorer]] = {
    "correlation": lambda _, sample_rate, __: Correlation(sample_rate),
    "talknet": lambda checkpoint, _, device: TalkNetScorer(checkpoint, device),
}


def has_weights(name: str) -> bool:
    """Whether a scorer of this name loads a model."""
    return name.partition(":")[0] == "talknet"


# Names of weights by which a file is known as TalkNet's before it is loaded.
_TALKNET_WEIGHTS = (b"visualFrontend.frontend3D.0.weight", b"lossAV.FC.weight")
_HEAD_BYTES = 2**20  # of safetensors and of PyTorch's old format: there stand the names


@lru_cache(maxsize=2)
def make_scorer(name: str, sample_rate: int, device: str = "auto") -> Scorer:
    """The scorer of a profile: `correlation`, or `talknet:<path of pretrain_TalkSet.model>`.

    Made once a process. `device` is TalkNet's. Raises ConfigError as `check_scorer` does,
    FeatureError for a checkpoint that does not load.
    """
    check_scorer(name, sample_rate, device)
    kind, _, checkpoint = name.partition(":")
    return SCORERS[kind](checkpoint, sample_rate, device)


def check_scorer(name: str, sample_rate: int, device: str = "auto") -> None:
    """ConfigError for what `make_scorer` could not make: quick, without loading the weights.

    That is an unknown name, a sample rate TalkNet was not trained on, a device that is not there,
    and a file that is missing or none of TalkNet's.
    """
    kind, _, checkpoint = name.partition(":")
    if kind not in SCORERS or bool(checkpoint) != has_weights(name):
        raise ConfigError(
            f"preprocessing.speaker = {name!r}: "
            + nearest(name, ["correlation", "talknet:<path of pretrain_TalkSet.model>"])
        )
    if kind != "talknet":
        return
    if sample_rate != 16000:
        raise ConfigError(
            f"preprocessing.sample_rate = {sample_rate}: TalkNet needs 16000; change it, or set "
            "preprocessing.speaker to correlation."
        )
    check_device(device, "preprocessing.device")
    path = resolve(checkpoint)
    there = path.is_file()
    names = _names_in(path) if there else b""
    if not all(weight in names for weight in _TALKNET_WEIGHTS):
        raise ConfigError(
            f"preprocessing.speaker = {name!r}: "
            + (
                f"{path} does not hold TalkNet's weights. "
                if there
                else f"there is no file {path}. "
            )
            + "Expected the published pretrain_TalkSet.model or a .safetensors file of its "
            "tensors; correct the path, or set preprocessing.speaker to correlation, which needs "
            "no weights."
        )


def _names_in(path: Path) -> bytes:
    """The part of a checkpoint that has the names of its weights."""
    try:
        with zipfile.ZipFile(path) as parts:  # what torch.save writes
            (listed,) = [part for part in parts.namelist() if part.endswith("/data.pkl")]
            return parts.read(listed)
    except (zipfile.BadZipFile, ValueError):
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)


def is_silent(audio: NDArray[np.float32]) -> bool:
    """No sound, or so little that no voice can be in it."""
    if not audio.size:
        return True
    power = float(np.mean(np.square(audio, dtype=np.float64)))
    return power < 10 ** (SILENCE_DB / 10)


def _loudness(audio: NDArray[np.float32], hop: int, frames: int) -> NDArray[np.float64]:
    """RMS of the sound while each video frame is shown: [frames]; 0 where there is no sound."""
    wanted = frames * hop
    sound = np.pad(audio[:wanted], (0, max(0, wanted - audio.size))).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(sound.reshape(frames, hop) ** 2, axis=1)))


def _rate_of_change(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.abs(np.diff(values, axis=0, prepend=values[:1]))


def _smooth(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Three frames, weighted 1:2:1; the ends repeat."""
    return np.convolve(np.pad(values, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Centred mean over `width` frames, over those there are at the ends."""
    shape = np.ones(min(width, len(values)))
    total = np.convolve(values, shape, mode="same")
    return np.asarray(total / np.convolve(np.ones(len(values)), shape, mode="same"), np.float64)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1, so that a mean product is a correlation; 0 if constant."""
    return np.asarray((values - values.mean()) / (values.std() + 1e-9), np.float64)
