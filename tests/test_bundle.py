"""Asking a trained recipe about videos, as it is and as a bundle on disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meiju_utils import (
    extract_features,
    load_experiment,
    open_corpus,
    open_run,
    preprocess_corpus,
    train_recipes,
)
from meiju_utils.bundle import Predictor, clips
from meiju_utils.bundle.carrying import carried, placed
from meiju_utils.bundle.storing import BUNDLE, load_bundle
from meiju_utils.bundle.telling import clip_values, told
from meiju_utils.embeddings import all_encoders, write_tiny_checkpoints
from meiju_utils.errors import (
    BundleError,
    ConfigError,
    MediaError,
    PredictionError,
    TrainingError,
)
from meiju_utils.files import read_record, write_record
from meiju_utils.predictions import Answers, class_columns
from meiju_utils.preprocessing.whisper import Heard
from meiju_utils.recipes.writing import write_failure
from meiju_utils.run import Run
from tests.clips import MakeClip, numbered_frames, tone

# each example writes the file anew
FIXTURE = [HealthCheck.function_scoped_fixture]

RECIPES = """
sound: {model: {rbf-ridge: audio}, partition: {folds: 2, refit: true}}
words: {like: sound, model: tfidf-svm}
meaning:
  like: sound
  model: {linear-svm: {view: text, strengths: [1], folds: 2}}
  encoders: {text: "hf:{run_dir}/checkpoints/tiny-bert"}
net: {like: baseline, partition: {folds: 2, refit: true}, training: {seeds: [0], epochs: 1}}
nets: {like: baseline, training: {epochs: 1, seeds: [0, 1]}}
few: {ensemble: {opinion-pool: {from: [sound, words, meaning, net]}}, calibrate: temperature}
taught:
  ensemble: {opinion-pool: {from: [sound, words, meaning, net]}}
  calibrate: noise-tolerant
  students: {teacher: few, of: [sound], rounds: 1}
chosen: {ensemble: {mean: [taught]}, calibrate: noise-tolerant, decode: [pair-prior, expected-f1]}
paper: {ensemble: {mean: {from: {emotion: [nets], intent: [nets, net]}}}}
"""


@pytest.fixture(scope="module")
def trained(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Read-only."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "recipes.yaml").write_text(RECIPES)
    overrides = {
        "recipes": str(folder / "recipes.yaml"),
        "embeddings.compare": {"text": ["hf:{run_dir}/checkpoints/tiny-bert"]},
        "parallel.backend": "serial",
        "submission": "chosen",
    }
    run = open_run("demo", str(tiny_corpus), str(folder / "run"), overrides)
    preprocess_corpus(run, open_corpus(run))
    write_tiny_checkpoints(run.path("checkpoints"), run.table("transcripts")["text"].tolist())
    for modality, encoder in all_encoders(run.config.embeddings):
        extract_features(run, modality, encoder)
    made = train_recipes(run, ["chosen", "paper"])
    assert not any(one.failure for one in made.values())
    return run


@pytest.fixture(scope="module")
def bundle(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only."""
    return Predictor.from_run(trained).save(tmp_path_factory.mktemp("exported") / "bundle")


def asked(run: Run) -> tuple[list[Path], list[str]]:
    """The run's test clips and their raw texts."""
    table = run.table("clips")
    test = table[table["split"] == "test"]
    raw = run.table("transcripts").set_index("clip_id")["raw"]
    return [run.data_dir / name for name in test["video"]], raw.loc[test["clip_id"]].tolist()


def assert_alike(found: Answers, own: Answers) -> None:
    assert found.table["clip_id"].tolist() == own.table["clip_id"].tolist()
    for task in own.tasks:
        assert found.table[task].tolist() == own.table[task].tolist()
        columns = class_columns(own.classes, task)
        # Batches differ, which moves last bits of float32 features and products.
        np.testing.assert_allclose(found.table[columns], own.table[columns], rtol=0, atol=1e-4)


@pytest.mark.parametrize("recipe", ["chosen", "paper", "meaning"])
def test_answers_are_those_of_the_run(trained: Run, recipe: str) -> None:
    videos, texts = asked(trained)
    with Predictor.from_run(trained, recipe) as predictor:
        found = predictor.predict(videos, texts)
    assert_alike(found, load_experiment(trained, recipe).answers.of_split("test"))


def test_a_bundle_answers_alike_in_a_fresh_process_elsewhere(
    trained: Run, bundle: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    bundle.rename(moved)  # its checkpoints come with it
    try:
        videos, texts = asked(trained)
        command = ["predict", *map(str, videos[:3]), "--bundle", str(moved), "--json"]
        command += ["--csv", "answers.csv", "--figure", "clip.png"]
        made = subprocess.run(
            [sys.executable, "-m", "meiju_utils", *command],
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        said = json.loads(made.stdout)["clips"]
        assert list(said) == [video.stem for video in videos[:3]]
        first = said[videos[0].stem]
        assert set(first["alone"]) <= {"audio", "visual", "text"}
        assert first["lacks"]["text"] == "empty text"
        rows = (tmp_path / "answers.csv").read_text("utf-8").splitlines()
        assert rows[0].startswith("clip_id,emotion,intent,emotion:happy")
        assert len(rows) == 4
        assert len(list(tmp_path.glob("clip-*.png"))) == 3
        own = load_experiment(trained, "chosen").answers.of_split("test")
        assert_alike(Predictor.load(moved).predict(videos, texts), own)
    finally:
        moved.rename(bundle)


def test_the_way_to_an_answer_imports_no_torch() -> None:
    """Which would take a third of the seconds until the first answer."""
    code = "import sys, meiju_utils.bundle; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_a_clip_lacks_is_said_and_the_others_count_more(
    trained: Run, make_clip: MakeClip
) -> None:
    frames = numbered_frames(30)
    videos = {
        "silent": make_clip("silent.mp4", frames),
        "blind": make_clip("blind.mp4", sound=tone(1.5)),
        "faceless": make_clip("faceless.mp4", frames, tone(1.2)),
    }
    with Predictor.from_run(trained) as predictor:
        found = predictor.read(list(videos.values()), {"silent": "什么？"})
        again = predictor.read(videos["silent"], "什么？")
    assert found.problems == {}
    assert found.answers.table["clip_id"].tolist() == list(videos)
    assert found.lacks["silent"] == {"audio": "no audio"}
    assert set(found.lacks["blind"]) == {"visual", "text"}
    assert "no picture" in told(clip_values(found), found.answers.tasks)
    assert found.alone["audio"].table["clip_id"].tolist() == ["blind", "faceless"]
    assert found.alone["text"].table["clip_id"].tolist() == ["silent"]
    for task in found.answers.tasks:
        probabilities = found.answers.probabilities(task)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        # Alone in its batch or not, a clip's answer is the same.
        np.testing.assert_allclose(
            again.answers.probabilities(task)[0], probabilities[0], atol=1e-5
        )


def test_what_cannot_be_read_has_a_reason_and_stops_no_other(
    trained: Run, make_clip: MakeClip, tmp_path: Path
) -> None:
    good = make_clip("good.mp4", numbered_frames(30), tone(1.2))
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    with Predictor.from_run(trained, "sound") as predictor:
        found = predictor.read(tmp_path)
        assert found.answers.table["clip_id"].tolist() == ["good"]
        assert set(found.problems) == {"text", "empty"}
        assert all(reason.startswith("MediaError: ") for reason in found.problems.values())
        with pytest.raises(PredictionError, match="None of 1 videos can be read"):
            predictor.predict(tmp_path / "text.mp4")
        with pytest.raises(MediaError, match="no file or folder"):
            predictor.predict(tmp_path / "none.mp4")
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(MediaError, match="no file or folder"):
            predictor.predict(tmp_path / "pipe.mp4")
        (tmp_path / "nothing").mkdir()
        with pytest.raises(MediaError, match="holds no video"):
            predictor.predict(tmp_path / "nothing")
        with pytest.raises(PredictionError, match="2 texts for 1 videos"):
            predictor.predict(good, ["a", "b"])
        with pytest.raises(PredictionError, match="'other', which is none of the videos"):
            predictor.predict(good, {"other": "a"})


def test_two_videos_of_one_name_are_told_apart(
    trained: Run, make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip("a.mp4", numbered_frames(20), tone(1.0))
    other = tmp_path / "more" / "a.mp4"
    other.parent.mkdir()
    other.write_bytes(clip.read_bytes())
    with Predictor.from_run(trained, "sound") as predictor:
        ids = predictor.predict([clip, other]).table["clip_id"].tolist()
    assert ids == [clip.as_posix(), other.as_posix()]


def test_a_recipe_without_results_cannot_be_asked(trained: Run) -> None:
    with pytest.raises(ConfigError, match="No recipe 'bets'"):
        Predictor.from_run(trained, "bets")
    experiment = load_experiment(trained, "words")
    write_failure(experiment, "It diverged.")
    try:
        with pytest.raises(TrainingError, match="has no results: It diverged"):
            Predictor.from_run(trained, "words")
    finally:
        (experiment.folder / "failed.json").unlink()


def test_another_checkpoint_in_the_place_of_the_one_trained_with_is_refused(
    trained: Run, tmp_path: Path
) -> None:
    predictor = Predictor.from_run(trained, "meaning")
    folder = trained.path("checkpoints", "tiny-bert")
    added = folder / "added.txt"
    added.write_text("another content")
    try:
        with pytest.raises(BundleError, match="is another than the one"):
            predictor.predict(asked(trained)[0][0], "什么？")
    finally:
        added.unlink()


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copied"))


def changed(folder: Path, **values: object) -> Path:
    """A bundle whose description is in order but says something else."""
    write_record(folder / BUNDLE, {**read_record(folder / BUNDLE), **values})
    return folder


def test_a_bundle_holds_no_code_and_no_path_of_its_machine(bundle: Path, trained: Run) -> None:
    suffixes = {path.suffix for path in bundle.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".md", ".safetensors", ".txt"}
    text = (bundle / BUNDLE).read_text("utf-8")
    assert str(trained.folder) not in text
    assert "{run_dir}/checkpoints" in text  # a checkpoint of the run folder travels
    card = (bundle / "model-card.md").read_text("utf-8")
    for part in ("## Data", "validation | joint", "## Limits", "licence", "Label shift"):
        assert part in card
    assert "hold features of training and unlabelled clips" in card


def test_a_changed_or_cut_file_is_named(copied: Path) -> None:
    weights = sorted((copied / "weights").iterdir())
    data = bytearray(weights[0].read_bytes())
    data[len(data) // 2] ^= 1
    weights[0].write_bytes(data)
    with pytest.raises(BundleError, match=rf"weights/{weights[0].name} is not what was exported"):
        Predictor.load(copied)
    weights[0].unlink()
    with pytest.raises(BundleError, match=rf"weights/{weights[0].name} is missing"):
        Predictor.load(copied)


def test_a_file_that_was_put_in_is_refused(copied: Path) -> None:
    (copied / ".DS_Store").touch()
    assert load_bundle(copied)
    (copied / "checkpoints" / "added.json").write_text("{}")
    with pytest.raises(BundleError, match=r"added\.json was not exported"):
        load_bundle(copied)


def test_a_newer_and_a_foreign_bundle_are_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"by meiju 9\.9, in a newer form"):
        load_bundle(changed(copied, format=2, package="9.9"))
    with pytest.raises(BundleError, match="is not what this version"):
        load_bundle(changed(copied, format=1, frozen={"name": "x"}))
    with pytest.raises(BundleError, match=r"is no bundle: it has no bundle\.json"):
        load_bundle(tmp_path)
    (copied / BUNDLE).write_text("{}")
    with pytest.raises(BundleError, match="damaged or was changed by hand"):
        load_bundle(copied)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "weights/../../x", ""])
def test_files_outside_the_folder_are_never_looked_at(copied: Path, name: str) -> None:
    with pytest.raises(BundleError, match="outside its folder"):
        load_bundle(changed(copied, files={name: "0"}))


def test_a_link_out_of_the_folder_is_refused(copied: Path, bundle: Path) -> None:
    inside = next((copied / "weights").iterdir())
    inside.unlink()
    inside.symlink_to(bundle / "weights" / inside.name)
    with pytest.raises(BundleError, match="leads out of its folder"):
        load_bundle(copied)


def test_parts_that_do_not_fit_are_refused(copied: Path) -> None:
    frozen = read_record(copied / BUNDLE)["frozen"]
    name = next(name for name, part in frozen["parts"].items() if part["kind"] == "model")

    def with_part(**values: object) -> dict[str, object]:
        part = {**frozen["parts"][name], **values}
        return {**frozen, "parts": {**frozen["parts"], name: part}}

    for values, why in (
        ({"component": {"name": "own", "options": {}}}, "needs 'own', which this installation"),
        ({"streams": {"audio": 99}}, "reads an encoder that is not there"),
        ({"weights": []}, "has no weights"),
        ({"weights": [{"file": "../x.safetensors", "seed": 0, "fold": 0}]}, "names a file"),
        ({"weights": [{"file": "999.safetensors", "seed": 0, "fold": 0}]}, "lacks 999"),
    ):
        with pytest.raises(BundleError, match=why):
            load_bundle(changed(copied, frozen=with_part(**values)))
    with pytest.raises(BundleError, match="its last part is not the recipe"):
        load_bundle(changed(copied, frozen={**frozen, "name": name}))


@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
def test_any_bytes_in_place_of_the_description_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / BUNDLE).write_bytes(data)
    with pytest.raises(BundleError):
        load_bundle(tmp_path)


def test_a_description_of_great_depth_or_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / BUNDLE).write_text("[" * 100_000)
    with pytest.raises(BundleError):
        load_bundle(tmp_path)
    with (tmp_path / BUNDLE).open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(BundleError, match="larger than 64 MB"):
        load_bundle(tmp_path)


def test_a_folder_with_anything_else_is_not_written_over(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    predictor = Predictor.load(bundle)
    with pytest.raises(BundleError, match="is there and is no bundle"):
        predictor.save(tmp_path)
    again = predictor.save(tmp_path / "new")
    before = (again / BUNDLE).read_bytes()
    assert predictor.save(tmp_path / "new") == again  # an older bundle is replaced
    assert (again / BUNDLE).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "new"}


def test_words_that_nobody_gave_are_heard(
    trained: Run, monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
) -> None:
    asked_of: list[tuple[str, str]] = []

    class Listener:
        def __init__(self, model: str, device: str) -> None:
            self.model = model

        def hear(self, sounds: list[np.ndarray], language: str) -> list[Heard]:
            asked_of.append((self.model, language))
            return [Heard("你怎么了?", "“嗯” is a guess") if s.size else Heard() for s in sounds]

    monkeypatch.setattr(clips, "load_whisper", Listener)
    sound = make_clip("sound.mp4", numbered_frames(25), tone(1.0))
    silent = make_clip("silent.mp4", numbered_frames(25))
    with Predictor.from_run(trained, "words") as predictor:
        found = predictor.read([sound, silent], asr="a/whisper")
        given = predictor.read(sound, "好的", asr="a/whisper")
    assert asked_of == [("a/whisper", "mandarin")]
    remarks = clip_values(found)["clips"]["sound"]["remarks"]
    assert "doubtful speech: “嗯” is a guess" in remarks
    assert found.clips.texts == {"sound": "你怎么了？", "silent": ""}  # cleaned as the run's were
    assert given.clips.texts["sound"].startswith("好的")
    odd = predictor.frozen.preprocessing.model_copy(update={"sample_rate": 8000})
    other = Predictor(
        predictor.frozen.model_copy(update={"preprocessing": odd}), predictor.material
    )
    with pytest.raises(ConfigError, match="hears 16000 Hz"):
        other.read(sound, asr="a/whisper")


def test_all_that_is_named_by_a_path_travels_if_asked(
    trained: Run, bundle: Path, tmp_path: Path
) -> None:
    predictor = Predictor.load(bundle)
    (tmp_path / "yunet.onnx").write_bytes(b"detector")
    (tmp_path / "talk.model").write_bytes(b"scorer")
    settings = predictor.frozen.preprocessing
    faces = settings.faces.model_copy(update={"detector": f"yunet:{tmp_path}/yunet.onnx"})
    named = {"faces": faces, "speaker": f"talknet:{tmp_path}/talk.model"}
    frozen = predictor.frozen.model_copy(
        update={"preprocessing": settings.model_copy(update=named)}
    )
    target = tmp_path / "target"
    target.mkdir()
    made = carried(frozen, bundle, target, every=True)
    assert made.preprocessing.faces.detector == "yunet:{run_dir}/checkpoints/detector.onnx"
    assert made.preprocessing.speaker == "talknet:{run_dir}/checkpoints/speaker.model"
    found = placed(made, target).preprocessing
    assert Path(found.faces.detector.partition(":")[2]).read_bytes() == b"detector"
    assert Path(found.speaker.partition(":")[2]).read_bytes() == b"scorer"
    left = carried(frozen, bundle, tmp_path / "left", every=False)
    assert left.preprocessing == frozen.preprocessing
    older = made.model_copy(update={"preprocessing": found, "encoders": []})
    (tmp_path / "newer").mkdir()
    again = carried(older, target, tmp_path / "newer", every=False)  # a bundle saved once more
    assert again.preprocessing == made.preprocessing
    assert (tmp_path / "newer/checkpoints/detector.onnx").read_bytes() == b"detector"
    gone = frozen.encoders[-1].config.model_copy(update={"name": "hf:{run_dir}/none"})
    encoders = [frozen.encoders[-1].model_copy(update={"config": gone})]
    with pytest.raises(BundleError, match="is not on this machine"):
        carried(frozen.model_copy(update={"encoders": encoders}), bundle, target, every=True)
