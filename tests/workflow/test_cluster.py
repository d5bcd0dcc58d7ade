"""How a build starts and stops a Snakemake that sends its jobs elsewhere; tests/slurm/two_nodes.py tries a real one."""

import signal
from pathlib import Path

import pytest
import yaml

from reidlib.workflow import progress

ELSEWHERE = [
    ["--executor", "slurm", "--jobs", "4"],
    ["--executor=slurm"],
    ["-e", "slurm"],
    ["--profile", "profiles/slurm"],
]
HERE = [[], ["--keep-storage-local-copies"], ["--jobs", "3"]]


class Process:
    """Stands for Snakemake: ends at once, or with Ctrl-C in the middle; notes what it is asked."""

    returncode, interrupted = 0, False

    def __init__(self, command, **options):
        Process.last, self.command, self.options, self.asked = self, command, options, []

    def poll(self):
        if self.interrupted:
            raise KeyboardInterrupt
        return 0

    def send_signal(self, number):
        self.asked.append(number)

    def wait(self, timeout=None):
        self.asked.append("wait")

    def kill(self):
        self.asked.append("kill")


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDLIB_BUILD", str(tmp_path))
    monkeypatch.setenv("REIDLIB_CORES", "7")
    monkeypatch.setattr(progress.subprocess, "Popen", Process)
    todo = {"runs": [], "pages": [], "warm": {}}

    def call(options):
        with open(tmp_path / "lock", "w") as lock:
            progress._snakemake(["sweep"], options, lock, progress.Watch(todo), tmp_path / "events")

    return call


@pytest.mark.parametrize("options", ELSEWHERE)
def test_the_cores_of_this_machine_do_not_limit_jobs_elsewhere(start, options):
    start(options)
    assert "--cores" not in Process.last.command
    assert Process.last.command[-len(options) :] == options
    assert Process.last.options["process_group"] == 0


@pytest.mark.parametrize("options", HERE)
def test_jobs_here_get_the_cores_of_this_machine(start, options):
    start(options)
    command = Process.last.command
    assert command[command.index("--cores") + 1] == "7"
    assert Process.last.options["process_group"] is None


@pytest.mark.parametrize(("options", "first"), [(ELSEWHERE[0], [signal.SIGINT, "wait"]), (HERE[0], [])])
def test_an_interrupted_build_lets_snakemake_empty_the_queue_before_it_is_killed(start, monkeypatch, options, first):
    monkeypatch.setattr(Process, "interrupted", True)
    with pytest.raises(KeyboardInterrupt):
        start(options)
    assert Process.last.asked == [*first, "kill", "wait"]


def test_the_profile_names_the_executor_and_what_a_job_gets():
    profile = yaml.safe_load((Path(__file__).parents[2] / "profiles" / "slurm" / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert profile["jobs"] > 1
    assert {"runtime", "mem_mb"} <= profile["default-resources"].keys()
