"""Tiny checkpoints of the real architectures with seeded random weights, in the hubs' formats.

They stand for the paper's encoders where nothing may be downloaded: the code that loads and runs
them is the code that loads and runs the real ones. Imports `checkpoints`, `files`,
`sources`.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from meiju_utils.errors import DamagedError
from meiju_utils.files import fingerprint, read_record, write_record, write_text
from meiju_utils.sources import code_key, library_versions

WIDTH = 32
TINY_CHECKPOINTS = ("tiny-vit", "tiny-hubert", "tiny-bert")
MARKER = ".made-from.json"  # what a checkpoint was made from, and the digests of its files


def write_tiny_checkpoints(folder: Path, texts: Sequence[str], seed: int = 0) -> dict[str, Path]:
    """Write the `TINY_CHECKPOINTS` below `folder`; name -> its folder.

    The vocabulary of `tiny-bert` is the characters of `texts`. A seed and texts give the same
    weights, byte for byte; what is already there of the same seed and texts is left alone.
    """
    characters = sorted({c for text in texts for c in text.lower() if not c.isspace()})
    key = fingerprint(_code(), seed, characters)
    writers: tuple[Callable[[Path], None], ...] = (
        _write_vit,
        _write_hubert,
        lambda target: _write_bert(target, characters),
    )
    return {
        name: _write_once(folder / name, key, seed, write)
        for name, write in zip(TINY_CHECKPOINTS, writers, strict=True)
    }


def _code() -> str:
    """Changes with what writes the checkpoints."""
    return code_key(sys.modules[__name__]) + fingerprint(
        library_versions("torch", "timm", "transformers", "tokenizers")
    )


def _write_once(target: Path, key: str, seed: int, write: Callable[[Path], None]) -> Path:
    import torch
    from transformers.utils import logging

    from meiju_utils.devices import quiet

    with suppress(OSError, DamagedError):
        if check_tiny(target / MARKER) == key:
            return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as name:
        partial = Path(name) / target.name
        partial.mkdir()
        with torch.random.fork_rng(devices=[]), quiet(logging):
            torch.manual_seed(seed)
            write(partial)
        for file in partial.iterdir():
            file.chmod(0o644)  # the libraries make weights private; artefacts are shared
        write_record(partial / MARKER, {"key": key, "files": _digests(partial)})
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return target


def check_tiny(marker: Path) -> str:
    """The key of the tiny checkpoint that a `MARKER` lies in; DamagedError where one of its files
    is not what was written, OSError where there is none."""
    record = read_record(marker)
    known, found = record["files"], _digests(marker.parent)
    if changed := sorted(name for name in known if found.get(name) != known[name]):
        raise DamagedError(f"{marker.parent / changed[0]} is damaged: it is not what was written.")
    return str(record["key"])


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.name != MARKER)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _write_vit(target: Path) -> None:
    """A CLIP vision transformer: patches of 32 pixels, two blocks."""
    import timm
    from timm.models import save_for_hf

    shape: dict[str, Any] = {
        "embed_dim": WIDTH,
        "depth": 2,
        "num_heads": 2,
        "patch_size": 32,
        "num_classes": 0,
    }
    model = timm.create_model("vit_large_patch14_clip_quickgelu_224.openai", **shape)
    save_for_hf(model, str(target), model_args=shape, safe_serialization=True)


def _write_hubert(target: Path) -> None:
    """A HuBERT like the base model (group normalisation in the convolutions), four layers."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    HubertModel(
        HubertConfig(
            hidden_size=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=2 * WIDTH,
            conv_dim=(WIDTH,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(target)
    extractor: Any = Wav2Vec2FeatureExtractor
    extractor(do_normalize=False, return_attention_mask=False).save_pretrained(target)


def _write_bert(target: Path, characters: Sequence[str]) -> None:
    """A BERT of two layers whose vocabulary is the given characters."""
    from transformers import BertConfig, BertModel, BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # a word's later characters carry ## in BERT's vocabularies; Chinese splits by character
    continued = [f"##{c}" for c in characters if c.isascii() and c.isalnum()]
    vocabulary = [*special, *characters, *continued]
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * WIDTH,
        )
    ).save_pretrained(target)
    write_text(target / "vocab.txt", "\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(vocabulary)})
    tokenizer.save_pretrained(target)
