"""The steps that Snakemake's jobs call: warm start, one run, one page, the numbers, the book.

A step notes its start and its end in the file that REIDLIB_EVENTS names, one JSON line each: the progress wrapper reads
it. It dies with Snakemake, and its kernel with it.
"""

import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from reidlib.workflow import driver, plan, project
from reidlib.workflow.processes import alive, die_with_parent, tied_to_me


def run(todo: dict, run_id: str, log: str | None) -> None:
    """Execute one run of the plan; its notebook writes the record. Raises driver.RunFailed."""
    item = plan.find(todo, "runs", run_id)
    record, output = project.record(item["experiment"], run_id), project.executed_run(run_id)
    if record.is_file():  # finished by a build that was killed before it could say so
        if not output.is_file():
            shutil.copyfile(project.root() / item["notebook"], output)
        return
    with _noted("run", run_id, item["label"]):
        driver.run_notebook(
            item["notebook"], output, item["parameters"], log=log, environment=_environment(todo), need=record
        )


def page(todo: dict, name: str, log: str | None) -> None:
    """Execute a chapter's notebook as its page."""
    item = plan.find(todo, "pages", name)
    with _noted("page", name, f"chapter {name}"):
        driver.run_notebook(
            item["notebook"],
            project.executed(name),
            item["parameters"],
            page=True,
            log=log,
            environment=_environment(todo),
            metadata={"key": item["key"], "section": todo["section"]},
        )


def warm(todo: dict, path: str) -> None:
    """Train and cache a warm start."""
    arguments = todo["warm"][path]
    with _noted("warm", path, f"warm start {arguments[1]}"):
        importlib.import_module("reidlib.warmstart").main(arguments)


def numbers() -> None:
    """Write numbers.json, tables and findings for the pages, from records and tables alone."""
    project.numbers().mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("reidlib.workflow.numbers"):
        importlib.import_module("reidlib.workflow.numbers").main([])
    target = project.numbers() / "numbers.json"
    if not target.exists():
        target.write_text("{}\n")


def book_key() -> str:
    """Hash of all that the book is made from."""
    from reidlib.results.machine import git_state

    root, pages = project.root(), project.pages()
    sources = [root / "_config.yml", root / "_toc.yml", root / "README.md", root / "CITATION.cff"]
    for folder, pattern in (("book", "*"), ("notebooks", "*"), ("reidlib", "*.py")):
        sources += (root / folder).rglob(pattern)
    sources += (pages / "executed").glob("*")
    folders = [project.runs(), *([own] if (own := project.own_runs()) else [])]
    records = sorted(str(path) for folder in folders for path in folder.glob("*/*/record.json"))
    digest = hashlib.sha256(json.dumps([records, git_state()]).encode())
    plan.hash_files(digest, sources)
    return digest.hexdigest()


def book_is_current() -> bool:
    stamp = project.pages() / "book.key"
    return stamp.is_file() and (project.html() / "index.html").is_file() and stamp.read_text() == book_key()


def book(log: Path) -> bool:
    """Build the book beside the one that exists, then put it in its place; False where Sphinx warned.

    Raises RuntimeError where no page came out.
    """
    stamp, site, target = project.pages() / "book.key", project.pages() / "site.part", project.html()
    stamp.unlink(missing_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    with _noted("book", "book", "the pages") as note:
        key = book_key()
        command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
        command += ["build", "-W", "-n", "--keep-going", "--all", "--path-output", str(site), str(project.root())]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w") as out:
            done = subprocess.run(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=project.root(),
                env={**os.environ, "NO_COLOR": "1"},
                preexec_fn=tied_to_me(),
            )
        made = site / "_build" / "html"
        lines = log.read_text(errors="replace").splitlines()
        note["warnings"] = list(dict.fromkeys(line.strip() for line in lines if "WARNING" in line or "ERROR" in line))
        if not (made / "index.html").is_file():
            raise RuntimeError(f"the book could not be built: {' / '.join(lines[-3:])}; see {project.relative(log)}")
        _swap(made, target)
        shutil.rmtree(site, ignore_errors=True)
        if done.returncode == 0:
            stamp.write_text(key)
    return done.returncode == 0


def _swap(new: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def tie() -> None:
    """End with Snakemake, also where it ended before this process could ask for that."""
    die_with_parent()
    host, _, builder = os.environ.get("REIDLIB_BUILDER", "").partition(":")
    if host == socket.gethostname() and not alive(int(builder)):  # on another machine a scheduler ends the job
        os._exit(1)


def note(event: dict) -> None:
    """Append an event to the file in REIDLIB_EVENTS, if there is one."""
    path = os.environ.get("REIDLIB_EVENTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({**event, "time": time.time()}) + "\n")


@contextmanager
def _noted(kind: str, name: str, label: str):
    start, facts = time.time(), {"kind": kind, "name": name, "label": label}
    note({"event": "start", **facts})
    more: dict = {}
    try:
        yield more
    except Exception as error:
        report = getattr(error, "report", None) or {"cause": f"{type(error).__name__}: {error}"}
        note({"event": "failed", **facts, "report": report})
        raise
    note({"event": "done", **facts, **more, "wall_s": time.time() - start})


def _environment(todo: dict) -> dict:
    plan_file = str(Path(todo["build"]) / "plan.json")
    return {
        "REIDLIB_BUILD": todo["build"],
        "REIDLIB_SECTION": todo["section"],
        "REIDLIB_PLAN": plan_file,
        "OMP_NUM_THREADS": "1",
    }
