"""Clips as plain files: what is in them is what was kept."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from meiju_utils.errors import CorpusError, MissingStageError
from meiju_utils.files import write_table
from meiju_utils.preprocessing.clips import jpeg
from meiju_utils.preprocessing.exporting import export_clips
from meiju_utils.preprocessing.manifest import ShardWriter, read_rows


def _run_folder(folder: Path, clip_id: str = "a") -> Path:
    store = folder / "preprocessed" / "key"
    frames = [np.full((20, 30, 3), grey, np.uint8) for grey in (10, 200)]
    jpegs = [jpeg(frame) for frame in frames]
    with ShardWriter(store) as writer:
        media = {
            "audio": np.array([0, 100, -32768], np.int16),
            "frames": np.concatenate(jpegs),
            "frame_ends": np.cumsum([picture.size for picture in jpegs]),
            "crops": np.stack([frame[:16, :16] for frame in frames]),
        }
        common = {"setting": "key", "flags": "[]", "sample_rate": 8000}
        writer.add({"clip_id": clip_id, **common}, media)
        writer.add({"clip_id": "broken", **common, "problem": "MediaError"}, {})
    write_table(folder / "manifest.parquet", read_rows(store))
    return folder


def test_sound_frames_and_faces_become_wav_and_jpeg(tmp_path: Path) -> None:
    counts = export_clips(_run_folder(tmp_path / "run"), tmp_path / "out")
    assert counts == {"audio": 1, "frames": 2, "faces": 2}
    samples, rate = soundfile.read(tmp_path / "out" / "audio" / "a.wav", dtype="int16")
    assert (samples.tolist(), rate) == ([0, 100, -32768], 8000)
    for kind, shape in (("frames", (20, 30, 3)), ("faces", (16, 16, 3))):
        for number, grey in enumerate((10, 200)):
            picture = cv2.imread(str(tmp_path / "out" / kind / "a" / f"{number:05d}.jpg"))
            assert picture is not None
            assert picture.shape == shape
            assert abs(float(picture.mean()) - grey) < 2  # JPEG
    written = {path.parent.name for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"audio", "a"}


def test_a_manifest_from_elsewhere_cannot_write_outside_the_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no clip name"):
        export_clips(_run_folder(tmp_path / "run", "../../a"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_manifest_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(MissingStageError, match="01_preprocessing"):
        export_clips(tmp_path, tmp_path / "out")
