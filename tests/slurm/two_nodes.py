"""The same sweep locally and on a Slurm of two nodes: same ids, same metrics; a lost node costs no finished run.

    apt-get install slurm-wlm munge                     # Debian; no daemon of the system need run
    pip install -c constraints.txt -e '.[book,slurm]'   # without the plugin, it is put into the temporary folder
    python tests/slurm/two_nodes.py

Takes about ten minutes on two cores; any user can run it. A copy of this repository, the cluster and all runs are in
a temporary folder, removed after a success (--keep leaves it). Four short runs of the triplet chapter, five times:

    local   make sweep
    slurm   make sweep SNAKEMAKE="--profile profiles/slurm ..."
    lost    the same, and a node is killed with its job; then repeated with the other node alone
    daemon  the same, and only the node's daemon is killed, while Slurm may start lost jobs again
    stopped the same, stopped with Ctrl-C; then repeated

One line for each check, exit status 1 if one failed.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from cluster import Cluster  # noqa: E402

from reidlib.workflow.processes import tied_to_me  # noqa: E402

COPIED = ("Makefile", "Snakefile", "pyproject.toml", "constraints.txt", "reidlib", "notebooks", "book", "profiles")
SECTION = "  slurm: {arms: [triplet, lossless], seeds: [0, 1], common: {images_seen: 960}}\n"
RUNS = 4
SAME = ("id", "parameters", "seed", "metrics", "per_query", "history", "extra", "threads", "code", "data")
OPTIONS = "--profile profiles/slurm --jobs 4 --default-resources slurm_partition=main mem_mb=1500 runtime=5"
OPTIONS += " --slurm-status-command squeue --slurm-init-seconds-before-status-checks 3 --latency-wait 5"
PATIENCE = 300


class Checks:
    """The sweeps of one call, and what was found."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder, self.cluster, self.failed = folder, cluster, 0
        self.repository = _copy(folder / "repository")
        self.plugin = _plugin(folder / "plugin")

    def check(self, holds: bool, what: str, detail: str = "") -> None:
        self.failed += not holds
        print(f"{'PASS' if holds else 'FAIL'}  {what}" + (f"  [{detail}]" if detail else ""), flush=True)

    def start(self, name: str, options: str = "") -> subprocess.Popen:
        """`make sweep` into the build folder `name`, its words into NAME.out."""
        environment = {**self.cluster.environment, "REIDLIB_BUILD": str(self.folder / name), "OMP_NUM_THREADS": "1"}
        path = [str(self.repository)] + ([str(self.plugin)] if self.plugin and options else [])
        environment["PYTHONPATH"] = os.pathsep.join(path)
        words = ["EXPERIMENT=triplet", "SECTION=slurm", f"PY={sys.executable}", f"SNAKEMAKE={options}"]
        with open(self.folder / f"{name}.out", "a") as out:
            return subprocess.Popen(
                ["make", "--no-print-directory", "sweep", *words],
                env=environment, cwd=self.repository, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=tied_to_me(),
            )  # fmt: skip

    def sweep(self, name: str, options: str = "") -> tuple[int, float]:
        """(exit status, seconds) of a sweep that is left alone."""
        began = time.time()
        process = self.start(name, options)
        return self.finish(process), time.time() - began

    def finish(self, process: subprocess.Popen) -> int | None:
        """Exit status of a sweep; None where it had to be stopped."""
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None

    def records(self, name: str) -> dict[str, tuple[float, dict]]:
        """Id -> (time of the file, record) of the finished runs."""
        paths = (self.folder / name / "runs" / "triplet").glob("*/record.json")
        return {path.parent.name: (path.stat().st_mtime, json.loads(path.read_text())) for path in paths}

    def until(self, condition, process: subprocess.Popen) -> bool:
        """Wait for a state in the middle of a sweep; False where it never came."""
        end = time.time() + PATIENCE
        while time.time() < end and process.poll() is None:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def under_way(self, name: str, node: str, seconds: float = 1e9) -> str | None:
        """The run whose notebook a node has been executing for so many seconds at most, and that has no record yet."""
        run = self.cluster.running().get(node, "").partition("_wildcards_")[2]
        begun = (self.folder / name / "executed" / "runs").glob(f".{run}.*.part/in.ipynb") if run else []
        young = any(time.time() - path.stat().st_mtime < seconds for path in begun)
        return run if young and run not in self.records(name) else None

    def same(self, name: str) -> None:
        """Compare a sweep with the local one: which runs, and every number in their records."""
        ours, theirs = self.records("local"), self.records(name)
        self.check(len(ours) == RUNS and ours.keys() == theirs.keys(), f"{name}: the same {RUNS} ids as locally")
        both = ours.keys() & theirs.keys()
        other = [f"{run} {key}" for run in both for key in SAME if ours[run][1][key] != theirs[run][1][key]]
        self.check(not other and bool(theirs), f"{name}: the same metrics, bit for bit", ", ".join(other[:3]))

    def warm(self, name: str) -> None:
        """Give a build the local one's warm start, to save its minute."""
        shutil.copytree(self.folder / "local" / "warm", self.folder / name / "warm")

    def kept(self, before: dict, name: str) -> bool:
        after = self.records(name)
        return all(run in after and after[run] == facts for run, facts in before.items())

    def log(self, name: str) -> str:
        return (self.folder / name / "logs" / "snakemake.log").read_text()


def plain(checks: Checks) -> None:
    """The same sweep, locally and through Slurm."""
    status, seconds = checks.sweep("local")
    checks.check(status == 0, "local: the sweep ends well", f"{seconds:.0f} s")
    status, seconds = checks.sweep("slurm", OPTIONS)
    checks.check(status == 0, "slurm: the sweep ends well", f"{seconds:.0f} s")
    jobs = re.findall(r"submitted with SLURM jobid (\d+)", checks.log("slurm"))
    checks.check(len(jobs) == RUNS + 1, "slurm: every run and the warm start were Slurm jobs", f"{len(jobs)} jobs")
    checks.same("slurm")


def node(checks: Checks, name: str, jobs: bool, options: str) -> None:
    """A node is killed in the middle of a sweep; jobs: with its job, and the sweep is repeated without the node."""
    checks.warm(name)
    process = checks.start(name, options)
    cluster, victim = checks.cluster, "n2"
    ready = checks.until(lambda: checks.records(name) and checks.under_way(name, victim, 2), process)
    time.sleep(4)  # into the training
    before, interrupted = checks.records(name), checks.under_way(name, victim)
    cluster.kill_node(victim, jobs)
    checks.check(ready and bool(interrupted), f"{name}: {victim} killed during a run", f"{len(before)} runs done")
    status = checks.finish(process)
    after = checks.records(name)
    print(f"      the sweep ended with status {status}, {len(after)} of {RUNS} runs done, nodes {cluster.states()}")
    checks.check(status is not None and checks.kept(before, name), f"{name}: no finished run was lost")
    if jobs:
        checks.check(status not in (0, None) and interrupted not in after, f"{name}: the sweep says that a run failed")
    again, seconds = checks.sweep(name, options)
    checks.check(again == 0 and checks.kept(after, name), f"{name}: repeated, it completes", f"{seconds:.0f} s")
    checks.same(name)
    cluster.start_node(victim)
    checks.until(lambda: set(cluster.states().values()) == {"idle"}, cluster.daemons[victim])


def stopped(checks: Checks, name: str) -> None:
    """Ctrl-C takes the jobs out of the queue; what is finished stays."""
    checks.warm(name)
    process = checks.start(name, OPTIONS)
    ready = checks.until(lambda: checks.records(name) and len(checks.cluster.jobs()) > 2, process)
    before = checks.records(name)
    os.killpg(process.pid, signal.SIGINT)
    status = checks.finish(process)
    time.sleep(2)
    left = checks.cluster.jobs()
    checks.check(ready and status not in (0, None) and not left, f"{name}: no job is left in the queue", " ".join(left))
    again, seconds = checks.sweep(name, OPTIONS)
    checks.check(again == 0 and checks.kept(before, name), f"{name}: repeated, it completes", f"{seconds:.0f} s")
    checks.same(name)


def _copy(target: Path) -> Path:
    """The repository as it is now, with a section of short runs."""
    target.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)
    with open(target / "book" / "papers" / "grids" / "triplet.yml", "a") as grid:
        grid.write(SECTION)
    return target


def _plugin(target: Path) -> Path | None:
    """Where Snakemake's Slurm plugin was put; None: it is installed."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return None
    names = ["snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), *names]
    subprocess.run(command, check=True)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the daemons are stopped then, too
    folder, began = Path(tempfile.mkdtemp(prefix="two-nodes-")), time.time()
    with Cluster(folder / "cluster") as cluster:
        print(f"Slurm {cluster.run('sinfo', '--version').split()[-1]}, nodes {cluster.states()}, {folder}", flush=True)
        checks = Checks(folder, cluster)
        plain(checks)
        node(checks, "lost", True, f"{OPTIONS} --slurm-no-requeue")
        node(checks, "daemon", False, f"{OPTIONS} --slurm-requeue")
        stopped(checks, "stopped")
    print(f"{'FAIL' if checks.failed else 'PASS'}: {checks.failed} failed, {time.time() - began:.0f} s")
    if checks.failed or chosen.keep:
        print(f"left to look into: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
