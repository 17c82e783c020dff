"""What extraction makes of clips and machines that fail, and of files that are damaged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings import FeatureStore, extract, extract_features, open_features
from meiju_utils.embeddings.shards import DAMAGED, next_shard_number, shard_paths, write_shard
from meiju_utils.embeddings.store import FAILED, FAULTY, create_store
from meiju_utils.embeddings.visual import Hog
from meiju_utils.errors import DamagedError, MediaError
from meiju_utils.parallel.engines import WorkerDied
from meiju_utils.parallel.faults import SystemicError
from meiju_utils.run import Run

HOG = EncoderConfig(name="hog")
MakeRun = Callable[..., Run]


class TooLarge(Hog):
    """Stands for a device whose memory holds two crops, no more."""

    def load(self) -> Any:
        encode = super().load()

        def limited(clips: Sequence[Any]) -> Any:
            if sum(map(len, clips)) > 2:
                raise RuntimeError("CUDA out of memory")
            return encode(clips)

        return limited


def test_a_device_too_small_for_many_clips_stops_each_run_with_the_first_reason(
    make_run: MakeRun, sources: Callable[[int], Any], stand_in: Callable[..., None]
) -> None:
    source = sources(12)  # clips of one, two and three crops in turn
    run = make_run(source)
    stand_in("visual", "hog", lambda *_: TooLarge())
    for _ in range(2):  # in the second only those that failed are left
        with pytest.raises(SystemicError, match=r"hog: 4 of 12 .*00003: RuntimeError: CUDA out"):
            extract_features(run, "visual", HOG, source)
    assert len(FeatureStore(next(run.path("features").iterdir()))) == 8


def test_clips_whose_own_files_are_at_fault_stop_nothing(
    make_run: MakeRun, sources: Callable[[int], Any], stand_in: Callable[..., None]
) -> None:
    source = sources(12)

    class Unreadable(Hog):
        def read(self, clips: Any, clip_id: str) -> Any:
            if clip_id > "Track1_Training_00004":
                raise MediaError("no such codec")
            return super().read(clips, clip_id)

    stand_in("visual", "hog", lambda *_: Unreadable())
    run = make_run(source)
    for _ in range(3):
        store = extract_features(run, "visual", HOG, source)
        assert len(store) == 4
        assert set(store.missing.values()) == {f"{FAULTY}MediaError: no such codec"}
        assert len(store.failed()) == 8
        assert len(shard_paths(store.folder)) == 1  # that they failed again is no news


@pytest.mark.parametrize("worded", [0, 32])
def test_clips_without_words_are_settled_and_make_no_new_shards(
    make_run: MakeRun, sources: Callable[[int], Any], checkpoints: dict[str, Path], worded: int
) -> None:
    source = sources(40)
    source.texts = {c: t * (i < worded) for i, (c, t) in enumerate(source.texts.items())}
    run = make_run(source)
    config = EncoderConfig(name=f"hf:{checkpoints['tiny-bert']}")
    for _ in range(2):
        store = extract_features(run, "text", config, source)
        assert len(store) == worded
        assert set(store.missing.values()) == {"empty text"}
        assert len(shard_paths(store.folder)) == 2  # one a worker


def mapping_that_dies(deadly: set[str], attempts: list[int]) -> Callable[..., None]:
    """Stands for an engine whose processes die at some clips."""

    def run(work: Any, shards: Any, *rest: Any, then: Any, **options: Any) -> None:
        attempts.append(len(shards))
        for place, shard in enumerate(shards):
            if deadly & shard.stamps.keys():
                assert then(place, None, WorkerDied("its process died"))
            else:
                then(place, work(shard), None)

    return run


def test_a_clip_that_kills_its_process_costs_only_itself_in_every_run(
    make_run: MakeRun, sources: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources(40)
    deadly, *others = source.clip_ids[29:] + source.clip_ids[:29]
    attempts: list[int] = []
    monkeypatch.setattr(extract, "map_items", mapping_that_dies({deadly}, attempts))
    run = make_run(source)
    for _ in range(3):
        store = extract_features(run, "visual", HOG, source)
        assert store.clip_ids == sorted(others)
        assert store.missing == {deadly: f"{FAILED}WorkerDied: {told(store)}"}
        assert attempts[:3] == [2, 8, 4]  # shards, pieces of one, the clips of one of these
    assert attempts[3:] == [1, 1]  # that clip alone
    assert len(shard_paths(store.folder)) == 12  # a shard, seven pieces, four clips


def told(store: FeatureStore) -> str:
    (reason,) = store.missing.values()
    assert "its process died; mostly memory runs out" in reason
    return reason.partition("WorkerDied: ")[2]


def test_processes_that_die_at_everything_stop_the_run(
    make_run: MakeRun, sources: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources(40)
    attempts: list[int] = []
    monkeypatch.setattr(extract, "map_items", mapping_that_dies(set(source.texts), attempts))
    with pytest.raises(SystemicError, match=r"16 of 16 failed.*WorkerDied"):
        extract_features(make_run(source), "visual", HOG, source)
    assert attempts == [2, 16]


def test_a_damaged_shard_is_set_aside_and_its_clips_computed_anew(
    make_run: MakeRun, source: Any
) -> None:
    run = make_run(source, embeddings__shard_size=2)
    first = extract_features(run, "visual", HOG, source)
    values = first.means(source.clip_ids)[0]
    path = shard_paths(first.folder)[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path.name}.*Run notebook 02 again"):
        open_features(run, "visual", HOG, source).means(source.clip_ids)
    assert path.with_name(path.name + DAMAGED).is_file()
    source.reads.clear()
    store = extract_features(run, "visual", HOG, source)
    assert source.reads == source.clip_ids[2:4]
    np.testing.assert_array_equal(store.means(source.clip_ids)[0], values)
    assert store.state == first.state
    assert open_features(run, "visual", HOG, source).verify().empty


def test_a_lost_or_damaged_description_is_made_anew(make_run: MakeRun, source: Any) -> None:
    run = make_run(source)
    first = extract_features(run, "visual", HOG, source)
    meta = first.folder / "meta.json"
    for spoil in (meta.unlink, lambda: meta.write_text("{}")):
        spoil()
        store = extract_features(run, "visual", HOG, source)
        assert (store.folder, store.state, store.meta) == (first.folder, first.state, first.meta)


def test_halved_batches_are_noted(
    make_run: MakeRun, source: Any, stand_in: Callable[..., None]
) -> None:
    class Halving(Hog):
        def load(self) -> Any:
            encode = super().load()

            def halving(clips: Sequence[Any]) -> Any:
                halving.halved += 1  # type: ignore[attr-defined]
                return encode(clips)

            halving.halved = 0  # type: ignore[attr-defined]
            return halving

    assert extract_features(make_run(source), "visual", HOG, source).halved == 0
    stand_in("visual", "hog", lambda *_: Halving())
    run = make_run(source, embeddings__shard_size=2, preprocessing={"sample_rate": 8000})
    run.path("features").rename(run.path("others"))
    assert extract_features(run, "visual", HOG, source).halved == 3


def test_a_store_that_grows_while_a_kernel_is_open_is_seen_to(
    make_run: MakeRun, source: Any, tmp_path: Path
) -> None:
    one, other, *_ = source.clip_ids
    made = tmp_path / "store"
    create_store(made, {"key": "k", "modality": "audio", "encoder": "e", "dtype": "float32"})
    write_shard(made, 0, {one: np.ones((1, 3), np.float32)}, {})
    run, config = make_run(source), EncoderConfig(name=f"npy:{made}")
    first = extract_features(run, "audio", config, source)
    assert first.clip_ids == [one]
    write_shard(made, next_shard_number(made), {other: np.ones((1, 3), np.float32)}, {})
    second = extract_features(run, "audio", config, source)
    assert second.clip_ids == [one, other]
    assert second.key != first.key
