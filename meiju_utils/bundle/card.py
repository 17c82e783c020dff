"""The model card of a bundle: data, recipe, scores and on which clips, limits, licences.

Imports `frozen`, `challenge`, `scoring`.
"""

from collections.abc import Mapping
from typing import Any

from meiju_utils.bundle.frozen import Frozen, FrozenEncoder, Part
from meiju_utils.challenge import METRICS
from meiju_utils.scoring import JOINT, MEAN

# Encoders that need no checkpoint are this package's own code.
_ORGANISERS = (
    " The MEIJU@2025 data are lent by agreement with the organisers: ask them before you pass this "
    "bundle on."
)
_OWN = "of this package (MIT), no checkpoint"
SPLITS = {"train": "train, each clip by trainings that never saw it", "valid": "validation"}


def model_card(frozen: Frozen, megabytes: Mapping[str, float], version: str) -> str:
    """Markdown; `megabytes` are the sizes of the bundle's files by name."""
    about = frozen.about
    clips = ", ".join(f"{number} {split}" for split, number in about.get("clips", {}).items())
    lines = [
        f"# {frozen.name}: {' and '.join(frozen.classes)} of a clip of dialogue",
        "",
        f"Made by meiju {version} from the run `{about.get('run', '?')}` (profile "
        f"{about.get('profile', '?')}, experiment {about.get('experiment', '?')}).",
        "",
        "## What it answers",
        "",
        "For a short video of one person speaking, in "
        f"{frozen.language}, one label a task with probabilities:",
        "",
        *(f"- {task}: {', '.join(names)}" for task, names in frozen.classes.items()),
        "",
        "## Data",
        "",
        f"{about.get('setting', 'Clips of one’s own')}: {clips or 'clips not counted'}. The "
        "labels of train and validation were used, unlabelled clips where it has students.",
        *(f"- {note}" for note in about.get("notes", [])),
        "",
        "## Scores",
        "",
        *_scores(frozen),
        "",
        "## Members",
        "",
        *_members(frozen, megabytes),
        "",
        "## Encoders and licences",
        "",
        *(f"- {one.modality}: {_encoder(one)}" for one in frozen.encoders),
        f"- faces: {frozen.preprocessing.faces.detector.partition(':')[0]}; speaker: "
        f"{frozen.preprocessing.speaker.partition(':')[0]}",
        "- data: the licence of the corpus it was trained on holds for what was learnt from it."
        + _ORGANISERS * bool(about.get("official")),
        "",
        "## Label shift",
        "",
        *_shift(about.get("label shift")),
        "",
        "## Limits",
        "",
        "- Acted emotion of one corpus: other languages, cameras or topics were not measured.",
        "- A probability is calibrated on clips like those above; elsewhere it may be too sure.",
        "- It sees one face a clip, the one that seems to speak, and hears all who speak.",
        "- What was decided on the run's test clips as a whole (offsets for the metric) is frozen.",
        "- No basis for decisions about persons.",
        "",
    ]
    return "\n".join(lines)


def _scores(frozen: Frozen) -> list[str]:
    rows = [row for row in frozen.about.get("scores", []) if row["kind"] == MEAN]
    if not rows:
        return ["None were kept."]
    lines = [
        f"{METRICS[frozen.average]}; 95 % intervals over clips. Joint: the harmonic mean of the "
        "tasks'.",
        "",
        "| clips | score | value | 95 % |",
        "|---|---|---|---|",
    ]
    for row in rows:
        name = "joint" if row["score"] == JOINT else row["score"]
        where = SPLITS.get(row["split"], row["split"])
        where += ", which chose the epoch" if row["chose"] else ""
        low, high = (f"{row[bound]:.3f}" for bound in ("low", "high"))
        lines.append(f"| {where} | {name} | {row['value']:.3f} | {low}–{high} |")
    return lines


def _members(frozen: Frozen, megabytes: Mapping[str, float]) -> list[str]:
    lines = ["| member | kind | files | MB |", "|---|---|---|---|"]
    holding = []
    for name, part in frozen.parts.items():
        if part.weights:
            size = sum(megabytes.get(f"weights/{one.file}", 0.0) for one in part.weights)
            lines.append(f"| {name} | {_kind(part)} | {len(part.weights)} | {size:.1f} |")
        if part.component is not None and part.component.name == "rbf-ridge":
            holding.append(name)
    if holding:
        lines += [
            "",
            f"Kernel models ({', '.join(holding)}) hold features of training and unlabelled clips, "
            "each of so many as its recipe's `exact` says (4000 if nothing else was asked for; "
            "beyond, its `landmarks`, 1000): whoever has the bundle has these features, though no "
            "video, sound or text.",
        ]
    words = [n for n, p in frozen.parts.items() if _kind(p).startswith(("nb", "tfidf"))]
    if words or any(encoder.fitted for encoder in frozen.encoders):
        lines += ["", "Models of words hold the n-grams that occur in the training texts."]
    return lines


def _kind(part: Part) -> str:
    component = part.component
    return component.name if component is not None else part.kind


def _encoder(one: FrozenEncoder) -> str:
    kind, colon, _ = one.config.name.partition(":")
    if not colon:
        return f"`{kind}`, {_OWN}"
    where = one.settings.get("model") or f"a checkpoint ({str(one.settings.get('contents'))[:12]})"
    commit = one.settings.get("revision")
    told = f", revision {commit}" if commit else ""
    return f"`{kind}:` {where}{told}; its own licence holds"


def _shift(shift: Any) -> list[str]:
    if not shift:
        return ["Not estimated: there was no unlabelled pool, or no calibrated held-out answers."]
    return [f"- {line}" for line in shift]
