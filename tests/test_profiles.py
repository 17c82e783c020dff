"""The built-in profiles of real data, each on a small corpus of its shape.

The paper's encoders are replaced by tiny checkpoints of the same architectures; all else is the
profile's. The clips are those of the tiny synthetic corpus, laid out anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import f1_score

from meiju_utils.challenge import CLASSES, SETTINGS, TASKS, Setting
from meiju_utils.config import load_profile
from meiju_utils.corpus.official import read_corpus
from meiju_utils.embeddings import (
    extract_features,
    write_tiny_checkpoints,
)
from meiju_utils.errors import ConfigError
from meiju_utils.opening import open_run
from meiju_utils.preprocessing.pipeline import preprocess_corpus
from meiju_utils.recipes import (
    TABLE_ONE,
    Experiment,
    has_pool,
    make_pseudo_labels,
    train_recipes,
)
from meiju_utils.reporting import tables
from meiju_utils.run import Run
from meiju_utils.submission.writer import publish_submission

pytestmark = pytest.mark.filterwarnings("ignore:Pseudo labels")

ROOT = Path(__file__).parents[1]
OF_SETTINGS = ("track1-mandarin", "track1-english", "track2-mandarin", "track2-english")
WORDS = {"train": "Training", "valid": "Validation", "test": "Testing"}
SIZES = {"train": 16, "valid": 9, "test": 4, "unlabeled": 6}
ENGLISH = ("What are you doing here??", "Well, fine.", "Don't worry!", "He said so, twice...")
# Nothing may be downloaded; what is learned in one epoch does not matter here.
TINY = {
    "embeddings.audio.name": "hf:{run_dir}/checkpoints/tiny-hubert",
    "embeddings.visual.name": "timm:{run_dir}/checkpoints/tiny-vit",
    "embeddings.text.name": "hf:{run_dir}/checkpoints/tiny-bert",
    "embeddings.tiny_checkpoints": True,
    "preprocessing.faces.detector": "dlib-hog",
    "preprocessing.faces.detect_every": 10,  # drawn heads hardly move
    "preprocessing.transcripts.asr": "",
}
QUICK = {"training.epochs": 1, "training.seeds": [0], "parallel.backend": "serial"}


def write_release(folder: Path, setting: Setting, clips: pd.DataFrame, root: Path | None) -> Path:
    """The official layout of a setting, with SIZES of the given clips and their videos, if any."""
    home = folder / f"Track{setting.track}" / setting.language.capitalize()
    lists = home / "Annotation" if setting.track == 1 else home
    lists.mkdir(parents=True)
    for split, size in SIZES.items():
        if split == "unlabeled" and not setting.has_unlabeled:
            continue
        chosen = clips[clips["split"] == split].head(size).reset_index(drop=True)
        word = WORDS.get(split, "NoAnnotation")
        videos = home / word if split == "unlabeled" else lists / word
        names, texts, rows = [], [], []
        for number, clip in chosen.iterrows():
            name = f"Track{setting.track}_{word}_{number:05d}.mp4"
            labels = "" if split == "test" else f" {clip['emotion']} {clip['intent']}"
            names.append(name)
            texts.append(
                clip["text"]
                if setting.language == "mandarin"
                else ENGLISH[int(str(number)) % len(ENGLISH)]
            )
            rows.append(name + labels)
            if root is not None:
                videos.mkdir(exist_ok=True)
                (videos / name).hardlink_to(root / clip["video"])
        table = pd.DataFrame({"FileName": names, "Subtitle": texts})
        if split == "unlabeled":
            if root is None:  # with videos, their words are for speech recognition to find
                (home / word).mkdir()
                table.columns = ["name", "sentence"]
                table.to_csv(home / word / "transcription.csv", index=False)
            continue
        (lists / f"{word}_files.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        table.to_csv(lists / f"{word}_transcription.csv", index=False)
    return folder


@dataclass(frozen=True)
class Finished:
    """A run of a profile from the release to the answers."""

    run: Run
    rows: dict[str, Experiment]


def finish(profile: str, release: Path, folder: Path, changes: dict[str, Any]) -> Finished:
    run = open_run(profile, str(release), str(folder), {**QUICK, **changes})
    preprocessed = preprocess_corpus(run, read_corpus(run.data_dir, run.setting))
    if "embeddings.text.name" in changes:
        words = [preprocessed.text(clip_id) for clip_id in preprocessed.clip_ids]
        write_tiny_checkpoints(run.path("checkpoints"), words)
    for modality, encoder in run.config.embeddings.chosen().items():
        extract_features(run, modality, encoder)
    return Finished(run, train_recipes(run))


@pytest.fixture(scope="module")
def source(tiny_corpus: Path) -> tuple[pd.DataFrame, Path]:
    """Clips of the tiny corpus, and the folder their videos are relative to."""
    return read_corpus(tiny_corpus, SETTINGS[1, "mandarin"]).clips, tiny_corpus


@pytest.fixture(scope="module", params=OF_SETTINGS)
def finished(
    request: pytest.FixtureRequest,
    source: tuple[pd.DataFrame, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    clips, root = source
    folder = tmp_path_factory.mktemp(request.param)
    (setting,) = (s for s in SETTINGS.values() if s.name == request.param)
    release = write_release(folder / "release", setting, clips, root)
    return finish(request.param, release, folder / "run", TINY)


@pytest.mark.parametrize("name", OF_SETTINGS)
def test_a_settings_profile_names_the_papers_encoders(name: str, tmp_path: Path) -> None:
    config = load_profile(name)
    assert config.setting.name == name
    chosen = config.embeddings.chosen()
    mandarin = config.setting.language == "mandarin"
    assert {modality: encoder.name for modality, encoder in chosen.items()} == {
        "audio": "hf:TencentGameMate/chinese-hubert-large"
        if mandarin
        else "hf:facebook/hubert-large-ll60k",
        "visual": "timm:vit_large_patch14_clip_quickgelu_224.openai",
        "text": "hf:hfl/chinese-roberta-wwm-ext-large"
        if mandarin
        else "hf:FacebookAI/roberta-large",
    }
    assert (chosen["audio"].layers, chosen["audio"].combine) == ([-4, -3, -2, -1], "sum")
    assert {encoder.level for encoder in chosen.values()} == {"utterance"}
    # Its pool comes without words.
    assert bool(config.preprocessing.transcripts.asr) == config.setting.has_unlabeled
    with pytest.raises(ConfigError, match="give data_dir"):
        open_run(name, "", str(tmp_path / "run"))


def test_a_settings_profile_leads_to_scores_by_its_metric_and_a_valid_submission(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rows = finished.run, finished.rows
    check_table_one(rows, run)
    widths = rows["baseline"].config["network"]["widths"]
    assert widths == {"audio": 32, "visual": 32, "text": 32}
    monkeypatch.chdir(tmp_path)  # where submissions/ is made
    published = publish_submission(run, rows["ensemble"].answers.of_split("test"))
    submitted = pd.read_csv(published.in_run)
    assert submitted["filename"].tolist() == [
        f"Track{run.setting.track}_Testing_{number:05d}" for number in range(SIZES["test"])
    ]
    assert set(submitted["emo_pred"]) <= set(CLASSES["emotion"])


def test_without_a_pool_pseudo_label_recipes_are_their_stage_one_and_say_so(
    finished: Finished,
) -> None:
    run, rows = finished.run, finished.rows
    table = tables.recipe_scores(rows).drop_duplicates("system").set_index("system")
    if run.setting.has_unlabeled:
        assert set(rows["+one-head"].history["stage"]) == {"one-head-clean", "+one-head"}
        labels = make_pseudo_labels(run, rows["baseline"])
        assert len(labels.selection.table) == SIZES["unlabeled"]
        assert (table["trained_as"] == table.index).all()
        return
    assert not has_pool(run.table("clips"))
    assert table["trained_as"].to_dict() == {
        "baseline": "baseline",
        "+pseudo-label": "baseline",
        "+1textcnn": "1textcnn-clean",
        "+one-head": "one-head-clean",
        "one+two-heads": "one+two-heads",
        "ensemble": "ensemble",
    }
    assert "1textcnn-clean" in tables.show_table_one(tables.recipe_scores(rows)).to_html()
    labels = make_pseudo_labels(run, rows["baseline"])
    assert labels.selection.notes == ["There are no unlabelled clips, so none are labelled."]


def test_text_only_takes_words_without_media(
    source: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    release = write_release(tmp_path / "release", SETTINGS[1, "mandarin"], source[0], None)
    done = finish("text-only", release, tmp_path / "run", {})
    run, rows = done.run, done.rows
    assert (run.table("clips")["video"] == "").all()
    assert list(rows["baseline"].config["encoders"]) == ["text"]
    check_table_one(rows, run)
    notes = " ".join(rows["baseline"].notes)
    assert "another number of its heads changes nothing" in notes
    assert "A text is one vector" in notes


def check_table_one(rows: dict[str, Experiment], run: Run) -> None:
    """Every row has probabilities of every clip, and scores by the setting's metric."""
    clips = run.table("clips")
    expected = sum(SIZES.values()) - (0 if run.setting.has_unlabeled else SIZES["unlabeled"])
    assert len(clips) == expected
    assert run.setting.average == ("weighted" if run.setting.track == 1 else "micro")
    for name in TABLE_ONE:
        answers = rows[name].answers
        assert set(answers.table["clip_id"]) == set(clips["clip_id"])
        valid = clips[clips["split"] == "valid"]
        own = answers.table.set_index("clip_id").loc[valid["clip_id"]]
        assert len(valid) == SIZES["valid"]
        for task in TASKS:
            expected = f1_score(
                valid[task], own[task], average=run.setting.average, labels=valid[task].unique()
            )
            if run.setting.average == "weighted":
                assert rows[name].score(task) == pytest.approx(expected)
            else:
                right = (valid[task].to_numpy() == own[task].to_numpy()).mean()
                assert rows[name].score(task) == pytest.approx(right)
