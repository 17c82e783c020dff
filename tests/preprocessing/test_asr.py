"""Clips without text are transcribed by a Whisper model, here a tiny one with random weights."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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

from meiju_utils.challenge import Language
from meiju_utils.config import Parallel
from meiju_utils.embeddings import write_tiny_checkpoints
from meiju_utils.errors import ConfigError
from meiju_utils.parallel import SystemicError, WorkerDied
from meiju_utils.preprocessing import asr, whisper
from meiju_utils.preprocessing.asr import recognise_speech
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.preprocessing.whisper import (
    FRAME_S,
    WINDOW_S,
    Heard,
    Whisper,
    check_whisper,
    load_whisper,
    voiced_windows,
)
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


@pytest.fixture
def credulous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is heard is believed, as random weights say one letter with little conviction."""
    monkeypatch.setattr(whisper, "COMPRESSION", np.inf)
    monkeypatch.setattr(whisper, "LOG_PROBABILITY", -np.inf)


def hears(monkeypatch: pytest.MonkeyPatch, hear: Callable[[NDArray[Any]], Heard]) -> None:
    """The model's place is taken by a function of one sound."""

    def all_of(_: Whisper, sounds: Sequence[NDArray[Any]], __: str) -> list[Heard]:
        return [hear(sound) for sound in sounds]

    monkeypatch.setattr(Whisper, "hear", all_of)


def test_clips_with_sound_get_a_text(
    clips: Preprocessed, tiny_whisper: str, credulous: None
) -> None:
    heard, failed = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert failed == []
    assert set(heard) == {"a", "b", "silent"}
    assert heard["a"].text
    assert heard["a"].text.isascii()  # nothing of the prompt, nothing of the control tokens
    assert "<|" not in heard["a"].text
    assert heard["silent"] == Heard()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, "repeats itself"),
        ({"COMPRESSION": np.inf}, "is a guess (mean log probability -"),
        ({"COMPRESSION": np.inf, "NO_SPEECH": -1.0}, "where it hears no speech (probability 0."),
    ],
)
def test_what_the_model_itself_doubts_is_told_and_not_believed(
    changed: dict[str, float], why: str, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changed.items():
        monkeypatch.setattr(whisper, name, value)
    (heard,) = load_whisper(tiny_whisper, "cpu").hear([_sounds()["a"]], "english")
    assert heard.text == ""
    assert why in heard.doubt


def test_a_clip_is_heard_as_if_it_were_alone(tiny_whisper: str, credulous: None) -> None:
    model, sounds = load_whisper(tiny_whisper, "cpu"), [_sounds()[name] for name in "ab"]
    long = np.random.default_rng(1).normal(0, 0.1, 40 * RATE)
    together = model.hear([*sounds, long], "english")
    assert together == [model.hear([sound], "english")[0] for sound in (*sounds, long)]
    assert len(together[2].text.split(" ")) == 2  # windows


def test_only_voice_is_given_to_the_model() -> None:
    voice, pause = _sounds()["a"], np.zeros(3 * RATE)
    (alone,) = voiced_windows(np.concatenate([pause, voice, pause]))
    assert 2.0 <= len(alone) / RATE <= 2.5
    assert voiced_windows(pause) == []
    assert voiced_windows(np.concatenate([pause, voice[: RATE // 50], pause])) == []  # a click
    assert voiced_windows(np.empty(0)) == []


def test_long_sound_is_cut_where_it_is_quiet() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 80 * RATE)
    for second in (24, 51):
        sound[second * RATE : second * RATE + RATE // 2] = 0
    windows = voiced_windows(sound)
    assert np.array_equal(np.concatenate(windows), sound)
    assert all(len(window) <= (WINDOW_S + FRAME_S) * RATE for window in windows)
    ends = np.cumsum([len(window) for window in windows]) / RATE
    assert 24 <= ends[0] <= 24.5
    assert 51 <= ends[1] <= 51.5


def test_what_was_heard_is_kept_until_the_audio_changes(
    clips: Preprocessed,
    tiny_whisper: str,
    credulous: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    again: list[int] = []

    def counting(sound: NDArray[Any]) -> Heard:
        again.append(sound.size)
        return Heard("新")

    hears(monkeypatch, counting)
    assert recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")[0] == first
    assert again == []
    clips = _stored(tmp_path, b=np.full(RATE, 0.1))
    second, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert again == [RATE]
    assert second == first | {"b": Heard("新")}


def test_groups_are_kept_one_by_one_and_put_together_in_the_end(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asr, "GROUP", 1)
    asked = 0

    def stopped(sound: NDArray[Any]) -> Heard:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt
        return Heard(str(sound.size))

    with monkeypatch.context() as patched:
        hears(patched, stopped)
        with pytest.raises(KeyboardInterrupt):
            recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    hears(monkeypatch, lambda sound: Heard(f"later {sound.size}"))
    heard, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    told = {clip_id: one.text for clip_id, one in heard.items()}
    assert told == {"a": "32000", "b": "later 48000", "silent": "later 16000"}
    (kept,) = clips.folder.glob("asr-*/*.parquet")
    kept.write_bytes(kept.read_bytes()[:-9])  # damaged: all are heard again
    heard, _ = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert heard["a"].text == "later 32000"


def test_one_failing_clip_is_reported_and_tried_again(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(sound: NDArray[Any]) -> Heard:
        if sound.size == 3 * RATE:
            raise RuntimeError("odd sound")
        return Heard("words")

    with monkeypatch.context() as patched:
        hears(patched, failing)
        heard, failed = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert [(one.name, one.error, one.reason) for one in failed] == [
        ("b", "RuntimeError", "odd sound")
    ]
    assert set(heard) == {"a", "silent"}
    assert "b" in recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")[0]


def test_a_clip_under_which_processes_die_is_found_among_its_group(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mapped(work: Any, groups: Any, *_: Any, then: Any, **__: Any) -> None:
        for place, group in enumerate(groups):
            died = WorkerDied("killed") if "b" in group else None
            then(place, None if died else work(group), died)

    monkeypatch.setattr(asr, "map_items", mapped)
    hears(monkeypatch, lambda _: Heard("words"))
    heard, failed = recognise_speech(clips, clips.clip_ids, tiny_whisper, "mandarin")
    assert set(heard) == {"a", "silent"}
    assert [(one.name, one.error) for one in failed] == [("b", "WorkerDied")]


def test_a_fault_of_many_clips_stops_the_run_measured_by_the_corpus(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(_: object) -> Heard:
        raise RuntimeError("CUDA out of memory")

    hears(monkeypatch, failing)
    assert len(recognise_speech(clips, ["a", "b"], tiny_whisper, "mandarin")[1]) == 2
    clips = _stored(tmp_path, c=_sounds()["a"], d=_sounds()["a"])
    four = (clips, list("abcd"), tiny_whisper, "mandarin")
    with pytest.raises(SystemicError, match=r"4 of 39.*a: RuntimeError: CUDA out of memory"):
        recognise_speech(*four, of=39)
    for _ in range(2):  # of a larger corpus they are few, in every run
        assert len(recognise_speech(*four, of=40)[1]) == 4


def test_workers_hear_what_this_process_hears_which_loads_no_model_then(
    clips: Preprocessed, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: str) -> Whisper:
        raise AssertionError("loaded in the process that only hands over the work")

    two = Parallel(backend="loky", workers=2)
    with monkeypatch.context() as patched:
        patched.setattr(asr, "load_whisper", refuse)
        there, _ = recognise_speech(clips, ["a", "b"], tiny_whisper, "english", parallel=two)
    assert all(one.doubt for one in there.values())
    clips = store_clips(tmp_path / "other", _sounds(), texts=dict.fromkeys("ab", ""))
    here, _ = recognise_speech(clips, ["a", "b"], tiny_whisper, "english")
    assert here == there


def test_a_model_that_is_not_there_names_the_offline_way(clips: Preprocessed) -> None:
    check_whisper("openai/whisper-large-v3")  # nothing is asked for
    with pytest.raises(ConfigError, match="without a network, the folder"):
        recognise_speech(clips, clips.clip_ids, "openai/whisper-large-v3", "mandarin")
    with pytest.raises(ConfigError, match="without a network, the folder"):
        whisper.fetch_whisper("openai/whisper-large-v3")
    for missing in ("/nowhere/whisper", "./whisper"):
        with pytest.raises(ConfigError, match="there is no folder"):
            check_whisper(missing)


def test_a_model_of_the_hub_is_fetched_and_looked_at_before_hours_of_work(
    tiny_whisper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = Path(tiny_whisper), []

    def download(model: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((model, revision, *allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    whisper.fetch_whisper("some/whisper")
    assert len(asked) == 1
    folder = write_tiny_checkpoints(tmp_path, ["你好"])["tiny-bert"]
    with pytest.raises(ConfigError, match="a Whisper model is expected"):
        whisper.fetch_whisper("some/bert")
    folder = shutil.copytree(tiny_whisper, tmp_path / "older")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    whisper.fetch_whisper("some/older")
    assert asked[-1] == ("some/older", "main", "pytorch_model*.bin")
    whisper.fetch_whisper(f"some/older@{'a' * 40}")
    assert asked[-1] == ("some/older", "a" * 40, "pytorch_model*.bin")


@pytest.mark.parametrize("language", ["english", "other"])
def test_languages_without_a_prompt_are_heard(
    language: Language, tiny_whisper: str, credulous: None
) -> None:
    (heard,) = load_whisper(tiny_whisper, "cpu").hear([_sounds()["a"]], language)
    assert heard.text
    assert not heard.doubt


def test_a_pause_longer_than_a_window_is_not_given_to_the_model() -> None:
    voice = _sounds()["a"]
    windows = voiced_windows(np.concatenate([voice, np.zeros(70 * RATE), voice]))
    assert sum(map(len, windows)) < 65 * RATE
    assert all(np.abs(window).max() > 0.01 for window in windows)


def test_where_every_group_dies_the_run_is_at_fault_and_no_clip_is_tried_alone(
    tmp_path: Path, tiny_whisper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = {f"c{i}": _sounds()["a"] for i in range(10)}
    clips = store_clips(tmp_path, sounds, texts=dict.fromkeys(sounds, ""))
    tried: list[int] = []

    def mapped(_: Any, groups: Any, *__: Any, then: Any, **___: Any) -> None:
        tried.append(len(groups))
        for place in range(len(groups)):
            then(place, None, WorkerDied("killed"))

    monkeypatch.setattr(asr, "GROUP", 2)
    monkeypatch.setattr(asr, "map_items", mapped)
    with pytest.raises(SystemicError, match="5 of 5"):
        recognise_speech(clips, clips.clip_ids, tiny_whisper, "english")
    assert tried == [5]


def test_a_folder_of_another_kind_of_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    tiny = write_tiny_checkpoints(tmp_path, ["你好"])
    for name, kind in (("tiny-hubert", "hubert"), ("tiny-bert", "bert"), ("tiny-vit", "vit_large")):
        with pytest.raises(ConfigError, match=rf"a {kind}.* model; .* a Whisper model is expected"):
            check_whisper(str(tiny[name]))
        with pytest.raises(ConfigError, match="a Whisper model is expected"):
            load_whisper(str(tiny[name]))


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
    assert load_whisper(tiny_whisper, "cpu").device == torch.device("cpu")
