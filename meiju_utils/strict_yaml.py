"""YAML as people write it in settings: what is broken or stands twice is a ConfigError.

Imports `errors` only.
"""

from collections import Counter
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from meiju_utils.errors import ConfigError

MOST_CHARACTERS = 1_000_000
DEEPEST = 50  # levels
MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; the plain loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ValueError(f"`<<` merges mappings, which is not read here,{node.start_mark}")
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, times in keys.items():
            if times > 1:
                raise ValueError(f"key {key!r} stands twice,{node.start_mark}")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` says in a message where it stands."""
    return deepcopy(_parsed(text, source))  # a copy: whoever asks may change it


@lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"{source} has {len(text)} characters, more than the {MOST_CHARACTERS} of any settings."
        )
    try:
        value = yaml.load(text, _Loader)
        _refuse_immense(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError also for dates that are none
        raise ConfigError(f"{source} is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source} is nested deeper than {DEEPEST} levels.") from None
    return value


def _refuse_immense(value: Any) -> None:
    """ValueError for great depth, and for aliases that stand for more than anyone writes."""
    waiting, count = [(value, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > MOST_VALUES:
            raise ValueError(f"deeper than {DEEPEST} levels or of more than {MOST_VALUES} values")
        if isinstance(one, dict | list):
            inner = [*one.keys(), *one.values()] if isinstance(one, dict) else one
            waiting += [(below, depth + 1) for below in inner]


def read_yaml(path: Path) -> Any:
    """The value of a YAML file in UTF-8."""
    try:
        if path.stat().st_size > 4 * MOST_CHARACTERS:
            raise ConfigError(f"{path} is larger than any settings; expected a YAML file.")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it in that encoding.") from None
    return parse_yaml(text, str(path))
