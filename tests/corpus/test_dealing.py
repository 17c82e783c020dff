"""Clips of one's own are dealt into splits: stratified, by groups, the same again."""

from collections import Counter
from pathlib import Path

import pytest

from meiju_utils.config import Split
from meiju_utils.corpus.dealing import deal_splits
from meiju_utils.corpus.opening import DEAL, open_corpus
from meiju_utils.opening import open_run

SHARES = Split(valid=0.2, test=0.2)


def dealt(count: int, groups: list[str] | None = None, **before: str) -> dict[str, str]:
    ids = [f"c{i}" for i in range(count)]
    labels = [["ab"[i % 4 == 0] for i in range(count)]]
    return dict(deal_splits(ids, labels, groups or ids, SHARES, before))  # type: ignore[arg-type]


def test_shares_are_kept_and_labels_are_spread() -> None:
    found = dealt(200)
    assert found == dealt(200)
    assert Counter(found.values()) == pytest.approx({"train": 120, "valid": 40, "test": 40}, abs=3)
    rare = Counter(split for clip, split in found.items() if int(clip[1:]) % 4 == 0)
    assert rare == pytest.approx({"train": 30, "valid": 10, "test": 10}, abs=2)


def test_groups_stay_together() -> None:
    groups = [f"g{i % 12}" for i in range(60)]
    found = dealt(60, groups)
    assert all(len({found[f"c{i}"] for i in range(g, 60, 12)}) == 1 for g in range(12))
    assert set(found.values()) == {"train", "valid", "test"}


@pytest.mark.parametrize(("count", "splits"), [(3, 3), (2, 2), (1, 1)])
def test_few_clips_are_dealt_as_far_as_they_go(count: int, splits: int) -> None:
    assert len(set(dealt(count).values())) == splits


def test_a_corpus_that_grows_keeps_its_splits_and_its_shares() -> None:
    found: dict[str, str] = {}
    for count in range(40, 201, 8):
        now = dealt(count, None, **found)
        assert found.items() <= now.items()
        found = now
    assert Counter(found.values()) == pytest.approx({"train": 120, "valid": 40, "test": 40}, abs=8)
    groups = ["old"] * 40 + ["old"] * 5
    assert {dealt(45, groups, **dict.fromkeys(found, "test"))[f"c{i}"] for i in range(40, 45)} == {
        "test"
    }


def test_the_deal_is_kept_in_the_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()

    def write(count: int) -> None:
        lines = [f"c{i},{'ab'[i % 2]},hello {i}" for i in range(count)]
        (folder / "clips.csv").write_text("\n".join(["clip_id,emotion,text", *lines]))

    def splits(**overrides: int) -> dict[str, str]:
        run = open_run("text-only", str(folder), str(tmp_path / "run"), overrides)
        clips = open_corpus(run).clips
        assert run.path(DEAL).is_file()
        return dict(zip(clips["clip_id"], clips["split"], strict=True))

    write(40)
    first = splits()
    assert first == splits()
    write(60)
    assert first.items() <= splits().items()
    assert not first.items() <= splits(**{"split.seed": 3}).items()  # another deal altogether
