"""Detectors find faces under one interface, and say plainly what they need."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from meiju_utils.errors import ConfigError
from meiju_utils.preprocessing.detectors import check_detector, make_detector


def astronaut_grey(step: int = 1) -> NDArray[np.uint8]:
    """A photograph with one face, of about 100 pixels around (225, 115)."""
    return astronaut().mean(axis=2)[::step, ::step].astype(np.uint8)


def test_dlib_finds_the_face_of_a_photograph_from_forehead_to_chin() -> None:
    box = next(box for box in make_detector("dlib-hog").detect(astronaut_grey()) if box[1] < 150)
    left, top, right, bottom = box
    assert left < 225 < right
    assert top < 85  # above the brows, at about 90
    assert 140 < bottom < 200


def test_dlib_enlarges_a_picture_in_which_it_finds_nothing() -> None:
    small = astronaut_grey(2)  # a face of 50 pixels, below the detector's window of 80
    boxes = make_detector("dlib-hog").detect(small)
    assert any(left < 112 < right and top < 57 < bottom for left, top, right, bottom in boxes)


def test_a_picture_without_faces_gives_no_boxes() -> None:
    boxes = make_detector("dlib-hog").detect(np.full((100, 100), 127, np.uint8))
    assert boxes.shape == (0, 4)


def test_yunet_runs_through_opencv(tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(bright_patch_yunet())
    detector = make_detector(f"yunet:{tmp_path / 'yunet.onnx'}")
    picture = np.zeros((100, 150), np.uint8)
    picture[32:64, 64:96] = 255
    assert detector.detect(picture).tolist() == [[48, 16, 80, 48]]
    assert detector.detect(np.zeros((64, 64), np.uint8)).shape == (0, 4)


@pytest.mark.parametrize("model", ["/nowhere/yunet.onnx", "opencv/face_detection_yunet"])
def test_a_missing_yunet_model_names_the_offline_way(
    model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"Without a network: .*dlib-hog"):
        make_detector(f"yunet:{model}")


def test_a_file_that_is_no_yunet_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "other.onnx").write_bytes(bright_patch_yunet().replace(b"kps_", b"key_"))
    for name in ("broken.onnx", "other.onnx"):
        with pytest.raises(ConfigError, match="does not load as YuNet"):
            check_detector(f"yunet:{tmp_path / name}")


@pytest.mark.parametrize("name", ["dlib", "dlib-hog:x", "yunet", ""])
def test_an_unknown_detector_is_refused_with_the_valid_ones(name: str) -> None:
    for check in (check_detector, make_detector):
        with pytest.raises(ConfigError, match="dlib-hog"):
            check(name)


def test_a_check_asks_no_hub_and_misses_no_file() -> None:
    check_detector("dlib-hog")
    check_detector("yunet:opencv/face_detection_yunet")
    with pytest.raises(ConfigError, match="No YuNet model at /nowhere"):
        check_detector("yunet:/nowhere/yunet.onnx")


def bright_patch_yunet() -> bytes:
    """An ONNX file with YuNet's inputs and outputs that takes bright 32-pixel cells for faces.

    Written by hand (protocol buffers: a tag, then a varint or a length and bytes), since no
    library of the environment writes ONNX.
    """

    def varint(value: int) -> bytes:
        low, high = value & 127, value >> 7
        return bytes([low | 128]) + varint(high) if high else bytes([low])

    def field(number: int, value: int | str | bytes) -> bytes:
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        data = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(data)) + data

    def tensor(name: str, array: NDArray[np.generic]) -> bytes:
        kind = {"float32": 1, "int64": 7}[str(array.dtype)]
        shape = b"".join(field(1, size) for size in array.shape)
        return shape + field(2, kind) + field(8, name) + field(9, array.tobytes())

    def node(operation: str, inputs: list[str], output: str, **attributes: list[int]) -> bytes:
        listed = [
            field(1, name) + b"".join(field(8, value) for value in values) + field(20, 7)
            for name, values in attributes.items()
        ]
        named = b"".join(field(1, name) for name in inputs) + field(2, output)
        return named + field(4, operation) + b"".join(field(5, one) for one in listed)

    def declared(name: str, *shape: int | str) -> bytes:
        sizes = [field(1, size) if isinstance(size, int) else field(2, size) for size in shape]
        dimensions = b"".join(field(1, size) for size in sizes)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))

    graph = field(2, "bright") + field(11, declared("input", 1, 3, "h", "w"))
    for stride in (8, 16, 32):
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            weights = np.zeros((channels, 3, stride, stride), np.float32)
            if stride == 32 and channels == 1:
                weights += 1 / (3 * 255 * stride * stride)  # mean brightness, 0 to 1
            cells = [stride, stride]
            graph += (
                field(5, tensor(f"{name}_weights", weights))
                + field(5, tensor(f"{name}_shape", np.array([1, -1, channels], np.int64)))
                + field(
                    1,
                    node(
                        "Conv",
                        ["input", f"{name}_weights"],
                        f"{name}_map",
                        kernel_shape=cells,
                        strides=cells,
                    ),
                )
                + field(1, node("Transpose", [f"{name}_map"], f"{name}_last", perm=[0, 2, 3, 1]))
                + field(1, node("Reshape", [f"{name}_last", f"{name}_shape"], name))
                + field(12, declared(name, 1, f"{name}_cells", channels))
            )
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
