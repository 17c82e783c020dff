"""What no present setting uses is listed and removed; what cannot be told stays."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from meiju_utils import cleaning
from meiju_utils.cleaning import find_unused, open_folder
from meiju_utils.cli import app
from meiju_utils.config import Profile
from meiju_utils.errors import BusyError, ConfigError, FeatureError, MissingStageError
from meiju_utils.files import write_record, write_text
from meiju_utils.opening import keep_profile
from meiju_utils.run import Run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with artefacts of two settings each, and something damaged."""
    folder = tmp_path / "run"
    keep_profile(folder, Profile(name="mine"))
    write_text(folder / "manifest.parquet", "")
    for kind in ("preprocessed", "features", "experiments", "pseudo_labels"):
        for key in ("used", "unused"):
            write_text(folder / kind / key / "shard", "x" * 1000)
    write_text(folder / "preprocessed" / "current.json", "{}")
    write_text(folder / "features" / "used" / "00000.safetensors.damaged", "x" * 500)

    def made_by(run: Run, notebook: str) -> list[Path]:
        return [path for path in run.folder.glob("*/*") if path.name == "used"]

    monkeypatch.setattr(cleaning, "made_by", made_by)
    monkeypatch.setattr(cleaning, "_require_checkpoints", lambda _: [])
    for key in ("used", "unused"):
        write_record(folder / "features" / key / "meta.json", {"stamp": {}})
    return folder


UNUSED = {
    *("preprocessed/unused", "features/unused", "experiments/unused", "pseudo_labels/unused"),
    "features/used/00000.safetensors.damaged",
}


def test_artefacts_of_other_settings_and_damaged_files_are_listed_then_removed(
    folder: Path,
) -> None:
    found = find_unused(open_folder(folder))
    assert {p.relative_to(folder).as_posix() for p in found.paths} == UNUSED
    assert found.paths[folder / "experiments" / "unused"] == 1000
    assert found.unknown == ()
    listed = CliRunner().invoke(app, ["clean", str(folder)])
    assert all(name in listed.output for name in UNUSED)
    assert "--yes removes them" in listed.output
    assert all((folder / name).exists() for name in UNUSED)
    removed = CliRunner().invoke(app, ["clean", str(folder), "--yes"])
    assert "0.0 MB removed" in removed.output
    assert not any((folder / name).exists() for name in UNUSED)
    assert (folder / "features" / "used" / "shard").is_file()
    assert (folder / "preprocessed" / "current.json").is_file()
    assert find_unused(open_folder(folder)).paths == {}


@pytest.mark.parametrize("error", [MissingStageError, FeatureError])
def test_a_kind_whose_use_cannot_be_told_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def absent(run: Run) -> None:
        raise error("a checkpoint or a stage is not there")

    monkeypatch.setattr(cleaning, "_require_checkpoints", absent)
    found = find_unused(open_folder(folder))
    assert found.unknown == ("features",)
    assert not any(path.name == "unused" and "features" in path.parts for path in found.paths)
    assert "features: left alone" in CliRunner().invoke(app, ["clean", str(folder)]).output


def test_nothing_is_removed_while_a_stage_writes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    def taken(*_: object, **__: object) -> None:
        raise filelock.Timeout("held")

    monkeypatch.setattr(filelock.FileLock, "acquire", taken)
    run = open_folder(folder)
    with pytest.raises(BusyError):
        cleaning.remove(run, list(find_unused(run).paths))
    assert (folder / "features" / "unused").is_dir()


def test_imported_stores_and_what_lies_behind_links_stay(folder: Path, tmp_path: Path) -> None:
    write_record(folder / "features" / "mine" / "meta.json", {"key": "imported"})
    elsewhere = tmp_path / "shared"
    (folder / "experiments").rename(elsewhere)
    (folder / "experiments").symlink_to(elsewhere)
    write_text(tmp_path / "other" / "shard", "x")
    (folder / "preprocessed" / "linked").symlink_to(tmp_path / "other")
    found = find_unused(open_folder(folder))
    assert found.unknown == ("experiments",)
    names = {path.relative_to(folder).as_posix() for path in found.paths}
    assert names == UNUSED - {"experiments/unused"}


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.yaml"):
        open_folder(tmp_path)
