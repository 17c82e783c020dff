"""Extraction on two workers of Dask and of Ray: bit for bit what one process gives."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from meiju_utils.config import EncoderConfig, Parallel
from meiju_utils.embeddings import FeatureStore, extract_features
from meiju_utils.preprocessing.store import Preprocessed
from meiju_utils.run import Run

MakeRun = Callable[..., Run]

# workers cannot import this file by its name
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class DeadlyClips(Preprocessed):
    """Notes who reads a clip; the process that is the first to read a certain one ends."""

    notes: Path = Path()
    deadly: str = ""

    def faces(self, clip_id: str) -> Any:
        attempt = len(list(self.notes.glob(f"{clip_id}-*")))
        (self.notes / f"{clip_id}-{attempt}").touch()
        if clip_id == self.deadly and attempt == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().faces(clip_id)


def _extract(
    make_run: MakeRun, settings: Parallel, modality: Any, config: EncoderConfig, clips: Any
) -> FeatureStore:
    overrides = {f"parallel__{key}": value for key, value in settings.model_dump().items()}
    run = make_run(embeddings__shard_size=2, **overrides)
    store = extract_features(run, modality, config, clips)
    return FeatureStore(store.folder.rename(store.folder.with_name(settings.backend)))


def _assert_same(one: FeatureStore, other: FeatureStore, shards: int) -> None:
    assert one.clip_ids == other.clip_ids
    assert all(np.array_equal(one.get(c), other.get(c)) for c in one.clip_ids)
    assert len(list(one.folder.glob("*.safetensors"))) == shards


def test_a_clusters_embeddings_equal_those_of_one_process(
    make_run: MakeRun,
    on_disk: Callable[..., Preprocessed],
    sources: Callable[[int], Any],
    checkpoints: dict[str, Path],
    cluster: Parallel,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips = on_disk(sources(6))  # of a model; what is none is read in the next test
    config = EncoderConfig(name=f"hf:{checkpoints['tiny-hubert']}")
    serial = _extract(make_run, Parallel(backend="serial"), "audio", config, clips)
    capsys.readouterr()
    _assert_same(_extract(make_run, cluster, "audio", config, clips), serial, shards=3)
    assert "6/6" in capsys.readouterr().err.splitlines()[-1]  # the bar counts clips there, too


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_worker_that_dies_costs_only_its_shard(
    make_run: MakeRun,
    on_disk: Callable[..., Preprocessed],
    sources: Callable[[int], Any],
    cluster: Parallel,
    tmp_path: Path,
) -> None:
    clips = on_disk(sources(6))
    config = EncoderConfig(name="hog")
    serial = _extract(make_run, Parallel(backend="serial"), "visual", config, clips)
    notes = tmp_path / "notes"
    notes.mkdir()
    ids = clips.clip_ids
    deadly = DeadlyClips(**vars(clips), notes=notes, deadly=ids[3])
    _assert_same(_extract(make_run, cluster, "visual", config, deadly), serial, shards=3)
    again = {path.name.rsplit("-", 1)[0] for path in notes.glob("*-1")}
    assert again == {ids[2], ids[3]}
