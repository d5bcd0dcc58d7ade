"""YAML files of experiments, read so that a fault is named with its file, line or entry."""

import re
from pathlib import Path

import yaml

from reidlib.workflow import driver


class GridError(ValueError):
    """A grid file that cannot be used; the message names the file and the entry."""


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is in Python, and a name that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path):
    """The content of a YAML file. Raises GridError with the line of a fault."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{driver.shown(path)}, line {mark.line + 1}" if mark else driver.shown(path)
        raise GridError(f"{where}: {getattr(error, 'problem', None) or error}") from error


def mapping(path: Path, name: str, value) -> dict:
    """`value`, if it is a mapping from text. Raises GridError, which calls it `name`."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise GridError(f"{driver.shown(path)}: {name} must be `name: value` pairs, not {value!r}")
    return value


def known(path: Path, name: str, value: dict, names: set) -> None:
    """GridError for the first entry of `value` that is not one of `names`."""
    for key in value:
        if key not in names:
            raise GridError(
                f"{driver.shown(path)}: {name} has no entry {key!r}; it can have {', '.join(sorted(names))}"
            )
