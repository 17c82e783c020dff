"""The palettes cover every label and can be told apart by everyone."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from meiju_utils.challenge import CLASSES, TASKS, Task
from meiju_utils.reporting.palette import LABEL_COLORS

# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("task", TASKS)
def test_every_label_has_a_colour_in_official_order(task: Task) -> None:
    assert tuple(LABEL_COLORS[task]) == CLASSES[task]


def seen(color: str, vision: str) -> NDArray[np.float64]:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(back[None, None])[0, 0])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("task", TASKS)
def test_any_two_labels_stay_apart_under_colour_blindness(task: Task, vision: str) -> None:
    lab = {label: seen(color, vision) for label, color in LABEL_COLORS[task].items()}
    nearest = min(float(deltaE_ciede2000(lab[a], lab[b])) for a, b in combinations(lab, 2))
    assert nearest >= 12
