"""Time programs side by side: each in a process of its own, taking turns on equal input, with their results compared.

A benchmark is a file that ends in `main(__file__, CASES)`. Each `Case` has some ways of doing one thing. A worker
process for each way (module `worker`) loads the input, warms up on a tiny one, and works whenever it is its turn;
nothing else runs meanwhile. What a case measured becomes a record, build/bench/<case>-<threads>.json, written last.
"""

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "bench"
SCHEMA = 1
TINY_ROUNDS = 5


@dataclass(frozen=True)
class Way:
    """One way to do the work: `prepare(**inputs)` gives a function that does it and returns named arrays.

    source: the program. peer: runs in the environment of `peers`. rounds: how often it is timed with one thread.
    """

    name: str
    prepare: Callable[..., Callable[[], dict]]
    source: str = "reidlib"
    peer: bool = False
    rounds: int = 5


@dataclass(frozen=True)
class Case:
    """One thing to do, in several ways: the first is reidlib's, the second that whose time is divided by reidlib's.

    inputs(size, folder) makes the arrays and texts that every way gets, by seed; size "full" is measured, "tiny" warms
    up, and tells what little input costs; files go to `folder`. check(results) takes `{way: {name: array}}` and returns
    named differences, none where there is no other; it raises AssertionError where results are not equal. floor: the
    way that does only what nobody can leave out. at_least: the ratio aimed at with one thread; at_most_ms: the time of
    each way of reidlib's; at_most_mib: its memory beyond the input. limit: what limits reidlib.
    """

    name: str
    title: str
    size: str
    ways: tuple[Way, ...]
    inputs: Callable[[str, Path], dict]
    check: Callable[[dict], dict]
    floor: str | None = None
    at_least: float | None = None
    at_most_ms: float | None = None
    at_most_mib: float | None = None
    limit: str = ""
    threads: tuple[str, ...] = ("one", "all")


class Failed(Exception):
    """A benchmark that could not be made; the message says why."""


def main(file: str, cases: list[Case]) -> None:
    """Run the cases of a benchmark file, or be one of its workers."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.splitlines()[0])
    parser.add_argument("--case", choices=[case.name for case in cases], nargs="*", help="only these")
    parser.add_argument("--threads", choices=("one", "all"), nargs="*", help="only so many threads")
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument("--worker", nargs=3, metavar=("CASE", "WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = [case for case in cases if not options.case or case.name in options.case]
    if options.worker:
        return worker.work(cases, *options.worker)
    try:
        for case in chosen:
            with tempfile.TemporaryDirectory(prefix="reidlib-bench-") as folder:
                call([sys.executable, file, "--worker", case.name, "", folder])
                for threads in case.threads:
                    if not options.threads or threads in options.threads:
                        record = measured(file, case, threads, Path(folder), options.quick)
                        write(record)
                        show(record)
    except Failed as fault:
        sys.exit(f"{Path(file).name}: {fault}")
    except KeyboardInterrupt:
        sys.exit(f"{Path(file).name}: stopped; the records of finished cases are in {OUT}")


def measured(file: str, case: Case, threads: str, folder: Path, quick: bool = False) -> dict:
    """The record of one case with one or all threads."""
    from reidlib.results import machine

    count = 1 if threads == "one" else machine.environment()["cores"]
    with contextlib.ExitStack() as stack:
        programs = {way.name: stack.enter_context(Worker(file, case, way, folder, count)) for way in case.ways}
        timings = {"full": {way.name: [] for way in case.ways}, "tiny": {way.name: [] for way in case.ways}}
        most = {way.name: 1 if quick else way.rounds if threads == "one" else -(-way.rounds // 2) for way in case.ways}
        for turn in range(max(most.values())):
            for name, program in programs.items():
                if turn < most[name]:
                    timings["full"][name].append(program.ask("full"))
        for _ in range(1 if quick else TINY_ROUNDS):
            for name, program in programs.items():
                timings["tiny"][name].append(program.ask("tiny"))
        results = {name: program.result("full") for name, program in programs.items()}
        tiny = {name: program.result("tiny") for name, program in programs.items()}
    try:
        differences = case.check(results)
        case.check(tiny)
    except AssertionError as fault:
        raise Failed(f"{case.name}: results are not equal: {fault}") from fault
    ways = [
        {
            "name": way.name,
            "source": way.source,
            "peer": way.peer,
            "seconds": [timing["seconds"] for timing in timings["full"][way.name]],
            "extra_mib": timings["full"][way.name][0][
                "extra_mib"
            ],  # later, what was freed may not have been given back
            "tiny_ms": [1000 * timing["seconds"] for timing in timings["tiny"][way.name]],
        }
        for way in case.ways
    ]
    return {
        "schema": SCHEMA,
        "case": case.name,
        "title": case.title,
        "size": case.size,
        "threads": count,
        "setting": threads,
        "ways": ways,
        "floor": case.floor,
        "at_least": case.at_least,
        "at_most_ms": case.at_most_ms,
        "at_most_mib": case.at_most_mib,
        "limit": case.limit,
        "differences": {name: float(value) for name, value in differences.items()},
        **{name: value for name, value in machine.environment().items() if name != "threads"},
        "versions": machine.versions(),
        "git_commit": machine.git_state()["git_commit"],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write(record: dict) -> None:
    """All or nothing: a record is renamed into its place when it is whole."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{record['case']}-{record['setting']}.json"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def show(record: dict) -> None:
    median = {way["name"]: statistics.median(way["seconds"]) for way in record["ways"]}
    ours = record["ways"][0]["name"]
    print(f"\n{record['title']} ({record['size']}), {record['threads']} thread{'s' * (record['threads'] > 1)}")
    for way in record["ways"]:
        name = way["name"] + (" (floor)" if way["name"] == record["floor"] else "")
        ratio = median[way["name"]] / median[ours]
        print(f"  {name:44s}{median[way['name']] * 1000:12.2f} ms{way['extra_mib']:9.0f} MiB{ratio:9.2f} x", end="")
        print(f"   tiny {statistics.median(way['tiny_ms']):8.3f} ms")
    print(
        "  differences:", ", ".join(f"{name} {value:.4g}" for name, value in record["differences"].items()), flush=True
    )


class Worker:
    """A process that prepares one way and times it when asked."""

    def __init__(self, file: str, case: Case, way: Way, folder: Path, threads: int):
        import peers

        try:
            python = peers.ensure() if way.peer else sys.executable
        except peers.Missing as fault:
            raise Failed(str(fault)) from fault
        self.name, self.folder = f"{case.name}, {way.name}", folder
        command = [str(python), file, "--worker", case.name, way.name, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings(threads)
        )

    def __enter__(self):
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def ask(self, size: str) -> dict:
        """One timing: seconds, and MiB at the peak beyond what the process held before its first work."""
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        return self._answer()

    def result(self, size: str) -> dict:
        """What its last work gave: named arrays."""
        path = self.ask(f"save {size}")["path"]
        with np.load(path) as stored:
            return dict(stored)

    def _answer(self) -> dict:
        for line in self.process.stdout:
            if line.startswith(worker.ANSWER):
                return json.loads(line.removeprefix(worker.ANSWER))
        code = self.process.wait()
        reason = "it was killed, probably for want of memory" if code == -9 else "see above"
        raise Failed(f"{self.name} ended with code {code}: {reason}")


def settings(threads: int) -> dict:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    path = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def call(command: list[str]) -> None:
    if subprocess.run(command, env=settings(1)).returncode:
        raise Failed("the input could not be made, see above")
