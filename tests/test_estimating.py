"""Hours and disk told in advance, from a few clips of the corpus itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meiju_utils import cli
from meiju_utils.corpus.official import read_corpus
from meiju_utils.corpus.survey import Corpus
from meiju_utils.estimate_text import render_estimate
from meiju_utils.estimating import TIMED, estimate_run
from meiju_utils.opening import plan_run
from meiju_utils.run import Run

WORDED = 8  # clips


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path) -> Corpus:
    return read_corpus(tiny_corpus, planned(tiny_corpus, tiny_corpus).setting)


def planned(data: Path, folder: Path, **settings: object) -> Run:
    return plan_run("demo", str(data), str(folder), settings)


def test_stages_and_artefacts_are_told_from_a_few_clips(
    tiny_corpus: Path, tmp_path: Path, corpus: Corpus
) -> None:
    run = planned(tiny_corpus, tmp_path / "run", **{"parallel.workers": 4})
    clips = corpus.clips.copy()
    clips["text"] = clips["text"].where(clips["text"].ne("").cumsum() <= WORDED, "")
    found = estimate_run(run, replace(corpus, clips=clips))
    assert not run.folder.exists()
    stages = {one.stage: one for one in found.stages}
    encoders = ["audio: prosody", "visual: hog", "text: char-ngram"]
    assert list(stages) == ["01 decoding and faces", *(f"02 {name}" for name in encoders)]
    decoding = stages["01 decoding and faces"]
    filmed = int((corpus.clips["video"] != "").sum())
    assert (decoding.timed_on, decoding.clips, decoding.workers) == (TIMED, filmed, 4)
    assert decoding.hours == pytest.approx(decoding.s_a_clip * filmed / 4 / 3600)
    assert 0.01 < decoding.s_a_clip < 20
    text = stages["02 text: char-ngram"]  # not of clips without words, whatever their size
    assert (text.timed_on, text.clips) == (TIMED, WORDED)
    artefacts = {one.artefact: one for one in found.artefacts}
    seconds = artefacts["sound"].mb_a_clip * 1e6 / 2 / 16000  # of 16-bit samples
    assert 0.5 < seconds < 10
    assert artefacts["sound"].gb == pytest.approx(artefacts["sound"].mb_a_clip * filmed / 1e3)
    assert artefacts["face crops"].mb_a_clip > 0
    assert {f"features, {name}" for name in encoders} < artefacts.keys()
    assert found.suffices
    for name in ("tiny-hubert", "tiny-vit", "tiny-bert"):
        assert any(name in note and "made in the run folder" in note for note in found.notes)
    assert any("Trainings" in note for note in found.notes)
    told = render_estimate(found)
    lines = [line for line in told.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    assert "that suffices" in told


def test_what_is_not_on_this_machine_is_said_and_not_timed(
    tiny_corpus: Path, tmp_path: Path, corpus: Corpus
) -> None:
    run = planned(
        tiny_corpus,
        tmp_path / "run",
        **{
            "embeddings.compare": {},
            "embeddings.audio": "hf:nobody/no-such-model",
            "embeddings.visual": f"npy:{tmp_path}/gone",
            "embeddings.text": None,
            "preprocessing.transcripts.asr": "nobody/no-such-whisper",
        },
    )
    bare = corpus.clips.assign(text="")
    found = estimate_run(run, Corpus(corpus.root, bare, corpus.problems, corpus.layout))
    assert [one.stage for one in found.stages] == ["01 decoding and faces"]
    notes = "\n".join(found.notes)
    assert "audio: hf:nobody/no-such-model is not timed" in notes
    assert "hf download nobody/no-such-model" in notes
    assert "gone is not timed: it is not there" in notes
    assert "no-such-whisper is not timed" in notes


def test_the_doctor_tells_the_estimate_and_leaves_only_what_it_saw(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = ["doctor", "--data-dir", str(tiny_corpus), "--run-dir", str(folder), "--quick"]
    arguments += ["--json", "--workers", "1", "--set", "embeddings.compare={}"]
    shown = CliRunner().invoke(cli.app, [*arguments, "--estimate"])
    told = json.loads(shown.stdout)
    assert told["estimate"]["stages"][0]["workers"] == 1
    assert told["estimate"]["suffices"]
    assert [path.name for path in folder.iterdir()] == ["doctor"]
    assert "estimate" not in json.loads(CliRunner().invoke(cli.app, arguments).stdout)
