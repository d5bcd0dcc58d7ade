"""The process that does the work of one way of a case and takes its own time: see `side_by_side`.

It says on its output when it is ready, and then answers each line of its input, with one line of JSON.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHORTEST = 0.1  # seconds that a timing lasts at least: shorter work is repeated
LONG = 5  # seconds: what takes longer is not done once more to warm up
ANSWER = "answer "  # how its lines begin: libraries may print too


def work(cases: list, case: str, way: str, folder: str) -> None:
    """Make the input (way ""), or prepare a way, say so, and answer to lines until they end."""
    case, folder = next(some for some in cases if some.name == case), Path(folder)
    if not way:
        for size in ("tiny", "full"):
            (folder / size).mkdir()
            store(folder / size, case.inputs(size, folder / size))
        return
    chosen = next(some for some in case.ways if some.name == way)
    with contextlib.redirect_stdout(sys.stderr if os.environ.get("REIDLIB_BENCH_LOUD") else open(os.devnull, "w")):
        inputs = {size: load(folder / size) for size in ("tiny", "full")}
        works = {size: chosen.prepare(**given) for size, given in inputs.items()}
        results = {"tiny": works["tiny"]()}
    warm = set()
    answer({"ready": True})
    for line in sys.stdin:
        command = line.split()
        with contextlib.redirect_stdout(open(os.devnull, "w")):
            if command[0] == "save":
                path = folder / f"{chosen.name}-{command[1]}.npz".replace(" ", "-").replace("/", "-")
                np.savez(path, **results[command[1]])
                reply = {"path": str(path)}
            else:
                touch(inputs[command[0]])
                held = reset_peak()
                results[command[0]], seconds = timed(works[command[0]])
                peak = status("VmHWM")
                if command[0] not in warm and seconds < LONG:
                    results[command[0]], seconds = timed(works[command[0]])
                warm.add(command[0])
                reply = {"seconds": seconds, "extra_mib": peak - held}
        answer(reply)


def touch(inputs: dict) -> None:
    """Read all arrays: what the system has put aside while others worked comes back before the clock starts."""
    for value in inputs.values():
        if isinstance(value, np.ndarray):
            value.max()


def timed(function: Callable[[], dict]) -> tuple[dict, float]:
    """The result, and the seconds of one call: of several, where one is over in no time."""
    began = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - began
    if seconds < SHORTEST:
        times = int(SHORTEST / seconds) + 1
        began = time.perf_counter()
        for _ in range(times):
            result = function()
        seconds = (time.perf_counter() - began) / times
    return result, seconds


def answer(reply: dict) -> None:
    sys.__stdout__.write(f"{ANSWER}{json.dumps(reply)}\n")
    sys.__stdout__.flush()


def store(folder: Path, inputs: dict) -> None:
    texts = {}
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            np.save(folder / f"{name}.npy", value)
        else:
            texts[name] = value
    (folder / "texts.json").write_text(json.dumps(texts))


def load(folder: Path) -> dict:
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    return {**arrays, **json.loads((folder / "texts.json").read_text())}


def status(name: str) -> float:
    """MiB of VmRSS or VmHWM (the peak); nan where the system does not tell."""
    try:
        return int(re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    except (OSError, TypeError):
        return float("nan")


def reset_peak() -> float:
    """Forget the peak so far, where the system can (Linux); what the process holds now, in MiB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")
