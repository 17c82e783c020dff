import subprocess
import sys
from pathlib import Path

import pytest

from meiju_utils import errors


def in_ipython(code: str, folder: Path) -> str:
    """What IPython shows of a cell that fails."""
    command = [sys.executable, "-m", "IPython", "--quick", "--colors=NoColor", "-c", code]
    options = ["--ipython-dir", str(folder), "--HistoryManager.enabled=False"]
    return subprocess.run([*command, *options], capture_output=True, text=True).stdout


def test_a_notebook_shows_the_message_of_our_errors_alone(tmp_path: Path) -> None:
    code = "from meiju_utils import load_profile\nload_profile('demo', {'epochs': 5})"
    shown = in_ipython(code, tmp_path)
    assert shown.startswith("ConfigError: demo.yaml does not fit:\n  - unknown key 'epochs'")
    assert "meiju_utils/" not in shown
    assert "Traceback" not in shown


def test_a_notebook_still_shows_where_any_other_error_is_from(tmp_path: Path) -> None:
    shown = in_ipython("from meiju_utils import load_profile\nload_profile(3, [])", tmp_path)
    assert "Traceback" in shown
    assert "meiju_utils/config/reading.py" in shown


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_every_error_names_its_kind_and_says_when_it_is_raised(name: str) -> None:
    kind = getattr(errors, name)
    assert kind("no clip a")._render_traceback_() == [f"{name}: no clip a"]
    assert kind.__doc__
