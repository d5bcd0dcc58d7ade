"""A project of its own for each test: the real Snakefile, driver and command line, a toy notebook and its grid."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CELLS = [
    (
        "parameters",
        "arm = 'a'\nloss = 'triplet'  # or 'lossless'\nseed = 0\nwait = 0.0  # s\nfail = False\nout = 'runs'",
    ),
    (
        None,
        "from reidlib.workflow.parameters import boolean, check, integer, number, one_of, text\n"
        "p = check(globals(), arm=text(), loss=one_of('triplet', 'lossless'), seed=integer(min=0),\n"
        "          wait=number(min=0), fail=boolean(), out=text())",
    ),
    (
        None,
        "import json, os, time\n"
        "from pathlib import Path\n"
        "from reidlib.results.provenance import run_id\n"
        "name = run_id('toy', vars(p))\n"
        "with open(os.environ.get('TOY_LOG', os.devnull), 'a') as log:\n"
        "    log.write(f'{os.getpid()} {name}\\n')\n"
        "while 'TOY_GATE' in os.environ and not Path(os.environ['TOY_GATE'], f'open-{p.seed}').exists():\n"
        "    time.sleep(0.05)\n"
        "assert not p.fail, 'this run was told to fail'",
    ),
    (
        None,
        "target = Path(p.out) / 'toy' / name\n"
        "if not target.exists():\n"
        "    partial = target.with_name(f'.{name}.{os.getpid()}.partial')\n"
        "    partial.mkdir(parents=True)\n"
        "    (partial / 'record.json').write_text(json.dumps({'id': name, 'wall_s': 1.0, 'score': p.seed}))\n"
        "    os.rename(partial, target)",
    ),
    ("page", "print('records', len(list(Path(p.out).glob('toy/*/record.json'))))"),
]

GRID = """experiment: toy
arms:
  a: {loss: triplet}
  b: {loss: lossless}
page: {arm: a}
sections:
  book: {arms: all, seeds: [0, 1]}
  tiny: {arms: [a], seeds: [0]}
"""


def notebook(cells=CELLS) -> dict:
    """A notebook as JSON: (tag or None, source) for each code cell, a title before them."""
    made = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A toy\n\nIt does nothing, slowly."}]
    for number, (tag, source) in enumerate(cells):
        made.append(
            {"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": [tag] if tag else []}, "source": source}
            | {"outputs": [], "execution_count": None}
        )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


class Project:
    """A temporary repository; `reidlib(...)` is its command line."""

    def __init__(self, root: Path):
        self.root, self.build, self.log = root, root / "build", root / "toy.log"
        self.started: list[subprocess.Popen] = []
        self.grid = root / "book" / "papers" / "grids" / "toy.yml"
        self.notebook = root / "notebooks" / "toy.ipynb"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("REIDLIB", "MAKE"))}
        self.environment = environment | {"PYTHONPATH": str(root), "TOY_LOG": str(self.log), "REIDLIB_CORES": "2"}
        skip = shutil.ignore_patterns("__pycache__")
        for part in ("workflow", "results"):
            shutil.copytree(ROOT / "reidlib" / part, root / "reidlib" / part, ignore=skip)
        for name in ("reidlib/__init__.py", "Snakefile", "Makefile", "pyproject.toml", "_config.yml", "_toc.yml"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, root / name)
        self.grid.parent.mkdir(parents=True)
        self.notebook.parent.mkdir()
        self.grid.write_text(GRID)
        self.notebook.write_text(json.dumps(notebook()))

    def command(self, *words) -> list[str]:
        return [sys.executable, "-m", "reidlib.workflow.cli", *map(str, words)]

    def reidlib(self, *words, **more) -> subprocess.CompletedProcess:
        options = {
            "cwd": self.root,
            "env": self.environment,
            "capture_output": True,
            "text": True,
            "timeout": 120,
        } | more
        return subprocess.run(self.command(*words), **options)

    def start(self, *command) -> subprocess.Popen:
        """A command in the background; its output goes to output.txt. The fixture ends it."""
        with open(self.root / "output.txt", "w") as out:
            process = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )
        self.started.append(process)
        return process

    def gate(self) -> "Project":
        """From now on a run with seed N waits at its work for `open(N)`."""
        self.environment["TOY_GATE"] = str(self.root)
        return self

    def open(self, *seeds: int) -> None:
        for seed in seeds:
            (self.root / f"open-{seed}").touch()

    def executions(self) -> list[tuple[int, str]]:
        """(process id of the kernel, run id) of every time that the toy's work began."""
        lines = self.log.read_text().split("\n") if self.log.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines if line]

    def records(self) -> dict[str, float]:
        """Run id -> time stamp of its record."""
        found = (self.build / "runs" / "toy").glob("*/record.json")
        return {path.parent.name: path.stat().st_mtime for path in found}

    def leftovers(self) -> list[str]:
        """What should not be there after a build: half-written files and folders."""
        everything = [path for path in self.build.rglob("*") if "snakemake-cache" not in path.parts]
        return [str(path) for path in everything if path.name.endswith((".part", ".partial"))]

    def processes(self) -> list[int]:
        """Living processes that work in this project."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                inside = os.readlink(folder / "cwd").startswith(str(self.root))
                living = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue
            if inside and living:
                found.append(int(folder.name))
        return found
