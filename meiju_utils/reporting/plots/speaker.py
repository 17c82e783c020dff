"""Who speaks: the faces of a clip, how well each follows the voice, and which was chosen.

Imports `reporting.plots.base` only, and of `preprocessing` the types.
"""

from typing import TYPE_CHECKING

import numpy as np

from meiju_utils.reporting.plots.base import Plot, message, panel_title, subplots

if TYPE_CHECKING:  # they bring decoders and detectors, which no other plot needs
    from meiju_utils.preprocessing import ClipFaces, Media

_TRACK_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
_SHOWN = 5  # frames


def speaker_tracks(media: "Media", faces: "ClipFaces", title: str = "") -> Plot:
    """Frames with each face's box (the chosen one thick), above the scores over time and the sound.

    Dotted: where a face is taken to be while it is turned away.

    `media` and `faces` as `preprocessing.inspect_clip` gives them, with tracking frames.
    """
    if not faces.tracks or not len(media.tracking):
        return message(f"{title}: no face to follow ({faces.reason}).")
    from meiju_utils.media.frames import TRACKING_RATE

    figure, axes = subplots(2, _SHOWN, width=10.5, height=3.9)
    grid = axes[1, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    chosen = {index for index in faces.chosen if index >= 0}
    for ax, frame in zip(axes[0], _spread(len(media.tracking)), strict=True):
        ax.imshow(media.tracking[frame], cmap="gray", vmin=0, vmax=255)
        for index, track in enumerate(faces.tracks):
            if track.start <= frame < track.stop:
                away = not track.shows(frame)
                left, top, right, bottom = track.boxes[frame - track.start]
                ax.plot(
                    [left, right, right, left, left],
                    [top, top, bottom, bottom, top],
                    color=_color(index),
                    linewidth=3 if index in chosen and not away else 1.2,
                    linestyle=":" if away else "-",
                )
        ax.set_axis_off()
        ax.set_title(f"{frame / TRACKING_RATE:.1f} s", fontsize=8, fontweight="normal")
    ax = figure.add_subplot(grid[1, :])
    ax.spines[["top", "right"]].set_visible(False)
    window = media.sample_rate // TRACKING_RATE
    steps = len(media.audio) // window
    loudness = np.sqrt((media.audio[: steps * window].reshape(steps, window) ** 2).mean(axis=1))
    if loudness.any():
        scale = max((float(np.max(s)) for s in faces.scores if s is not None), default=1.0)
        height = max(scale, 0.5) * loudness / loudness.max()
        seconds = np.arange(steps) / TRACKING_RATE
        ax.fill_between(seconds, 0, height, color="#DDDDDD", linewidth=0, label="loudness (scaled)")
    for index, (track, scores) in enumerate(zip(faces.tracks, faces.scores, strict=True)):
        if scores is not None:
            label = f"face {index + 1}" + (", chosen" if index in chosen else "")
            seconds = (track.start + np.arange(len(scores))) / TRACKING_RATE
            width = 2.4 if index in chosen else 1.2
            shown = [track.shows(track.start + i) for i in range(len(scores))]
            seen = np.where(shown, scores, np.nan)
            ax.plot(seconds, seen, color=_color(index), linewidth=width, label=label)
            if not all(shown):
                ax.plot(seconds, scores, color=_color(index), linewidth=1, linestyle=":")
    ax.axhline(0, color="#888888", linewidth=0.8)
    ax.set_xlabel("Time (s)")
    ax.set_ylabel("Speaking score")
    ax.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panel_title(ax, f"{title}: {faces.choice}, {faces.reason}".lstrip(": "))
    return figure


def _spread(frames: int) -> list[int]:
    return [round(i) for i in np.linspace(0, frames - 1, _SHOWN)]


def _color(index: int) -> str:
    return _TRACK_COLORS[index % len(_TRACK_COLORS)]
