"""YAML as people write it in settings: what is broken or stands twice is a ConfigError.

Imports `errors` only.
"""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from meiju_utils.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; the plain loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"key {key!r} stands twice,{node.start_mark}")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` says in a message where it stands."""
    return deepcopy(_parsed(text, source))  # a copy: whoever asks may change it


@lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError also for dates that are none
        raise ConfigError(f"{source} is not valid YAML: {error}") from None


def read_yaml(path: Path) -> Any:
    """The value of a YAML file in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it in that encoding.") from None
    return parse_yaml(text, str(path))
