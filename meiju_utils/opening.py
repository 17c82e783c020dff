"""Opening a run: everything a profile names is checked, before hours depend on it.

Imports `checks`, `config`, `recipes`, `references`, `run`.
"""

import ast
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from meiju_utils.checks import check_profile
from meiju_utils.config import Profile, load_profile
from meiju_utils.corpus.listing import is_headless
from meiju_utils.corpus.settling import settled
from meiju_utils.errors import ConfigError, DamagedError, MachineError, MeijuError, nearest
from meiju_utils.files import fingerprint, write_text
from meiju_utils.parallel.lifeline import end_with_parent
from meiju_utils.parallel.progress import in_notebook
from meiju_utils.recipes.checking import check_recipes
from meiju_utils.references import resolve, with_absolute_paths
from meiju_utils.run import CONFIG_NAME, Run, data_folder
from meiju_utils.run_folder import claim, refuse_foreign

_SEAL = "# checksum: "  # begins the last line of the settings in the run folder
PARAMETERS = ("profile", "data_dir", "run_dir", "overrides")  # of every notebook


def open_run(
    profile: str = "demo",
    data_dir: str = "",
    run_dir: str = "",
    overrides: dict[str, Any] | None = None,
) -> Run:
    """Validate a notebook's four parameters and open (or make) the run folder.

    `data_dir` "" is the profile's, `run_dir` "" is `runs/<profile>`. Raises ConfigError for a bad
    setting, for what it names and cannot be used and a run folder of another setting or of an
    earlier form, CorpusError where there is no such data folder (a run folder in which 01 has run
    opens without). The effective settings go to `config.yaml` in the run folder.
    """
    if in_notebook() and is_headless():  # else it is JupyterLab's to end it
        end_with_parent()
    _refuse_unknown_parameters()
    run = plan_run(profile, data_dir, run_dir, overrides)
    refuse_foreign(run.folder, run.setting.name)
    _check(run)
    try:
        claim(run.folder, run.setting.name)
        keep_profile(run.folder, run.config)
    except (OSError, MachineError) as error:
        why = str(getattr(error, "strerror", error)).removesuffix(".")
        raise ConfigError(
            f"{run.folder} cannot be the run folder: {why}. Give another as run_dir."
        ) from None
    return run


def plan_run(
    profile: str = "demo",
    data_dir: str = "",
    run_dir: str = "",
    overrides: dict[str, Any] | None = None,
) -> Run:
    """The run that `open_run` opens, with what it names unchecked and nothing written."""
    overrides = overrides or {}
    for name, value, kind in (
        ("profile", profile, str),
        ("data_dir", data_dir, str),
        ("run_dir", run_dir, str),
        ("overrides", overrides, dict),
    ):
        if not isinstance(value, kind):
            raise ConfigError(
                f"Parameter {name} = {value!r} is a {type(value).__name__}; "
                f"expected a {kind.__name__}."
                + (
                    " With papermill: -y '{overrides: {training.epochs: 5}}'."
                    if kind is dict
                    else ""
                )
            )
    if profile.endswith((".yaml", ".yml")):
        profile = str(resolve(profile))
    config = load_profile(profile, overrides)
    folder = resolve(run_dir or f"runs/{config.name}")
    data = data_folder(config, data_dir, folder)
    before = None
    if (folder / CONFIG_NAME).is_file() and not data.is_dir():
        with suppress(DamagedError):
            before = kept_profile(folder)
    config = settled(config, data, before)
    options = ["--profile", profile]
    own = resolve(config.data_dir) if config.data_dir else None
    if data != own and (data_dir or own):
        options += ["--data-dir", str(data)]
    if folder != resolve(f"runs/{config.name}"):
        options += ["--run-dir", str(folder)]
    for key, value in overrides.items():
        options += ["--set", f"{key}={_as_yaml(value)}"]
    return Run(with_absolute_paths(config), data, folder, tuple(options))


def keep_profile(folder: Path, config: Profile) -> None:
    """Write effective settings into a run folder."""
    text = yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    write_text(folder / CONFIG_NAME, f"{text}{_SEAL}{fingerprint(text)}\n")


def kept_profile(folder: Path) -> Profile:
    """The effective settings that a run folder was last opened with.

    ConfigError where it is no run folder, DamagedError where they are not what was written.
    """
    path = (folder / CONFIG_NAME).absolute()
    if not path.is_file():
        raise ConfigError(f"{folder} is no run folder: it has no {CONFIG_NAME}.")
    text, seal, checksum = path.read_bytes().decode("utf-8", "replace").rpartition(_SEAL)
    if not seal or checksum != f"{fingerprint(text)}\n":
        raise DamagedError(
            f"{path} is damaged or was changed by hand. It says what the run was last opened with: "
            "open the run again, as with: meiju run --profile NAME --run-dir FOLDER"
        )
    return load_profile(str(path))


def problems_of(run: Run) -> list[str]:
    """What is wrong with anything a profile names, its recipes among it."""
    problems = check_profile(run.config, run.data_dir, run.folder)
    try:
        check_recipes(run)
    except MeijuError as error:
        problems.append(str(error))
    return problems


def _check(run: Run) -> None:
    """Raise what is wrong with anything a profile names; ConfigError where it is several things."""
    problems = problems_of(run)
    if len(problems) == 1:
        check_recipes(run)  # where it is theirs, their error says so best
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(f"Profile {run.config.name} names what cannot be used:{listed}")


def _as_yaml(value: Any) -> str:
    """A value on one line, so that `--set` reads it back."""
    plain = json.loads(json.dumps(value, default=str))  # a tuple becomes a list
    text = yaml.safe_dump(plain, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _refuse_unknown_parameters() -> None:
    """Inside a notebook, refuse parameters papermill injected under unknown names.

    papermill only warns about them, so that a misspelt one would silently run the defaults. Its
    injected cell opens with the comment `# Parameters`.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    for source in shell.user_ns.get("In", []) if shell else []:
        if source.startswith("# Parameters\n"):
            for name in injected_names(source):
                if name not in PARAMETERS:
                    raise ConfigError(
                        f"Unknown notebook parameter {name!r}: {nearest(name, PARAMETERS)}"
                    )


def injected_names(source: str) -> list[str]:
    """Names assigned at the top level of a cell's source."""
    return [
        target.id
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]
