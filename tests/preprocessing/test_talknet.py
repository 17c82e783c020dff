"""TalkNet against the published network's outputs, its MFCCs, its windowed scores of a track."""

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from meiju_utils.errors import FeatureError
from meiju_utils.preprocessing.speaker import check_scorer, make_scorer
from meiju_utils.preprocessing.talknet import TalkNet, mfcc
from meiju_utils.preprocessing.talknet_scoring import score_tracks

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """The weights behind the reference: drawn from generators seeded by each key."""
    with (DATA / "talknet_state_dict.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["key"]: torch.from_numpy(_weight(row["key"], row["shape"], row["kind"]))
            for row in csv.DictReader(file)
        }


def _weight(key: str, shape_text: str, kind: str) -> NDArray[np.float32]:
    shape = () if shape_text == "scalar" else tuple(map(int, shape_text.split("x")))
    if kind == "counter":
        return np.zeros(shape, np.float32)
    drawn = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if kind == "running_var":
        weight = 1 + 0.1 * np.abs(drawn)
    elif len(shape) > 1:
        weight = drawn / np.sqrt(np.prod(shape[1:]))
    else:
        weight = 0.1 * drawn + (kind == "scale")
    return weight.astype(np.float32)


@pytest.fixture(scope="module")
def model(state: dict[str, torch.Tensor]) -> TalkNet:
    return TalkNet.from_state_dict(state)


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    with np.load(DATA / "talknet_reference.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def track(frames: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(frames)
    audio = rng.uniform(-0.5, 0.5, frames * 640).astype(np.float32)
    # brightness changes from frame to frame, so that every frame has its own score
    faces = rng.integers(0, 256, (frames, 112, 112)) * rng.uniform(0, 1, (frames, 1, 1))
    return audio, faces.astype(np.uint8)


def test_every_intermediate_equals_the_published_networks(
    model: TalkNet, reference: dict[str, torch.Tensor]
) -> None:
    # Both clips in one batch; the reference was computed clip by clip.
    with torch.inference_mode():
        audio = model.embed_audio(reference["mfcc"])
        visual = model.embed_motion(model.embed_frames(reference["faces"]))
        audio_attended, visual_attended = model.attend(audio, visual)
        logits = model.classify(audio_attended, visual_attended)
    ours = {
        "audio_embedding": audio,
        "visual_embedding": visual,
        "audio_attended": audio_attended,
        "visual_attended": visual_attended,
        "logits": logits,
    }
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, reference[name], atol=1e-4, rtol=0, msg=name)


def test_a_batch_equals_its_clips_one_by_one(
    model: TalkNet, reference: dict[str, torch.Tensor]
) -> None:
    coefficients, faces = reference["mfcc"][:, :24], reference["faces"][:, :6]
    with torch.inference_mode():
        together = model(coefficients, faces.float())  # float faces in 0..255 serve as well
        alone = [model(coefficients[[i]], faces[[i]]) for i in range(2)]
    assert together.shape == (2, 6, 2)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("mfcc_shape", "face_shape"),
    [
        ((1, 12, 13), (1, 4, 112, 112)),
        ((2, 16, 13), (1, 4, 112, 112)),
        ((1, 16, 12), (1, 4, 112, 112)),
        ((1, 16, 13), (1, 4, 224, 224)),
        ((1, 16, 13), (1, 4, 112, 112, 3)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    model: TalkNet, mfcc_shape: tuple[int, ...], face_shape: tuple[int, ...]
) -> None:
    with pytest.raises(FeatureError, match="expected"):
        model(torch.zeros(mfcc_shape), torch.zeros(face_shape))


@pytest.mark.parametrize("name", ["pretrain_TalkSet.model", "talknet.safetensors"])
def test_checkpoints_load_with_and_without_module_prefix(
    state: dict[str, torch.Tensor], model: TalkNet, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    check_scorer(f"talknet:{path}", 16000)
    loaded = TalkNet.from_checkpoint(path)
    assert not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def score_track(
    model: TalkNet, audio: NDArray[np.float32], faces: NDArray[np.uint8]
) -> NDArray[np.float32]:
    (scores,) = score_tracks(model, [(audio, faces)])
    return scores


def test_a_profile_names_it_and_tracks_are_scored_by_it(
    state: dict[str, torch.Tensor], model: TalkNet, tmp_path: Path
) -> None:
    save_file(state, tmp_path / "talknet.safetensors")
    scorer = make_scorer(f"talknet:{tmp_path / 'talknet.safetensors'}", 16000, "cpu")
    audio, faces = track(30)
    (scores,) = scorer.score_all([(audio, faces)])
    assert scores.shape == (30,)
    np.testing.assert_allclose(scores, score_track(model, audio, faces), atol=1e-6)


def test_loading_draws_nothing_from_the_global_generator(state: dict[str, torch.Tensor]) -> None:
    before = torch.get_rng_state()
    TalkNet.from_state_dict(state)
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_weights_are_named(state: dict[str, torch.Tensor]) -> None:
    wrong = dict(state)
    del wrong["lossAV.FC.bias"]
    wrong["lossAV.bias"] = torch.zeros(2)
    wrong["lossV.FC.weight"] = torch.zeros(2, 64)
    with pytest.raises(FeatureError) as error:
        TalkNet.from_state_dict(wrong)
    assert "1 missing: lossAV.FC.bias" in str(error.value)
    assert "1 unexpected: lossAV.bias" in str(error.value)
    assert "1 of another shape: lossV.FC.weight [2, 64] instead of [2, 128]" in str(error.value)


def test_only_the_first_wrong_keys_are_listed() -> None:
    with pytest.raises(FeatureError, match=r"487 missing: \S+ \S+ \S+ …\)"):
        TalkNet.from_state_dict({})


def test_unreadable_checkpoints_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="No TalkNet checkpoint at"):
        TalkNet.from_checkpoint(tmp_path / "absent.model")
    for name in ("torn.model", "torn.safetensors", "empty.model", "empty.safetensors"):
        (tmp_path / name).write_bytes(b"no weights" if name.startswith("torn") else b"")
        with pytest.raises(FeatureError, match="cannot be read"):
            TalkNet.from_checkpoint(tmp_path / name)
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "whole.model")
    whole = (tmp_path / "whole.model").read_bytes()
    for size in range(1, len(whole), 500):  # a download that broke off
        (tmp_path / "part.model").write_bytes(whole[:size])
        with pytest.raises(FeatureError, match="cannot be read"):
            TalkNet.from_checkpoint(tmp_path / "part.model")
    torch.save({"state_dict": {}}, tmp_path / "nested.model")
    with pytest.raises(FeatureError, match="no plain state dict"):
        TalkNet.from_checkpoint(tmp_path / "nested.model")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "code.model")
    with pytest.raises(FeatureError, match="cannot be read"):
        TalkNet.from_checkpoint(tmp_path / "code.model")


def test_mfcc_equals_python_speech_features() -> None:
    # Made with python_speech_features 0.6: a rising tone with noise and a stretch of digital
    # silence, and its first 100 samples, shorter than one frame.
    with np.load(DATA / "mfcc_reference.npz", allow_pickle=False) as arrays:
        samples, expected, short = arrays["samples"], arrays["mfcc"], arrays["mfcc_first_100"]
    audio = (samples / 32768).astype(np.float32)
    ours = mfcc(audio)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_allclose(mfcc(audio[:100]), short, atol=1e-4)


def test_mfcc_of_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(1600, np.float32))).all()


def plain_scores(
    model: TalkNet, audio: NDArray[np.float32], faces: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """The windowed scores written as plain loops: one network call per window and length."""
    total = len(faces)
    coefficients = mfcc(np.pad(audio, (0, 240)))
    lengths = []
    for seconds in range(1, 7):
        lengths.append(min(25 * seconds, total))
    per_length = {}
    for length in set(lengths):
        scores: list[float] = []
        for start in range(0, total, length):
            window = slice(start, start + length)
            audio_window = slice(4 * start, 4 * (start + length))
            with torch.inference_mode():
                logits = model(
                    torch.from_numpy(coefficients[audio_window])[None],
                    torch.from_numpy(faces[window])[None],
                )
            scores += logits[0, :, 1].tolist()
        per_length[length] = scores
    mean = np.mean([per_length[length] for length in lengths], axis=0)
    return np.array([mean[max(0, t - 2) : t + 3].mean() for t in range(total)])


@pytest.mark.parametrize("frames", [3, 26, 53])
def test_windowed_scores_equal_plain_loops(model: TalkNet, frames: int) -> None:
    audio, faces = track(frames)
    scores = score_track(model, audio, faces)
    assert scores.dtype == np.float32
    assert scores.shape == (frames,)
    np.testing.assert_allclose(scores, plain_scores(model, audio, faces), atol=1e-4)


def test_missing_sound_counts_as_silence_and_surplus_is_ignored(model: TalkNet) -> None:
    audio, faces = track(4)
    silent_end = np.concatenate([audio[:1000], np.zeros(2000, np.float32)])
    np.testing.assert_array_equal(
        score_track(model, audio[:1000], faces), score_track(model, silent_end, faces)
    )
    longer = np.concatenate([audio, np.zeros(5000, np.float32)])
    np.testing.assert_array_equal(
        score_track(model, longer, faces), score_track(model, audio, faces)
    )
    assert np.isfinite(score_track(model, audio[:0], faces)).all()


@pytest.mark.parametrize("shape", [(0, 112, 112), (5, 112, 112, 3), (5, 64, 64)])
def test_tracks_that_do_not_fit_are_refused(model: TalkNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match="face track"):
        score_track(model, np.zeros(3200, np.float32), np.zeros(shape, np.uint8))


def test_tracks_scored_together_get_what_each_gets_alone(model: TalkNet) -> None:
    tracks = [track(frames) for frames in (53, 26, 53, 3)]
    tracks[2] = (tracks[2][0][::-1].copy(), tracks[2][1][::-1].copy())
    together = score_tracks(model, tracks)
    for (audio, faces), scores in zip(tracks, together, strict=True):
        np.testing.assert_allclose(scores, score_track(model, audio, faces), atol=1e-4)


def test_windows_of_all_tracks_share_a_pass(
    model: TalkNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    classify = model.classify

    def counting(audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        passes.append(len(audio))
        return classify(audio, visual)

    monkeypatch.setattr(model, "classify", counting)
    score_tracks(model, [track(50), track(50), track(50)])
    assert passes == [6, 3]  # windows of one second, and of the whole tracks


def test_passes_that_do_not_fit_the_device_go_in_halves(
    model: TalkNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = [track(3)] * 5
    expected = score_tracks(model, tracks)
    classify, sizes = model.classify, []

    def small(audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        sizes.append(len(audio))
        if len(audio) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return classify(audio, visual)

    monkeypatch.setattr(model, "classify", small)
    for scores, other in zip(score_tracks(model, tracks), expected, strict=True):
        # sums over batches of another size may be taken in another order
        np.testing.assert_allclose(scores, other, rtol=1e-5, atol=1e-5)
    assert sizes == [5, 3, 2, 1, 2]


def test_nothing_to_score_is_no_error(model: TalkNet) -> None:
    assert score_tracks(model, []) == []
