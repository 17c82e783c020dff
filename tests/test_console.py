"""What the encoding lacks is escaped; sentences keep to the width, commands stay whole."""

import json
import os
import subprocess
import sys

import pytest

from meiju_utils.console import wrapped

MESSAGE = """NotebookError: 02_embedding.ipynb stopped in cell 3 ('stores = [a for a in encoders]'):
  FeatureError: None of 10 clips has words; it's as the profile-of-one's-own says. Go on with: \
meiju run --data-dir '/with blanks/and more of them' --set embeddings.text=null --only 02
- one of a list of things that has so much to be said of it that it goes on and on and on
  The notebook as far as it came: /a/very/long/path-with-hyphens/and-longer-still/than-a-line.html
"""


def test_sentences_keep_to_the_width_and_commands_paths_and_quotes_stay_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = wrapped(MESSAGE.replace("\\\n", "")).splitlines()
    assert lines == [
        "NotebookError: 02_embedding.ipynb stopped in cell 3",
        "('stores = [a for a in encoders]'):",
        "  FeatureError: None of 10 clips has words; it's as the",
        "  profile-of-one's-own says. Go on with:",
        "  meiju run --data-dir '/with blanks/and more of them' "
        "--set embeddings.text=null --only 02",
        "- one of a list of things that has so much to be said of it",
        "  that it goes on and on and on",
        "  The notebook as far as it came:",
        "  /a/very/long/path-with-hyphens/and-longer-still/than-a-line.html",
    ]
    assert wrapped("a  short   line\n\n") == "a  short   line\n\n"


def test_an_unknown_width_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert max(map(len, wrapped("word " * 100).splitlines())) == 79


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "utf-8"])
def test_no_console_is_at_a_loss_for_a_character(encoding: str) -> None:
    names = ["片段 1.mp4", "é", "\U0001f600", "\udce4"]  # the last: no UTF-8, of the file system
    code = (
        "import json, sys; from meiju_utils.console import tolerate_encoding; tolerate_encoding();"
        f"told = json.dumps({names!a}, ensure_ascii=False); print(told);"
        "print(told, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr
    assert json.loads(done.stdout.decode(encoding)) == names


def test_a_users_mistake_is_told_on_any_console() -> None:
    command = [sys.executable, "-m", "meiju_utils", "doctor", "--data-dir", "片段"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, env=environment, text=True)
    assert done.returncode == 1
    assert r"\u7247\u6bb5" in done.stderr
    assert "Traceback" not in done.stderr
