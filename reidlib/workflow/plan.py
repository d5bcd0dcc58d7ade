"""What a build has to do, decided by content: a run whose record exists is done, whatever its time stamp.

The plan is a plain dictionary, so that it can be a file: the progress wrapper makes it once, Snakemake and every job
read it.

    {"section", "root", "build", "pages_dir",
     "runs":  [{"experiment", "id", "label", "notebook", "parameters", "done", "warm"}],
     "pages": [{"name", "notebook", "parameters", "key", "own", "done", "runs": [ids], "warm"}],
     "warm":  {path: [arguments of python -m reidlib.warmstart]}}
"""

import hashlib
import json
import os
from pathlib import Path

import nbformat

from reidlib.workflow import grid, project


def make(section: str = "book", experiments: list[str] | None = None, pages: bool = True) -> dict:
    """The plan of a section of all experiments, or of some. Raises grid.GridError.

    pages: with the chapters' pages; a sweep has only runs.
    """
    plan = {
        "section": section,
        "root": str(project.root()),
        "build": str(project.build()),
        "runs": [],
        "pages": [],
        "warm": {},
    }
    plan["pages_dir"] = str(project.pages())
    for experiment, part in [grid.resolve(name, section) for name in experiments or grid.experiments()]:
        one = grid.read(experiment)
        if part not in one.sections and not experiments:
            continue
        runs = grid.expand(one, part)
        plan["runs"] += [_run(one, run, plan["warm"]) for run in runs]
        if pages:
            shown = runs + [run for other in one.reads for run in grid.expand(grid.read(other), section)]
            plan["pages"].append(_page(one, section, [run.id for run in shown], plan["warm"]))
    if pages and not experiments:
        done = {page["notebook"] for page in plan["pages"]}
        for notebook in sorted((project.root() / "notebooks").glob("*.ipynb")):
            if project.relative(notebook) not in done:
                plan["pages"].append(_page(grid.alone(notebook), section, [], plan["warm"]))
    return plan


def load(path: str | Path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def save(plan: dict, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    os.replace(part, path)
    return path


def pending(plan: dict, kind: str) -> list[dict]:
    """Runs or pages that are still to do."""
    return [item for item in plan[kind] if not item["done"]]


def find(plan: dict, kind: str, name: str) -> dict:
    """A run by its id, or a page by its name. Raises KeyError."""
    key = "id" if kind == "runs" else "name"
    for item in plan[kind]:
        if item[key] == name:
            return item
    raise KeyError(f"{name} is not among the {kind} of the section {plan['section']}")


def _run(one: grid.Grid, run: grid.Run, warm: dict) -> dict:
    done = project.record(run.experiment, run.id).is_file()
    return {
        "experiment": run.experiment,
        "id": run.id,
        "label": run.label,
        "notebook": project.relative(one.notebook),
        "parameters": {**run.parameters, **_out(one)},
        "done": done,
        "warm": None if done else _warm({**one.defaults, **run.parameters}, warm),
    }


def _page(one: grid.Grid, section: str, runs: list[str], warm: dict) -> dict:
    parameters = grid.page_parameters(one, section)
    key = _page_key(one, section, parameters, runs)
    done = executed_key(project.executed(one.notebook.stem)) == key
    return {
        "name": one.notebook.stem,
        "experiment": one.experiment,
        "notebook": project.relative(one.notebook),
        "parameters": {**parameters, **_out(one)},
        "key": key,
        "own": grid.identity(one, parameters),
        "done": done,
        "runs": runs,
        "warm": None if done else _warm({**one.defaults, **parameters}, warm),
    }


def _out(one: grid.Grid) -> dict:
    return {"out": project.relative(project.runs())} if "out" in one.defaults else {}


def executed_key(page: Path) -> str | None:
    """The key under which a page was executed; None where it was not."""
    try:
        return json.loads(page.read_text(encoding="utf-8"))["metadata"]["reidlib"]["key"]
    except (OSError, KeyError, ValueError):
        return None


def _page_key(one: grid.Grid, section: str, parameters: dict, runs: list[str]) -> str:
    """Hash of all that a page shows: its notebook, the code that it calls, its runs, tables, claims, recorded runs."""
    from reidlib.results.provenance import PACKAGE, module_hash

    book = nbformat.read(one.notebook, as_version=4)
    code = "\n".join(_plain(cell.source) for cell in book.cells if cell.cell_type == "code")
    facts = [
        section,
        grid.identity(one, parameters),
        sorted(runs),
        module_hash(code=code, leave_out=("reidlib.workflow",)),
    ]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(one.notebook.read_bytes())
    papers, recorded = project.root() / "book" / "papers", project.root() / "book" / "recorded" / one.experiment
    own = [] if project.own_runs() is None else list(project.own_runs().rglob("record.json"))
    scripts = [path for path in PACKAGE.rglob("*") if path.suffix in (".js", ".css")]
    hash_files(digest, [*papers.rglob("*"), *recorded.rglob("*"), *scripts, *own])
    return digest.hexdigest()[:16]


def hash_files(digest, paths) -> None:
    """Add names and contents of files, in the order of their paths."""
    for path in sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts):
        digest.update(project.relative(path).encode() + b"\0" + path.read_bytes() + b"\0")


def _plain(source: str) -> str:
    return "\n".join("pass" if line.lstrip()[:1] in ("%", "!") else line for line in source.splitlines())


def _warm(parameters: dict, warm: dict) -> str | None:
    """The cached warm start that a run begins from, noted in `warm` if it is still to be made; None: it needs none."""
    if parameters.get("weights", "auto") != "auto" or not str(parameters.get("backbone")).endswith("-small"):
        return None
    from reidlib import warmstart

    size = {name: parameters[name] for name in ("height", "width") if name in parameters}
    steps = {"steps": parameters["start_steps"]} if "start_steps" in parameters else {}
    path = warmstart.path(
        parameters["backbone"], **({"size": (size["height"], size["width"])} if len(size) == 2 else {}), **steps
    )
    if path.exists():
        return None
    options = {"backbone": parameters["backbone"], **size, **steps}
    warm[str(path)] = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return str(path)
