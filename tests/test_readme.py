"""What the README and the pages tell people to type is there."""

import re
from pathlib import Path

import pytest

from reidlib.workflow import driver, grid

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").rglob("*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(path):
    """The shell commands of a page, continued lines joined."""
    text = "\n".join(re.findall(r"```(?:sh|bash)?\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
    return text.replace("\\\n", " ").splitlines()


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    assert "'mAP_trap': " in capsys.readouterr().out


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_make_targets_exist(path):
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    named = set(re.findall(r"`make ([a-z]+)", path.read_text(encoding="utf-8")))
    named |= {line.split()[1] for line in blocks(path) if line.startswith("make ")}
    assert named <= targets


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_papermill_commands_name_parameters_that_exist(path):
    for line in blocks(path):
        if line.startswith("papermill "):
            notebook = ROOT / line.split()[1]
            given = dict(re.findall(r"-p (\S+) (\S+)", line))
            driver.reject_unknown(given, driver.defaults(driver.read(notebook), notebook), notebook)


def test_experiments_that_are_named_exist():
    for path in PAGES:
        for name in re.findall(r"EXPERIMENT=([a-z_-]+)", path.read_text(encoding="utf-8")):
            grid.read(name)
