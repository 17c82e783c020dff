"""Who of the faces on screen is speaking: TalkNet and its audio features.

Our own implementation of the network of R. Tao et al., *Is Someone Speaking?* (ACM Multimedia
2021), for inference with the published weights. Imports numpy, scipy, torch, `errors` and the
blocks in `talknet_layers`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.fft import dct
from torch import Tensor, nn

from meiju_utils.errors import FeatureError
from meiju_utils.preprocessing.talknet_layers import Backbone, Classifier

SAMPLE_RATE = 16000  # Hz
FRAME_RATE = 25  # video frames a second
FACE_SIZE = 112  # pixels
MFCC_PER_FRAME = 4  # MFCC frames, 100 a second, for each video frame

FRAME_LENGTH = 400  # samples: 25 ms
FRAME_STEP = 160  # samples: 10 ms
_FFT = 512
_COEFFICIENTS = 13


class TalkNet(nn.Module):
    """TalkNet in evaluation mode. Make one with `from_checkpoint` or `from_state_dict`.

    Clips of a batch do not influence each other. (The published code strings the frames of all
    clips together before its 3-D convolution, so there they do.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Backbone()
        self.lossAV = Classifier(256)
        # Auxiliary classifiers of the training, unused here: the published file holds them.
        self.lossA = Classifier(128)
        self.lossV = Classifier(128)

    @classmethod
    def from_checkpoint(cls, path: Path | str) -> "TalkNet":
        """Load the published `pretrain_TalkSet.model`, or the same tensors as safetensors.

        Raises FeatureError if the file is missing, is no plain state dict, or does not hold
        exactly the network's weights.
        """
        path = Path(path)
        if not path.is_file():
            raise FeatureError(
                f"No TalkNet checkpoint at {path}. Expected the published pretrain_TalkSet.model "
                "or a .safetensors file of its tensors; correct the path, or choose the speaker "
                "scorer that needs no weights."
            )
        try:
            state = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # on a damaged file torch.load raises almost anything
            raise FeatureError(
                f"{path} cannot be read as a checkpoint ({type(error).__name__}). Expected "
                "a plain state dict of tensors, as published; download it again."
            ) from error
        return cls.from_state_dict(state, source=str(path))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], source: str = "state dict") -> "TalkNet":
        """Build the network from its weights, which are copied; `module.` in keys is dropped.

        Raises FeatureError, naming the first few keys, if weights are missing, left over or of
        another shape; `source` is how the message calls the weights.
        """
        if not isinstance(state, Mapping) or not all(
            isinstance(value, Tensor) for value in state.values()
        ):
            raise FeatureError(f"{source} is no plain state dict: expected names with tensors.")
        # DataParallel inserts a component `module`; nothing of ours is called so.
        weights = {
            ".".join(part for part in key.split(".") if part != "module"): value
            for key, value in state.items()
        }
        with torch.device("meta"):  # no random initialisation, no draw from the global generator
            network = cls()
        expected = network.state_dict()
        wrong_shape = [
            f"{key} {list(weights[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in weights and weights[key].shape != value.shape
        ]
        faults = [
            f"{len(keys)} {kind}: {', '.join(keys[:3])}{', …' if len(keys) > 3 else ''}"
            for kind, keys in (
                ("missing", [key for key in expected if key not in weights]),
                ("unexpected", [key for key in weights if key not in expected]),
                ("of another shape", wrong_shape),
            )
            if keys
        ]
        if faults:
            raise FeatureError(
                f"{source} does not hold TalkNet's weights ({'; '.join(faults)}). Expected those "
                "of the published pretrain_TalkSet.model."
            )
        network.to_empty(device="cpu")
        network.load_state_dict(weights)
        return network.requires_grad_(False).eval()

    def embed_audio(self, mfcc: Tensor) -> Tensor:
        """MFCCs [B, 4T, 13] to audio embeddings [B, T, 128]."""
        embedding: Tensor = self.model.audioEncoder(mfcc)
        return embedding

    def embed_frames(self, faces: Tensor) -> Tensor:
        """Grey faces [B, T, 112, 112] in 0..255 to [B, T, 512], each from five frames around it.

        Beyond the first and the last frame the network sees zeros.
        """
        trunk: Tensor = self.model.visualFrontend((faces.float() / 255 - 0.4161) / 0.1688)
        return trunk

    def embed_motion(self, frames: Tensor) -> Tensor:
        """The [B, T, 512] of `embed_frames` to visual embeddings [B, T, 128]."""
        x: Tensor = self.model.visualConv1D(self.model.visualTCN(frames.transpose(1, 2)))
        return x.transpose(1, 2)

    def attend(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, T, 128] of both modalities, each attended to from the other."""
        return self.model.crossA2V(audio, visual), self.model.crossV2A(visual, audio)

    def classify(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Attended embeddings [B, T, 128] of both modalities to logits [B, T, 2]."""
        both = torch.cat([audio, visual], dim=2)
        logits: Tensor = self.lossAV(self.model.selfAV(both, both))
        return logits

    def forward(self, mfcc: Tensor, faces: Tensor) -> Tensor:
        """MFCCs [B, 4T, 13] and grey faces [B, T, 112, 112] in 0..255 to logits [B, T, 2].

        Class 1 is speaking. Raises FeatureError for other shapes.
        """
        batch, frames = faces.shape[:2]
        if faces.shape != (batch, frames, FACE_SIZE, FACE_SIZE) or mfcc.shape != (
            batch,
            MFCC_PER_FRAME * frames,
            _COEFFICIENTS,
        ):
            raise FeatureError(
                f"TalkNet got MFCCs {list(mfcc.shape)} and faces {list(faces.shape)}; expected "
                f"[B, 4T, {_COEFFICIENTS}] and [B, T, {FACE_SIZE}, {FACE_SIZE}]."
            )
        visual = self.embed_motion(self.embed_frames(faces))
        return self.classify(*self.attend(self.embed_audio(mfcc), visual))


def mfcc(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients of 16 kHz audio [N] in -1..1, N > 0: [frames, 13].

    One frame every 10 ms over 25 ms, the last one padded with zeros. The numbers are those of
    `python_speech_features.mfcc(x, 16000, numcep=13, winlen=0.025, winstep=0.01)` on samples in
    the range of int16: no window function, 26 triangular mel filters, cepstra liftered by 22,
    coefficient 0 the log energy of the frame.
    """
    x = np.asarray(audio, dtype=np.float64) * 32768
    x[1:] -= 0.97 * x[:-1]
    frames = 1 + max(0, -(-(len(x) - FRAME_LENGTH) // FRAME_STEP))
    x = np.pad(x, (0, (frames - 1) * FRAME_STEP + FRAME_LENGTH - len(x)))
    windows = np.lib.stride_tricks.sliding_window_view(x, FRAME_LENGTH)[::FRAME_STEP]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    # Digital silence has no logarithm: zeros become the smallest step of a float.
    smallest = np.finfo(np.float64).eps
    energy = power.sum(axis=1)
    bands = power @ _mel_filters().T
    cepstra = dct(np.log(np.where(bands == 0, smallest, bands)), norm="ortho")[:, :_COEFFICIENTS]
    cepstra *= 1 + 11 * np.sin(np.pi * np.arange(_COEFFICIENTS) / 22)
    cepstra[:, 0] = np.log(np.where(energy == 0, smallest, energy))
    return np.asarray(cepstra, np.float32)


def _mel_filters() -> NDArray[np.float64]:
    """26 triangles [26, 257] between 0 and 8 kHz, evenly spaced in mel, corners on whole bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), 28)
    corners = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    left, centre, right = (corners[i : i + 26, None] for i in range(3))
    bins = np.arange(_FFT // 2 + 1)
    slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.asarray(np.maximum(slopes, 0), np.float64)
