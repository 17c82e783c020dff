import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meiju_utils import cli


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from meiju_utils import cli; "
        "heavy = {'torch', 'pandas', 'cv2', 'sklearn', 'transformers', 'av'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_help_lists_the_commands() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    for command in ("demo-corpus", "run", "doctor"):
        assert command in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "demoo"], "did you mean 'demo'"),
        (["run", "--data-dir", "no such folder"], "No data folder"),
        (["run", "--set", "training.epoch=5"], "did you mean 'epochs'"),
        (["run", "--only", "09"], "No notebook '09'"),
        (["demo-corpus", "corpus", "--size", "huge"], "tiny"),
    ],
)
def test_a_users_mistake_ends_in_one_readable_message(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in ("notebooks", "meiju_utils", "data/demo"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "notebooks" / "01_first.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["meiju", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (1, 2)  # 2: typer's own refusal of a value
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
