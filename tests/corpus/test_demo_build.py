"""Building the synthetic corpus: the same every time, resumable, careful with what is there."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meiju_utils.challenge import SETTINGS, SPLITS
from meiju_utils.config import Parallel
from meiju_utils.corpus.demo import (
    build,
    build_demo_corpus,
    plan,
    read_true_labels,
    read_true_texts,
    truth_folder,
)
from meiju_utils.corpus.demo.clips import ClipSpec, make_clip
from meiju_utils.corpus.official import read_corpus
from meiju_utils.errors import CorpusError

SERIAL = Parallel(backend="serial")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of seven clips under the name `tiny`."""
    monkeypatch.setitem(plan.SIZES, "tiny", (3, 1, 1, 2))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a corpus and its truth."""
    return {
        f"{name}/{path.relative_to(root)}": path.read_bytes()
        for name, root in (("corpus", folder), ("truth", truth_folder(folder)))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def failing(function: Callable[[ClipSpec], None], after: int) -> Callable[[ClipSpec], None]:
    """`function`, until it is interrupted at call number `after` + 1."""
    calls = 0

    def call(spec: ClipSpec) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise RuntimeError("interrupted")
        function(spec)

    return call


def make_empty(spec: ClipSpec) -> None:
    """Stands in for `make_clip` where the clips' content does not matter."""
    spec.path.parent.mkdir(parents=True, exist_ok=True)
    spec.path.touch()


def never(*_: Any) -> None:
    raise AssertionError("a clip was made again")


@pytest.mark.usefixtures("small")
def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    first = build_demo_corpus(tmp_path / "a", "tiny", 3, SERIAL)
    build_demo_corpus(tmp_path / "b", "tiny", 3, Parallel(workers=2))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert first.counts == {"train": 3, "valid": 1, "test": 1, "unlabeled": 2}


def test_another_seed_gives_other_clips(tmp_path: Path) -> None:
    clips = []
    for seed in (0, 1):
        clip = plan.plan_corpus(tmp_path / str(seed), "tiny", seed)[0]
        make_clip(clip.spec)
        clips.append((clip.text, clip.spec.path.read_bytes()))
    assert clips[0][0] != clips[1][0]
    assert clips[0][1] != clips[1][1]


@pytest.mark.usefixtures("small")
def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_demo_corpus(tmp_path / "whole", "tiny", 3, SERIAL)
    with monkeypatch.context() as patch:
        patch.setattr(build, "make_clip", failing(make_clip, after=4))
        with pytest.raises(RuntimeError, match="interrupted"):
            build_demo_corpus(tmp_path / "parts", "tiny", 3, SERIAL)
    made = {path: path.stat().st_ino for path in (tmp_path / "parts").rglob("*.mp4")}
    assert len(made) == 4
    partial = next(iter(made)).with_name(".partial-killed.mp4")
    partial.write_bytes(b"half a clip")
    build_demo_corpus(tmp_path / "parts", "tiny", 3, SERIAL)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert made == {path: path.stat().st_ino for path in made}


@pytest.mark.usefixtures("small")
def test_a_finished_corpus_is_returned_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "make_clip", make_empty)
    built = build_demo_corpus(tmp_path / "corpus", "tiny", 0, SERIAL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(build, "make_clip", never)
    assert build_demo_corpus(tmp_path / "corpus", "tiny", 0, SERIAL) == built
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("asked", [("tiny", 1), ("demo", 0)])
def test_a_corpus_of_another_size_or_seed_is_refused_and_kept(
    tmp_path: Path, asked: tuple[plan.Size, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "make_clip", make_empty)
    build_demo_corpus(tmp_path / "corpus", "tiny", 0, SERIAL)
    before = contents(tmp_path / "corpus")
    with pytest.raises(CorpusError, match="size tiny, seed 0"):
        build_demo_corpus(tmp_path / "corpus", *asked, SERIAL)
    assert contents(tmp_path / "corpus") == before


@pytest.mark.parametrize("place", ["corpus", "corpus-truth"])
def test_a_folder_with_something_else_in_it_is_refused_and_kept(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir()
    (tmp_path / place / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match="not empty"):
        build_demo_corpus(tmp_path / "corpus", "tiny", 0, SERIAL)
    assert [path.name for path in tmp_path.rglob("*")] == [place, "thesis.txt"]


def test_an_unknown_size_names_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="medium"):
        build_demo_corpus(tmp_path / "corpus", "medum", 0, SERIAL)  # type: ignore[arg-type]


def test_truth_lies_outside_the_corpus_and_covers_every_listed_clip(tiny_corpus: Path) -> None:
    truth = read_true_labels(tiny_corpus)
    assert truth is not None
    sizes = dict(zip(SPLITS, plan.SIZES["tiny"], strict=True))
    assert Counter(truth["split"]) == sizes
    assert truth["clip_id"].is_unique
    assert truth_folder(tiny_corpus) == tiny_corpus.parent / "tiny-truth"
    assert not list(tiny_corpus.rglob("labels.csv"))


def test_what_is_said_is_known_where_the_subtitle_is_damaged(tiny_corpus: Path) -> None:
    said = read_true_texts(tiny_corpus)
    clips = read_corpus(tiny_corpus, SETTINGS[1, "mandarin"]).clips
    given = dict(zip(clips["clip_id"], clips["text"], strict=True))
    damaged = [clip_id for clip_id, text in said.items() if given[clip_id] != text]
    assert all(text for text in said.values())
    assert 0 < len(damaged) < len(said) / 2


def test_other_folders_have_no_truth(tmp_path: Path) -> None:
    assert read_true_labels(tmp_path) is None
    assert read_true_texts(tmp_path) == {}
