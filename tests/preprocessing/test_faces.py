"""The face that stands for a clip is chosen by stated rules, and the reason is recorded."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from meiju_utils.config import Faces, Preprocessing, load_profile
from meiju_utils.corpus.demo import truth_folder
from meiju_utils.media.reading import Media, read_media
from meiju_utils.preprocessing.detectors import DETECTORS
from meiju_utils.preprocessing.faces import ClipFaces, find_faces

HEIGHT, WIDTH = 120, 240
LEFT, RIGHT = (30, 40, 80, 90), (150, 40, 200, 90)
Box = tuple[int, int, int, int]


class BrightSquares:
    """Finds the bright rectangles of these tests' pictures."""

    def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        _, _, found, _ = cv2.connectedComponentsWithStats((picture > 180).astype(np.uint8))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in found[1:].tolist() if w > 10]
        return np.array(boxes, float).reshape(-1, 4)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Preprocessing:
    monkeypatch.setitem(DETECTORS, "bright-squares", lambda _: BrightSquares())
    return Preprocessing(
        faces=Faces(detector="bright-squares", detect_every=5, crop_size=32), frame_stride=30
    )


def opening(frames: int, seed: int) -> NDArray[np.float64]:
    """How open a mouth is by frame: one syllable every 8 frames, of varying strength."""
    strength = np.random.default_rng(seed).uniform(0.3, 1, frames // 8 + 1)
    return np.tile(np.hanning(8), frames // 8 + 1)[:frames] * strength.repeat(8)[:frames]


def clip(
    seconds: float,
    faces: Iterable[tuple[Box, NDArray[np.float64] | None]],
    voice: NDArray[np.float64] | None = None,
    size_factor: int = 1,
) -> Media:
    """A clip with faces that open their mouths (None: never), and a voice of given loudness.

    A face is also told by its colour: the first has green in its forehead, the second blue. The
    sampled frames are `size_factor` times the tracking frames.
    """
    frames = round(25 * seconds)
    pictures = np.full((frames, HEIGHT, WIDTH, 3), 60, np.uint8)
    for number, ((left, top, right, bottom), opens) in enumerate(faces):
        pictures[:, top:bottom, left:right] = 230
        pictures[:, top + 2 : top + 8, left + 4 : right - 4, 2 if number else 1] = 255
        pictures[:, top + 2 : top + 8, left + 4 : right - 4, 0] = 200
        middle, height = (left + right) // 2, bottom - top
        for index, how_far in enumerate(opens if opens is not None else np.zeros(frames)):
            lips = top + int(0.7 * height)
            pictures[index, lips : lips + 1 + int(10 * how_far), middle - 8 : middle + 8] = 20
    noise = np.random.default_rng(0).normal(0, 0.1, 640 * frames)
    audio = noise * voice.repeat(640) if voice is not None else np.empty(0)
    sampled = pictures[::30].repeat(size_factor, axis=1).repeat(size_factor, axis=2)
    return Media(
        audio=audio.astype(np.float32),
        sample_rate=16000,
        frames=sampled,
        frame_times=np.arange(0, frames, 30) / 25,
        tracking=pictures[..., 0],
        thumbnails=pictures[:, ::4, ::4],
        duration_s=seconds,
        fps=25.0,
        width=WIDTH * size_factor,
        height=HEIGHT * size_factor,
        video_frames=frames,
        audio_rate=16000,
        audio_channels=1,
    )


def seen(faces: ClipFaces) -> str:
    """Which face the crops show, by the colour of its forehead."""
    colours = set()
    for crop in faces.crops.astype(int):
        green, blue = ((crop[..., c] - crop[..., 0]).max() for c in (1, 2))
        colours.add("first" if green > blue else "second")
    return " and ".join(sorted(colours))


@pytest.mark.parametrize("speaker", [0, 1])
def test_the_active_speaker_is_chosen(settings: Preprocessing, speaker: int) -> None:
    moving = [opening(75, 1), opening(75, 2)]
    media = clip(3, [(LEFT, moving[0]), (RIGHT, np.roll(moving[1], 4))], moving[0])
    if speaker:
        media = clip(3, [(LEFT, np.roll(moving[1], 4)), (RIGHT, moving[0])], moving[0])
    faces = find_faces(media, settings)
    assert faces.choice == "speaker"
    assert seen(faces) == ("second" if speaker else "first")
    assert faces.crops.shape == (3, 32, 32, 3)
    assert faces.times.tolist() == [0, 1.2, 2.4]
    assert faces.score == pytest.approx(np.nanmax(faces.track_scores))
    assert [len(score) for score in faces.scores if score is not None] == [75, 75]


def test_the_only_face_is_taken_whether_it_speaks_or_not(settings: Preprocessing) -> None:
    talking = find_faces(clip(2, [(LEFT, opening(50, 1))], opening(50, 1)), settings)
    assert (talking.choice, talking.reason) == ("only-face", "no other face")
    assert talking.score > 0.8
    listening = find_faces(clip(2, [(LEFT, None)], opening(50, 1)), settings)
    assert listening.choice == "only-face"
    assert listening.reason == "no other face; it does not follow the voice"
    assert listening.score < 0
    short = find_faces(clip(0.8, [(LEFT, opening(20, 1))], opening(20, 1)), settings)
    assert short.reason == "no other face, not scored: under one second"
    silent = find_faces(clip(2, [(LEFT, opening(50, 1))]), settings)
    assert silent.reason == "no other face, not scored: silent clip"


def test_under_one_second_the_largest_face_is_taken(settings: Preprocessing) -> None:
    big = (130, 30, 200, 100)
    faces = find_faces(clip(0.8, [(LEFT, opening(20, 1)), (big, None)], opening(20, 1)), settings)
    assert (faces.choice, faces.reason) == ("largest-face", "faces seen for under one second")
    assert seen(faces) == "second"
    assert np.isnan(faces.score)
    assert faces.scores == (None, None)


def test_without_sound_the_largest_face_is_taken(settings: Preprocessing) -> None:
    faces = find_faces(clip(2, [((20, 20, 95, 95), None), (RIGHT, None)]), settings)
    assert (faces.choice, faces.reason) == ("largest-face", "silent clip")
    assert seen(faces) == "first"


def test_where_no_face_follows_the_voice_the_largest_is_taken(settings: Preprocessing) -> None:
    media = clip(2, [(LEFT, None), ((130, 30, 200, 100), None)], opening(50, 1))
    faces = find_faces(media, settings)
    assert (faces.choice, faces.reason) == ("largest-face", "no face follows the voice")
    assert seen(faces) == "second"


def test_without_faces_the_whole_frame_is_taken(settings: Preprocessing) -> None:
    faces = find_faces(clip(2, [], opening(50, 1)), settings)
    assert (faces.choice, faces.reason) == ("whole-frame", "no face found")
    assert faces.chosen == (-1, -1)
    assert faces.crops.shape == (2, 32, 32, 3)
    assert (faces.crops[0, :8] == 110).all()  # a frame twice as wide as high, in a square
    assert (faces.crops[0, 8:24] == 60).all()


def test_without_video_there_is_nothing_to_choose(settings: Preprocessing) -> None:
    media = clip(2, [], opening(50, 1))
    nothing = np.empty((0, 0, 0, 3), np.uint8)
    media = Media(
        **vars(media) | {"frames": nothing, "frame_times": np.empty(0), "tracking": nothing[..., 0]}
    )
    faces = find_faces(media, settings)
    assert (faces.choice, len(faces.crops), faces.tracks) == ("none", 0, ())


def test_frames_that_show_only_the_listener_are_left_out(settings: Preprocessing) -> None:
    voice = opening(100, 1)
    speaker = clip(4, [(LEFT, voice)], voice)
    listener = clip(4, [((60, 20, 130, 90), None)], voice)
    frames, tracking = speaker.frames.copy(), speaker.tracking.copy()
    thumbnails = speaker.thumbnails.copy()
    frames[2:], tracking[50:] = 255 - listener.frames[2:], listener.tracking[50:]
    thumbnails[50:] = 255 - listener.thumbnails[50:]  # a cut
    media = Media(
        **vars(speaker) | {"frames": frames, "tracking": tracking, "thumbnails": thumbnails}
    )
    faces = find_faces(media, settings)
    assert faces.choice == "speaker"
    assert [track.shot for track in faces.tracks] == [0, 1]
    assert faces.chosen == (0, 0, -1, -1)
    assert faces.times.tolist() == [0, 1.2]


def test_boxes_are_scaled_from_tracking_to_full_frames(settings: Preprocessing) -> None:
    voice = opening(50, 1)
    small = find_faces(clip(2, [(LEFT, voice)], voice), settings)
    large = find_faces(clip(2, [(LEFT, voice)], voice, size_factor=3), settings)
    difference = small.crops.astype(int) - large.crops.astype(int)
    assert np.abs(difference).mean() < 6


def test_a_flicker_is_no_face_while_a_lasting_one_is_there(settings: Preprocessing) -> None:
    voice = opening(50, 1)
    media = clip(2, [(LEFT, voice)], voice)
    media.tracking[30:33, 40:100, 150:220] = 230  # seen in one detection
    faces = find_faces(media, settings)
    assert len(faces.tracks) == 1
    assert faces.choice == "only-face"


@pytest.mark.parametrize("every", [5, 10])
def test_one_detection_makes_no_lasting_face(settings: Preprocessing, every: int) -> None:
    voice = opening(50, 1)
    media = clip(2, [(LEFT, voice)], voice)
    media.tracking[20:21, 40:100, 150:220] = 230
    sparse = settings.model_copy(
        update={"faces": Faces(detector="bright-squares", detect_every=every)}
    )
    assert len(find_faces(media, sparse).tracks) == 1


@pytest.fixture
def two_faces(tiny_corpus: Path) -> list[tuple[Path, pd.Series]]:
    """Clips of the synthetic corpus with two faces, and where their speaker is."""
    scenes = pd.read_csv(truth_folder(tiny_corpus) / "scenes.csv").set_index("clip_id")
    files = [path for path in tiny_corpus.rglob("*") if path.suffix.lower() == ".mp4"]
    videos = {path.stem: path for path in files}
    return [(videos[str(clip_id)], s) for clip_id, s in scenes.iterrows() if s["n_faces"] == 2]


def test_the_synthetic_corpus_s_speakers_are_found(two_faces: list[tuple[Path, pd.Series]]) -> None:
    right = 0
    for path, scene in two_faces:
        faces = find_faces(read_media(path), load_profile("demo").preprocessing)
        centres = [faces.tracks[which].geometry()[:, 0].mean() for which in faces.chosen]
        right += faces.choice == "speaker" and all(
            scene["left"] < centre < scene["right"] for centre in centres
        )
    assert right / len(two_faces) >= 0.95


def panned(pictures: NDArray[np.uint8], shifts: NDArray[np.int_]) -> NDArray[np.uint8]:
    """The pictures on a wider grey ground, each moved right by so many pixels."""
    count, height, width = pictures.shape[:3]
    ground = (count, height, width + int(shifts.max()), *pictures.shape[3:])
    wide = np.full(ground, 90, np.uint8)
    for index, shift in enumerate(shifts):
        wide[index, :, shift : shift + width] = pictures[index]
    return wide


def test_faces_that_move_are_followed_with_the_default_settings(
    two_faces: list[tuple[Path, pd.Series]],
) -> None:
    speed = 100  # pixels a second, about a face's width
    path, scene = max(two_faces, key=lambda clip: clip[1]["duration_s"])
    still = read_media(path)
    shifts = np.rint(speed * np.arange(len(still.tracking)) / 25).astype(int)
    wide = panned(still.frames, np.rint(speed * still.frame_times).astype(int))
    wide = np.pad(wide, ((0, 0), (0, 0), (0, still.width + shifts[-1] - wide.shape[2]), (0, 0)))
    media = replace(
        still,
        frames=wide,
        tracking=panned(still.tracking, shifts),
        thumbnails=panned(still.thumbnails, shifts * still.thumbnails.shape[2] // still.width),
        width=wide.shape[2],
    )
    faces = find_faces(media, Preprocessing())
    assert [len(track) for track in faces.tracks] == [len(shifts)] * 2
    assert faces.choice == "speaker"
    (which,) = set(faces.chosen)
    centres = faces.tracks[which].geometry()[:, 0] - shifts
    assert ((scene["left"] < centres) & (centres < scene["right"])).all()
