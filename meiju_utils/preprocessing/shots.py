"""Where does one shot end and the next begin? Cuts between the frames of a clip.

Imports PySceneDetect, OpenCV and numpy.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

from meiju_utils.media.frames import TRACKING_RATE


def shot_boundaries(frames: NDArray[np.uint8]) -> list[int]:
    """First frame of every shot but the first, of small RGB frames [t, h, w, 3] at 25 a second.

    PySceneDetect's content detector with its default threshold; shots may be of any length, since
    in a clip of two seconds the usual minimum of 15 frames would swallow real cuts.
    """
    detector = ContentDetector(min_scene_len=1)
    cuts = [
        cut.frame_num
        for index, frame in enumerate(frames)
        for cut in detector.process_frame(
            FrameTimecode(index, float(TRACKING_RATE)), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        )
    ]
    return [cut for cut in cuts if cut > 0]
