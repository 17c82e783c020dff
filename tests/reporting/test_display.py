"""Players are embedded whole and keep the level of the sound."""

import base64
import io
import re
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meiju_utils.reporting import display
from meiju_utils.reporting.display import audio_player, clip_player, video_player


def samples_in(player: object, rate: int = 16000) -> np.ndarray:
    data = re.search(r"base64,([^\"]+)", player._repr_html_())  # type: ignore[attr-defined]
    assert data
    with wave.open(io.BytesIO(base64.b64decode(data[1]))) as sound:
        assert sound.getframerate() == rate
        return np.frombuffer(sound.readframes(-1), dtype="<i2") / 32767


def test_the_level_of_a_sound_is_kept() -> None:
    quiet = (0.1 * np.sin(np.arange(800) / 5)).astype(np.float32)
    np.testing.assert_allclose(samples_in(audio_player(quiet, 16000)), quiet, atol=1e-4)


def test_overdriven_and_silent_sounds_play() -> None:
    assert samples_in(audio_player(np.array([0, 2, -2], np.float32), 16000)).tolist() == [0, 1, -1]
    assert not samples_in(audio_player(np.zeros(10, np.float32), 16000)).any()


def test_a_sound_plays_at_the_rate_it_has() -> None:
    assert len(samples_in(audio_player(np.zeros(80, np.float32), 8000), rate=8000)) == 80


def test_no_sound_is_said_in_words() -> None:
    assert "no audio" in audio_player(np.zeros(0, np.float32), 16000).data


def test_a_video_is_embedded_whole(tmp_path: Path) -> None:
    path = tmp_path / 'odd "name".mp4'
    path.write_bytes(b"video")
    html = video_player(path, width=200).data
    assert base64.b64encode(b"video").decode() in html
    assert 'width="200"' in html
    assert '"name"' not in html  # escaped


def test_a_clip_plays_its_part_of_its_video(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"video")
    nan = float("nan")
    for start, end, part in ((nan, nan, '"'), (1.5, nan, '#t=1.500"'), (nan, 2, '#t=0,2.000"')):
        clip = pd.Series({"clip_id": "a", "video": "film.mp4", "start_s": start, "end_s": end})
        encoded = base64.b64encode(b"video").decode()
        assert f"base64,{encoded}{part}" in clip_player(tmp_path, clip).data
    assert "a has no video" in clip_player(tmp_path, clip.where(clip != "film.mp4", "")).data


def test_a_missing_or_large_video_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no video" in video_player(tmp_path / "none.mp4").data
    monkeypatch.setattr(display, "_LARGEST_VIDEO", 3)
    (tmp_path / "large.mp4").write_bytes(b"video")
    assert "too large" in video_player(tmp_path / "large.mp4").data
    assert "tex2jax_ignore" in video_player(tmp_path / "$x$.mp4").data
