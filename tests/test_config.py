import time
from pathlib import Path
from typing import Any

import pytest

from meiju_utils import strict_yaml
from meiju_utils.config import built_in_profiles, load_profile, parse_overrides
from meiju_utils.errors import ConfigError


@pytest.mark.parametrize("name", built_in_profiles())
def test_every_built_in_profile_is_valid_and_carries_its_name(name: str) -> None:
    assert load_profile(name).name == name


def test_overrides_reach_nested_keys_and_leave_the_rest() -> None:
    profile = load_profile("demo", {"training.epochs": 5, "embeddings.audio.name": "hf:x"})
    assert profile.training.epochs == 5
    assert profile.embeddings.chosen()["audio"].name == "hf:x"
    assert profile.training.batch_size == load_profile("demo").training.batch_size


def test_an_encoder_may_be_written_as_its_plain_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("embeddings: {audio: 'hf:some/model', visual: {name: hog, level: frame}}")
    chosen = load_profile(str(path)).embeddings.chosen()
    assert chosen["audio"].name == "hf:some/model"
    assert chosen["visual"].level == "frame"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epoch": 5}, "did you mean 'epochs'"),
        *(
            (old, "pseudo_labels is no key of a profile any more: what it said are options of a")
            for old in ({"pseudo_labels.threshold": 0.9}, {"pseudo_labels": {}})
        ),
        ({"trainin.epochs": 5}, "'trainin.epochs': did you mean 'training.epochs'?"),
        ({"trainin.foo": 5}, "did you mean 'training'"),
        ({"trainin": {"epochs": 5, "patience": 3}}, "did you mean 'training'"),
        ({"epochs": 5}, "unknown key 'epochs': did you mean 'training.epochs'?"),
        ({"epoch": 5}, "did you mean 'training.epochs'?"),
        ({"learning_rat": 1}, "did you mean 'training.learning_rate'?"),
        ({"model.epochs": 5}, "'model.epochs': did you mean 'training.epochs'?"),
        ({"embeddings.epochs": 5}, "'embeddings.epochs': did you mean 'training.epochs'?"),
        (
            {"device": "cpu"},
            "did you mean 'preprocessing.device', 'embeddings.device' or 'training.device'?",
        ),
        ({"detector": "x"}, "did you mean 'preprocessing.faces.detector'?"),
        ({"faces": {}}, "did you mean 'preprocessing.faces'?"),
        (
            {"training.dtype": "float16"},
            "did you mean 'embeddings.audio.dtype', 'embeddings.visual.dtype' or "
            "'embeddings.text.dtype'?",
        ),
        ({"qqq": 1}, "unknown key 'qqq': Valid: data_dir, embeddings,"),
        ({"training.epochs": "many"}, "training.epochs = 'many'"),
        ({"training.epochs": 0}, "greater than or equal to 1"),
        ({"track": 3}, "track = 3"),
        ({"embeddings.compare": {"sound": []}}, "sound"),
        ({"preprocessing.faces.detectr": "x"}, "did you mean 'detector'"),
        ({"training.epochs": True}, "training.epochs = True: true or false"),
        ({"training.learning_rate": True}, "training.learning_rate = True"),
        ({"training.seeds": [0, True]}, "training.seeds = [0, True]"),
        ({"track": True}, "track = True"),
        ({"training.learning_rate": float("inf")}, "training.learning_rate = inf"),
        ({"training.learning_rate": "nan"}, "training.learning_rate = 'nan'"),
        ({3: 4}, "Override 3: expected a dotted key"),
        ({"training": {3: 4}}, "training.3"),
        ({"name": ""}, "name = ''"),
        ({"name": "../up"}, "name = '../up'"),
        ({"name": ".."}, "name = '..'"),
        (
            {"embeddings.audio": None, "embeddings.visual": None, "embeddings.text": None},
            "audio, visual and text are all null",
        ),
    ],
)
def test_a_bad_override_is_refused_with_the_nearest_valid_name(
    overrides: dict[Any, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("demo", overrides)
    assert message in str(caught.value)


def test_truth_values_are_taken_where_they_are_meant() -> None:
    assert load_profile("demo", {"training.class_weights": True}).training.class_weights
    assert not load_profile("demo", {"training.standardise": False}).training.standardise


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("demo", {"training.epoch": 5, "seeed": 1})
    assert "epoch" in str(caught.value)
    assert "seeed" in str(caught.value)


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        load_profile("dem")


def test_missing_profile_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_profile(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        *("- a\n- b\n", "a: [1", "just words", "seed: 2020-13-45", "3: 4"),
        *("seed: 1\nseed: 2", "training: {epochs: 1, epochs: 2}"),  # the last one would win
        "language: 普通话",  # written as GB18030 below
    ],
)
def test_a_profile_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="gb18030")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_profile(str(path))


IMMENSE = {
    "deep": "a: " + "[" * 60 + "]" * 60,
    "very deep": "a: " + "[" * 5000 + "]" * 5000,
    "many": "a: [" + "1," * (strict_yaml.MOST_VALUES + 1) + "]",
    "aliases": "".join(
        f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10) if i else '1'}]\n" for i in range(12)
    ),
    "merged": "l0: &l0 {a: 1}\n"
    + "".join(f"l{i}: &l{i} {{<<: [{', '.join([f'*l{i - 1}'] * 10)}]}}\n" for i in range(1, 9)),
    "long": "# " + "x" * strict_yaml.MOST_CHARACTERS,
}


@pytest.mark.parametrize("kind", IMMENSE)
def test_a_profile_file_of_immense_depth_or_size_is_refused_at_once(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(IMMENSE[kind])
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_profile(str(path))
    assert time.process_time() - began < 20  # a second or two where nobody else works


def test_assignments_are_read_as_yaml() -> None:
    assert parse_overrides(["training.seeds=[1, 2]", "a=true", "b=x=y"]) == {
        "training.seeds": [1, 2],
        "a": True,
        "b": "x=y",
    }


@pytest.mark.parametrize("text", ["training.epochs", "=5", "a=[1", "a={b: 1, b: 2}"])
def test_a_malformed_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_overrides([text])
