"""Encoders with a model behind them, on tiny random checkpoints of the real architectures."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.constants import HF_HUB_CACHE
from PIL import Image
from safetensors.torch import load_file, save_file

from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings import audio, write_tiny_checkpoints
from meiju_utils.embeddings.audio import HfAudio, SpeechModel
from meiju_utils.embeddings.base import Absent, EncoderContext, length_batches, one_ahead
from meiju_utils.embeddings.checkpoints import (
    find_checkpoint,
    load_model,
)
from meiju_utils.embeddings.text import HfText
from meiju_utils.embeddings.visual import Timm
from meiju_utils.errors import FeatureError
from meiju_utils.references import content_of
from tests.conftest import Record

Checkpoints = dict[str, Path]
RATE = 16000
LAST_FOUR = [-4, -3, -2, -1]


def context(**more: Any) -> EncoderContext:
    return EncoderContext(run_dir=Path("run"), device="cpu", **more)


def hf(folder: Path | str, **more: Any) -> EncoderConfig:
    return EncoderConfig(name=f"hf:{folder}", **more)


@pytest.fixture(scope="session")
def sounds(voice: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [voice(s, hz) for s, hz in ((0.5, 100), (0.9, 150), (0.5, 220), (0.3, 180), (0.71, 130))]


def hubert_loop(folder: Path, sounds: list[np.ndarray], layers: list[int]) -> list[np.ndarray]:
    """One clip at a time through the library, the way a plain script does it."""
    from transformers import HubertModel, Wav2Vec2FeatureExtractor

    model = HubertModel.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    out = []
    with torch.inference_mode():
        for samples in sounds:
            inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_values
            states = model(inputs, output_hidden_states=True).hidden_states
            out.append(sum(states[layer] for layer in layers)[0].numpy())
    return out


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-hubert-large"])
@pytest.mark.parametrize("batch_seconds", [0, 4])
def test_speech_frames_are_those_of_a_plain_loop_in_any_batch(
    checkpoints: Checkpoints, sounds: list[np.ndarray], name: str, batch_seconds: float
) -> None:
    expected = hubert_loop(checkpoints[name], sounds, LAST_FOUR)
    encoder = HfAudio(hf(checkpoints[name], layers=LAST_FOUR), context()).load()
    assert isinstance(encoder, SpeechModel)
    encoder.batch_seconds = batch_seconds
    for ours, theirs in zip(encoder(sounds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_clips_of_unlike_length_never_share_a_batch_before_group_normalisation(
    checkpoints: Checkpoints, sounds: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = HfAudio(hf(checkpoints["tiny-hubert"]), context()).load()
    assert isinstance(encoder, SpeechModel)
    encoder.batch_seconds = 60
    sizes = []
    run = encoder._run
    monkeypatch.setattr(
        encoder, "_run", lambda pieces: sizes.append({len(p) for p in pieces}) or run(pieces)
    )
    encoder(sounds)
    assert len(sizes) == 4  # the two of 0.5 s together
    assert all(len(lengths) == 1 for lengths in sizes)


def test_long_audio_goes_through_in_overlapping_windows(
    checkpoints: Checkpoints, voice: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = voice(1.5, 100, 200)
    encoder = HfAudio(hf(checkpoints["tiny-hubert"]), context()).load()
    whole = encoder([samples])[0]
    monkeypatch.setattr(audio, "WINDOW_S", 0.64)
    monkeypatch.setattr(audio, "OVERLAP_S", 0.16)
    windowed = encoder([samples])[0]
    assert windowed.shape == whole.shape
    # windows start every 0.48 s; each side keeps its half of an overlap, 0.08 s: 4 frames of 20 ms
    starts = [round(s * RATE) for s in (0, 0.48, 0.96)]
    alone = [encoder([samples[start:][: round(0.64 * RATE)]])[0] for start in starts]
    joined = np.concatenate([alone[0][:28], alone[1][4:28], alone[2][4:]])
    np.testing.assert_allclose(windowed, joined, atol=1e-5)


def test_speech_models_leave_out_what_is_silent_or_too_short(checkpoints: Checkpoints) -> None:
    encode = HfAudio(hf(checkpoints["tiny-hubert"]), context()).load()
    quiet, empty, short, shortest = encode(
        [np.zeros(RATE, np.float32), np.empty(0, np.float32)]
        + [np.ones(n, np.float32) for n in (399, 400)]
    )
    assert quiet == Absent("silent audio")
    assert empty == Absent("no audio")
    assert short == Absent("audio shorter than 0.025 s")
    assert shortest.shape == (1, 32)


def test_a_rate_the_model_was_not_made_for_is_refused(checkpoints: Checkpoints) -> None:
    with pytest.raises(FeatureError, match=r"16000 Hz, but preprocessing\.sample_rate is 8000"):
        HfAudio(hf(checkpoints["tiny-hubert"]), context(sample_rate=8000)).load()
    with pytest.raises(FeatureError, match="cannot be loaded"):
        HfAudio(hf(checkpoints["tiny-bert"]), context()).load()


def test_a_model_that_reads_no_waveform_is_refused(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    shutil.copytree(checkpoints["tiny-bert"], tmp_path / "bert")
    shutil.copy(checkpoints["tiny-hubert"] / "preprocessor_config.json", tmp_path / "bert")
    with pytest.raises(FeatureError, match=r"is a bert model; as audio encoder a HuBERT"):
        HfAudio(hf(tmp_path / "bert"), context()).load()


@pytest.mark.parametrize(
    "options",
    [
        {"layers": [-1]},
        {"layers": [-2]},
        {"layers": [-1, -2], "combine": "mean"},
        {"special_tokens": True},
        {"revision": "v2"},
        {"precision": "bfloat16"},
    ],
)
def test_each_option_that_shapes_an_embedding_is_in_its_settings(options: dict[str, Any]) -> None:
    plain, other = (
        HfText(hf("bert-base-chinese", **chosen), context()).settings for chosen in ({}, options)
    )
    assert plain != other


TEXTS = ["你真的这么想吗？", "", "嗯", "太好了！OK", "不" * 600]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_tokens_are_those_of_a_plain_loop_in_any_batch(
    checkpoints: Checkpoints, special: bool, combine: Any
) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = checkpoints["tiny-bert"]
    config = hf(folder, layers=[-2, -1], combine=combine, special_tokens=special)
    batched = HfText(config, context(batch_tokens=200)).load()(TEXTS)
    single = HfText(config, context(batch_tokens=1)).load()(TEXTS)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for text, one, many in zip(TEXTS, single, batched, strict=True):
        if not text:
            assert one == many == Absent("empty text")
            continue
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=510)
        with torch.inference_mode():
            states = model.eval()(**inputs, output_hidden_states=True).hidden_states[-2:]
        expected = sum(states)[0].numpy() / (2 if combine == "mean" else 1)
        expected = expected if special else expected[1:-1]
        np.testing.assert_allclose(one, expected, atol=1e-4)
        np.testing.assert_allclose(many, expected, atol=1e-4)


def test_a_group_without_words_is_absent_and_no_error(checkpoints: Checkpoints) -> None:
    encode = HfText(hf(checkpoints["tiny-bert"]), context()).load()
    assert encode(["", " "]) == [Absent("empty text")] * 2


def test_every_character_and_mark_is_a_token_of_its_own(checkpoints: Checkpoints) -> None:
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(checkpoints["tiny-bert"]).tokenize("你真的吗？ OK好！")
    assert tokens == ["你", "真", "的", "吗", "？", "o", "##k", "好", "！"]


@pytest.mark.parametrize("layers", [[], [-1], [0, 1]])
@pytest.mark.parametrize("special", [False, True])
def test_face_embeddings_are_those_of_a_plain_loop_in_any_batch(
    checkpoints: Checkpoints, layers: list[int], special: bool
) -> None:
    import timm

    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 255, (n, 40, 40, 3), dtype=np.uint8) for n in (2, 1, 0, 4)]
    name = f"timm:{checkpoints['tiny-vit']}"
    config = EncoderConfig(name=name, layers=layers, special_tokens=special)
    encoded = Timm(config, context(batch_images=3)).load()(clips)
    assert encoded[2] == Absent("no face")
    model = timm.create_model(f"local-dir:{checkpoints['tiny-vit']}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    for crops, ours in zip(clips, encoded, strict=True):
        for crop, row in zip(crops, () if isinstance(ours, Absent) else ours, strict=False):
            with torch.inference_mode():
                image = transform(Image.fromarray(crop))[None]
                if layers:
                    blocks: list[torch.Tensor] = []
                    for block in model.blocks:
                        block.register_forward_hook(lambda *a, b=blocks: b.append(a[-1]))
                    model(image)
                    kept = [blocks[i][0, 0 if special else 1 :].mean(0) for i in layers]
                    expected = sum(kept)
                    for block in model.blocks:
                        block._forward_hooks.clear()
                else:
                    expected = model(image)[0]
            np.testing.assert_allclose(row, expected.numpy(), atol=1e-4)


def test_tiny_checkpoints_are_the_same_bytes_for_a_seed(tmp_path: Path) -> None:
    first, again, other = (
        write_tiny_checkpoints(tmp_path / name, ["你好吗？"], seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    for name, folder in first.items():
        assert content_of(folder) == content_of(again[name])
        assert content_of(folder) != content_of(other[name])
    made = first["tiny-bert"] / "model.safetensors"
    before = made.stat().st_mtime_ns
    write_tiny_checkpoints(tmp_path / "first", ["吗好你？"], 0)
    assert made.stat().st_mtime_ns == before
    write_tiny_checkpoints(tmp_path / "first", ["别的字"], 0)
    assert made.stat().st_mtime_ns > before


def test_making_tiny_checkpoints_leaves_the_random_state_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    write_tiny_checkpoints(tmp_path, ["你好"], 3)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["tiny-bert", "tiny-hubert", "tiny-vit"])
def test_weights_that_are_missing_are_an_error_and_never_random(
    checkpoints: Checkpoints, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    shutil.copytree(checkpoints[name], folder)
    weights = load_file(folder / "model.safetensors")
    lost = next(
        key
        for key in weights
        if "fc1.weight" in key or "output.dense.weight" in key or "output_dense.weight" in key
    )
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = EncoderConfig(name=f"{'timm' if name == 'tiny-vit' else 'hf'}:{folder}")
    encoder = {"tiny-bert": HfText, "tiny-hubert": HfAudio, "tiny-vit": Timm}[name]
    with pytest.raises(FeatureError, match=r"lacks|cannot be loaded"):
        encoder(config, context()).load()


def test_weights_no_embedding_needs_may_be_missing(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(checkpoints["tiny-bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("pooler")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert HfText(hf(folder), context()).load()(["好"])[0].shape == (1, 32)


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224.augreg_in21k", "hf:a/b"])
def test_a_hub_out_of_reach_names_model_cache_and_the_offline_way(name: str) -> None:
    encoder = (Timm if name.startswith("timm") else HfText)(EncoderConfig(name=name), context())
    with pytest.raises(FeatureError) as caught:
        encoder.load()
    message = str(caught.value)
    assert name.partition(":")[2] in message
    assert f"cache {HF_HUB_CACHE}" in message
    hub_id = "a/b" if name == "hf:a/b" else "timm/vit_tiny_patch16_224.augreg_in21k"
    assert f"hf download {hub_id} --local-dir" in message


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-bert"])
def test_checkpoints_as_published_load_to_the_same_weights(
    checkpoints: Checkpoints, tmp_path: Path, name: str
) -> None:
    """Pickled tensors, a task model's prefix, names of before PyTorch's parametrizations."""
    folder = tmp_path / name
    shutil.copytree(checkpoints[name], folder)
    (folder / "model.safetensors").unlink()
    old = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
        "LayerNorm.weight": "LayerNorm.gamma",
        "LayerNorm.bias": "LayerNorm.beta",
    }
    weights = {}
    for key, value in load_file(checkpoints[name] / "model.safetensors").items():
        for now, then in old.items():
            key = key.replace(now, then)
        weights[f"{name.removeprefix('tiny-')}.{key}"] = value
    torch.save(weights, folder / "pytorch_model.bin")
    published, ours = (
        load_model(find_checkpoint(hf(place), tmp_path)).state_dict()
        for place in (folder, checkpoints[name])
    )
    assert published.keys() == ours.keys()
    assert all(torch.equal(published[key], ours[key]) for key in ours)


def test_clip_weights_get_the_activation_they_were_trained_with(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    crops = [np.random.default_rng(0).integers(0, 255, (1, 40, 40, 3), dtype=np.uint8)]
    folder = tmp_path / "vit_large_patch14_clip_224.openai"  # as on the hub: plain GELU
    shutil.copytree(checkpoints["tiny-vit"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["architecture"] = config["architecture"].replace("quickgelu_", "")
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    head = {"head.weight": torch.ones(9, 32), "head.bias": torch.ones(9)}
    save_file(weights | head, folder / "model.safetensors")
    ours, theirs = (
        Timm(EncoderConfig(name=f"timm:{place}"), context()).load()(crops)[0]
        for place in (folder, checkpoints["tiny-vit"])
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    save_file(weights | {"blocks.2.norm1.weight": torch.ones(32)}, folder / "model.safetensors")
    with pytest.raises(FeatureError, match="belong to another model"):
        Timm(EncoderConfig(name=f"timm:{folder}"), context()).load()


@pytest.mark.parametrize("name", ["vit_of_nowhere", "vit_base_patch16_224.of_nobody"])
def test_a_model_timm_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(FeatureError, match=rf"timm has no pretrained model '{name}'"):
        Timm(EncoderConfig(name=f"timm:{name}"), context()).load()


def test_a_hub_model_is_loaded_at_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked: dict[str, Any] = {}

    def create(name: str, **options: Any) -> torch.nn.Module:
        asked.update(options, name=name)
        return torch.nn.Identity()

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr("timm.data.config.resolve_model_data_config", lambda model: {})
    name = "vit_base_patch16_224.augreg_in21k"
    Timm(EncoderConfig(name=f"timm:{name}", revision="abc"), context()).load()
    assert asked["name"] == name
    assert asked["pretrained"] is True
    assert asked["pretrained_cfg_overlay"] == {"hf_hub_id": f"timm/{name}@abc"}


def test_a_layer_the_model_does_not_have_is_refused(checkpoints: Checkpoints) -> None:
    encode = HfText(hf(checkpoints["tiny-bert"], layers=[-4]), context()).load()
    with pytest.raises(FeatureError, match="hidden states 0 to 2"):
        encode(["好"])


def test_a_folder_is_known_by_its_contents_and_a_hub_model_by_name_and_revision(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(checkpoints["tiny-bert"], moved)
    here = find_checkpoint(hf("{run_dir}/tiny-bert"), checkpoints["tiny-bert"].parent)
    there = find_checkpoint(hf(moved), tmp_path)
    assert here.settings == there.settings
    (moved / "config.json").write_text(
        json.dumps(json.loads((moved / "config.json").read_text()) | {"hidden_act": "relu"})
    )
    assert here.settings != there.settings
    hub = find_checkpoint(hf("hfl/chinese-roberta-wwm-ext-large", revision="v1"), tmp_path)
    assert hub.settings == {"model": "hfl/chinese-roberta-wwm-ext-large", "revision": "v1"}
    with pytest.raises(FeatureError, match="there is no folder"):
        find_checkpoint(hf("{run_dir}/nothing"), tmp_path)


def with_room_for(model: Any, items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a loaded model's passes take at most so many items, as where a GPU's memory is small."""
    forward = model.model.forward

    def small(*inputs: torch.Tensor, **named: Any) -> Any:
        first = inputs[0] if inputs else named["input_ids"]
        if len(first) > items:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return forward(*inputs, **named)

    monkeypatch.setattr(model.model, "forward", small)


@pytest.mark.parametrize("modality", ["audio", "audio, padded", "text", "visual"])
def test_batches_that_do_not_fit_the_device_go_in_halves_and_are_counted(
    modality: str,
    checkpoints: Checkpoints,
    sounds: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    record: Record,
) -> None:
    encoder: Any
    clips: list[Any]
    if modality.startswith("audio"):
        name = "tiny-hubert-large" if "padded" in modality else "tiny-hubert"
        encoder = HfAudio(hf(checkpoints[name]), context()).load()
        encoder.batch_seconds = 60
        clips = [*sounds, sounds[0][::-1].copy(), sounds[2][::-1].copy()]
    elif modality == "text":
        encoder = HfText(hf(checkpoints["tiny-bert"]), context()).load()
        clips = TEXTS[:4] * 2
    else:
        config = EncoderConfig(name=f"timm:{checkpoints['tiny-vit']}")
        encoder = Timm(config, context()).load()
        rng = np.random.default_rng(0)
        clips = [rng.integers(0, 255, (n, 40, 40, 3), dtype=np.uint8) for n in (2, 1, 0, 4)]
    expected = encoder(clips)
    assert encoder.halved == 0
    with_room_for(encoder, 2, monkeypatch)
    for one, other in zip(encoder(clips), expected, strict=True):
        if isinstance(other, Absent):
            assert one == other
        else:  # sums over batches of another shape may be taken in another order
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert encoder.halved > 0
    with_room_for(encoder, 0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        encoder(clips)
    record("machine", "CUDA out of memory (a stub)", "batches in halves, counted", "nothing", 1)


def test_batches_hold_like_lengths_and_every_input_once() -> None:
    lengths = [5, 1, 5, 3, 3, 3, 9]
    assert list(length_batches(lengths, 18)) == [[6, 0], [2, 3, 4], [5, 1]]
    alike = [[6], [0, 2], [3, 4, 5], [1]]
    assert list(length_batches(lengths, 18, padded=False)) == alike
    alone = [[6], [0], [2], [3], [4], [5], [1]]
    assert list(length_batches(lengths, 0)) == alone
    assert list(length_batches([], 18)) == []


def test_reading_one_ahead_keeps_the_order_and_passes_on_errors() -> None:
    read: list[int] = []

    def reciprocal(number: int) -> float:
        read.append(number)
        return 1 / number

    results = one_ahead(reciprocal, [4, 2, 0])
    assert next(results) == 0.25
    deadline = time.monotonic() + 10
    while read != [4, 2] and time.monotonic() < deadline:  # while the first is at work on
        time.sleep(0.01)
    assert read == [4, 2]
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert read == [4, 2, 0]
    assert list(one_ahead(reciprocal, [])) == []
