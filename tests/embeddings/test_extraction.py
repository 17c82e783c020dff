import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any, ClassVar

import numpy as np
import pytest

from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings import encoding, extract, extract_features, import_folder, open_features
from meiju_utils.embeddings.visual import Hog
from meiju_utils.errors import FeatureError, MissingStageError
from meiju_utils.parallel.faults import SystemicError
from meiju_utils.run import Run

PROSODY, HOG, NGRAMS = (EncoderConfig(name=name) for name in ("prosody", "hog", "char-ngram"))
MakeRun = Callable[..., Run]


def test_the_default_encoders_give_one_vector_a_clip(make_run: MakeRun, source: Any) -> None:
    run = make_run(source)
    for modality, config, width in (("audio", PROSODY, 107), ("visual", HOG, 512)):
        store = extract_features(run, modality, config, source)
        assert store.clip_ids == source.clip_ids
        assert store.width == store.meta["width"] == width
        assert store.get(source.clip_ids[0]).shape == (1, width)
        assert open_features(run, modality, config, source).key == store.key
    assert store.folder.parent == run.path("features")
    assert store.folder.name.startswith("hog-")
    assert store.megabytes > 0 < store.seconds


def test_frame_level_keeps_every_frame_and_its_mean_is_the_utterance(
    make_run: MakeRun, source: Any
) -> None:
    run = make_run(source)
    utterance = extract_features(run, "visual", HOG, source)
    frames = extract_features(
        run, "visual", HOG.model_copy(update={"level": "frame", "dtype": "float16"}), source
    )
    assert frames.folder != utterance.folder
    assert [frames.frames(c) for c in source.clip_ids] == [1, 2, 3, 1, 2]
    means, _ = frames.means(source.clip_ids)
    np.testing.assert_allclose(means, utterance.means(source.clip_ids)[0], atol=1e-3)


def test_absent_clips_are_listed_with_their_reason_and_settled(
    make_run: MakeRun, source: Any
) -> None:
    first, second, *rest = source.clip_ids
    del source.sounds[first]
    source.sounds[second] = np.zeros(16000, np.float32)
    run = make_run(source)
    store = extract_features(run, "audio", PROSODY, source)
    assert store.clip_ids == rest
    assert store.missing == {first: "no audio", second: "silent audio"}
    source.reads.clear()
    extract_features(run, "audio", PROSODY, source)
    assert source.reads == []
    assert open_features(run, "audio", PROSODY, source).missing == store.missing


def test_only_new_clips_are_computed(make_run: MakeRun, sources: Callable[[int], Any]) -> None:
    few, more = sources(3), sources(5)
    run = make_run(more)
    extract_features(run, "audio", PROSODY, few)
    with pytest.raises(MissingStageError, match="2 of 5 clips"):
        open_features(run, "audio", PROSODY, more)
    store = extract_features(run, "audio", PROSODY, more)
    assert more.reads == more.clip_ids[3:]
    assert len(store) == 5


def test_a_clip_of_another_video_is_computed_anew_and_no_other(
    make_run: MakeRun, source: Any
) -> None:
    run, changed = make_run(source), source.clip_ids[1]
    first = extract_features(run, "visual", HOG, source)
    other = replace(source, stamps={changed: "another video"}, reads=[])
    other.crops[changed] = 255 - other.crops[changed]
    with pytest.raises(MissingStageError, match="1 of 5 clips"):
        open_features(run, "visual", HOG, other)
    second = extract_features(run, "visual", HOG, other)
    assert other.reads == [changed]
    assert second.key == first.key
    assert second.state != first.state
    assert not np.array_equal(second.get(changed), first.get(changed))
    assert open_features(run, "visual", HOG, other).state == second.state


def test_a_corrected_text_costs_a_model_that_text_alone(
    make_run: MakeRun, source: Any, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = make_run(source), EncoderConfig(name=f"hf:{checkpoints['tiny-bert']}")
    first = extract_features(run, "text", config, source)
    changed = source.clip_ids[2]
    corrected = replace(source, texts={**source.texts, changed: "太好了"})
    stamps = extract._stamps("text", corrected)
    read = []
    text = type(corrected).text
    monkeypatch.setattr(type(corrected), "text", lambda self, c: read.append(c) or text(self, c))
    monkeypatch.setattr(extract, "_stamps", lambda *_: stamps)
    second = extract_features(run, "text", config, corrected)
    assert (read, second.key) == ([changed], first.key)
    assert not np.array_equal(second.get(changed), first.get(changed))


def test_workers_that_write_elsewhere_are_noticed(
    make_run: MakeRun, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "map_items", lambda *arguments, **options: None)
    with pytest.raises(FeatureError, match=r"5 clips are not in .*shared file system"):
        extract_features(make_run(source), "visual", HOG, source)


def test_shards_that_a_shared_file_system_shows_late_are_waited_for(
    make_run: MakeRun, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(work: Any, shards: Any, *rest: Any, **options: Any) -> None:
        Timer(0.5, lambda: [work(shard) for shard in shards]).start()

    monkeypatch.setattr(extract, "map_items", late)
    cluster = {"parallel__backend": "dask", "parallel__address": "tcp://head:8786"}
    assert len(extract_features(make_run(source, **cluster), "visual", HOG, source)) == 5


def test_a_process_loads_a_model_once_though_it_is_sent_with_every_shard(
    make_run: MakeRun,
    source: Any,
    on_disk: Callable[..., Any],
    stand_in: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CountedHog.loads.clear()
    stand_in("visual", "hog", lambda *_: CountedHog())

    def send(work: Any, shards: Any, *rest: Any, **options: Any) -> None:
        for shard in shards:
            pickle.loads(pickle.dumps(work))(shard)

    monkeypatch.setattr(extract, "map_items", send)
    run = make_run(embeddings__shard_size=2)
    store = extract_features(run, "visual", HOG, on_disk(source))
    assert (len(store), CountedHog.loads) == (5, [1])


class CountedHog(Hog):
    loads: ClassVar[list[int]] = []

    def load(self) -> Any:
        self.loads.append(1)
        return super().load()


def test_a_clip_that_raises_is_listed_and_tried_again(make_run: MakeRun, source: Any) -> None:
    bad = source.clip_ids[2]
    sound = source.sounds[bad]
    source.sounds[bad] = None
    run = make_run(source)
    store = extract_features(run, "audio", PROSODY, source)
    assert len(store) == 4
    assert store.missing[bad].startswith("failed: ")
    source.sounds[bad] = sound
    source.reads.clear()
    store = extract_features(run, "audio", PROSODY, source)
    assert source.reads == [bad]
    assert (len(store), store.missing) == (5, {})


def test_a_clip_whose_files_or_values_are_at_fault_costs_only_itself(
    make_run: MakeRun, source: Any, stand_in: Callable[..., None]
) -> None:
    unreadable, huge, *_ = source.clip_ids
    vectors = {huge: 1e6}
    encode = [np.full((1, 3), vectors.get(c, 1.0), np.float32) for c in source.clip_ids[1:]]

    class Faulty(Hog):
        def read(self, clips: Any, clip_id: str) -> Any:
            if clip_id == unreadable:
                raise OSError("disk")
            return clip_id

        def load(self) -> Any:
            return lambda clips: encode

    stand_in("visual", "hog", lambda *_: Faulty())
    config = HOG.model_copy(update={"dtype": "float16"})
    store = extract_features(make_run(source), "visual", config, source)
    assert store.missing == {
        unreadable: "failed: OSError: disk",
        huge: "failed: the embedding holds values not finite as float16",
    }
    assert len(store) == 3


def test_nothing_but_errors_stops_with_the_first_reason(make_run: MakeRun, source: Any) -> None:
    source.sounds = dict.fromkeys(source.clip_ids)
    with pytest.raises(SystemicError, match=r"5 of 5 failed.*TypeError"):
        extract_features(make_run(source), "audio", PROSODY, source)
    few = replace(source, texts=dict.fromkeys(source.clip_ids[:2], ""))  # all of these may be bad
    with pytest.raises(FeatureError, match="none of 2 clips"):
        extract_features(make_run(source), "audio", PROSODY, few)


def test_not_yet_extracted_names_the_notebook(make_run: MakeRun, source: Any) -> None:
    with pytest.raises(MissingStageError, match="02_embedding_extraction"):
        open_features(make_run(source), "audio", PROSODY, source)


def test_what_shapes_the_embeddings_changes_the_key(make_run: MakeRun, source: Any) -> None:
    run = make_run(source)
    keys = [extract_features(run, "visual", HOG, source).key]
    keys.append(extract_features(run, "visual", HOG, replace(source, key="other")).key)
    keys.append(extract_features(run, "text", NGRAMS, source).key)
    keys.append(extract_features(run, "text", NGRAMS, replace(source, key="other")).key)
    assert keys[2] == keys[3]  # texts do not depend on how audio and faces were made
    corrected = replace(source, texts={**source.texts, source.clip_ids[0]: "改过的字"})
    keys.append(extract_features(run, "text", NGRAMS, corrected).key)
    assert len(set(keys)) == 4


def test_char_ngrams_never_see_the_texts_of_valid_and_test(make_run: MakeRun, source: Any) -> None:
    run = make_run(source)  # the last clip is in test
    trained = {c: source.texts[c] for c in source.clip_ids[:-1]}
    unlike = replace(source, texts={**trained, source.clip_ids[-1]: "测试的话"})
    one, other = (extract_features(run, "text", NGRAMS, s) for s in (source, unlike))
    assert one.meta["settings"]["fitted_on"] == other.meta["settings"]["fitted_on"]
    assert all(np.array_equal(one.get(c), other.get(c)) for c in trained)


@pytest.mark.parametrize(
    ("modality", "name", "backend"),
    [
        ("visual", "hog", "loky"),
        ("text", "hf:{checkpoints}/tiny-bert", "loky"),
        ("visual", "timm:{checkpoints}/tiny-vit", "serial"),
        ("audio", "hf:{checkpoints}/tiny-hubert", "serial"),
    ],
)
def test_any_number_of_workers_gives_what_one_process_gives(
    make_run: MakeRun,
    on_disk: Callable[..., Any],
    sources: Callable[[int], Any],
    checkpoints: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    modality: Any,
    name: str,
    backend: str,
) -> None:
    monkeypatch.setattr(extract, "READ_AT_ONCE", 2)
    monkeypatch.setattr(encoding, "READ_AT_ONCE", 2)
    clips = on_disk(sources(7))
    config = EncoderConfig(name=name.format(checkpoints=checkpoints["tiny-bert"].parent))
    kept = []
    for engine, workers in (("serial", 1), (backend, 2), ("serial", 4)):
        run = make_run(parallel__backend=engine, parallel__workers=workers)
        store = extract_features(run, modality, config, clips)
        assert len(list(store.folder.glob("*.safetensors"))) == workers
        kept.append(store.means(clips.clip_ids)[0])
        store.folder.rename(store.folder.with_name(f"{workers} workers"))
    assert np.array_equal(kept[0], kept[1])
    assert np.array_equal(kept[0], kept[2])


@pytest.mark.parametrize(
    ("modality", "prefix", "name"),
    [("audio", "hf", "tiny-hubert"), ("visual", "timm", "tiny-vit"), ("text", "hf", "tiny-bert")],
)
def test_model_encoders_fill_a_store_shard_by_shard(
    make_run: MakeRun,
    source: Any,
    checkpoints: dict[str, Path],
    modality: Any,
    prefix: str,
    name: str,
) -> None:
    run = make_run(source, embeddings__shard_size=2)
    run.path("checkpoints").symlink_to(checkpoints[name].parent)
    config = EncoderConfig(name=f"{prefix}:{{run_dir}}/checkpoints/{name}")
    store = extract_features(run, modality, config, source)
    assert store.clip_ids == source.clip_ids
    assert store.width == 32
    assert len(list(store.folder.glob("*.safetensors"))) == 3
    assert store.meta["encoder"] == f"{prefix}:{name}"
    in_one = extract_features(
        make_run(embeddings__shard_size=99),
        modality,
        config.model_copy(update={"dtype": "float16"}),
        source,
    )
    ours, theirs = (s.means(source.clip_ids)[0] for s in (store, in_one))
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_a_model_runs_on_one_thread_whatever_the_machine_has(
    make_run: MakeRun, source: Any, checkpoints: dict[str, Path], stand_in: Callable[..., None]
) -> None:
    import torch

    from meiju_utils.embeddings.visual import Timm

    threads = []

    class Watched(Timm):
        def load(self) -> Any:
            encode = super().load()

            def watched(clips: Any) -> Any:
                threads.append(torch.get_num_threads())
                return encode(clips)

            return watched

    stand_in("visual", "timm:", Watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = EncoderConfig(name=f"timm:{checkpoints['tiny-vit']}")
        extract_features(make_run(source), "visual", config, source)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}


def test_a_folder_of_npy_files_serves_as_an_encoder(
    make_run: MakeRun, source: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "HUBERT"
    folder.mkdir()
    for i, clip_id in enumerate(source.clip_ids[:-1]):
        np.save(folder / f"{clip_id}.npy", np.full((2 + i, 3), i, np.float32))
    run = make_run(source)
    config = EncoderConfig(name=f"npy:{folder}", level="frame")
    store = extract_features(run, "audio", config, source)
    assert [store.frames(c) for c in source.clip_ids[:-1]] == [2, 3, 4, 5]
    assert store.missing == {source.clip_ids[-1]: "no .npy file of this clip"}
    assert extract_features(run, "audio", config, replace(source, key="new")).key == store.key
    np.save(folder / f"{source.clip_ids[0]}.npy", np.ones((9, 3), np.float32))
    assert extract_features(run, "audio", config, source).key != store.key
    np.save(folder / f"{source.clip_ids[0]}.npy", np.ones((9, 4), np.float32))
    with pytest.raises(FeatureError, match="must agree"):
        extract_features(run, "audio", config, source)
    with pytest.raises(FeatureError, match="there is no folder"):
        extract_features(run, "audio", EncoderConfig(name=f"npy:{tmp_path}/none"), source)


def test_a_store_of_another_run_serves_as_an_encoder(
    make_run: MakeRun, source: Any, tmp_path: Path
) -> None:
    files = tmp_path / "official"
    files.mkdir()
    for i, clip_id in enumerate(source.clip_ids[:-1]):
        np.save(files / f"{clip_id}.npy", np.full((2 + i, 3), i, np.float32))
    import_folder(files, tmp_path / "imported", "audio")
    config = EncoderConfig(name=f"npy:{tmp_path / 'imported'}", level="frame")
    store = extract_features(make_run(source), "audio", config, source)
    assert store.missing == {source.clip_ids[-1]: "not in the store"}
    np.testing.assert_array_equal(store.get(source.clip_ids[1]), np.full((3, 3), 1))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np, pandas as pd
    from meiju_utils.config import EncoderConfig, load_profile
    from meiju_utils.embeddings import extract_features
    from meiju_utils.run import Run

    class Source:
        key, clip_ids = "k", [f"clip {i}" for i in range(10)]
        def stamp(self, clip_id):
            return ""
        def faces(self, clip_id):
            if clip_id == "clip 7":
                os.kill(os.getpid(), signal.SIGKILL)
            return np.full((1, 48, 48, 3), int(clip_id[-1]), np.uint8)

    settings = {"parallel.backend": "serial", "embeddings.shard_size": 3}
    folder = Path(sys.argv[1])
    run = Run(load_profile("demo", settings), folder, folder / "run")
    extract_features(run, "visual", EncoderConfig(name="hog"), Source())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_run_killed_in_the_middle_of_a_shard_goes_on_where_it_was(
    make_run: MakeRun, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    reads: list[str] = []

    class Source:
        key = "k"
        clip_ids = tuple(f"clip {i}" for i in range(10))

        def stamp(self, clip_id: str) -> str:
            return ""

        def faces(self, clip_id: str) -> np.ndarray:
            reads.append(clip_id)
            return np.full((1, 48, 48, 3), int(clip_id[-1]), np.uint8)

    run = make_run(embeddings__shard_size=3)
    with pytest.raises(MissingStageError, match="4 of 10 clips"):
        open_features(run, "visual", HOG, Source())
    store = extract_features(run, "visual", HOG, Source())
    assert reads == ["clip 6", "clip 7", "clip 8", "clip 9"]
    assert len(store) == 10
