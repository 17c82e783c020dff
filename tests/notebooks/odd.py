"""Small official releases that lack what is optional, for the notebooks."""

from collections.abc import Mapping
from pathlib import Path

from meiju_utils.challenge import EMOTIONS, INTENTS

FOLDERS = {"train": "Training", "valid": "Validation", "test": "Testing"}


def write_corpus(
    folder: Path,
    films: Mapping[str, Mapping[str, bytes]],
    texts: Mapping[str, str] | None = None,
    one_label: bool = False,
) -> Path:
    """Track 1 Mandarin in `folder`: split → clip id → its MP4; `texts` by clip id, or none."""
    top = folder / "Track1" / "Mandarin" / "Annotation"
    for split, word in FOLDERS.items():
        clips = films.get(split, {})
        (top / word).mkdir(parents=True)
        lines = []
        for number, (clip_id, film) in enumerate(clips.items()):
            (top / word / f"{clip_id}.mp4").write_bytes(film)
            label = 0 if one_label else number
            labels = "" if split == "test" else f" {EMOTIONS[label % 7]} {INTENTS[label % 8]}"
            lines.append(f"{clip_id}.mp4{labels}\n")
        (top / f"{word}_files.txt").write_text("".join(lines), encoding="utf-8")
        if texts is not None:
            rows = "".join(f'{clip_id}.mp4,"{texts[clip_id]}"\n' for clip_id in clips)
            table = top / f"{word}_transcription.csv"
            table.write_text(f"FileName,Subtitle\n{rows}", encoding="utf-8")
    return folder
