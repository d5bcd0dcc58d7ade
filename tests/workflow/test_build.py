"""Builds of a toy: only what is pending is run, failures are told, and a build can be killed at any moment."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def wait_for(condition, seconds=60, what=""):
    end = time.time() + seconds
    while not (value := condition()):
        assert time.time() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return value


def test_only_what_is_pending_is_run(project):
    """First everything, then nothing, then the run whose parameter changed; one that fails does not stop others."""
    first = project.reidlib("sweep", "toy", "--section", "book")
    assert first.returncode == 0, first.stderr
    assert "4 runs, 0 done before" in first.stdout
    assert "run 4/4, toy " in first.stdout
    assert "s left" in first.stdout
    assert "4 of 4 runs have a record in build/runs" in first.stdout
    records = project.records()
    assert len(records) == 4
    assert len(project.executions()) == 4

    start = time.time()
    again = project.reidlib("sweep", "toy", "--section", "book")
    assert again.returncode == 0
    assert "nothing had to be run again" in again.stdout
    assert time.time() - start < 20
    assert project.records() == records
    for record in (project.build / "runs").rglob("record.json"):  # a time stamp does not matter
        os.utime(record, (1, 1))
    os.utime(project.notebook)
    replace(project.notebook, "It does nothing, slowly.", "It does nothing at all.")
    assert "nothing had to be run again" in project.reidlib("sweep", "toy", "--section", "book").stdout

    replace(project.grid, "arms:", "arms:\n  c: {fail: true}")
    replace(project.grid, "b: {loss: lossless}", "b: {loss: lossless, wait: 0.1}")
    replace(project.grid, "seeds: [0, 1]", "seeds: [1]")
    mixed = project.reidlib("sweep", "toy", "--section", "book")
    assert mixed.returncode == 1
    assert len(project.executions()) == 6
    assert len(project.records()) == 5
    words = mixed.stderr.split("toy c seed 1 failed: ")[1]
    assert words.startswith(
        "notebooks/toy.ipynb, cell 4 (`import json, os, time`): AssertionError: this run was told to fail"
    )
    lines = dict(line.strip().split(": ", 1) for line in words.splitlines()[1:4])
    assert "told to fail" in (project.root / lines["as far as it came"]).read_text()
    assert (project.root / lines["log"]).is_file()
    assert "-m reidlib.workflow.cli run notebooks/toy.ipynb --out build/executed/runs/toy-c" in lines["repeat it"]
    assert "-p fail True" in lines["repeat it"]
    assert project.leftovers() == []

    listed = project.reidlib("runs").stdout
    assert "book: 2 done, 1 pending\n    pending: toy c seed 1" in listed
    assert "tiny: 1 done, 0 pending" in listed
    kept = project.reidlib("record", "toy", "--section", "book")
    assert "2 records are in" in kept.stdout
    assert "1 runs have none yet" in kept.stdout
    assert len(list((project.root / "book" / "recorded" / "toy").glob("toy-*.json"))) == 2


def test_mistakes_are_told_in_a_sentence_before_anything_runs(project):
    replace(project.grid, "{loss: lossless}", "{los: lossless}")
    done = project.reidlib("sweep", "toy")
    assert done.returncode == 1
    told = "reidlib: book/papers/grids/toy.yml: notebooks/toy.ipynb has no parameter 'los'; did you mean 'loss'?\n"
    assert done.stderr == told
    assert "there is no experiment 'tyo'" in project.reidlib("sweep", "tyo").stderr
    assert project.executions() == []


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def begun(project, number: int, process):
    """The kernels' process ids once `number` runs are at work; fails at once where the build ended before."""

    def at_work():
        assert process.poll() is None, (project.root / "output.txt").read_text()
        return len(project.executions()) >= number and [pid for pid, _ in project.executions()]

    return wait_for(at_work, what=f"{number} runs to begin")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
@pytest.mark.parametrize("victim", ["make", "snakemake", "driver", "kernel"])
def test_a_build_can_be_killed_and_repeated(project, victim):
    """kill -9 of make while two runs are at work; of Snakemake, a driver, a kernel when one has finished."""
    project.gate()
    replace(project.grid, "arms: all, seeds: [0, 1]", "arms: [a], seeds: [0, 1]")
    make = project.start("make", "sweep", "EXPERIMENT=toy", f"PY={sys.executable}", "SECTION=book")
    begun(project, 2, make)
    if victim == "make":
        second = project.reidlib("sweep", "toy", "--section", "book")
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr.startswith("reidlib: another build (process ")
        assert second.stderr.count("\n") == 1
    else:
        project.open(0)
        wait_for(project.records, what="a finished run")
    kernel = next(pid for pid, name in project.executions() if "seed-1" in name)
    driver = parent(kernel)
    os.kill({"make": make.pid, "snakemake": parent(driver), "driver": driver, "kernel": kernel}[victim], signal.SIGKILL)
    assert make.wait(timeout=60) != 0
    wait_for(lambda: not project.processes(), seconds=10, what="all processes to end")
    done = project.records()
    assert len(done) == (0 if victim == "make" else 1)
    if victim == "kernel":
        assert "the kernel died" in (project.root / "output.txt").read_text()

    project.open(0, 1)
    repeat = project.reidlib("sweep", "toy", "--section", "book")
    assert repeat.returncode == 0, repeat.stderr
    assert f"2 runs, {len(done)} done before" in repeat.stdout
    records = project.records()
    assert len(records) == 2
    assert {name: records[name] for name in done} == done
    ran = [name for _, name in project.executions()]
    assert all(ran.count(name) == 1 for name in done)
    assert project.leftovers() == []
    assert project.processes() == []
