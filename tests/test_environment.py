"""pyproject.toml, requirements.lock and environment.yml describe one environment."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def _locked() -> list[tuple[Requirement, int]]:
    """Each pin that holds for this Python and platform, with its number of hashes."""
    entries = []
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", LOCK):
        pin = entry.split("\\")[0].strip()
        if pin and not pin.startswith("#"):
            requirement = Requirement(pin)
            if requirement.marker is None or requirement.marker.evaluate():
                entries.append((requirement, entry.count("--hash=sha256:")))
    return entries


PINS = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r, _ in _locked()}
DECLARED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]


@pytest.mark.parametrize("declared", DECLARED)
def test_each_declared_package_is_locked_at_a_version_it_allows(declared: str) -> None:
    requirement = Requirement(declared)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_every_pin_is_exact_and_hashed() -> None:
    for requirement, hashes in _locked():
        assert str(requirement.specifier).startswith("=="), requirement
        assert hashes > 0, requirement


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"^\s*(--(extra-)?index-url|--find-links|-i |-f )", LOCK, re.MULTILINE)
    assert "://" not in LOCK


def test_the_lock_holds_one_opencv() -> None:
    assert [name for name in PINS if name.startswith("opencv")] == ["opencv-python-headless"]


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = {n: (version(n), pin) for n, pin in PINS.items() if version(n) != pin}
    assert not wrong


def test_conda_installs_the_same_lock_on_an_allowed_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.lock"]}
    assert {re.split("[=<>]", package)[0] for package in conda} == {"python", "pip"}
    python = next(p for p in conda if p.startswith("python=")).split("=")[1]
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_make_lets_python_keep_what_it_compiles() -> None:
    # where this was set, as containers do, the tests took twice as long
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    show = ["make", "--eval", "show: ; @env", "show"]
    shown = subprocess.run(show, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert b"PATH=" in shown.stdout
    assert b"PYTHONDONTWRITEBYTECODE" not in shown.stdout
