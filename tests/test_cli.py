import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from meiju_utils import __version__, cli
from meiju_utils.run_folder import claim


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from meiju_utils import cli; "
        "heavy = {'torch', 'pandas', 'numpy', 'rich', 'transformers', 'av'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_help_lists_the_commands() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    for command in ("demo-corpus", "run", "doctor", "predict", "export"):
        assert command in shown.output
    assert "..." not in shown.output.partition("Commands:")[2]  # each line is told whole


@pytest.mark.parametrize("command", [[], ["run"], ["features"], ["features", "ls"]])
def test_help_is_short_or_long(command: list[str]) -> None:
    short, long = (CliRunner().invoke(cli.app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert "Usage:" in short.output


def test_help_says_what_force_costs() -> None:
    shown = CliRunner().invoke(cli.app, ["run", "--help"]).output
    assert "anew" in shown.partition("--force  ")[2]
    assert "hours on real data" in " ".join(shown.split())


def test_the_module_is_the_command_line() -> None:
    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "meiju_utils", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told("--version") == f"meiju {__version__}\n"
    assert "Usage: meiju run " in told("run", "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "demoo"], "did you mean 'demo'"),
        (["run", "--data-dir", "no such folder"], "No data folder"),
        (["run", "--set", "training.epoch=5"], "did you mean 'epochs'"),
        (["run", "--set", "epochs=5"], "did you mean 'training.epochs'?"),
        (["run", "--only", "09"], "No notebook '09'"),
        (["run", "--only", ","], "No notebook ''"),
        (["run", "--data-dir", "data/../gone"], "/gone; give the folder"),
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
    shown = " ".join(capsys.readouterr().err.split())
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-dir", "no such folder"], "No data folder"),
        (["--profile", "demoo"], "did you mean 'demo'"),
        (["--data-dir", "."], "No Track1/Mandarin"),
    ],
)
def test_the_doctor_prints_json_also_where_it_finds_nothing_to_examine(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(cli.app, ["doctor", "--json", *arguments])
    assert shown.exit_code == 1
    told = json.loads(shown.stdout)
    assert told["sound"] is False
    assert message in told["faults"][0]


def test_the_doctor_finds_what_the_profile_names_and_is_not_there(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    embeddings = tmp_path / "embeddings"
    embeddings.mkdir()
    arguments = ["doctor", "--quick", "--json", "--data-dir", str(tiny_corpus), "--workers", "1"]
    arguments += ["--run-dir", str(tmp_path / "run"), "--set", "embeddings.compare={}"]
    settings = [
        "embeddings.audio=prosodi",
        f"embeddings.visual=npy:{embeddings}",
        "submission=ensembel",
    ]
    arguments += [word for setting in settings for word in ("--set", setting)]

    def told() -> dict[str, list[str]]:
        shown = CliRunner().invoke(cli.app, arguments)
        assert shown.exit_code == 1
        return dict(json.loads(shown.stdout))

    faults = "\n".join(told()["faults"])
    assert "did you mean 'prosody'" in faults
    assert "has embeddings of 0 of 71 clips" in faults
    assert "ensembel" in faults
    np.save(embeddings / "Track1_Training_00001.npy", np.zeros((1, 4), np.float32))
    assert any("has embeddings of 1 of 71 clips" in text for text in told()["warnings"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["doctor"]


def test_the_doctor_leaves_a_folder_of_another_setting_alone(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    claim(tmp_path / "run", "track2-english")
    arguments = ["doctor", "--quick", "--data-dir", str(tiny_corpus), "--workers", "1"]
    shown = CliRunner().invoke(cli.app, [*arguments, "--run-dir", str(tmp_path / "run")])
    assert shown.exit_code == 1
    assert "is a run of track2-english" in " ".join(shown.output.split())
    assert not (tmp_path / "run" / "doctor").exists()


def test_features_go_out_as_npy_files_and_come_back_as_a_store(tmp_path: Path) -> None:
    files, store = tmp_path / "files", tmp_path / "run" / "features" / "imported"
    files.mkdir()
    for number in range(3):
        np.save(files / f"clip{number}.npy", np.full((2, 4), number, np.float32))
    np.save(files / "broken.npy", np.full((2, 4), np.nan, np.float32))

    def meiju(*arguments: object) -> str:
        shown = CliRunner().invoke(cli.app, ["features", *map(str, arguments)])
        assert shown.exit_code == 0, shown.output
        return shown.output

    made = meiju("import", files, store, "--modality", "visual")
    assert "3 clips, 4 wide" in made
    assert "broken: faulty: broken.npy holds values that are not finite" in made
    listed = meiju("ls", tmp_path / "run").splitlines()
    assert listed[0] == "imported"
    assert listed[1].startswith("  visual, npy:files: 3 clips, 1 absent; 4 wide, float32; 0.0 MB")
    assert "imported: sound; 3 clips" in meiju("verify", tmp_path / "run")
    assert "3 files" in meiju("export", store, tmp_path / "again")
    exported = np.load(tmp_path / "again" / "clip2.npy")
    assert np.array_equal(exported, np.full((2, 4), 2, np.float32))


def test_verify_exits_with_1_where_a_shard_is_damaged(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.arange(400, dtype=np.float32).reshape(4, 100))
    runner = CliRunner()
    store = tmp_path / "store"
    runner.invoke(cli.app, ["features", "import", str(tmp_path), str(store), "--modality", "text"])
    shard = next(store.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    shown = runner.invoke(cli.app, ["features", "verify", str(store)])
    assert shown.exit_code == 1
    assert "store: DAMAGED" in shown.output
    assert "clip: unreadable" in shown.output
