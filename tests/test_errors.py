import difflib
import subprocess
import sys
import time
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


IDS = [f"Track2_Training_{number:05d}" for number in range(50_000)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Track2_Training_1234", "Track2_Training_"),
        ("track2_training_04711", "Track2_Training_04711"),
        ("Track2_Trainig_04711", "Track2_Training_04711"),
        ("Track2_Training_99999", "Track2_Training_49999"),
    ],
)
def test_the_nearest_of_many_names_is_found_at_once(value: str, expected: str) -> None:
    began = time.process_time()
    hint = errors.nearest(value, IDS)
    took = time.process_time() - began
    assert hint.startswith(f"did you mean '{expected}")
    assert took < 0.2  # comparing with all takes some 2 s


def test_the_nearest_of_a_few_names_is_what_difflib_finds() -> None:
    few = IDS[:400]
    for value in ("Track2_Training_399", "training_00012", "x"):
        close = difflib.get_close_matches(value, few, n=1, cutoff=0.5)
        assert errors.nearest(value, few).startswith(
            f"did you mean {close[0]!r}?" if close else "Valid: "
        )
