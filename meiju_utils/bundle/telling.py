"""What a terminal, JSON and CSV say of a reading. Imports `predictor`."""

import csv
import io
import json
import math
from typing import Any

from meiju_utils.bundle.predictor import Reading
from meiju_utils.files import as_cell
from meiju_utils.predictions import Answers

_SHOWN = 3  # labels of a task
_FACES = {
    "only-face": "the only face",
    "speaker": "the face that follows the voice best",
    "largest-face": "the largest face",
    "whole-frame": "no face: the whole picture",
    "none": "no picture",
}

Values = dict[str, dict[str, dict[str, Any]]]


def clip_values(reading: Reading) -> dict[str, Any]:
    """Everything by clip, as JSON has it: labels, probabilities, each modality alone, why."""
    answered = _by_clip(reading.answers)
    alone = {modality: _by_clip(own) for modality, own in reading.alone.items()}
    found: dict[str, Any] = {}
    for clip_id, tasks in answered.items():
        row = reading.clips.rows[clip_id]
        score = float(row["face_score"])
        found[clip_id] = {
            **tasks,
            "alone": {m: own[clip_id] for m, own in alone.items() if clip_id in own},
            "text": reading.clips.texts[clip_id],
            "face": {
                "choice": row["face_choice"],
                "reason": row["face_reason"],
                "faces": int(row["faces"]),
                "score": None if math.isnan(score) else score,
            },
            "seconds": float(row["duration_s"]),
            "lacks": dict(reading.lacks.get(clip_id, {})),
            "remarks": [": ".join(flag) for flag in json.loads(row["flags"])],
        }
    return {"clips": found, "problems": reading.problems}


def told(values: dict[str, Any], tasks: list[str]) -> str:
    """`clip_values` for a terminal: a paragraph a clip."""
    lines = []
    for clip_id, own in values["clips"].items():
        lines.append(clip_id)
        lines += [f"  {task:<10} {_shares(own[task]['probabilities'])}" for task in tasks]
        for task in tasks:
            chosen, likeliest = own[task]["label"], _likeliest(own[task]["probabilities"])
            if chosen != likeliest:
                lines.append(f"  answer     {task} {chosen}: chosen for the metric's sake")
        for modality, said in own["alone"].items():
            labels = [_first(said[task]) for task in tasks]
            lines.append(f"  {modality + ' alone':<12} {', '.join(labels)}")
        face = own["face"]
        count = f" of {face['faces']}" if face["faces"] > 1 else ""
        lines.append(f"  face       {_FACES[face['choice']]}{count} ({face['reason']})")
        lines += [f"  text       {own['text']}"] if own["text"] else []
        lines += [f"  without    {modality}: {why}" for modality, why in own["lacks"].items()]
        lines += [f"  remark     {remark}" for remark in own["remarks"]]
    lines += [f"{clip_id}: no answer. {why}" for clip_id, why in values["problems"].items()]
    return "\n".join(lines)


def as_csv(reading: Reading) -> str:
    """A row a clip: its id, a label a task, all probabilities."""
    table = reading.answers.table.drop(columns="split")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    ids = table["clip_id"].map(as_cell)
    writer.writerows(table.assign(clip_id=ids).itertuples(index=False, name=None))
    return buffer.getvalue()


def _by_clip(answers: Answers) -> Values:
    """clip → task → label and probabilities."""
    found: Values = {clip_id: {} for clip_id in answers.table["clip_id"]}
    for task, names in answers.classes.items():
        rows = answers.probabilities(task)
        for clip_id, label, row in zip(
            answers.table["clip_id"], answers.table[task], rows, strict=True
        ):
            shares = {name: round(float(p), 4) for name, p in zip(names, row, strict=True)}
            found[clip_id][task] = {"label": label, "probabilities": shares}
    return found


def _shares(shares: dict[str, float]) -> str:
    most = sorted(shares.items(), key=lambda pair: -pair[1])[:_SHOWN]
    return ", ".join(f"{label} {share:.0%}" for label, share in most)


def _first(said: dict[str, Any]) -> str:
    return f"{said['label']} {said['probabilities'][said['label']]:.0%}"


def _likeliest(shares: dict[str, float]) -> str:
    return max(shares, key=lambda label: shares[label])
