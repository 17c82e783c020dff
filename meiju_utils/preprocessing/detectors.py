"""Where are the faces in one picture? Detectors by name, behind one interface.

Imports dlib, OpenCV, numpy, `errors`, `run`; the hub client only where a hub model is named.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from meiju_utils.errors import ConfigError, nearest
from meiju_utils.references import parse_target, resolve

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_HUB = "opencv/face_detection_yunet"


class Detector(Protocol):
    """Finds faces in a picture; a box reaches from the forehead to the chin."""

    def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Boxes [n, 4] as left, top, right, bottom in pixels of a grey picture [h, w]."""


class DlibHog:
    """The frontal face detector that comes inside dlib (histograms of oriented gradients).

    It finds faces from 65 to 80 pixels on; where it finds none, the picture is doubled once. Its
    boxes begin at the brows and are extended upwards, to cover what those of other detectors do.
    """

    FOREHEAD = 0.2  # of a box's height

    def __init__(self) -> None:
        self.detector = dlib.get_frontal_face_detector()

    def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = self.detector(picture, 0) or self.detector(picture, 1)
        # dlib's right and bottom are the last pixels inside.
        boxes = [
            (b.left(), b.top() - self.FOREHEAD * b.height(), b.right() + 1, b.bottom() + 1)
            for b in found
        ]
        return np.asarray(boxes, np.float64).reshape(-1, 4)


class YuNet:
    """YuNet (Wu et al., 2023) through OpenCV: also small, turned and partly covered faces."""

    SCORE = 0.7

    def __init__(self, model: str) -> None:
        path = yunet_path(model)
        try:
            self.detector = cv2.FaceDetectorYN.create(
                str(path), "", (320, 320), score_threshold=self.SCORE
            )
            self.detect(np.zeros((64, 64), np.uint8))  # where another model first shows
        except cv2.error as error:
            raise ConfigError(
                f"{path} does not load as YuNet ({error.err}). Expected {YUNET_FILE} of OpenCV's "
                "model zoo; download it again."
            ) from error

    def detect(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        height, width = picture.shape
        self.detector.setInputSize((width, height))
        _, found = self.detector.detect(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
        if found is None:
            return np.empty((0, 4))
        left, top, across, down = found[:, :4].astype(np.float64).T
        return np.stack([left, top, left + across, top + down], axis=1)


DETECTORS: dict[str, Callable[[str], Detector]] = {
    "dlib-hog": lambda _: DlibHog(),
    "yunet": YuNet,
}


@lru_cache(maxsize=2)
def make_detector(name: str) -> Detector:
    """The detector of a profile: `dlib-hog` or `yunet:<path of its .onnx or hub id>`.

    Made once a process, since loading takes longer than a clip. Raises ConfigError for an unknown
    name and for a model that is not there or does not load.
    """
    kind, model = _parsed(name)
    return DETECTORS[kind](model)


def check_detector(name: str) -> None:
    """ConfigError for what `make_detector` could not make: quick, without a network.

    A model that is a file is loaded; one on the hub is not asked for.
    """
    kind, model = _parsed(name)
    if kind == "yunet" and not _is_hub_id(model):
        make_detector(name)


def _parsed(name: str) -> tuple[str, str]:
    kind, _, model = name.partition(":")
    if kind not in DETECTORS or bool(model) != (kind == "yunet"):
        raise ConfigError(
            f"preprocessing.faces.detector = {name!r}: "
            + nearest(name, ["dlib-hog", f"yunet:{YUNET_HUB}", "yunet:<path of its .onnx file>"])
        )
    return kind, model


def _is_hub_id(model: str) -> bool:
    named = parse_target(model)
    return named.path is None and named.target.count("/") == 1


def yunet_path(model: str) -> Path:
    offline = (
        f"Without a network: fetch {YUNET_FILE} elsewhere, put it on this machine and name it as "
        f"yunet:/path/to/{YUNET_FILE}; or use dlib-hog, which needs no download."
    )
    path = resolve(model)
    if path.is_file():
        return path
    if not _is_hub_id(model):
        raise ConfigError(f"No YuNet model at {path}: there is no file. {offline}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        named = parse_target(model)
        return Path(hf_hub_download(named.target, YUNET_FILE, revision=named.revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"The hub model {model} cannot be fetched ({type(error).__name__}). {offline}"
        ) from error
