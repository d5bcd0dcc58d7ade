"""Build with Snakemake, and say in plain words how far it is, what failed and what came out."""

import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from reidlib.workflow import driver, plan, project, steps
from reidlib.workflow.processes import alive, die_with_parent, tied_to_me

_ELSEWHERE = {"--executor", "-e", "--profile", "--workflow-profile"}  # they say where, and how many at once


class Busy(RuntimeError):
    """Another build is at work."""


def build(
    section: str, experiments: list[str] | None = None, book: bool = True, snakemake: list[str] | None = None
) -> int:
    """Run what is pending in a section, execute its chapters, build the book; returns the exit status.

    book: False for a sweep, which has only runs. snakemake: further options (`--executor slurm --jobs 40`).
    """
    if os.environ.get("MAKELEVEL"):
        die_with_parent()
    with locked() as lock:
        started = time.time()
        clean_leftovers()
        todo = plan.make(section, experiments, pages=book)
        events = plan.save(todo, project.build() / "plan.json").with_name("events.jsonl")
        events.unlink(missing_ok=True)
        watch = Watch(todo)
        ends = []
        if plan.pending(todo, "runs") or plan.pending(todo, "pages"):
            watch.say(opening(todo))
            ends.append(_snakemake(["pages" if book else "sweep"], snakemake or [], lock, watch, events))
        if book and not steps.book_is_current():
            ends.append(_snakemake(["book", "--forceall"], [], lock, watch, events))
        watch.lost(ends)
        return closing(todo, watch, book, time.time() - started)


def opening(todo: dict) -> str:
    total, left = len(todo["runs"]), len(plan.pending(todo, "runs"))
    pages = [page["name"] for page in plan.pending(todo, "pages")]
    words = [f"{total} runs, {total - left} done before" if left else f"all {total} runs are done"] if total else []
    words += [f"then the chapter{'s' * (len(pages) > 1)} {', '.join(pages)}"] if pages else []
    return ", ".join(words).removeprefix("then ")


def closing(todo: dict, watch: "Watch", book: bool, seconds: float) -> int:
    """Say what failed, where the book is, what was found; returns the exit status."""
    for failure in watch.failures:
        print(failure, file=sys.stderr)
    for page in todo["pages"]:
        if plan.executed_key(project.executed(page["name"])) != page["key"]:
            print(f"the chapter {page['name']} was not executed: its page says so", file=sys.stderr)
    for warning in watch.warnings:
        print(f"book: {warning}", file=sys.stderr)
    if not book:
        records = [project.record(run["experiment"], run["id"]).is_file() for run in todo["runs"]]
        print(f"{sum(records)} of {len(records)} runs have a record in {project.relative(project.runs())}")
    elif (project.html() / "index.html").is_file():
        findings = project.numbers() / "findings.txt"
        if findings.is_file():
            print(findings.read_text(encoding="utf-8").rstrip())
        print(f"the book: {project.html() / 'index.html'}")
    if not watch.began:
        print("nothing had to be run again")
    print(f"took {duration(seconds)}", flush=True)
    return 1 if watch.failures or watch.warnings else 0


@contextmanager
def locked(patience: float = 30.0):
    """Hold the build folder; yields the lock's file. Raises Busy where another build holds it.

    patience: seconds to wait for what a killed build left, which is about to end too.
    """
    path = project.build() / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as lock:
        end = time.time() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip()
                if not holder.isdigit() or alive(int(holder)) or time.time() > end:
                    raise Busy(
                        f"another build (process {holder or 'unknown'}) is at work in {project.build()}: wait for it"
                    ) from None
                time.sleep(0.2)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def clean_leftovers() -> None:
    """Remove what a killed build left half-written, and the reports of failures that are about to be tried again."""
    for folder in (project.build() / "executed" / "runs", project.pages() / "executed"):
        for path in [*folder.glob(".*.part"), *folder.glob("*.failed.*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [*project.runs().glob("*/.*.partial"), project.pages() / "site.part"]:
        shutil.rmtree(path, ignore_errors=True)


def cores() -> int:
    """Runs side by side: as many as this process may use cores; REIDLIB_CORES says another number."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("REIDLIB_CORES") or usable)


def _snakemake(targets: list[str], options: list[str], lock, watch: "Watch", events: Path) -> int:
    """Run Snakemake on targets of the plan, telling `watch` what its jobs note; returns its exit status."""
    logs = project.logs()
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(project.root() / "Snakefile")]
    command += ["--directory", str(project.root()), "--config", f"plan={project.build() / 'plan.json'}"]
    here = _ELSEWHERE.isdisjoint(option.partition("=")[0] for option in options)
    command += ["--cores", str(cores())] if here else []
    command += ["--keep-going", "--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "input", "params"]
    command += ["--runtime-source-cache-path", str(project.build() / "snakemake-cache"), *options]
    environment = {
        **os.environ,
        "REIDLIB_EVENTS": str(events),
        "REIDLIB_BUILDER": f"{socket.gethostname()}:{os.getpid()}",
    }
    environment |= {"REIDLIB_BUILD": str(project.build()), "REIDLIB_SECTION": project.section()}
    environment.pop("MAKEFLAGS", None)
    with open(logs / "snakemake.log", "a") as log:
        log.write(f"{time.strftime('%F %T')} {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            preexec_fn=tied_to_me(), pass_fds=(lock.fileno(),), cwd=project.root(), process_group=None if here else 0,
        )  # fmt: skip
        try:
            while process.poll() is None:
                watch.read(events)
                time.sleep(0.2)
            watch.read(events)
        except KeyboardInterrupt:
            if not here:
                _cancel(process)
            raise
        finally:
            process.kill()
            process.wait()
    return process.returncode


def _cancel(process: subprocess.Popen, patience: float = 30.0) -> None:
    """Let Snakemake take its jobs out of a cluster's queue; it has a process group of its own, so it is asked once."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)


class Watch:
    """Follows a build's events: says a line for each start, keeps failures and warnings."""

    def __init__(self, todo: dict):
        self.todo, self.total = todo, len(todo["runs"])
        self.before = self.total - len(plan.pending(todo, "runs"))
        self.offset, self.began, self.ended = 0, {}, set()
        self.times: list[float] = []
        self.failures: list[str] = []
        self.warnings: list[str] = []
        self.guess = _recorded_time(todo)

    def say(self, line: str) -> None:
        print(line, flush=True)

    def read(self, events: Path) -> None:
        """Take in the whole lines that were added since the last call."""
        if not events.exists():
            return
        with open(events, encoding="utf-8") as file:
            file.seek(self.offset)
            while (line := file.readline()).endswith("\n"):
                self.offset = file.tell()
                self._event(json.loads(line))

    def _event(self, event: dict) -> None:
        key = (event["kind"], event["name"])
        if event["event"] == "start":
            self.began[key] = event["label"]
            self.say(self._starting(event))
            return
        self.ended.add(key)
        if event["event"] == "failed":
            self.failures.append(failure(event["label"], event["report"]))
            self.say(f"failed: {event['label']}")
        elif event["kind"] == "run":
            self.times.append(event["wall_s"])
        self.warnings += event.get("warnings", [])

    def _starting(self, event: dict) -> str:
        if event["kind"] != "run":
            return {"page": f"{event['label']}: executing its page", "book": "building the pages"}.get(
                event["kind"], f"{event['label']} (once, then cached)"
            )
        number = self.before + sum(kind == "run" for kind, _ in self.began)
        left = self.left()
        return f"run {number}/{self.total}, {event['label']}" + (f", about {duration(left)} left" if left else "")

    def left(self) -> float | None:
        """Seconds that the pending runs will take, from those that are done; None before anything is known."""
        each = statistics.mean(self.times) if self.times else self.guess
        waiting = self.total - self.before - sum(kind == "run" for kind, _ in self.ended)
        return None if each is None else each * max(1, waiting) / min(cores(), max(1, waiting))

    def lost(self, ends: list[int]) -> None:
        """Note jobs that began and never said how they ended, and a Snakemake that stopped for a reason of its own."""
        for kind, name in self.began.keys() - self.ended:
            log = project.relative(project.logs() / f"{Path(name).name}.log")
            report = {"notebook": self.began[kind, name], "cause": "its process was killed", "log": log}
            self.failures.append(failure(self.began[kind, name], report))
        if any(ends) and not self.failures and not self.warnings:
            stopped = f"killed by signal {-min(ends)}" if min(ends) < 0 else f"exit status {max(ends)}"
            log = project.relative(project.logs() / "snakemake.log")
            self.failures.append(
                f"Snakemake stopped ({stopped}): see {log}, then repeat the command to go on from here"
            )


def failure(label: str, report: dict) -> str:
    """A failure in the words that a person needs: what, where, why, the log, the command that repeats it."""
    what = driver.sentence(report) if report.get("notebook") else report["cause"]
    lines = [f"{label} failed: {what}"]
    for name, key in (("log", "log"), ("as far as it came", "partial"), ("repeat it", "command")):
        lines += [f"  {name}: {report[key]}"] if report.get(key) else []
    return "\n".join(lines)


def _recorded_time(todo: dict) -> float | None:
    """Mean seconds of earlier runs of the same experiments, here or recorded."""
    times = []
    for experiment in {run["experiment"] for run in todo["runs"]}:
        recorded = project.root() / "book" / "recorded" / experiment
        paths = [*(project.runs() / experiment).glob("*/record.json"), *recorded.glob("*.json")]
        for path in paths[:12]:
            try:
                times.append(float(json.loads(path.read_text())["wall_s"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return statistics.mean(times) if times else None


def duration(seconds: float) -> str:
    """40 s, 6 min, 2 h 5 min: as exact as a person needs it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
