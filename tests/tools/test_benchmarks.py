"""The harness of `make bench`, on a benchmark of its own that is over in seconds."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "benchmarks"

BENCHMARK = '''"""Sums."""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, {folder!r})
import numpy as np
import side_by_side
from side_by_side import Case, Way, main

side_by_side.OUT = Path({out!r})


def inputs(size, folder):
    (folder / "word.txt").write_text(size)
    return {{"numbers": np.arange(10 if size == "tiny" else 3_000_000, dtype=np.float32), "folder": str(folder)}}


def quick(numbers, folder):
    assert os.environ["OMP_NUM_THREADS"] in ("1", str(os.cpu_count()))
    print("what a library prints is not an answer")
    return lambda: {{"sum": numbers.sum(dtype=np.float64)}}


def slow(numbers, folder):
    assert Path(folder, "word.txt").read_text() in ("tiny", "full")
    return lambda: time.sleep(0.05) or {{"sum": {sum}, "copy": numbers.repeat(8)[:1]}}


def equal(results):
    apart = abs(results["quick"]["sum"] - results["slow"]["sum"])
    assert apart == 0, f"{{apart}} apart"
    return {{"sum": apart}}


CASES = [
    Case("sums", "Sums", "many numbers", (Way("quick", quick), Way("slow", slow, "elsewhere", rounds=2)), inputs, equal,
         threads=("one",))
]

if __name__ == "__main__":
    main(__file__, CASES)
'''


@pytest.fixture
def run(tmp_path):
    def run(total="numbers.sum(dtype=np.float64)", *arguments):
        file, out = tmp_path / "bench_sums.py", tmp_path / "out"
        file.write_text(BENCHMARK.format(folder=str(FOLDER), out=str(out), sum=total))
        done = subprocess.run([sys.executable, str(file), *arguments], capture_output=True, text=True, timeout=120)
        return done, sorted(out.glob("*")) if out.is_dir() else []

    return run


def test_a_record_has_rounds_memory_and_differences(run):
    done, (path,) = run()
    assert done.returncode == 0, done.stderr
    record = json.loads(path.read_text())
    quick, slow = record["ways"]
    assert path.name == "sums-one.json"
    assert (len(quick["seconds"]), len(slow["seconds"])) == (5, 2)
    assert min(slow["seconds"]) >= 0.05 > min(quick["seconds"]) > 0
    assert 80 < slow["extra_mib"] < 200  # 8 copies of 11.4 MiB
    assert quick["extra_mib"] < 20
    assert record["differences"] == {"sum": 0}
    assert record["threads"] == 1
    assert "Sums (many numbers), 1 thread" in done.stdout


def test_unequal_results_make_no_record(run):
    done, files = run("1.0", "--quick")
    assert done.returncode == 1
    assert "sums: results are not equal" in done.stderr
    assert files == []


def test_a_worker_that_dies_is_named(run):
    done, files = run("os._exit(7)", "--quick")
    assert done.returncode == 1
    assert "sums, slow ended with code 7" in done.stderr.splitlines()[-1]
    assert files == []


@pytest.mark.parametrize("file", sorted(p.name for p in FOLDER.glob("bench_*.py") if "side_by_side" in p.read_text()))
def test_every_benchmark_can_be_asked_for_help(file):
    done = subprocess.run([sys.executable, str(FOLDER / file), "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """The module that installs the peers, into a temporary folder, with commands that are only noted."""
    spec = importlib.util.spec_from_file_location("peers", FOLDER / "peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "peers")
    monkeypatch.setattr(module, "PYTHON", tmp_path / "peers" / "bin" / "python")
    monkeypatch.setattr(module, "packages", lambda: tmp_path / "peers" / "packages")
    return module


def noted(commands, peers, code=0):
    def run(command, **options):
        commands.append(command)
        peers.packages().mkdir(parents=True, exist_ok=True)
        peers.PYTHON.parent.mkdir(parents=True, exist_ok=True)
        peers.PYTHON.touch()
        return subprocess.CompletedProcess(command, code)

    return run


def test_peers_are_installed_once_and_anew_when_they_change(peers, monkeypatch):
    commands = []
    monkeypatch.setattr(peers.subprocess, "run", noted(commands, peers))
    assert peers.ensure() == peers.PYTHON
    count = len(commands)
    assert any("torchreid==0.2.5" in command for command in commands)
    peers.ensure()
    assert len(commands) == count
    monkeypatch.setattr(peers, "PEERS", ("torchreid==0.2.4",))
    peers.ensure()
    assert len(commands) == 2 * count


def test_peers_that_cannot_be_installed_are_tried_again(peers, monkeypatch):
    commands = []
    monkeypatch.setattr(peers.subprocess, "run", noted(commands, peers, code=1))
    for times in (1, 2):
        with pytest.raises(peers.Missing, match="a package index must be in reach, and a C compiler"):
            peers.ensure()
        assert len(commands) == times
