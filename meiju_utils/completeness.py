"""Is a checkpoint's folder whole, and of the right kind? By its files, without loading any library.

Imports `errors` only.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from meiju_utils.errors import FeatureError

Use = Literal["audio", "text", "visual", "recognition"]

# Of the models whose kind is known by name; any other is let through, for loading to judge.
_KINDS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("bert", "roberta", "xlm-roberta", "electra", "albert", "distilbert", "deberta"),
            *("deberta-v2", "ernie", "mpnet", "camembert", "modernbert", "nezha", "roformer"),
        ),
        "text",
    ),
    **dict.fromkeys(
        (
            *("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio"),
            *("sew", "sew-d", "wav2vec2-conformer"),
        ),
        "audio",
    ),
    **dict.fromkeys(
        ("vit", "deit", "beit", "swin", "swinv2", "convnext", "resnet", "dinov2", "clip"), "visual"
    ),
    "whisper": "recognition",
}
EXPECTED: dict[Use, str] = {
    "audio": "as audio encoder a HuBERT, wav2vec 2.0, WavLM or similar is expected, which reads "
    "the waveform",
    "text": "as text encoder a BERT, RoBERTa or similar is expected",
    "visual": "as visual encoder a model of timm is expected, as save_for_hf writes it",
    "recognition": "for speech recognition a Whisper model is expected",
}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_VOCABULARIES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
_WITHOUT_VOCABULARY = {
    "ByT5Tokenizer",
    "CanineTokenizer",
    "PerceiverTokenizer",
}  # bytes, code points


def folder_problems(what: str, folder: Path, use: Use) -> Iterator[str]:
    """Why the folder that a setting (`what`) names cannot be loaded for a use, in a sentence or
    some."""
    if not folder.is_dir():
        yield f"{what}: there is no folder {folder}."
        return
    if not read_config(folder):
        yield f"{what}: {folder} is no checkpoint, it has no config.json that can be read."
        return
    found = [*unfit(folder, use)] or [*lacking(folder, use)]
    if found:
        yield f"{what} cannot be loaded. {' '.join(found)}"


def require_whole(folder: Path, use: Use) -> None:
    """FeatureError that says all that a checkpoint's folder lacks for a use."""
    if found := [*unfit(folder, use), *lacking(folder, use)]:
        raise FeatureError(f"The checkpoint in {folder} cannot be loaded: {' '.join(found)}")


def unfit(folder: Path, use: Use) -> Iterator[str]:
    """Sentences on why a checkpoint is of another kind; nothing where its kind is not known."""
    config = read_config(folder)
    kind = kind_of(config)
    if kind and kind != use:
        name = config.get("model_type") or config.get("architecture")
        yield f"It is a {name} model; {EXPECTED[use]}."


def kind_of(config: dict[str, Any]) -> str:
    """What a model reads, by its config: "audio", "text", "visual", "recognition"; "" unknown."""
    model_type = config.get("model_type")
    if model_type in _KINDS:
        return _KINDS[str(model_type)]
    if model_type is None:
        return "visual" if "architecture" in config else ""
    return "audio" if "conv_stride" in config else ""


def lacking(folder: Path, use: Use) -> Iterator[str]:
    """Sentences on the files that a checkpoint's folder lacks."""
    config = read_config(folder)
    entry = "architecture" if use == "visual" else "model_type"
    if entry not in config and not (use == "visual" and "pretrained_cfg" in config):
        yield f"It has no config.json that says its {entry}."
    if not any((folder / name).is_file() for name in _WEIGHTS):
        yield from _missing_parts(folder)
    if use in ("text", "recognition") and not has_vocabulary(folder):
        yield (
            "It has no vocabulary: a tokenizer.json, a vocab.txt, a vocab.json with merges.txt, "
            "or a sentencepiece model (.model)."
        )
    if use in ("audio", "recognition") and not _extractor(folder):
        yield "It has no preprocessor_config.json, which says how the sound is to be prepared."


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder holds the vocabulary of a tokenizer, or one that needs none."""
    if any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES):
        return True
    tokenizer = _read(folder / "tokenizer_config.json").get("tokenizer_class")
    return tokenizer in _WITHOUT_VOCABULARY or any(folder.glob("*.model"))


def sampling_rate(folder: Path) -> int | None:
    """The rate of the sound that a speech model expects, in Hz, where its folder says so."""
    rate = _extractor(folder).get("sampling_rate")
    return rate if isinstance(rate, int) else None


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint; empty where there is none that can be read."""
    return _read(folder / "config.json")


def _missing_parts(folder: Path) -> Iterator[str]:
    """Weights may lie in several files, which an index names."""
    for name in _WEIGHTS:
        index = _read(folder / f"{name}.index.json")
        parts = sorted(set(index.get("weight_map", {}).values()))
        if parts:
            lost = [part for part in parts if not (folder / part).is_file()]
            if lost:
                yield f"It lacks {len(lost)} of {len(parts)} files of weights, as {lost[0]}."
            return
    yield f"It has no weights: {' or '.join(_WEIGHTS)}, or their parts with an index."


def _extractor(folder: Path) -> dict[str, Any]:
    processor = _read(folder / "processor_config.json").get("feature_extractor")
    found = _read(folder / "preprocessor_config.json") or processor
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
