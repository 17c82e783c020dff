"""One walk over a data folder: what it sees, for how long it is believed, how it is handed over."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meiju_utils.challenge import SETTINGS
from meiju_utils.corpus import listing
from meiju_utils.corpus.listing import HANDED_OVER, hand_over, list_folder, read_listing
from meiju_utils.corpus.official import read_corpus
from meiju_utils.errors import CorpusError

MANDARIN = SETTINGS[1, "mandarin"]


class Clock:
    """Time stands still but for walks, which take a minute each; counts the folders looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scanned: list[str] = []

    def scandir(self, path: Path) -> Any:
        self.scanned.append(str(path))
        self.now += 60 / 100
        return os_scandir(path)


os_scandir = os.scandir


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(listing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(os, "scandir", clock.scandir)
    monkeypatch.setattr(listing, "_seen", {})
    return clock


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_and_folders_are_listed_with_size_and_time(tmp_path: Path) -> None:
    write(tmp_path / "b" / "第1集 {x}#%$.mp4", b"four")
    write(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    found = list_folder(tmp_path, fresh=True)
    assert found.folders == {"": ["a.txt", "b", "empty"], "b": ["第1集 {x}#%$.mp4"], "empty": []}
    assert found.files["b/第1集 {x}#%$.mp4"][0] == 4
    assert found.files["a.txt"][1] == (tmp_path / "a.txt").stat().st_mtime_ns
    assert found.names("nowhere") == []


def test_what_is_hidden_half_written_or_no_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / ".hidden" / "a.mp4")
    write(tmp_path / "._a.mp4")
    write(tmp_path / ".partial-x.mp4")
    (tmp_path / "to nothing.mp4").symlink_to(tmp_path / "nothing.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = list_folder(tmp_path, fresh=True)
    assert (found.files, found.folders) == ({}, {"": []})


def test_a_name_that_is_no_text_is_told_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    found = list_folder(tmp_path, fresh=True)
    assert found.unreadable == {"'caf\\udce9.mp4'": "its name is not in UTF-8"}
    assert found.names("") == []


def test_links_inside_are_followed_and_those_that_lead_out_only_on_demand(tmp_path: Path) -> None:
    write(tmp_path / "away" / "a.mp4", b"three")
    write(tmp_path / "data" / "clips" / "b.mp4")
    (tmp_path / "data" / "inside").symlink_to(tmp_path / "data" / "clips")
    (tmp_path / "data" / "outside").symlink_to(tmp_path / "away")
    (tmp_path / "data" / "clips" / "c.mp4").symlink_to(tmp_path / "away" / "a.mp4")
    kept = list_folder(tmp_path / "data", fresh=True)
    assert sorted(kept.files) == ["clips/b.mp4", "inside/b.mp4"]
    assert kept.outside == {"": ["outside"], "clips": ["c.mp4"], "inside": ["c.mp4"]}
    followed = list_folder(tmp_path / "data", follow_links=True, fresh=True)
    assert {"outside/a.mp4", "clips/c.mp4", "inside/c.mp4"} < set(followed.files)
    assert followed.files["outside/a.mp4"][0] == 5
    assert followed.outside == {}


def test_links_that_run_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a" / "x.mp4")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data" / "self")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "back").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "out").symlink_to(tmp_path / "away")
    for follow_links in (False, True):
        found = list_folder(tmp_path / "data", follow_links, fresh=True)
        assert list(found.files) == ["a/x.mp4"]


def test_what_goes_during_the_walk_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = write(tmp_path / "b" / "gone.mp4")
    write(tmp_path / "a" / "stays.mp4")

    def scandir(path: Path) -> Any:
        if Path(path) == tmp_path:
            return os_scandir(path)
        gone.unlink(missing_ok=True)
        if gone.parent.is_dir():
            gone.parent.rmdir()
        return os_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list_folder(tmp_path, fresh=True)
    assert list(found.files) == ["a/stays.mp4"]
    assert "b" not in found.folders


def test_a_folder_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_release: Any
) -> None:
    release = write_release(tmp_path, MANDARIN)
    closed = release.folder / "Annotation" / "Training"

    def scandir(path: Path) -> Any:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return os_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CorpusError, match="Annotation/Training: Permission denied"):
        read_corpus(tmp_path, MANDARIN)


def test_a_walk_is_believed_for_twenty_times_as_long_as_it_took(
    tmp_path: Path, clock: Clock
) -> None:
    for number in range(99):
        (tmp_path / f"{number}").mkdir()
    first = list_folder(tmp_path)
    assert clock.now == pytest.approx(60)
    write(tmp_path / "new.mp4")
    clock.now = 60 + 19 * 60
    assert list_folder(tmp_path) == first
    clock.now = 60 + 21 * 60
    assert "new.mp4" in list_folder(tmp_path).files
    write(tmp_path / "newer.mp4")
    assert "newer.mp4" not in list_folder(tmp_path).files
    assert "newer.mp4" in list_folder(tmp_path, follow_links=True).files
    assert "newer.mp4" in list_folder(tmp_path, fresh=True).files


def test_a_folder_seen_under_one_path_is_told_under_the_one_given(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "link", Path("data"), tmp_path / "data"):
        assert list_folder(root).root == root
    assert len(clock.scanned) == 1


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Path]:
    """A file in which another process says what it saw in `tmp_path/data` before b.mp4 came."""
    write(tmp_path / "data" / "clips" / "a.mp4", b"four")
    path = tmp_path / "run" / "listing.json"
    seen = list_folder(tmp_path / "data", fresh=True)
    for name, value in hand_over(seen, False, path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(listing, "_seen", {})
    write(tmp_path / "data" / "clips" / "b.mp4")
    clock.scanned.clear()
    yield path
    listing._read_once.cache_clear()


def test_another_process_believes_what_it_was_handed(
    tmp_path: Path, handed: Path, clock: Clock
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for root in (tmp_path / "data", tmp_path / "link"):
        found = list_folder(root)
        assert found.files["clips/a.mp4"][0] == 4
        assert set(found.folders) == {"", "clips"}
        assert "clips/b.mp4" not in found.files
        assert found.root == root
    assert clock.scanned == []


@pytest.mark.parametrize("why", ["damaged", "gone", "other folder", "other links", "fresh"])
def test_what_was_handed_over_is_not_believed_where_it_does_not_fit(
    tmp_path: Path, handed: Path, why: str
) -> None:
    folder = tmp_path / "data"
    if why == "damaged":
        handed.write_text(handed.read_text().replace("a.mp4", "c.mp4"))
        assert read_listing(handed, False) is None
    elif why == "gone":
        handed.unlink()
    elif why == "other folder":
        folder = folder / "clips"
    found = list_folder(folder, follow_links=why == "other links", fresh=why == "fresh")
    assert any(name.endswith("b.mp4") for name in found.files)


def test_without_a_listing_in_the_environment_the_folder_is_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HANDED_OVER, raising=False)
    with pytest.raises(FileNotFoundError):
        list_folder(tmp_path / "nowhere")


def test_links_out_of_a_folder_are_one_fault_and_are_read_where_allowed(
    tmp_path: Path, write_release: Any
) -> None:
    release = write_release(tmp_path / "data", MANDARIN)
    (tmp_path / "films").mkdir()
    for path in sorted((release.folder / "Annotation").glob("Training/*.mp4")):
        path.rename(tmp_path / "films" / path.name)
        path.symlink_to(tmp_path / "films" / path.name)
    with pytest.raises(CorpusError) as caught:
        read_corpus(release.data_dir, MANDARIN)
    assert "1 fault(s)" in str(caught.value)
    assert "Training/Track1_Training_00001.mp4 and 8 more beside it link to" in str(caught.value)
    assert "follow_links: true" in str(caught.value)
    clips = read_corpus(release.data_dir, MANDARIN, follow_links=True).clips
    assert (clips["video"] != "").all()
