"""Visual encoders: `hog` (no download) and `timm:<model or folder>` over the speaker's face crops.

One embedding a crop. Imports `base`, `checkpoints`, `devices`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meiju_utils.completeness import require_whole
from meiju_utils.config import EncoderConfig
from meiju_utils.devices import Halving, mixed_precision, torch_device
from meiju_utils.embeddings.base import (
    Absent,
    Array,
    ClipSource,
    Encode,
    Encoded,
    one_ahead,
)
from meiju_utils.embeddings.checkpoints import (
    Checkpoint,
    CheckpointEncoder,
    check_complete,
    combine_layers,
    loading,
)
from meiju_utils.errors import FeatureError
from meiju_utils.files import read_json

if TYPE_CHECKING:
    import torch

Crops = NDArray[np.uint8]

HOG_SIDE, HOG_CELL = 60, 12  # pixels: 5 x 5 cells, 4 x 4 blocks of 2 x 2, 8 orientations = 512
NO_FACE = Absent("no face")
# A few images keep a CPU busy; more no longer fit its caches.
CPU_IMAGES = 4


@dataclass(frozen=True)
class Hog:
    """Histograms of oriented gradients `[n, 512]` of n face crops, in shades of grey."""

    spread: bool = True
    alone: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("opencv-python-headless", "scikit-image")

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": "hog", "side": HOG_SIDE, "cell": HOG_CELL}

    def inputs_key(self, source: ClipSource) -> str:
        return source.key

    def read(self, source: ClipSource, clip_id: str) -> Crops:
        return source.faces(clip_id)

    def load(self) -> Encode:
        import cv2
        from skimage.feature import hog

        def describe(crop: Crops) -> Array:
            grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
            small = cv2.resize(grey, (HOG_SIDE, HOG_SIDE), interpolation=cv2.INTER_AREA)
            cell = (HOG_CELL, HOG_CELL)
            return np.asarray(hog(small, 8, cell, cells_per_block=(2, 2)), dtype=np.float32)

        def encode(clips: Sequence[Crops]) -> list[Encoded]:
            return [
                np.stack([describe(c) for c in crops]) if len(crops) else NO_FACE for crops in clips
            ]

        return encode


@dataclass(frozen=True)
class Timm(CheckpointEncoder):
    """A timm model's pooled output `[n, D]` of n face crops; preprocessing from its own config.

    With layers, each is the mean over patches (and prefix tokens such as the class token, where
    special tokens are in) of that block's output.
    """

    libraries: ClassVar[tuple[str, ...]] = ("torch", "timm", "torchvision", "pillow")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "encoder": "timm",
            "batch_images": self.context.batch_images,
            **self.model_settings("special_tokens"),
        }

    def inputs_key(self, source: ClipSource) -> str:
        return source.key

    def read(self, source: ClipSource, clip_id: str) -> Crops:
        return source.faces(clip_id)

    def load(self) -> Encode:
        device = torch_device(self.context.device, "embeddings.device")
        model = _load_timm(self.checkpoint).to(device)
        size = self.context.batch_images
        if device.type == "cpu":
            size = min(size, CPU_IMAGES)
        return ImageModel(model, device, self.config, size)


class ImageModel(Halving):
    """The loaded model; called with clips' crops it returns an embedding a crop."""

    def __init__(
        self, model: Any, device: "torch.device", config: EncoderConfig, batch_images: int
    ) -> None:
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        self.model, self.device, self.config = model, device, config
        self.batch_images = batch_images
        settings: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        self.transform: Any = create_transform(**settings, is_training=False)

    def __call__(self, clips: Sequence[Crops]) -> list[Encoded]:
        # crops of many clips go through the model together, then back to their clips
        crops = [crop for clip in clips for crop in clip]
        size = self.batch_images
        batches = [crops[start : start + size] for start in range(0, len(crops), size)]
        embedded = [
            row
            for images in one_ahead(self._prepare, batches)
            for row in self.in_halves(self._run, images)
        ]
        rows = np.split(
            np.stack(embedded) if embedded else np.empty((0, 0), np.float32),
            np.cumsum([len(clip) for clip in clips])[:-1],
        )
        return [row if len(row) else NO_FACE for row in rows]

    def _prepare(self, batch: Sequence[Crops]) -> "torch.Tensor":
        import torch
        from PIL import Image

        return torch.stack([self.transform(Image.fromarray(crop)) for crop in batch])

    def _run(self, images: "torch.Tensor") -> Array:
        """`[B, D]` of images `[B, 3, H, W]`."""
        import torch

        with torch.inference_mode(), mixed_precision(self.device, self.config.precision):
            return np.asarray(self._forward(images.to(self.device)).float().cpu().numpy())

    def _forward(self, images: "torch.Tensor") -> Any:
        import torch

        config = self.config
        if not config.layers:
            return self.model(images)
        tokens = [
            torch.cat([prefix, patches], dim=1) if config.special_tokens else patches
            for patches, prefix in self.model.forward_intermediates(
                images, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
            )
        ]
        pooled = [block.mean(dim=1) for block in tokens]
        return combine_layers(pooled, pooled[-1], config.layers, config.combine)


def _load_timm(checkpoint: Checkpoint) -> Any:
    """A timm model without classifier, with the checkpoint's weights, in evaluation mode."""
    import timm

    if checkpoint.folder:
        require_whole(checkpoint.folder, "visual")
        with loading(checkpoint):
            return _load_timm_folder(checkpoint, checkpoint.folder).eval()
    names = timm.list_pretrained()
    if checkpoint.name not in {*names, *(name.partition(".")[0] for name in names)}:
        raise FeatureError(
            f"timm has no pretrained model {checkpoint.name!r}; timm.list_pretrained() names all."
        )
    known = timm.get_pretrained_cfg(checkpoint.name)
    hub_id = known.hf_hub_id if known else None
    overlay = {}
    if checkpoint.revision != "main":
        overlay = {"hf_hub_id": f"{hub_id}@{checkpoint.revision}"}
    with loading(checkpoint, hub_id):
        return timm.create_model(
            checkpoint.name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        ).eval()


def _load_timm_folder(checkpoint: Checkpoint, folder: Path) -> Any:
    """A model as save_for_hf and the hub keep it: config.json and weights.

    The weights are loaded here: timm only warns where names do not fit, and leaves random ones.
    """
    import timm
    import torch
    from safetensors.torch import load_file

    config = read_json(folder / "config.json")
    origin = config.get("pretrained_cfg", config)
    # OpenAI's CLIP weights lie on the hub under an architecture with the wrong activation
    quick = "natively QuickGELU" in str(origin.get("notes"))
    options: dict[str, Any] = {"act_layer": "quick_gelu"} if quick else {}
    model = timm.create_model(f"local-dir:{folder}", num_classes=0, **options)
    if (folder / "model.safetensors").is_file():
        weights = load_file(folder / "model.safetensors")
    else:
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    keys = model.load_state_dict(weights, strict=False)
    check_complete(checkpoint, keys.missing_keys)
    classifiers = origin.get("classifier") or "head"
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    surplus = [key for key in keys.unexpected_keys if not key.startswith(heads)]
    if surplus:
        raise FeatureError(
            f"{folder} holds {len(surplus)} weights its config.json has no place for: "
            f"{', '.join(sorted(surplus)[:3])}, … They belong to another model."
        )
    return model
