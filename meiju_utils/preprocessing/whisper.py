"""What does a Whisper model hear in a clip, and is it to be believed?

Sound without voice is not given to the model, which makes up words for it; of what it writes its
own probabilities tell whether it is to be believed. The thresholds are those of Whisper's paper
(Radford et al., 2022, section 4.5) and its published code. torch and transformers come with a
model. Imports `speaker`, `devices`, `references`, `completeness`, `errors`.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.challenge import Language
from meiju_utils.completeness import folder_problems
from meiju_utils.devices import Halving, quiet, single_thread, torch_device, torch_dtype
from meiju_utils.errors import ConfigError
from meiju_utils.preprocessing.speaker import SILENCE_DB
from meiju_utils.references import parse_target

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16000  # Hz, Whisper's
WINDOW_S = 30.0  # seconds it hears at once
FRAME_S = 0.02  # of which the loudness is measured
MARGIN_S = 0.2  # kept around what is heard
LEAST_VOICE_S = 0.1
AT_ONCE = 8  # windows a batch

NO_SPEECH = 0.6
LOG_PROBABILITY = -1.0  # mean of the tokens
COMPRESSION = 2.4  # of the text's bytes by zlib: what repeats itself shrinks more

# Of other languages the model itself hears which.
CODES: dict[Language, str] = {"mandarin": "zh", "english": "en"}

# Whisper carries on in the style of a prompt. In Chinese it leaves out punctuation without one.
PROMPTS: dict[Language, str] = {
    "mandarin": "以下是普通话对白，有标点。你怎么了？？真的吗！我没事……",
    "english": "",
    "other": "",
}

# Of what lies there, weights of other libraries and of other precision are not needed.
_FILES = ["*.json", "*.txt", "model.safetensors", "model-0*.safetensors"]
_OLDER_WEIGHTS = ["pytorch_model*.bin"]

_EXPECTED = (
    "Expected a Whisper model on the hub, as openai/whisper-large-v3, or, without a network, the "
    "folder of a downloaded one."
)


@dataclass(frozen=True)
class Heard:
    """What was said, as far as it is to be believed; `doubt`: what was heard else and why not."""

    text: str = ""
    doubt: str = ""


class Whisper(Halving):
    """A Whisper model on a device. Raises ConfigError where it does not load."""

    def __init__(self, model: str, device: str) -> None:
        check_whisper(model)
        from transformers import WhisperForConditionalGeneration, WhisperProcessor
        from transformers.utils import logging

        self.device = torch_device(device, "preprocessing.device")
        named = parse_target(model)
        name, at = str(named.path or named.target), named.revision
        load: Any = WhisperForConditionalGeneration.from_pretrained
        try:
            with quiet(logging):
                self.processor = WhisperProcessor.from_pretrained(name, revision=at)
                self.model = load(name, revision=at, dtype=torch_dtype(self.device, "float16"))
        except Exception as error:  # the library raises anything here, from OSError to TypeError
            raise _unloadable(model, error) from error
        self.model.eval().to(self.device)

    def hear(self, sounds: Sequence[NDArray[np.float32]], language: Language) -> list[Heard]:
        """What is said in each of some sounds, mono at 16 kHz in [-1, 1]."""
        windows = [(index, part) for index, s in enumerate(sounds) for part in voiced_windows(s)]
        pieces: list[list[Heard]] = [[] for _ in sounds]
        from transformers.utils import logging

        with single_thread(), quiet(logging):
            for start in range(0, len(windows), AT_ONCE):
                batch = windows[start : start + AT_ONCE]
                heard = self.in_halves(
                    lambda parts: self._windows([part for _, part in parts], language), batch
                )
                for (index, _), one in zip(batch, heard, strict=True):
                    pieces[index].append(one)
        between = "" if language == "mandarin" else " "
        return [
            Heard(
                between.join(one.text for one in of_clip if one.text),
                "; ".join(one.doubt for one in of_clip if one.doubt),
            )
            for of_clip in pieces
        ]

    def _windows(self, parts: Sequence[NDArray[np.float32]], language: Language) -> list[Heard]:
        import torch

        features = self.processor.feature_extractor(
            list(parts), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        )
        options: dict[str, Any] = {}
        if getattr(self.model.generation_config, "is_multilingual", False):
            options |= {"task": "transcribe"}
            options |= {"language": CODES[language]} if language in CODES else {}
        tokenizer = self.processor.tokenizer
        if PROMPTS[language]:
            prompt = tokenizer.get_prompt_ids(PROMPTS[language], return_tensors="pt")
            options["prompt_ids"] = prompt.to(self.device)
        with torch.inference_mode():
            sound = features["input_features"].to(self.device, self.model.dtype)
            encoded = self.model.get_encoder()(sound)
            written = self.model.generate(
                encoder_outputs=encoded,
                attention_mask=features["attention_mask"].to(self.device),
                return_dict_in_generate=True,
                **options,
            )["sequences"]
            # its opinion of the whole at once: no second search
            logits = self.model(encoder_outputs=encoded, decoder_input_ids=written).logits
            own = logits.float().log_softmax(-1)
        return [
            _judged(tokenizer, self.model.generation_config, row, of_row)
            for row, of_row in zip(written, own, strict=True)
        ]


def _judged(
    tokenizer: Any, config: Any, written: "torch.Tensor", log_probabilities: "torch.Tensor"
) -> Heard:
    """A window's text; in `doubt` where the model's own figures speak against it.

    written: [T] tokens from the prompt to the end; log_probabilities: [T, vocabulary] of what
    follows each.
    """
    begin = int((written == config.decoder_start_token_id).nonzero()[0])
    special = set(tokenizer.all_special_ids)
    first = begin + 1
    while first < len(written) and int(written[first]) in special - {config.eos_token_id}:
        first += 1  # language, task, no time stamps
    ends = (written[first:] == config.eos_token_id).nonzero()
    last = first + int(ends[0]) if len(ends) else len(written) - 1  # of the tokens that count
    text = str(tokenizer.decode(written[first:], skip_special_tokens=True)).strip()
    if not text:
        return Heard()
    own = log_probabilities[range(first - 1, last), written[first : last + 1]].mean().item()
    packed = text.encode()
    ratio = len(packed) / len(zlib.compress(packed))
    if ratio > COMPRESSION:
        return Heard("", f"“{text[:60]}” repeats itself")
    if own >= LOG_PROBABILITY:
        return Heard(text)
    silent = _no_speech(tokenizer, log_probabilities[begin])
    if silent > NO_SPEECH:
        return Heard("", f"“{text[:60]}” where it hears no speech (probability {silent:.2f})")
    return Heard("", f"“{text[:60]}” is a guess (mean log probability {own:.2f})")


def _no_speech(tokenizer: Any, log_probabilities: "torch.Tensor") -> float:
    """The probability of the token for no speech, right after that for the start."""
    known = tokenizer.get_vocab()
    names = [name for name in ("<|nospeech|>", "<|nocaptions|>") if name in known]
    return float(log_probabilities[known[names[0]]].exp()) if names else 0.0


def voiced_windows(sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The sound from its first voice to its last, in windows Whisper hears at once.

    Voice is what is louder than SILENCE_DB; sound with less than LEAST_VOICE_S of it has no
    window. A window longer than WINDOW_S is cut where its last third is quietest; one without voice
    is left out.
    """
    size = round(FRAME_S * SAMPLE_RATE)
    count = len(sound) // size
    power = np.square(sound[: count * size], dtype=np.float64).reshape(count, size).mean(axis=1)
    voiced = np.flatnonzero(power > 10 ** (SILENCE_DB / 10))
    if len(voiced) * FRAME_S < LEAST_VOICE_S:
        return []
    margin = round(MARGIN_S / FRAME_S)
    start, stop = max(0, int(voiced[0]) - margin), min(count, int(voiced[-1]) + 1 + margin)
    longest = round(WINDOW_S / FRAME_S)
    windows = []
    smooth = np.convolve(power, np.ones(margin) / margin, mode="same")
    while stop - start > longest:
        earliest = start + 2 * longest // 3
        cut = earliest + int(smooth[earliest : start + longest].argmin())
        windows.append((start, cut))
        start = cut
    windows.append((start, stop))
    heard = [bool((power[a:b] > 10 ** (SILENCE_DB / 10)).any()) for a, b in windows]
    return [sound[a * size : b * size] for (a, b), own in zip(windows, heard, strict=True) if own]


def check_whisper(model: str) -> None:
    """ConfigError for a folder that holds no whole Whisper model: quick, without loading it.

    What is no folder may be the name of a model on the hub, which is not asked for.
    """
    if folder := parse_target(model).path:
        _refuse_unfit(model, folder)


def _refuse_unfit(model: str, folder: Path) -> None:
    name = f"preprocessing.transcripts.asr = {model!r}"
    if problem := next(folder_problems(name, folder, "recognition"), ""):
        raise ConfigError(f"{problem} {_EXPECTED}")


def fetch_whisper(model: str) -> None:
    """Fetch the files of a model on the hub, without loading them.

    ConfigError where that fails, and where they are no Whisper model's.
    """
    from huggingface_hub import snapshot_download

    named = parse_target(model)

    def fetch(patterns: Sequence[str]) -> Path:
        return Path(
            snapshot_download(named.target, revision=named.revision, allow_patterns=[*patterns])
        )

    try:
        folder = fetch(_FILES)
        if not [*folder.glob("*.safetensors")]:
            fetch(_OLDER_WEIGHTS)
    except Exception as error:  # the library raises anything here
        raise _unloadable(model, error) from error
    _refuse_unfit(model, folder)


def _unloadable(model: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"preprocessing.transcripts.asr = {model!r} does not load ({type(error).__name__}: "
        f"{error}). {_EXPECTED}"
    )


@lru_cache(maxsize=1)
def load_whisper(model: str, device: str = "auto") -> Whisper:
    """A model, loaded once a process, on the device of `preprocessing.device`."""
    return Whisper(model, device)
