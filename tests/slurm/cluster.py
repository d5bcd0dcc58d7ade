"""Slurm with two nodes on one machine: its own munge, controller and two node daemons, all in one folder, as any user.

Nothing outside the folder is written and nothing of a Slurm that may run beside it is touched: the daemons and every
command find this one by $SLURM_CONF. Debian: `apt-get install slurm-wlm munge`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from reidlib.workflow.processes import alive, tied_to_me

NODES = ("n1", "n2")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel")
CONFIG = """\
ClusterName=two_nodes
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=2000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """The daemons, as a context; `environment` is what a process needs to find them."""

    def __init__(self, folder: Path):
        self.folder, self.config = folder, folder / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.config)}
        self.environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.daemons: dict[str, subprocess.Popen] = {}
        missing = [name for name in NEEDED if shutil.which(name, path=self.environment["PATH"]) is None]
        if missing:
            raise SystemExit(f"{', '.join(missing)} not found: install Slurm (Debian: apt-get install slurm-wlm munge)")

    def __enter__(self) -> "Cluster":
        (self.folder / "state").mkdir(parents=True)
        user, host = _user(), socket.gethostname().split(".")[0]
        self.config.write_text(CONFIG.format(folder=self.folder, user=user, host=host, ports=_free_ports(3)))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._wrap("srun")
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        try:
            self._start(
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={files['socket']}",
                f"--pid-file={files['pid']}", f"--log-file={files['log']}", f"--seed-file={files['seed']}",
            )  # fmt: skip
            _until(files["socket"].exists, 10, f"munged does not start: see {self.folder}/munged.out")
            self._start("slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            _until(lambda: self.states() == dict.fromkeys(NODES, "idle"), 30, f"no two idle nodes: see {self.folder}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self._processes():  # jobs and their keepers
            _kill(pid)

    def start_node(self, node: str) -> None:
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str, jobs: bool) -> None:
        """Kill a node's daemon without warning; jobs: with all that runs there, as when the machine loses its power."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        if jobs:
            for pid in self._processes(node):
                _kill(pid)

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        return done.stdout

    def states(self) -> dict[str, str]:
        """Node -> idle, allocated, mixed, down...; a trailing * says that it does not answer."""
        return dict(line.split() for line in self.run("sinfo", "-N", "-h", "-o", "%N %T").splitlines())

    def running(self) -> dict[str, str]:
        """Node -> what Snakemake says of the job that runs there: its rule and the run's id."""
        lines = [line.split() for line in self.run("squeue", "-h", "-t", "running", "-o", "%N %k").splitlines()]
        return {line[0]: line[1] for line in lines if len(line) == 2}

    def jobs(self) -> list[str]:
        """Ids of the jobs that wait or run."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def _start(self, program: str, *options: str, name: str | None = None) -> None:
        with open(self.folder / f"{name or program}.out", "a") as out:
            self.daemons[name or program] = subprocess.Popen(
                [shutil.which(program, path=self.environment["PATH"]), *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=tied_to_me(),
            )

    def _wrap(self, program: str) -> None:
        """A `program` that finds this cluster by itself: inside a job, Snakemake's plugin drops $SLURM_CONF."""
        wrapper = self.folder / "bin" / program
        wrapper.parent.mkdir()
        real = shutil.which(program, path=self.environment["PATH"])
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.config} exec {real} "$@"\n')
        wrapper.chmod(0o755)

    def _processes(self, node: str | None = None) -> list[int]:
        """Processes of this cluster's jobs, with the slurmstepd above them; node: of one node."""
        wanted = {f"SLURM_CONF={self.config}".encode()} | ({f"SLURMD_NODENAME={node}".encode()} if node else set())
        found = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if not wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                    continue
                found.add(int(entry.name))
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if (Path("/proc") / str(parent) / "comm").read_text().startswith("slurmstepd"):
                    found.add(parent)
            except (OSError, ValueError):  # gone meanwhile, or another user's
                continue
        return sorted(found)


def _kill(pid: int) -> None:
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _until(condition, seconds: float, otherwise: str) -> None:
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            raise SystemExit(otherwise)
        time.sleep(0.3)
