"""Nothing but a clip's content tells its labels: not its id, place, size, duration or metadata."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kruskal
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from meiju_utils.corpus.demo.plan import PlannedClip, plan_corpus

PERMUTATIONS = 20


def outside(clips: list[PlannedClip]) -> NDArray[np.float64]:
    """What can be known of clips without their content: [N, 11]."""
    rows = []
    for place, clip in enumerate(clips):
        spec = clip.spec
        digits = "".join(character for character in clip.clip_id if character.isdigit())
        name = [int(digits), len(clip.clip_id), ord(clip.clip_id[0])]
        form = [spec.file_size, spec.frames, spec.file_size / spec.frames, *spec.size]
        rows.append([place, *name, *form, spec.audio_rate, len(spec.audio_layout)])
    return np.array(rows, dtype=float)


def least_p_value(features: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    """Kruskal-Wallis: does any feature differ between classes? Corrected for their number."""
    classes = [label for label in np.unique(labels) if np.sum(labels == label) > 1]
    values = [
        kruskal(*(column[labels == label] for label in classes)).pvalue
        for column in features.T
        if np.ptp(column)
    ]
    return float(min(values) * len(values))


def predictability(features: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    """Weighted F1 of a decision tree over all features, cross-validated."""
    tree = DecisionTreeClassifier(min_samples_leaf=8, random_state=0)
    answers = cross_val_predict(tree, features, labels, cv=4)
    return float(f1_score(labels, answers, average="weighted"))


@pytest.fixture(scope="module")
def plan() -> list[PlannedClip]:
    return plan_corpus(Path("corpus"), "demo", 0)


def shuffled_within_splits(clips: list[PlannedClip], task: int, seed: int) -> NDArray[np.str_]:
    """Labels dealt anew to the clips of each split; every split keeps its own labels."""
    labels = np.array([clip.truth[task] for clip in clips])
    splits = np.array([clip.split for clip in clips])
    rng = np.random.default_rng(seed)
    for split in np.unique(splits):
        labels[splits == split] = rng.permutation(labels[splits == split])
    return labels


@pytest.mark.parametrize("task", [0, 1], ids=["emotion", "intent"])
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "pool"])
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_the_outside_of_clips_predicts_their_labels_no_better_than_chance(
    plan: list[PlannedClip], task: int, labelled: bool
) -> None:
    clips = [clip for clip in plan if (clip.split != "unlabeled") == labelled]
    features, labels = outside(clips), np.array([clip.truth[task] for clip in clips])
    assert least_p_value(features, labels) > 0.01
    chance = [
        predictability(features, shuffled_within_splits(clips, task, seed))
        for seed in range(PERMUTATIONS)
    ]
    # Tolerance: the spread of shuffled labels, two standard deviations above their mean.
    assert predictability(features, labels) < np.mean(chance) + 2 * np.std(chance)


def test_the_check_would_notice_sizes_that_follow_one_emotion(plan: list[PlannedClip]) -> None:
    clips = [clip for clip in plan if clip.split != "unlabeled"]
    features, labels = outside(clips), np.array([clip.truth[0] for clip in clips])
    features[:, 4] += 2000 * (labels == "sad")  # two kilobytes more where the voice is quiet
    assert least_p_value(features, labels) < 0.01


def test_clips_on_disk_have_the_planned_outside_and_no_metadata(tiny_corpus: Path) -> None:
    metadata, modified = set(), set()
    for clip in plan_corpus(tiny_corpus, "tiny", 0):
        spec = clip.spec
        status = spec.path.stat()
        modified.add(status.st_mtime)
        assert status.st_size == spec.file_size
        with av.open(str(spec.path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.width, video.height) == spec.size
            assert video.frames == spec.frames
            assert float(video.duration * video.time_base) == pytest.approx(spec.frames / 25)
            assert audio.rate == spec.audio_rate
            assert audio.layout.name == spec.audio_layout
            metadata.add(str([container.metadata, video.metadata, audio.metadata]))
    assert len(metadata) == 1
    assert "creation_time" not in metadata.pop()
    assert len(modified) == 1
