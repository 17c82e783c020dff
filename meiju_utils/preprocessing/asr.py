"""What was said in clips without a transcript? Speech recognition by a Whisper model.

Imports `clips`, `store`, `speaker`, `devices`, `parallel`, `files`, `errors`; transformers only
where a profile names a model.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from meiju_utils.challenge import Language
from meiju_utils.config import Parallel
from meiju_utils.devices import torch_device, torch_dtype
from meiju_utils.errors import ConfigError, MeijuError
from meiju_utils.files import fingerprint, listing, read_json, safe_name, write_json
from meiju_utils.parallel import map_items
from meiju_utils.parallel.faults import FEW
from meiju_utils.preprocessing.speaker import is_silent
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.references import resolve

SAMPLE_RATE = 16000  # Hz, Whisper's
WINDOW_S = 30  # seconds it hears at once; longer sound is worked through by its own time stamps
CODES: dict[Language, str] = {"mandarin": "zh", "english": "en"}

# Whisper carries on in the style of a prompt. In Chinese it leaves out punctuation without one.
PROMPTS: dict[Language, str] = {
    "mandarin": "以下是普通话对白，有标点。你怎么了？？真的吗！我没事……",
    "english": "",
}

Recognised = dict[str, str]


def recognise_speech(
    clips: Preprocessed, clip_ids: Sequence[str], model: str, language: Language
) -> tuple[Recognised, list[tuple[str, str, str]]]:
    """Texts by clip id, and (clip_id, problem, reason) of clips that failed.

    `model`: a Whisper model on the hub or a folder. Clips without sound are left out. A text is
    kept as soon as it is recognised and made anew only when the clip's audio or the folder's files
    change. Raises ConfigError for a model that does not load, MeijuError where all of more than
    a few clips fail.
    """
    code = fingerprint(model, language, PROMPTS[language], listing(resolve(model)))
    folder = clips.folder / f"asr-{safe_name(model)}-{code}"
    texts: Recognised = {}
    pending = []
    for clip_id in clip_ids:
        if clips.has(clip_id, "audio"):
            known = _known(folder / f"{clip_id}.json", clips.stamp(clip_id))
            texts |= {} if known is None else {clip_id: known}
            pending += [clip_id] if known is None else []
    if not pending:
        return texts, []
    load_whisper(model)
    # One process: the model is large, and its own work is spread over cores or a GPU.
    made = map_items(
        partial(_recognise, clips=clips, model=model, language=language, folder=folder),
        pending,
        pending,
        Parallel(backend="serial"),
        "Recognising speech",
    ).succeeded()
    texts |= {record["clip_id"]: record["text"] for record in made if not record["problem"]}
    failed = [(r["clip_id"], r["problem"], r["reason"]) for r in made if r["problem"]]
    if len(failed) == len(pending) > FEW:
        clip_id, problem, reason = failed[0]
        raise MeijuError(
            f"Speech recognition with {model!r} failed in all {len(failed)} clips; the first, "
            f"{clip_id}: {problem}: {reason}"
        )
    return texts, failed


@lru_cache(maxsize=1)
def load_whisper(model: str) -> Any:
    """transformers' pipeline of a Whisper model, on the GPU where there is one."""
    from transformers import pipeline

    device = torch_device("auto")
    local = resolve(model)
    try:
        whisper = pipeline(
            "automatic-speech-recognition",
            model=str(local) if local.is_dir() else model,
            device=device,
            dtype=torch_dtype(device, "float16"),
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"preprocessing.transcripts.asr = {model!r} does not load ({error}). Expected a "
            "Whisper model on the hub, as openai/whisper-large-v3, or, without a network, the "
            "folder of a downloaded one."
        ) from error
    if whisper.type != "seq2seq_whisper":
        raise ConfigError(f"preprocessing.transcripts.asr = {model!r} is no Whisper model.")
    return whisper


def _recognise(
    clip_id: str, clips: Preprocessed, model: str, language: Language, folder: Path
) -> dict[str, Any]:
    try:
        audio = clips.audio(clip_id)
        text = "" if is_silent(audio) else _transcribe(load_whisper(model), audio, language)
    except Exception as error:  # one odd clip must not stop the others
        return {"clip_id": clip_id, "problem": type(error).__name__, "reason": str(error)}
    record = {"clip_id": clip_id, "problem": "", "text": text, "clip": clips.stamp(clip_id)}
    write_json(folder / f"{clip_id}.json", record)
    return record


def _transcribe(whisper: Any, audio: Any, language: Language) -> str:
    options: dict[str, Any] = {}
    if getattr(whisper.model.generation_config, "is_multilingual", False):
        options |= {"language": CODES[language], "task": "transcribe"}
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
        record = read_json(path)
    except (OSError, ValueError):
        return None
    return str(record["text"]) if record.get("clip") == stamp else None
