"""Bits flip, files are cut short or vanish: nothing damaged is used, and the next run mends it."""

import errno
import math
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from meiju_utils.cli import app
from meiju_utils.embeddings.shards import OpenShard
from meiju_utils.errors import DamagedError, MeijuError
from meiju_utils.files import DAMAGED, write_table
from meiju_utils.integrity import intact
from meiju_utils.opening import keep_profile
from meiju_utils.recipes import train_recipes
from meiju_utils.run import Run
from meiju_utils.run_folder import writing
from meiju_utils.verifying import checks_of, mend, verify
from tests.conftest import Record
from tests.faults.conftest import FULL
from tests.faults.stages import bits, make

FLIPS = 2000 if FULL else 240
Harm = Callable[[bytes, np.random.Generator], bytes]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit, anywhere."""
    changed = bytearray(content)
    changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


HARMS: dict[str, Harm] = {"flipped": flipped, "cut": cut}
# What stages read, one of each kind of file: a pattern within the run folder.
KINDS = (
    *("clips.parquet", "manifest.parquet", "transcripts.parquet", "results.json", "run.json"),
    *("config.yaml", "submission.csv", "preprocessed/current.json", "preprocessed/*/store.json"),
    *("preprocessed/*/[0-9]*.parquet", "preprocessed/*/[0-9]*.safetensors"),
    *("features/*/[0-9]*.safetensors", "features/*/meta.json", "features/*/index.json"),
    *("features/*/encoder.safetensors", "checkpoints/*/model.safetensors", "partitions/*.parquet"),
    *("experiments/*/config.json", "experiments/*/predictions.parquet"),
    *("experiments/*/answers.parquet", "experiments/*/scores.parquet"),
    *("experiments/*/decisions.json", "experiments/*/combination.json"),
    *("experiments/*/history.parquet", "experiments/*/of_folds.parquet"),
    *("experiments/*/seed-*.safetensors", "experiments/*/fold-*.safetensors"),
    *("pseudo_labels/*/*.parquet", "pseudo_labels/*/config.json"),
    "experiments/*/pool_targets.parquet",  # which nothing reads once the training is done
)
CASES = [(kind, harm) for kind in KINDS[:-1] for harm in (*HARMS, "gone")][:: 1 if FULL else 7]
# Of these a run says what to do, as whose a folder is cannot be told without it.
REFUSED = ("run.json",)


def test_every_kind_of_file_that_a_run_holds_is_among_those_damaged_here(
    finished: tuple[Run, Any],
) -> None:
    folder = finished[0].folder
    named = {path for kind in KINDS for path in folder.glob(kind)}
    assert all(any(folder.glob(kind)) for kind in KINDS)
    read = {path for path, check in checks_of(folder) if check is not None}
    left = {p for p in read - named if p.parent.parent.name != "checkpoints"}
    # tables that nothing reads but notebooks that show them
    assert {path.relative_to(folder).as_posix() for path in left} <= {
        *("problems.parquet", "copies.parquet", "encoders.parquet"),
        *("transcript_changes.parquet", "transcript_suggestions.parquet"),
    }


@pytest.mark.parametrize("harm", HARMS)
def test_no_damage_anywhere_passes_for_what_was_written(
    copied: Run, record: Record, harm: str
) -> None:
    rng = np.random.default_rng(20)
    checks = {path: check for path, check in checks_of(copied.folder) if check is not None}
    by_kind = [list(copied.folder.glob(kind)) for kind in KINDS]
    each = math.ceil(FLIPS / len(KINDS))
    noticed = harmless = 0
    for paths in by_kind:
        for path in rng.choice(np.array(paths, dtype=object), each):
            check_by = path if path in checks else _checked_with(path)
            whole = path.read_bytes()
            changed = HARMS[harm](whole, rng)
            path.write_bytes(changed)
            try:
                checks[check_by](check_by)
            except MeijuError:
                noticed += 1
            else:
                assert _means_the_same(path, whole, changed), f"{path} passes, {harm}"
                harmless += 1
            finally:
                path.write_bytes(whole)
    assert noticed + harmless >= FLIPS
    assert harmless < 0.02 * FLIPS  # blanks that pad a header
    record("damage", f"a file {harm}", "noticed when it is read", "nothing", noticed)
    told = "read as written: only a blank of its header or its end changed"
    record("damage", f"a file {harm}", told, "nothing", harmless)


def _checked_with(path: Path) -> Path:
    """Media are read with their rows, a checkpoint's files with its marker."""
    if path.parent.parent.name == "checkpoints":
        return path.with_name(".made-from.json")
    return path.with_suffix(".parquet")


def _means_the_same(path: Path, whole: bytes, changed: bytes) -> bool:
    """Whether only a blank is another or gone: one that pads the header of a file of arrays, or the
    line's end after a record."""
    if path.suffix == ".json":
        return whole.rstrip() == changed.rstrip()
    if len(whole) != len(changed):
        return False
    place = next(i for i, (a, b) in enumerate(zip(whole, changed, strict=True)) if a != b)
    return path.suffix == ".safetensors" and whole[place : place + 1] in (b" ", b"\n")


@pytest.mark.parametrize(("kind", "harm"), CASES)
def test_what_is_damaged_is_made_again_to_the_same_bits(
    copied: Run,
    finished: tuple[Run, dict[str, Any]],
    tiny_corpus: Path,
    kind: str,
    harm: str,
    record: Record,
) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    path = sorted(copied.folder.glob(kind))[0]
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(HARMS[harm](path.read_bytes(), rng))
    if kind in REFUSED and harm != "gone":
        with pytest.raises(DamagedError, match=r"delete run\.json"):
            _opened_again(copied, tiny_corpus)
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _make_until_done(_opened_again(copied, tiny_corpus))
        run = _opened_again(copied, tiny_corpus)
        happens = "made again by the next run"
        if verify(run.folder).damaged:  # nothing has read it since
            happens = "read by nobody; set aside by `meiju verify --mend`, then made again"
            mend(run.folder)
            make(run)
    after, before = bits(run), dict(finished[1])
    if harm == "gone":  # of what is behind an ensemble that is done, what is gone is not missed
        for found in (after, before):
            found.pop(path.relative_to(copied.folder).as_posix(), None)
    assert after == before
    assert not verify(run.folder).damaged
    record("damage", f"{kind} {harm}", happens, "nothing", 1)


def _opened_again(run: Run, data: Path) -> Run:
    from tests.faults.stages import small_run

    return small_run(data, run.folder)


def _make_until_done(run: Run) -> None:
    """All stages; one that finds an earlier one's file damaged says so, then that is run again."""
    for _ in range(2):
        with suppress(MeijuError):
            make(run)
            return
    make(run)


def test_verify_names_what_is_damaged_and_mend_removes_it(
    copied: Run, finished: tuple[Run, dict[str, Any]], tiny_corpus: Path
) -> None:
    runner = CliRunner()
    sound = runner.invoke(app, ["verify", str(copied.folder)])
    assert sound.exit_code == 0, sound.output
    assert " MB read in " in sound.output
    harmed = [
        next(copied.folder.glob(kind))
        for kind in ("preprocessed/*/0*.safetensors", "experiments/*/answers.parquet")
    ]
    for path in harmed:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    (copied.folder / ".partial-x.json").write_text("")
    told = runner.invoke(app, ["verify", str(copied.folder)])
    assert told.exit_code == 1
    assert " ".join(told.output.split()).count("The next `meiju run` makes it again") == 1 + 1
    assert "1 set aside before, or half written" in told.output
    assert max(map(len, told.output.splitlines())) <= 80
    mended = runner.invoke(app, ["verify", str(copied.folder), "--mend"])
    assert mended.exit_code == 0
    assert not any(path.exists() for path in harmed)
    assert runner.invoke(app, ["verify", str(copied.folder)]).exit_code == 0
    make(_opened_again(copied, tiny_corpus))
    assert bits(copied) == finished[1]


def test_an_imported_store_is_not_removed(copied: Run) -> None:
    from meiju_utils.files import read_record, write_record

    meta = next(copied.folder.glob("features/*/meta.json"))
    described = read_record(meta)
    described.pop("stamp")
    write_record(meta, described)
    shard = next(meta.parent.glob("0*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    found = verify(copied.folder)
    assert list(found.damaged) == [shard]
    assert found.made_again == []
    assert "import again" in found.damaged[shard]
    assert CliRunner().invoke(app, ["verify", str(copied.folder), "--mend"]).exit_code == 1
    assert shard.is_file()
    shutil.rmtree(meta.parent)


def test_verify_passes_by_what_stages_do_not_read_and_looks_at_all_else(
    copied: Run, tmp_path: Path
) -> None:
    heard = copied.path("preprocessed").glob("*/")
    write_table(next(heard) / "asr-tiny-0" / "0123456789ab.parquet", pd.DataFrame({"a": [1]}))
    (copied.folder / "mine.json").write_text("{")
    (copied.folder / "bundle").mkdir()
    (copied.folder / "bundle" / "a.safetensors").write_bytes(b"")
    with writing(copied.folder, "a stage"):
        assert verify(copied.folder).damaged == {}
    archive = copied.submission_files[2]
    archive.write_bytes(archive.read_bytes()[:-30])
    found = verify(copied.folder).damaged
    assert [path.name for path in found] == ["submission.csv"]
    assert "zip is damaged" in found[copied.path("submission.csv")]


def test_without_the_data_nothing_of_01_is_set_aside(copied: Run) -> None:
    shard = next(copied.folder.glob("preprocessed/*/0*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    keep_profile(copied.folder, copied.config.model_copy(update={"data_dir": "/gone"}))
    found, gone = mend(copied.folder)
    assert list(found.damaged) == [shard.with_suffix(".parquet")]
    assert gone == []
    assert shard.is_file()


def test_what_cannot_be_opened_is_not_damaged(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    experiment = train_recipes(copied, ["net"])["net"]
    shard = next(copied.folder.glob("features/*/0*.safetensors"))
    weights = next(experiment.folder.glob("*.safetensors"))
    os.utime(weights)  # so that it is looked at again
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        for check in (lambda: OpenShard(shard), lambda: intact(weights)):
            with pytest.raises(OSError, match="Too many open files"):
                check()
    assert shard.is_file()
    assert intact(weights)


def test_verify_wants_a_run_folder(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert told.exit_code == 1
    assert "is no run folder" in str(told.exception)
    assert DAMAGED not in told.output
