"""What a clip looks and sounds like: frames, the speaker's face, wave and spectrogram.

Imports `reporting.palette`, `reporting.plots.base` only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meiju_utils.reporting.palette import INK
from meiju_utils.reporting.plots.base import (
    Plot,
    images_only,
    label_colorbar,
    message,
    panel_title,
    subplots,
)

Image = NDArray[np.uint8]  # [H, W, 3] RGB or [H, W] grey
_IN_A_ROW = 6


def frame_strip(images: Sequence[Image], titles: Sequence[str]) -> Plot:
    """Images side by side, six a row, a title above each."""
    if len(images) == 0:
        return message("No frames to show.")
    columns = min(len(images), _IN_A_ROW)
    rows = -(-len(images) // columns)
    height, width = images[0].shape[:2]
    cell = 10.5 / _IN_A_ROW
    figure, axes = subplots(rows, columns, cell * columns, rows * (cell * height / width + 0.35))
    images_only(axes)
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray" if image.ndim == 2 else None)
        ax.set_title(title, fontsize=8, fontweight="normal")
    return figure


def face_crops(crops: Mapping[str, Image], most: int = 8) -> Plot:
    """One row a clip: up to `most` of its crops `[n, S, S, 3]`, evenly spread over time."""
    shown = {clip_id: faces for clip_id, faces in crops.items() if len(faces)}
    if not shown:
        return message("No face crops to show.")
    columns = min(most, max(len(faces) for faces in shown.values()))
    size = 0.95
    figure, axes = subplots(len(shown), columns, columns * size + 2.0, len(shown) * size + 0.4)
    images_only(axes)
    for row, (clip_id, faces) in zip(axes, shown.items(), strict=True):
        chosen = np.unique(np.linspace(0, len(faces) - 1, columns).round().astype(int))
        for ax, index in zip(row, chosen, strict=False):
            ax.imshow(faces[index])
        for ax in row[len(chosen) :]:
            ax.set_visible(False)
        row[0].set_ylabel(clip_id, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle("Face crops over time, left to right", fontsize=10.5, color=INK)
    return figure


def waveform_and_mel(samples: NDArray[np.float32], rate: int, title: str = "") -> Plot:
    """Wave and log-mel spectrogram of a mono signal [samples] in -1..1; `rate` in Hz."""
    if len(samples) == 0:
        return message(f"{title}: no audio." if title else "No audio to show.")
    import librosa  # 1 s to import, wanted by this plot alone

    window, hop, bands = rate // 40, rate // 100, 64  # 25 ms every 10 ms, as speech is framed
    power = librosa.feature.melspectrogram(
        y=np.asarray(samples, dtype=np.float32),
        sr=rate,
        n_fft=2 * window,
        win_length=window,
        hop_length=hop,
        n_mels=bands,
    )
    # 1e-10 keeps digital silence from being scaled up to full brightness.
    decibels = librosa.power_to_db(power, ref=max(float(power.max()), 1e-10), top_db=70)
    seconds = len(samples) / rate
    figure, axes = subplots(
        2, 1, width=9, height=3.9, sharex=True, gridspec_kw={"height_ratios": [1, 1.7]}
    )
    wave, mel = axes[:, 0]
    wave.plot(np.arange(len(samples)) / rate, samples, color="#1F4E79", linewidth=0.5)
    wave.set_ylim(-1, 1)
    wave.set_ylabel("Amplitude")
    panel_title(wave, title or "Wave and mel spectrogram")
    image = mel.imshow(
        decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, bands)
    )
    _frequency_axis(mel, librosa.mel_frequencies(n_mels=bands + 2, fmax=rate / 2)[1:-1])
    mel.set_xlabel("Time (s)")
    mel.set_xlim(0, seconds)
    label_colorbar(figure.colorbar(image, ax=mel, pad=0.01), "Level (dB, peak = 0)")
    return figure


def _frequency_axis(ax: Any, centres: NDArray[np.float64]) -> None:
    """Round frequencies on the axis of mel bands with the given centres (Hz)."""
    marks = [hertz for hertz in (250, 500, 1000, 2000, 4000, 8000) if hertz <= centres[-1]]
    places = np.interp(marks, centres, np.arange(len(centres)) + 0.5)
    ax.set_yticks(places, [f"{hertz / 1000:g}" for hertz in marks])
    ax.set_ylabel("Frequency (kHz)")
    ax.grid(visible=False)
