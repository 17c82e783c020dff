"""`hf:<hub id or folder>` on audio: HuBERT, wav2vec 2.0, WavLM and their kin, frame by frame.

Each clip's frames are as if it went through the model alone. Imports `base`, `checkpoints`,
`devices`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from meiju_utils.completeness import EXPECTED, require_whole
from meiju_utils.config import EncoderConfig
from meiju_utils.devices import Halving, mixed_precision, torch_device
from meiju_utils.embeddings.base import (
    Array,
    ClipSource,
    Encode,
    Encoded,
    length_batches,
    refuse,
    unusable,
)
from meiju_utils.embeddings.checkpoints import (
    CheckpointEncoder,
    combine_layers,
    load_model,
    load_part,
)
from meiju_utils.errors import FeatureError

if TYPE_CHECKING:
    import torch

# Attention grows with the square of the length, and the models were trained on up to 16-30 s:
# longer audio goes through in windows, of whose overlap each side keeps its half.
WINDOW_S, OVERLAP_S = 30.0, 2.0


@dataclass(frozen=True)
class HfAudio(CheckpointEncoder):
    """Hidden states `[T, D]` of a speech model, T frames of 20 ms, windowed beyond 30 s.

    Padding changes what a model with group normalisation in its convolutions gives, even where it
    is masked: the statistics run over time. There only audio of the same length shares a batch.
    """

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def __post_init__(self) -> None:
        refuse(self.config, "special_tokens")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "encoder": "hf-audio",
            "window_s": WINDOW_S,
            "overlap_s": OVERLAP_S,
            "batch_seconds": self.context.batch_seconds,
            **self.model_settings(),
        }

    def inputs_key(self, source: ClipSource) -> str:
        return source.key

    def read(self, source: ClipSource, clip_id: str) -> Array:
        return source.audio(clip_id)

    def load(self) -> Encode:
        from transformers import AutoFeatureExtractor

        if self.checkpoint.folder:
            require_whole(self.checkpoint.folder, "audio")
        extractor = load_part(self.checkpoint, AutoFeatureExtractor.from_pretrained)
        model = load_model(self.checkpoint, ignore=("masked_spec_embed",))
        if not hasattr(model.config, "conv_stride"):
            raise FeatureError(
                f"{self.config.name!r} is a {model.config.model_type} model; {EXPECTED['audio']}."
            )
        rate = self.context.sample_rate
        if extractor.sampling_rate != rate:
            raise FeatureError(
                f"{self.config.name!r} expects audio at {extractor.sampling_rate} Hz, but "
                f"preprocessing.sample_rate is {rate}."
            )
        model.to(torch_device(self.context.device, "embeddings.device"))
        # one clip fills the cores of a CPU: batches of eight took a fifth longer there
        seconds = 0 if model.device.type == "cpu" else self.context.batch_seconds
        return SpeechModel(model, extractor, self.config, seconds)


class SpeechModel(Halving):
    """The loaded model; called with clips' samples it returns their frames."""

    def __init__(
        self, model: Any, extractor: Any, config: EncoderConfig, batch_seconds: float
    ) -> None:
        self.model, self.extractor, self.config = model, extractor, config
        self.maskable = getattr(model.config, "feat_extract_norm", "group") == "layer"
        self.batch_seconds = batch_seconds
        self.stride = int(np.prod(model.config.conv_stride))
        self.shortest = _samples_for_one_frame(model.config.conv_kernel, model.config.conv_stride)

    def __call__(self, clips: Sequence[Array]) -> list[Encoded]:
        import torch

        rate = self.extractor.sampling_rate
        reasons = [unusable(samples, rate, self.shortest / rate) for samples in clips]
        pieces: list[torch.Tensor] = []
        pieces_of: list[list[int]] = []
        for samples, reason in zip(clips, reasons, strict=True):
            first = len(pieces)
            if reason is None:
                # normalised over the whole clip, as the extractor's config says, then cut
                inputs = self.extractor(samples, sampling_rate=rate, return_tensors="pt")
                pieces += [inputs.input_values[0][a:b] for a, b in self._windows(len(samples))]
            pieces_of.append(list(range(first, len(pieces))))
        frames: list[torch.Tensor] = [torch.empty(0)] * len(pieces)
        lengths = [len(piece) for piece in pieces]
        for batch in length_batches(lengths, self.batch_seconds * rate, padded=self.maskable):
            made = self.in_halves(self._run, [pieces[i] for i in batch])
            for position, encoded in zip(batch, made, strict=True):
                frames[position] = encoded
        return [
            reason or self._joined([frames[i] for i in mine]).numpy()
            for reason, mine in zip(reasons, pieces_of, strict=True)
        ]

    def _windows(self, samples: int) -> Iterator[tuple[int, int]]:
        """Bounds of windows; starts lie on the frame grid, every window is beyond the overlap."""
        rate = self.extractor.sampling_rate
        window, overlap = (self._on_grid(s * rate) for s in (WINDOW_S, OVERLAP_S))
        if samples <= window:
            yield 0, samples
        else:
            for start in range(0, samples - overlap, window - overlap):
                yield start, min(start + window, samples)

    def _on_grid(self, samples: float) -> int:
        """Rounded to two frames, so that half of an overlap is a whole number of frames."""
        return round(samples / self.stride / 2) * 2 * self.stride

    def _joined(self, windows: Sequence["torch.Tensor"]) -> "torch.Tensor":
        """Frames of a clip from those of its windows, cut in the middle of each overlap."""
        import torch

        rate = self.extractor.sampling_rate
        window, overlap = (self._on_grid(s * rate) // self.stride for s in (WINDOW_S, OVERLAP_S))
        last = len(windows) - 1
        return torch.cat(
            [
                frames[overlap // 2 if i else 0 : None if i == last else window - overlap // 2]
                for i, frames in enumerate(windows)
            ]
        )

    def _run(self, pieces: Sequence["torch.Tensor"]) -> list["torch.Tensor"]:
        """Frames `[T, D]` of each piece of samples."""
        import torch

        device = self.model.device
        lengths = torch.tensor([len(piece) for piece in pieces])
        values = torch.nn.utils.rnn.pad_sequence(list(pieces), batch_first=True).to(device)
        mask = None
        if len(set(lengths.tolist())) > 1:
            mask = (torch.arange(values.shape[1]) < lengths[:, None]).long().to(device)
        with torch.inference_mode(), mixed_precision(device, self.config.precision):
            output = self.model(
                values, attention_mask=mask, output_hidden_states=bool(self.config.layers)
            )
            frames = combine_layers(
                output.hidden_states,
                output.last_hidden_state,
                self.config.layers,
                self.config.combine,
            ).cpu()
        return [
            encoded[: self._frames_of(length)]
            for encoded, length in zip(frames, lengths.tolist(), strict=True)
        ]

    def _frames_of(self, samples: int) -> int:
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


def _samples_for_one_frame(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """How many samples the convolutions need for their first output (400 in HuBERT: 25 ms)."""
    needed = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        needed = (needed - 1) * stride + kernel
    return needed
