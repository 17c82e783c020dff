"""Which store is taken, where code, models and settings have changed since it was made."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings import encoding, extract_features, open_features, planning
from meiju_utils.embeddings.planning import plan_store
from meiju_utils.embeddings.visual import Hog
from meiju_utils.errors import FeatureError, MissingStageError
from meiju_utils.run import Run

HOG = EncoderConfig(name="hog")
MakeRun = Callable[..., Run]


@pytest.fixture
def change_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the code of encoders count as another."""

    def change(code: str) -> None:
        for module in (planning, encoding):
            monkeypatch.setattr(module, "code_of", lambda _: code)

    return change


class Brighter(Hog):
    def load(self) -> Any:
        encode = super().load()
        return lambda clips: [e + np.float32(1e-7) for e in encode(clips)]


def test_an_equal_store_of_other_code_is_stamped_anew_and_stays_what_it_was(
    make_run: MakeRun, sources: Callable[[int], Any], change_code: Callable[[str], None]
) -> None:
    source = sources(9)
    source.crops[source.clip_ids[4]] = np.empty((0, 0, 0, 3), np.uint8)
    run = make_run(source)
    first = extract_features(run, "visual", HOG, source)
    change_code("other")
    with pytest.raises(MissingStageError, match=r"as the present code makes them.*02_embedding"):
        open_features(run, "visual", HOG, source)
    source.reads.clear()
    store = extract_features(run, "visual", HOG, source)
    assert source.reads == [source.clip_ids[i] for i in (0, 5, 8, 4)]
    assert (store.folder, store.key, store.state) == (first.folder, first.key, first.state)
    assert open_features(run, "visual", HOG, source).state == first.state
    source.reads.clear()
    extract_features(run, "visual", HOG, source)
    assert source.reads == []


def test_an_unequal_store_of_other_code_stays_beside_a_new_one(
    make_run: MakeRun,
    source: Any,
    stand_in: Callable[..., None],
    change_code: Callable[[str], None],
) -> None:
    run = make_run(source)
    first = extract_features(run, "visual", HOG, source)
    change_code("other")
    stand_in("visual", "hog", lambda *_: Brighter())
    second = extract_features(run, "visual", HOG, source)
    assert second.folder.name == f"{first.folder.name}-2"
    assert second.key != first.key
    assert second.state != first.state
    assert not np.array_equal(second.get(source.clip_ids[0]), first.get(source.clip_ids[0]))
    assert open_features(run, "visual", HOG, source).folder == second.folder
    change_code(first.meta["stamp"]["code"])  # the change is taken back
    stand_in("visual", "hog", lambda *_: Hog())
    source.reads.clear()
    assert extract_features(run, "visual", HOG, source).state == first.state
    assert source.reads == []


def test_a_model_may_differ_in_last_bits_for_its_batches(
    make_run: MakeRun,
    source: Any,
    checkpoints: dict[str, Path],
    change_code: Callable[[str], None],
) -> None:
    run, config = make_run(source), EncoderConfig(name=f"hf:{checkpoints['tiny-bert']}")
    first = extract_features(run, "text", config, source)
    change_code("other")
    assert extract_features(run, "text", config, source).key == first.key


def test_a_worker_with_other_code_is_refused(
    make_run: MakeRun, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "code_of", lambda _: "the driver's")
    with pytest.raises(Exception, match="worker has other code of encoder 'hog'"):
        extract_features(make_run(source), "visual", HOG, source)


@pytest.mark.parametrize(
    ("modality", "name", "setting", "moves"),
    [
        ("text", "tiny-bert", {"embeddings__batch_tokens": 7}, True),
        ("visual", "tiny-vit", {"embeddings__batch_images": 7}, True),
        ("audio", "tiny-hubert", {"embeddings__batch_seconds": 7}, True),
        ("text", "tiny-bert", {"embeddings__shard_size": 7}, True),
        ("text", "tiny-bert", {"embeddings__shard_size": 64}, False),  # 32 are read at once
        ("text", "char-ngram", {"embeddings__shard_size": 7}, False),
        ("visual", "hog", {"embeddings__shard_size": 7}, False),
        ("visual", "tiny-vit", {"embeddings__batch_tokens": 7}, False),
    ],
)
def test_what_moves_a_stores_bits_is_in_its_key(
    make_run: MakeRun,
    source: Any,
    checkpoints: dict[str, Path],
    modality: Any,
    name: str,
    setting: dict[str, Any],
    moves: bool,
) -> None:
    kind = "timm" if "vit" in name else "hf"
    config = EncoderConfig(name=f"{kind}:{checkpoints[name]}" if "tiny" in name else name)
    plain, other = (
        plan_store(make_run(source, **options), modality, config, source).settings
        for options in ({}, setting)
    )
    assert (plain != other) is moves


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts the branch main of a/b at a commit in the cache; "" takes it away."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    main = tmp_path / "hub/models--a--b/refs/main"

    def at(commit: str) -> None:
        main.parent.mkdir(parents=True, exist_ok=True)
        main.write_text(commit) if commit else main.unlink()

    return at


def test_a_hub_model_is_known_by_its_commit_with_or_without_the_cache(
    make_run: MakeRun, source: Any, hub: Callable[[str], None]
) -> None:
    run, config = make_run(source), EncoderConfig(name="hf:a/b")
    with pytest.raises(FeatureError, match=r"model 'a/b' \(revision main\).*hf download"):
        extract_features(run, "text", config, source)
    hub("a" * 40)
    first = plan_store(run, "text", config, source)
    assert first.encoder.checkpoint.revision == "a" * 40  # type: ignore[attr-defined]
    assert (
        first.settings
        == plan_store(run, "text", replace_revision(config, "a" * 40), source).settings
    )
    hub("b" * 40)  # the branch has moved
    assert plan_store(run, "text", config, source).settings != first.settings
    hub("a" * 40)
    first.open_or_make(lambda _: True)
    hub("")  # the run folder has come to another machine
    assert plan_store(run, "text", config, source).settings == first.settings


def replace_revision(config: EncoderConfig, revision: str) -> EncoderConfig:
    return config.model_copy(update={"revision": revision})


SETTINGS = [
    *(("batch_tokens", 16), ("batch_images", 3), ("batch_seconds", 2.0)),
    *(("shard_size", 40), ("shard_size", 9)),  # of more clips than are read at once, and of fewer
]


@pytest.mark.parametrize("modality", ["audio", "visual", "text"])
@pytest.mark.parametrize(("setting", "value"), SETTINGS)
def test_a_batch_or_shard_setting_moves_no_bit_or_stands_in_the_key(
    make_run: MakeRun,
    sources: Callable[[int], Any],
    checkpoints: dict[str, Path],
    modality: Any,
    setting: str,
    value: Any,
) -> None:
    source = sources(45)  # clips of several batches, groups and shards
    kind = {"audio": "hf:tiny-hubert", "visual": "timm:tiny-vit", "text": "hf:tiny-bert"}[modality]
    library, _, name = kind.partition(":")
    config = EncoderConfig(name=f"{library}:{checkpoints[name]}")
    found = []
    for own in ({}, {f"embeddings__{setting}": value}):
        run = make_run(source, **own)
        store = extract_features(run, modality, config, source)
        found.append((store.key, store.means(source.clip_ids)[0]))
        shutil.rmtree(run.path("features"))
    (key, values), (other, others) = found
    assert key != other or np.array_equal(values, others)
