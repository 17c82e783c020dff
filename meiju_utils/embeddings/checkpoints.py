"""Checkpoints of transformers and timm: from a folder or the hub, and checked when loaded.

Nothing is downloaded unless a name is no folder here. Imports `base`, `config`, `devices`,
`errors`, `references`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from meiju_utils.config import EncoderConfig
from meiju_utils.devices import quiet
from meiju_utils.embeddings.base import EncoderContext
from meiju_utils.errors import FeatureError
from meiju_utils.references import cached_commit, content_of, parse_reference

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """A model by name: a folder of this machine, or a hub id with its revision."""

    name: str
    folder: Path | None
    revision: str

    @property
    def settings(self) -> dict[str, str]:
        """What identifies the weights: the contents of a folder, the name on a hub."""
        if self.folder:
            return {"contents": content_of(self.folder)}
        return {"model": self.name, "revision": self.revision}


@dataclass(frozen=True)
class CheckpointEncoder:
    """What encoders built on a checkpoint share.

    A model runs in each worker (of an accelerator in as many as `parallel.models_per_gpu` says), on
    one thread, for the number of threads changes the last bits of some.
    """

    config: EncoderConfig
    context: EncoderContext
    alone: ClassVar[bool] = False  # what else is in its batch changes the last bits of a clip
    spread: ClassVar[bool] = True

    @property
    def checkpoint(self) -> Checkpoint:
        return find_checkpoint(self.config, self.context.run_dir)

    def model_settings(self, *options: str) -> dict[str, Any]:
        """What shapes the model's outputs: its weights, and these options of the config."""
        return {
            **self.checkpoint.settings,
            **self.config.model_dump(include={"layers", "combine", "precision", *options}),
        }


def find_checkpoint(config: EncoderConfig, run_dir: Path) -> Checkpoint:
    """The checkpoint a name such as `hf:<hub id or folder>` stands for.

    FeatureError where the name can only be a folder and there is none.
    """
    reference = parse_reference(config.name, run_dir, config.revision)
    if reference.path is None:
        return Checkpoint(reference.target, None, config.revision)
    if not reference.path.is_dir():
        raise FeatureError(
            f"{config.name!r}: there is no folder {reference.path}. Expected a folder with "
            "config.json and the weights, or the id of a model on the hub."
        )
    return Checkpoint(str(reference.path), reference.path, config.revision)


def hub_id_of(name: str) -> str:
    """Where the model of an encoder's name lies on the hub, timm's too; "" where it does not.

    As timm has it: under its own account, all activations of an architecture together.
    """
    reference = parse_reference(name)
    if reference.path or not reference.target:
        return ""
    if reference.kind == "timm":
        return f"timm/{reference.target.replace('_clip_quickgelu_', '_clip_')}"
    return reference.target if reference.kind == "hf" else ""


def fetched_commit(config: EncoderConfig) -> str:
    """The commit of a hub model, asked of the hub; FeatureError where that is out of reach."""
    from huggingface_hub import hf_hub_download

    hub_id = hub_id_of(config.name)
    with loading(Checkpoint(parse_reference(config.name).target, None, config.revision), hub_id):
        hf_hub_download(hub_id, "config.json", revision=config.revision)
    return cached_commit(hub_id, config.revision)


@contextmanager
def loading(checkpoint: Checkpoint, hub_id: str | None = None) -> Iterator[None]:
    """Turn whatever loading raises into a FeatureError that names the way out.

    `hub_id`: where the model lies on the hub, if not under its name.
    """
    try:
        yield
    except FeatureError:
        raise
    except Exception as error:  # the libraries raise anything from OSError to KeyError here
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].rstrip(".")
        if checkpoint.folder:
            raise FeatureError(
                f"The checkpoint in {checkpoint.folder} cannot be loaded: {reason}. Expected what "
                "save_pretrained (transformers) or save_for_hf (timm) writes: config.json, the "
                "weights, and the preprocessor's or tokenizer's files."
            ) from error
        from huggingface_hub.constants import HF_HUB_CACHE

        raise FeatureError(
            f"The model {checkpoint.name!r} (revision {checkpoint.revision}) cannot be loaded: "
            f"{reason}. It was looked for in the cache {HF_HUB_CACHE} and on the hub. Without "
            f"network: run `hf download {hub_id or checkpoint.name} --local-dir FOLDER` on a "
            "machine that has one, copy FOLDER here, and name it in place of the model."
        ) from error


def load_model(checkpoint: Checkpoint, ignore: Sequence[str] = ()) -> Any:
    """The transformers model of a checkpoint, float32, in evaluation mode.

    FeatureError where weights are missing or of another shape, for they would be random; those
    whose name starts with one of `ignore` play no part in embeddings.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    with loading(checkpoint), quiet(logging):
        model, report = AutoModel.from_pretrained(
            checkpoint.name,
            revision=checkpoint.revision,
            local_files_only=checkpoint.folder is not None,
            dtype="float32",  # the default is the file's own type
            output_loading_info=True,
        )
    lost = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    check_complete(checkpoint, [key for key in lost if not key.startswith(tuple(ignore))])
    return model.eval()


def load_part(checkpoint: Checkpoint, loader: Callable[..., Any]) -> Any:
    """A tokenizer or feature extractor of a transformers checkpoint, by its `from_pretrained`."""
    from transformers.utils import logging

    with loading(checkpoint), quiet(logging):
        return loader(
            checkpoint.name,
            revision=checkpoint.revision,
            local_files_only=checkpoint.folder is not None,
        )


def check_complete(checkpoint: Checkpoint, lost: Sequence[str]) -> None:
    """FeatureError where weights named `lost` were not in the checkpoint."""
    if lost:
        raise FeatureError(
            f"{checkpoint.name} lacks {len(lost)} of the model's weights, so they would be random: "
            f"{', '.join(sorted(lost)[:3])}, … Take a checkpoint of the whole model."
        )


def combine_layers(
    hidden_states: Sequence["torch.Tensor"],
    last: "torch.Tensor",
    layers: Sequence[int],
    combine: Literal["sum", "mean"],
) -> "torch.Tensor":
    """The sum or mean of the chosen `hidden_states`, each `[B, T, D]`, in float32.

    Layers are numbered as in the library: 0 is the input of the first layer, -1 the output of the
    last. No layers: `last`, the model's own output. (They differ in HuBERT models with a final
    normalisation, as the large ones: transformers 5 gives layer -1 before it, version 4 after it.)
    """
    import torch

    if not layers:
        return last.float()
    try:
        chosen = torch.stack([hidden_states[layer].float() for layer in layers])
    except IndexError:
        raise FeatureError(
            f"layers {list(layers)}: the model has hidden states 0 to {len(hidden_states) - 1} "
            f"(or -{len(hidden_states)} to -1)."
        ) from None
    return chosen.sum(0) if combine == "sum" else chosen.mean(0)
