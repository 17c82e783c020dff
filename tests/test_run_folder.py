"""A run folder has one owner and one writer."""

import json
import os
import socket
from pathlib import Path

import pytest

from meiju_utils.errors import BusyError, ConfigError, DamagedError
from meiju_utils.run_folder import HOLDER_NAME, OWNER_NAME, claim, writing


def test_a_folder_belongs_to_the_setting_that_claimed_it_first(tmp_path: Path) -> None:
    (tmp_path / "corrections.csv").touch()  # the user's own may lie there already
    claim(tmp_path, "track1-mandarin")
    claim(tmp_path, "track1-mandarin")
    with pytest.raises(ConfigError, match=r"run of track1-mandarin .*not of track1-english"):
        claim(tmp_path, "track1-english")


@pytest.mark.parametrize(
    "old",
    [
        "preprocessed/current.json",
        "experiments/baseline-1/probabilities.parquet",
        "features/hog-1/meta.json",
    ],
)
def test_a_folder_of_the_old_form_is_refused_in_one_line(tmp_path: Path, old: str) -> None:
    (tmp_path / old).parent.mkdir(parents=True)
    (tmp_path / old).touch()
    with pytest.raises(ConfigError, match="earlier version") as caught:
        claim(tmp_path, "track1-mandarin")
    assert old in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / OWNER_NAME).exists()


def test_a_damaged_owners_record_is_no_owner(tmp_path: Path) -> None:
    claim(tmp_path, "track1-mandarin")
    text = (tmp_path / OWNER_NAME).read_text()
    (tmp_path / OWNER_NAME).write_text(text.replace("mandarin", "english"))
    with pytest.raises(DamagedError, match=r"run\.json is damaged"):
        claim(tmp_path, "track1-english")


def test_a_stage_may_write_within_another_of_its_process_and_tells_who_writes(
    tmp_path: Path,
) -> None:
    holder = tmp_path / HOLDER_NAME
    with writing(tmp_path, "outer"):
        with writing(tmp_path, "inner"):
            assert json.loads(holder.read_text())["what"] == "outer"
        assert holder.is_file()
    assert not holder.exists()


def test_a_holder_that_cannot_be_read_does_not_hide_that_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    def taken(*_: object, **__: object) -> None:
        raise filelock.Timeout("held")

    monkeypatch.setattr(filelock.FileLock, "acquire", taken)
    (tmp_path / HOLDER_NAME).write_text("{")
    with pytest.raises(BusyError, match=r"is being written\. Wait"), writing(tmp_path, "x"):
        pass


def test_who_takes_the_lock_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    left = [
        tmp_path / "experiments" / "baseline-1" / ".partial-a.parquet",
        tmp_path / "features" / ".partial-b" / "shard",
        tmp_path / ".partial-c" / "features.npy",
        tmp_path / "checkpoints" / ".partial-d" / "tiny-bert" / "config.json",
    ]
    others = [
        tmp_path / "notebooks" / ".partial-01_preprocessing.ipynb",  # it is being executed
        tmp_path / ".partial-config.yaml",  # somebody opens the run
        tmp_path / "experiments" / "baseline-1" / "config.json",
    ]

    def leave(*paths: Path) -> None:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for path in tmp_path.rglob(".partial-*"):
            os.utime(path, (0, 0))

    leave(*left, *others)
    with writing(tmp_path, "trainings"):  # nobody was killed: these are somebody's who goes on
        assert all(path.exists() for path in left)
    holder = tmp_path / HOLDER_NAME
    holder.write_text(json.dumps({"machine": "elsewhere"}))  # whose lock this machine cannot see
    with writing(tmp_path, "trainings"):
        assert all(path.exists() for path in left)
    holder.write_text(json.dumps({"machine": socket.gethostname(), "process": 1}))
    left[0].touch()  # only seconds old
    with writing(tmp_path, "trainings"):
        assert [path for path in left if path.exists()] == left[:1]
    assert all(path.exists() for path in others)
