from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import EMOTIONS, INTENTS, SETTINGS
from meiju_utils.embeddings import (
    FeatureStore,
    absences,
    cached_probe_table,
    degeneracy,
    probe,
    probe_encoders,
    project,
)
from meiju_utils.embeddings.shards import write_shard
from meiju_utils.embeddings.store import create_store
from meiju_utils.errors import FeatureError
from meiju_utils.run import Run

SETTING = SETTINGS[1, "mandarin"]
IDS = [f"c{i:03d}" for i in range(90)]


@pytest.fixture
def clips() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "clip_id": IDS,
            "split": ["train"] * 80 + ["test"] * 10,
            "emotion": rng.choice(EMOTIONS[:3], 90),
            "intent": rng.choice(INTENTS[:2], 90),
        }
    )


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    def make(values: np.ndarray, name: str, modality: str, absent: int = 0) -> FeatureStore:
        folder = tmp_path / "stores" / name
        meta = {"encoder": name, "modality": modality, "key": name, "dtype": "float32"}
        create_store(folder, meta)
        arrays = {c: row[None].astype("float32") for c, row in zip(IDS, values, strict=True)}
        missing = dict.fromkeys(IDS[:absent], "no face")
        write_shard(folder, 0, {c: a for c, a in arrays.items() if c not in missing}, missing)
        return FeatureStore(folder)

    return make


def telling(labels: pd.Series, noise: float = 0.1) -> np.ndarray:
    """Features that say which label it is."""
    codes = pd.get_dummies(labels).to_numpy(float)
    return codes + noise * np.random.default_rng(1).standard_normal(codes.shape)


def test_probes_score_what_an_encoder_says_of_each_task(
    clips: pd.DataFrame, make_store: Callable[..., FeatureStore]
) -> None:
    stores = [
        make_store(telling(clips["emotion"]), "feelings", "audio"),
        make_store(telling(clips["intent"]), "wishes", "text", absent=8),
        make_store(np.random.default_rng(2).standard_normal((90, 4)), "noise", "text"),
    ]
    table = probe_encoders(stores, clips, SETTING, folds=4, seed=0)
    assert table["encoder"].tolist() == ["feelings", "wishes", "noise", "feelings + wishes"]
    assert table["modality"].tolist() == ["audio", "text", "text", "audio+text"]
    assert table["width"].tolist() == [3, 2, 4, 5]
    assert table["clips"].tolist() == [80, 72, 80, 72]
    scores = table.set_index("encoder")
    assert scores.loc["feelings", "emotion"] == 1
    assert scores.loc["feelings", "intent"] < 0.7
    assert 0.8 < scores.loc["wishes", "intent"] < 1  # the absent ones are guessed
    assert scores.loc["noise", "joint"] < 0.6 < scores.loc["feelings + wishes", "joint"]
    for score in ("emotion", "intent", "joint"):
        assert (table[f"{score}_low"] <= table[score]).all()
        assert (table[f"{score}_high"] >= table[score]).all()


def test_encoders_are_combined_across_modalities(
    make_store: Callable[..., FeatureStore],
) -> None:
    names = [("a1", "audio"), ("v1", "visual"), ("t1", "text"), ("a2", "audio"), ("t2", "text")]
    stores = [make_store(np.eye(90), name, modality) for name, modality in names]
    sets = [chosen.encoder for chosen in probe.feature_sets(stores)]
    pairs = ["a1 + v1", "a1 + t1", "v1 + t1", "a1 + v1 + t1"]
    assert sets == ["a1", "a2", "v1", "t1", "t2", *pairs]
    stores.append(make_store(np.eye(90), "v2", "visual"))
    assert probe.feature_sets(stores)[-1].encoder == "a2 + v2 + t2"


def test_test_labels_are_never_used(
    clips: pd.DataFrame, make_store: Callable[..., FeatureStore]
) -> None:
    store = make_store(telling(clips["emotion"]), "feelings", "audio")
    other = clips.copy()
    other.loc[clips["split"] == "test", "emotion"] = "fear"
    first, second = (probe_encoders([store], c, SETTING, 3, 0) for c in (clips, other))
    pd.testing.assert_frame_equal(first, second)


def test_a_cached_table_computes_only_what_changed(
    clips: pd.DataFrame,
    make_store: Callable[..., FeatureStore],
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run()
    run.save_table("clips", clips)
    calls: list[str] = []
    real = probe.map_items
    monkeypatch.setattr(
        probe,
        "map_items",
        lambda work, items, names, *rest, **options: (
            calls.extend(names) or real(work, items, names, *rest, **options)
        ),
    )
    audio = make_store(telling(clips["emotion"]), "feelings", "audio")
    first = cached_probe_table(run, [audio], folds=3)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(cached_probe_table(run, [audio], folds=3), first)
    assert len(calls) == 1
    text = make_store(telling(clips["intent"]), "wishes", "text")
    assert len(cached_probe_table(run, [audio, text], folds=3)) == 3
    assert len(calls) == 3
    run.save_table("clips", clips.assign(emotion=clips["emotion"].to_numpy()[::-1]))
    cached_probe_table(run, [audio], folds=3)
    assert len(calls) == 4


def test_copies_of_a_recording_are_never_on_both_sides_of_a_probe(
    clips: pd.DataFrame, make_store: Callable[..., FeatureStore]
) -> None:
    # Twins have features that tell them from all others, and nothing else.
    values = np.repeat(np.random.default_rng(0).standard_normal((45, 30)), 2, axis=0)
    twins = clips.assign(
        emotion=np.repeat(clips["emotion"].to_numpy()[:45], 2),
        intent=np.repeat(clips["intent"].to_numpy()[:45], 2),
    )
    recordings = {clip_id: f"r{i // 2}" for i, clip_id in enumerate(IDS)}
    store = make_store(values, "twins", "audio")
    leaky = probe_encoders([store], twins, SETTING)["joint"].item()
    sound = probe_encoders([store], twins, SETTING, recordings=recordings)["joint"].item()
    assert sound < 0.55 < leaky  # three and two classes by chance
    with pytest.raises(FeatureError, match=r"of two recordings at least.*80 of 1"):
        probe_encoders([store], clips, SETTING, recordings=dict.fromkeys(IDS, "r"))


def test_rare_classes_and_too_few_clips_have_a_defined_outcome(
    clips: pd.DataFrame, make_store: Callable[..., FeatureStore]
) -> None:
    store = make_store(np.random.default_rng(0).standard_normal((90, 200)), "noise", "audio")
    one = clips.assign(emotion="sad", intent=["wishing"] + ["agreeing"] * 89)
    table = probe_encoders([store], one, SETTING, folds=5, seed=0)
    assert table["emotion"].item() == 1
    with pytest.raises(FeatureError, match="labelled training clips"):
        probe_encoders([store], clips.assign(split="test"), SETTING)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_projection_has_two_coordinates_of_every_present_clip(
    make_store: Callable[..., FeatureStore], method: str
) -> None:
    values = np.random.default_rng(0).standard_normal((90, 6))
    values[45:] += 20
    table = project(make_store(values, "two", "audio", absent=5), IDS, method)
    assert table["clip_id"].tolist() == IDS[5:]
    centres = [table[["x", "y"]].iloc[part].mean() for part in (slice(0, 40), slice(40, None))]
    assert np.linalg.norm(centres[0] - centres[1]) > table["x"].head(40).std() * 3


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (np.random.default_rng(0).standard_normal((90, 3)), "sound"),
        (np.ones((90, 3)), "constant"),
        (np.repeat(np.random.default_rng(0).standard_normal((45, 3)), 2, axis=0), "duplicated"),
    ],
)
def test_degenerate_embeddings_are_called_so(
    make_store: Callable[..., FeatureStore], values: np.ndarray, verdict: str
) -> None:
    store = make_store(values, "some", "audio", absent=4)
    row = degeneracy([store], IDS).iloc[0]
    assert (row["verdict"], row["clips"], row["absent"]) == (verdict, 86, 4)


def test_each_store_is_read_once_and_not_at_all_where_all_is_known(
    make_store: Callable[..., FeatureStore], clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [make_store(telling(clips["emotion"]), m, m) for m in ("audio", "visual", "text")]
    read = []
    means = FeatureStore.means
    monkeypatch.setattr(
        FeatureStore, "means", lambda self, ids: read.append(self.folder.name) or means(self, ids)
    )
    table = probe_encoders(stores, clips, SETTING)
    assert sorted(read) == ["audio", "text", "visual"]
    assert len(table) == 7
    probe_encoders(stores, clips, SETTING, known=table)
    assert len(read) == 3


def test_why_clips_have_no_embedding_is_counted_by_reason(
    make_store: Callable[..., FeatureStore],
) -> None:
    store = make_store(np.ones((90, 3)), "some", "visual", absent=3)
    (row,) = absences([store]).to_dict("records")
    assert (row["modality"], row["clips"], row["first"]) == ("visual", 3, IDS[0])
    assert row["reason"] == store.missing[IDS[0]]
    assert absences([make_store(np.ones((90, 3)), "all", "visual")]).empty


def test_too_few_clips_are_not_projected(make_store: Callable[..., FeatureStore]) -> None:
    store = make_store(np.ones((90, 3)), "few", "audio", absent=88)
    assert project(store, IDS).empty


def test_a_modality_no_clip_has_is_empty(make_store: Callable[..., FeatureStore]) -> None:
    store = make_store(np.ones((90, 3)), "none", "visual", absent=90)
    assert degeneracy([store], IDS)["verdict"].item() == "empty"
