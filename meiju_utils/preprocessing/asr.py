"""What was said in clips without a transcript? Speech recognition by a Whisper model.

Imports `clips`, `store`, `speaker`, `devices`, `parallel`, `files`, `errors`; transformers only
where a profile names a model.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from meiju_utils.challenge import Language
from meiju_utils.completeness import folder_problems
from meiju_utils.config import Parallel
from meiju_utils.devices import torch_device, torch_dtype
from meiju_utils.errors import ConfigError, DamagedError
from meiju_utils.files import fingerprint, read_record, safe_name, write_record
from meiju_utils.parallel import map_items
from meiju_utils.preprocessing.speaker import is_silent
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.references import parse_target, resolve

SAMPLE_RATE = 16000  # Hz, Whisper's
WINDOW_S = 30  # seconds it hears at once; longer sound is worked through by its own time stamps
# Of other languages the model itself hears which.
CODES: dict[Language, str] = {"mandarin": "zh", "english": "en"}

# Whisper carries on in the style of a prompt. In Chinese it leaves out punctuation without one.
PROMPTS: dict[Language, str] = {
    "mandarin": "以下是普通话对白，有标点。你怎么了？？真的吗！我没事……",
    "english": "",
    "other": "",
}

Recognised = dict[str, str]

_EXPECTED = (
    "Expected a Whisper model on the hub, as openai/whisper-large-v3, or, without a network, the "
    "folder of a downloaded one."
)


def recognise_speech(
    clips: Preprocessed,
    clip_ids: Sequence[str],
    model: str,
    language: Language,
    device: str = "auto",
    of: int = 0,
) -> tuple[Recognised, list[tuple[str, str, str]]]:
    """Texts by clip id, and (clip_id, problem, reason) of clips that failed.

    Clips without sound are left out. A text is kept as soon as it is recognised and made anew only
    when the clip's audio or the folder's files change; a clip that failed is tried again the next
    time. Raises ConfigError for a model that does not load and a device that is not there,
    SystemicError where too many fail.

    Args:
        clips: whose audio is heard.
        clip_ids: those that lack a text.
        model: a Whisper model on the hub or a folder.
        language: that is spoken.
        device: as `preprocessing.device`.
        of: how many clips the corpus has, by which failures are judged (see `parallel.faults`).
    """
    key = fingerprint(parse_target(model).identity, language, PROMPTS[language])
    folder = clips.folder / f"asr-{safe_name(Path(model).name)}-{key}"
    texts: Recognised = {}
    pending = []
    for clip_id in clip_ids:
        if clips.has(clip_id, "audio"):
            known = _known(folder / f"{clip_id}.json", clips.stamp(clip_id))
            texts |= {} if known is None else {clip_id: known}
            pending += [clip_id] if known is None else []
    if not pending:
        return texts, []
    load_whisper(model, device)
    # One process: the model is large, and its own work is spread over cores or a GPU.
    made = map_items(
        partial(
            _recognise, clips=clips, model=model, language=language, device=device, folder=folder
        ),
        pending,
        pending,
        Parallel(backend="serial"),
        "Recognising speech",
        of=of,
    )
    heard = zip(pending, made.results, strict=True)
    texts |= {clip_id: text for clip_id, text in heard if text is not None}
    return texts, [(failure.name, failure.error, failure.reason) for failure in made.failures]


def check_whisper(model: str) -> None:
    """ConfigError for a folder that holds no whole Whisper model: quick, without loading it.

    What is no folder may be the name of a model on the hub, which is not asked for.
    """
    folder = parse_target(model).path
    name = f"preprocessing.transcripts.asr = {model!r}"
    problem = next(folder_problems(name, folder, "recognition"), "") if folder else ""
    if problem:
        raise ConfigError(f"{problem} {_EXPECTED}")


@lru_cache(maxsize=1)
def load_whisper(model: str, device: str = "auto") -> Any:
    """transformers' pipeline of a Whisper model, on the device of `preprocessing.device`."""
    check_whisper(model)
    from transformers import pipeline

    where = torch_device(device, "preprocessing.device")
    local = resolve(model)
    try:
        whisper = pipeline(
            "automatic-speech-recognition",
            model=str(local) if local.is_dir() else model,
            device=where,
            dtype=torch_dtype(where, "float16"),
        )
    except Exception as error:  # the library raises anything here, from OSError to TypeError
        raise ConfigError(
            f"preprocessing.transcripts.asr = {model!r} does not load "
            f"({type(error).__name__}: {error}). {_EXPECTED}"
        ) from error
    if whisper.type != "seq2seq_whisper":
        raise ConfigError(
            f"preprocessing.transcripts.asr = {model!r} is no Whisper model. {_EXPECTED}"
        )
    return whisper


def _recognise(
    clip_id: str, clips: Preprocessed, model: str, language: Language, device: str, folder: Path
) -> str:
    text = transcribe(clips.audio(clip_id), model, language, device)
    record = {"clip_id": clip_id, "text": text, "clip": clips.stamp(clip_id)}
    write_record(folder / f"{clip_id}.json", record)
    return text


def transcribe(audio: Any, model: str, language: Language, device: str = "auto") -> str:
    """What a Whisper model hears in samples at 16 kHz; "" of silence. ConfigError for a model that
    does not load."""
    whisper = load_whisper(model, device)
    return "" if is_silent(audio) else _transcribe(whisper, audio, language)


def _transcribe(whisper: Any, audio: Any, language: Language) -> str:
    options: dict[str, Any] = {}
    if getattr(whisper.model.generation_config, "is_multilingual", False):
        options |= {"task": "transcribe"}
        options |= {"language": CODES[language]} if language in CODES else {}
    if PROMPTS[language]:
        prompt = whisper.tokenizer.get_prompt_ids(PROMPTS[language], return_tensors="pt")
        options["prompt_ids"] = prompt.to(whisper.model.device)
    answer = whisper(
        {"raw": audio, "sampling_rate": SAMPLE_RATE},
        return_timestamps=audio.size > WINDOW_S * SAMPLE_RATE,
        generate_kwargs=options,
    )
    return str(answer["text"]).strip()


def _known(path: Path, stamp: str) -> str | None:
    """The text recognised before from this very audio."""
    try:
        record = read_record(path)
    except (OSError, DamagedError):
        return None
    return str(record["text"]) if record.get("clip") == stamp else None
