"""Verdicts on what a corpus lacks altogether."""

import pytest

from meiju_utils.challenge import Split
from meiju_utils.corpus.verdict import SplitCount, missing_modalities

TEXT = "set embeddings.text=null, or preprocessing.transcripts.asr to a speech recogniser."
AUDIO = "set embeddings.audio=null."


def count(split: Split, subtitles: int, found: int = 3) -> SplitCount:
    return SplitCount(split, found, None, found, found, subtitles, found)


@pytest.mark.parametrize(
    ("subtitles", "sounding", "expected"),
    [
        ((3, 2, 1), {"train": 3, "valid": 1, "test": 1}, []),
        ((0, 0, 0), {"train": 3}, [f"No clip has a subtitle: {TEXT}"]),
        ((3, 3, 0), {}, [f"No test clip has a subtitle: {TEXT}"]),
        (
            (3, 0, 0),
            {"train": 0},
            [f"No valid or test clip has a subtitle: {TEXT}", f"No train clip has sound: {AUDIO}"],
        ),
        ((1, 1, 1), {"train": 0, "valid": 0, "test": 0}, [f"No clip has sound: {AUDIO}"]),
    ],
)
def test_a_modality_that_no_clip_has_names_the_setting_to_change(
    subtitles: tuple[int, int, int], sounding: dict[Split, int], expected: list[str]
) -> None:
    splits: tuple[Split, ...] = ("train", "valid", "test")
    counts = [count(split, number) for split, number in zip(splits, subtitles, strict=True)]
    pool = SplitCount("unlabeled", 0, None, 0, 0, 0, 0)
    assert missing_modalities([*counts, pool], sounding) == expected
