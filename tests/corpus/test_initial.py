"""`meiju init`: a first table and profile, which read back as what the folder holds."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from meiju_utils.cli import app
from meiju_utils.config import load_profile
from meiju_utils.corpus.initial import initialise
from meiju_utils.corpus.settling import settled
from meiju_utils.errors import CorpusError
from tests.clips import MakeClip


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "clips.csv", dtype=str, keep_default_na=False)


def test_a_folder_of_videos_gets_a_row_each_and_a_profile(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    for name in ("Train/a.mp4", "Train/b.mp4", "dev/a.mp4", "x/c.mp4", "x/c.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_clip(name, frames=3)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "notes.txt").write_text("not a film")
    made = initialise(tmp_path, "mandarin")
    assert [path.name for path in made.written] == ["clips.csv", "profile.yaml"]
    found = table(tmp_path).set_index("video")
    assert list(found.columns) == ["clip_id", "text", "split", "emotion", "intent"]
    assert found["clip_id"].to_dict() == {
        "Train/a.mp4": "Train_a",
        "Train/b.mp4": "b",
        "broken.mp4": "broken",
        "dev/a.mp4": "dev_a",
        "x/c.mov": "x_c_mov",
        "x/c.mp4": "x_c_mp4",
    }
    assert found["split"].tolist() == ["train", "train", "", "valid", "", ""]
    told = " ".join(made.told)
    for words in ("6 videos", "2 train, 1 valid", "1 do not open, as broken.mp4"):
        assert words in told
    profile = load_profile(str(tmp_path / "profile.yaml"))
    assert profile.language == "mandarin"
    assert profile.labels == {"emotion": [], "intent": []}
    filled = table(tmp_path).assign(emotion=list("abcabc"), intent=list("xyxyxy"))
    filled.to_csv(tmp_path / "clips.csv", index=False)
    found_profile = settled(profile, tmp_path)
    assert found_profile.setting.classes["emotion"] == ("a", "b", "c")
    assert list(found_profile.embeddings.chosen()) == ["audio", "visual"]  # there are no texts yet


def test_long_videos_ask_for_times(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip("talk.mp4", frames=3, sound=31.0)
    made = initialise(tmp_path)
    assert list(table(tmp_path).columns[-2:]) == ["start_s", "end_s"]
    assert "1 are longer than 30 s" in " ".join(made.told)


def test_what_is_there_stays_and_shapes_the_profile(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("clip_id,text,emotion\na,well,on\nb,no,x: y\n")
    made = initialise(tmp_path)
    assert [path.name for path in made.written] == ["profile.yaml"]
    profile = load_profile(str(tmp_path / "profile.yaml"))
    assert profile.labels == {"emotion": ["on", "x: y"]}
    with pytest.raises(CorpusError, match="are there already"):
        initialise(tmp_path)


def test_a_folder_without_videos_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(CorpusError, match=r"No video in .*files of \.txt"):
        initialise(tmp_path)
    with pytest.raises(CorpusError, match="No folder"):
        initialise(tmp_path / "none")


def test_the_command_tells_what_it_wrote(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip("one.mp4", frames=3)
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert result.exit_code == 0
    assert "clips.csv" in result.output
    assert "1 video, a row each" in result.output.replace("\n", " ")
