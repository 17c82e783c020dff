"""Clips without text are transcribed by a Whisper model, here a tiny one with random weights."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from meiju_utils.embeddings import write_tiny_checkpoints
from meiju_utils.errors import ConfigError
from meiju_utils.parallel import SystemicError
from meiju_utils.preprocessing import asr
from meiju_utils.preprocessing.asr import check_whisper, recognise_speech
from meiju_utils.preprocessing.store import Preprocessed
from tests.clips import store_clips

RATE = 16000


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A multilingual Whisper in hub format that answers with random ASCII."""
    folder = str(tmp_path_factory.mktemp("whisper"))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + n) for n in range(len(others)))]
    tokenizer = WhisperTokenizer(
        vocab={letter: number for number, letter in enumerate([*letters, "<|endoftext|>"])},
        merges=[],
    )
    special = ["startoftranscript", "en", "zh", "translate", "transcribe", "startoflm"]
    special += ["startofprev", "nospeech", "notimestamps"]
    tokenizer.add_tokens([f"<|{name}|>" for name in special], special_tokens=True)
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    number = {n: tokenizer.convert_tokens_to_ids(f"<|{n}|>") for n in ["endoftext", *special]}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            pad_token_id=number["endoftext"],
            bos_token_id=number["endoftext"],
            eos_token_id=number["endoftext"],
            decoder_start_token_id=number["startoftranscript"],
        )
    )
    model.generation_config = GenerationConfig(
        max_length=150,  # of which the prompt's bytes take 80
        decoder_start_token_id=number["startoftranscript"],
        bos_token_id=number["endoftext"],
        eos_token_id=number["endoftext"],
        pad_token_id=number["endoftext"],
        is_multilingual=True,
        lang_to_id={"<|en|>": number["en"], "<|zh|>": number["zh"]},
        task_to_id={"transcribe": number["transcribe"], "translate": number["translate"]},
        no_timestamps_token_id=number["notimestamps"],
        prev_sot_token_id=number["startofprev"],
        max_initial_timestamp_index=50,
        suppress_tokens=[n for n in range(94, len(tokenizer)) if n != number["endoftext"]],
    )
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _sounds() -> dict[str, NDArray[np.float64]]:
    chance = np.random.default_rng(0)
    return {
        "a": chance.normal(0, 0.1, 2 * RATE),
        "b": chance.normal(0, 0.2, 3 * RATE),
        "silent": np.zeros(RATE),
    }


def _stored(folder: Path, **changed: NDArray[np.float64]) -> Preprocessed:
    sounds = _sounds() | changed
    return store_clips(folder, sounds, texts=dict.fromkeys([*sounds, "mute"], ""))


@pytest.fixture
def clips(tmp_path: Path) -> Preprocessed:
    """Two clips with voices, one of silence, one without sound."""
    return _stored(tmp_path)


def test_clips_with_sound_get_a_text(clips: Preprocessed, tiny_whisper: str) -> None:
    texts, failed = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert failed == []
    assert set(texts) == {"a", "b", "silent"}
    assert texts["a"]
    assert texts["a"].isascii()  # nothing of the prompt, nothing of the control tokens
    assert "<|" not in texts["a"]
    assert texts["silent"] == ""


def test_recognised_texts_are_kept_until_the_audio_changes(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    heard: list[int] = []

    def counting(_: object, audio: np.ndarray, __: str) -> str:
        heard.append(audio.size)
        return "新"

    monkeypatch.setattr(asr, "_transcribe", counting)
    assert recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")[0] == first
    assert heard == []
    clips = _stored(tmp_path, b=np.full(RATE, 0.1))
    second, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert heard == [RATE]
    assert second == first | {"b": "新"}


def test_sound_longer_than_whisper_hears_at_once_is_transcribed_whole(
    tiny_whisper: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 40 * RATE)
    clips = _stored(tmp_path, a=sound)
    whisper = asr.load_whisper(tiny_whisper, "auto")
    stamps = whisper.tokenizer.convert_tokens_to_ids("<|0.00|>")  # it finds its way by these
    end = whisper.model.generation_config.eos_token_id
    suppressed = [number for number in range(94, stamps) if number != end]
    monkeypatch.setattr(whisper.model.generation_config, "suppress_tokens", suppressed)
    texts, failed = recognise_speech(clips, ["a"], tiny_whisper, "english")
    assert failed == []
    assert texts["a"]


def test_one_failing_clip_is_reported_and_tried_again(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribe: Callable[..., str] = asr._transcribe

    def failing(whisper: object, audio: np.ndarray, language: str) -> str:
        if audio.size == 3 * RATE:
            raise RuntimeError("odd sound")
        return transcribe(whisper, audio, language)

    with monkeypatch.context() as patched:
        patched.setattr(asr, "_transcribe", failing)
        texts, failed = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert failed == [("b", "RuntimeError", "odd sound")]
    assert set(texts) == {"a", "silent"}
    assert "b" in recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")[0]


def test_a_fault_of_many_clips_stops_the_run_measured_by_the_corpus(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(*_: object) -> str:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(asr, "_transcribe", failing)
    assert len(recognise_speech(clips, ["a", "b"], tiny_whisper, "mandarin")[1]) == 2
    clips = _stored(tmp_path, c=_sounds()["a"], d=_sounds()["a"])
    four = (clips, list("abcd"), tiny_whisper, "mandarin")
    with pytest.raises(SystemicError, match=r"4 of 39.*a: RuntimeError: CUDA out of memory"):
        recognise_speech(*four, of=39)
    for _ in range(2):  # of a larger corpus they are few, in every run
        assert len(recognise_speech(*four, of=40)[1]) == 4


def test_a_model_that_is_not_there_names_the_offline_way(clips: Preprocessed) -> None:
    check_whisper("openai/whisper-large-v3")  # nothing is asked for
    with pytest.raises(ConfigError, match="without a network, the folder"):
        recognise_speech(clips, clips.clip_ids, "openai/whisper-large-v3", "mandarin")
    for missing in ("/nowhere/whisper", "./whisper"):
        with pytest.raises(ConfigError, match="there is no folder"):
            check_whisper(missing)


def test_a_folder_of_another_kind_of_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    tiny = write_tiny_checkpoints(tmp_path, ["你好"])
    for name, kind in (("tiny-hubert", "hubert"), ("tiny-bert", "bert"), ("tiny-vit", "vit_large")):
        with pytest.raises(ConfigError, match=rf"a {kind}.* model; .* a Whisper model is expected"):
            check_whisper(str(tiny[name]))
        with pytest.raises(ConfigError, match="a Whisper model is expected"):
            asr.load_whisper(str(tiny[name]))


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (["config.json"], "is no checkpoint"),
        (["model.safetensors"], "has no weights"),
        (["tokenizer.json"], "has no vocabulary"),
        (["processor_config.json", "preprocessor_config.json"], "no preprocessor_config.json"),
    ],
)
def test_a_folder_that_lacks_a_part_of_whisper_is_refused(
    tiny_whisper: str, tmp_path: Path, lost: list[str], message: str
) -> None:
    folder = shutil.copytree(tiny_whisper, tmp_path / "whisper")
    check_whisper(str(folder))
    for name in lost:
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=message):
        check_whisper(str(folder))


def test_it_runs_on_the_device_of_preprocessing(clips: Preprocessed, tiny_whisper: str) -> None:
    with pytest.raises(ConfigError, match=r"No device 'cuda:77' \(preprocessing.device\)"):
        recognise_speech(clips, ["a"], tiny_whisper, "mandarin", device="cuda:77")
    assert asr.load_whisper(tiny_whisper, "cpu").device == torch.device("cpu")
