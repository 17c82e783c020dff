"""A small run for the campaigns, made once; all of them with MEIJU_FAULTS=full (`make faults`)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meiju_utils.preprocessing import manifest
from meiju_utils.run import Run
from tests.faults.stages import bits, make, small_run

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("MEIJU_FAULTS") == "full"


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of its own, in which all stand: submissions go into the project."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "meiju_utils", "tests"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def finished(project: Path, tiny_corpus: Path) -> tuple[Run, dict[str, Any]]:
    """A finished run and its bits; treat it as read-only."""
    run = small_run(tiny_corpus, project / "runs" / "finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "MOST_CLIPS", 16)  # so that little is made again of one shard
        make(run)
    return run, bits(run)


@pytest.fixture
def copied(finished: tuple[Run, dict[str, Any]], tiny_corpus: Path) -> Iterator[Run]:
    """A copy of the finished run, as it would be found."""
    folder = finished[0].folder.with_name("copied")
    recipes = folder.with_suffix(".recipes.yaml")
    shutil.copytree(finished[0].folder, folder)
    shutil.copy(finished[0].folder.with_suffix(".recipes.yaml"), recipes)
    for path in finished[0].submission_files[1:]:
        shutil.copy(path, path.with_stem("copied"))
    yield small_run(tiny_corpus, folder)
    shutil.rmtree(folder)
