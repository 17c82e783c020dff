from pathlib import Path

import numpy as np
import pytest

from meiju_utils.preprocessing import Media
from meiju_utils.preprocessing.faces import ClipFaces
from meiju_utils.preprocessing.tracks import FaceTrack
from meiju_utils.reporting.plots import speaker_tracks

FRAMES = 30


@pytest.fixture
def media() -> Media:
    rng = np.random.default_rng(0)
    return Media(
        audio=rng.normal(0, 0.1, FRAMES * 640).astype(np.float32),
        sample_rate=16000,
        frames=np.zeros((1, 24, 32, 3), np.uint8),
        frame_times=np.zeros(1),
        tracking=np.full((FRAMES, 24, 32), 128, np.uint8),
        thumbnails=np.zeros((FRAMES, 24, 32, 3), np.uint8),
        duration_s=FRAMES / 25,
        fps=25,
        width=32,
        height=24,
        video_frames=FRAMES,
        audio_rate=16000,
        audio_channels=1,
    )


def _faces(tracks: int, chosen: int) -> ClipFaces:
    boxes = np.tile([4.0, 4.0, 12.0, 14.0], (FRAMES, 1))
    return ClipFaces(
        tracks=tuple(FaceTrack(0, boxes + 8 * i, (0,), 0) for i in range(tracks)),
        scores=tuple(np.full(FRAMES, float(i == chosen), np.float32) for i in range(tracks)),
        chosen=(chosen,),
        choice="speaker" if tracks else "none",
        reason="follows the voice best",
        score=1.0,
        crops=np.zeros((1, 8, 8, 3), np.uint8),
        times=np.zeros(1),
        track=np.empty((0, 4)),
    )


def test_the_chosen_face_stands_out_in_frames_scores_and_title(media: Media) -> None:
    figure = speaker_tracks(media, _faces(2, chosen=1), "clip")
    *pictures, curves = figure.axes
    assert all([line.get_linewidth() for line in ax.lines] == [1.2, 3.0] for ax in pictures)
    labels = [text.get_text() for text in curves.get_legend().get_texts()]
    assert labels == ["loudness (scaled)", "face 1", "face 2, chosen"]
    assert "follows the voice best" in curves.get_title(loc="left") + curves.get_title()


def test_a_clip_without_faces_says_so(media: Media, tmp_path: Path) -> None:
    figure = speaker_tracks(media, _faces(0, chosen=-1), "clip")
    assert any("no face" in text.get_text() for ax in figure.axes for text in ax.texts)
