"""What a clip holds: its sound, its sampled frames, the pictures in which faces are followed.

A video is opened and decoded once, in this process and thread, without temporary files, for all
the clips that are parts of it; memory is bounded by `MAX_SECONDS` of each part that is open at
once. Imports its neighbours.

| the clip                             | outcome                                                 |
|--------------------------------------|---------------------------------------------------------|
| sound and picture                    | all fields filled; time 0 is the first video frame      |
| no sound, or no sample decodes       | `audio` empty, flag `no-audio`                          |
| no picture, or no frame decodes      | `frames`, `tracking` empty, flag `no-video`             |
| neither                              | MediaError                                              |
| empty or missing file, no media file | MediaError                                              |
| a list of other files or addresses   | MediaError; nothing else is opened                      |
| index missing (cut MP4, moov at end) | MediaError                                              |
| cut short, index present             | what decodes is kept, flag `truncated`                  |
| damaged inside                       | what decodes is kept, flag `corrupt` with the count     |
| several video streams                | the one a player shows: no cover, poster or preview     |
| variable frame rate                  | `frames` by count; `tracking` by time, 25 a second      |
| times missing, going back, jumping   | the nominal duration is used, flag `timestamps`         |
| times of decoding order (AVI)        | put into the order of showing, flag `timestamps`        |
| rotated or mirrored by its metadata  | turned as a player shows it                             |
| pixels not square                    | width scaled as a player shows it                       |
| odd width or height                  | kept as it is                                           |
| size changes inside                  | scaled to the size of the first frame                   |
| more than `MAX_PIXELS`               | `frames` scaled down, flag `too-large`                  |
| mono, stereo, 5.1; 8-96 kHz          | mixed and resampled by libswresample, as ffmpeg does    |
| sound starts later than the picture  | silence before it; over 0.25 s: flag `audio-late`       |
| sound starts up to 0.25 s earlier    | its beginning is dropped: the codec's priming           |
| sound starts earlier still           | kept, and is time 0; the first frame stands for the     |
|                                      | pictures before it; flag `video-late`                   |
| sound missing inside, over 0.1 s     | silence, flag `audio-gap`                               |
| pictures missing inside, over 0.25 s | the last one stays, flag `video-gap`                    |
| sound ends up to 0.25 s after it     | trimmed: the codec's padding, see `MAX_PADDING_S`       |
| sound ends later still               | kept, flag `audio-overrun`                              |
| longer than `MAX_SECONDS`            | the beginning is kept, flag `too-long`                  |
| all of one stream before the other   | read twice, side by side                                |
| part that goes beyond the end        | what is there is kept, flag `outside`                   |
| part beyond the end                  | MediaError, for this part                               |
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from meiju_utils.errors import MediaError
from meiju_utils.media.decoding import DecodingPass
from meiju_utils.media.parts import Flag, Media, Part, part_of
from meiju_utils.media.streams import open_source
from meiju_utils.media.times import DecodingOrderTimes

__all__ = ["Flag", "Media", "Part", "part_of", "read_media", "read_parts"]


def read_media(
    path: Path,
    sample_rate: int = 16000,
    frame_stride: int = 30,
    tracking_side: int = 800,
    part: Part = Part(),  # noqa: B008
) -> Media:
    """Decode a clip once. `tracking_side`: longest side of the tracking frames; 0: leave them out.

    Raises MediaError where nothing can be used; the table above says what else becomes of a clip.
    """
    ((_, media),) = read_parts(path, [part], sample_rate, frame_stride, tracking_side)
    if isinstance(media, MediaError):
        raise media
    return media


def read_parts(
    path: Path,
    parts: Sequence[Part],
    sample_rate: int = 16000,
    frame_stride: int = 30,
    tracking_side: int = 800,
) -> Iterator[tuple[int, Media | MediaError]]:
    """Decode a video once and give each of `parts`, by its index there, as soon as it is complete.

    Parts may overlap. Time 0 of a part is its start; its samples are those of the whole video from
    there on, its tracking frames show the moments from there on, 25 a second, and the frame on
    screen at its start is the first it counts. A part of which nothing is there is a MediaError
    instead; one that concerns the file is raised.
    """
    settings = (sample_rate, frame_stride, tracking_side)
    done = set()
    for by_packet in (False, True):
        missing = [(index, part) for index, part in enumerate(parts) if index not in done]
        with open_source(path) as source:
            try:
                for index, media in DecodingPass(source, missing, *settings, by_packet).run():
                    done.add(index)
                    yield index, media
                return
            except DecodingOrderTimes:
                pass  # once more, with the times of the packets
