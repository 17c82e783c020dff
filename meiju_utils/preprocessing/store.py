"""What preprocessing made of a clip, read back by clip id. Imports numpy and soundfile."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


@dataclass(frozen=True)
class Preprocessed:
    """Audio, face crops and text of every clip of a corpus; picklable, reads on demand.

    key: changes with the settings that shape audio and faces. texts: clip id → text, all clips in
    the order of the clips table. stamps: clip id → what changes with its video. Asking for an
    unknown clip raises KeyError.
    """

    key: str
    folder: Path
    texts: dict[str, str]
    stamps: dict[str, str] = field(default_factory=dict)

    @property
    def clip_ids(self) -> list[str]:
        return list(self.texts)

    def stamp(self, clip_id: str) -> str:
        """Changes when audio and faces are made anew from another video; "" without one."""
        return self.stamps.get(clip_id, "")

    def audio(self, clip_id: str) -> NDArray[np.float32]:
        """Mono samples in [-1, 1) at the profile's rate; empty where the clip has no sound."""
        path = self.audio_file(clip_id)
        if not path.is_file():
            return np.empty(0, np.float32)
        samples, _ = soundfile.read(path, dtype="float32")
        return np.asarray(samples, np.float32)

    def audio_file(self, clip_id: str) -> Path:
        """Where the clip's WAV file is, if it has sound."""
        return self._file("audio", clip_id, "wav")

    def faces(self, clip_id: str) -> NDArray[np.uint8]:
        """RGB crops [n, S, S, 3] of the face that stands for the clip; [0, 0, 0, 3] without."""
        return self._crops(clip_id)[0]

    def face_times(self, clip_id: str) -> NDArray[np.float64]:
        """When each crop is shown, in seconds from the first frame: [n]."""
        return self._crops(clip_id)[1]

    def text(self, clip_id: str) -> str:
        """The clean transcript, "" where there is none."""
        return self.texts[clip_id]

    def _crops(self, clip_id: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        path = self._file("faces", clip_id, "npz")
        if not path.is_file():
            return np.empty((0, 0, 0, 3), np.uint8), np.empty(0)
        with np.load(path, allow_pickle=False) as stored:
            return stored["crops"], stored["times"]

    def _file(self, kind: str, clip_id: str, suffix: str) -> Path:
        if clip_id not in self.texts:
            raise KeyError(clip_id)
        return self.folder / kind / f"{clip_id}.{suffix}"
