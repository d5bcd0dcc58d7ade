"""Make or update .venv, the environment of every make target. Plain Python >= 3.11, nothing else needed.

    python3 tools/bootstrap.py            # only if it is missing or older than pyproject.toml and constraints.txt

It checks before it downloads, says what it will take, and can be killed at any moment: an install that did not end is
made anew, from what pip has cached.
"""

import argparse
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = 8 * 2**30  # bytes on disk
MINUTES = 3
EXTRAS = "test"


class Unfit(Exception):
    """This machine cannot take the install; the message says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--check", action="store_true", help="say whether it is up to date, change nothing")
    chosen = parser.parse_args(arguments)
    venv = chosen.venv.absolute()
    if current(venv):
        return 0
    if chosen.check:
        print(f"{venv} is missing or out of date")
        return 1
    try:
        check_machine(venv)
        with alone():
            if not current(venv):  # else another make has just done it
                install(venv)
    except Unfit as fault:
        print(f"bootstrap: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: stopped; the next make begins the install again, from pip's cache", file=sys.stderr)
        return 130
    return 0


def wanted() -> str:
    """What the environment must hold: a hash of the requirements and of this Python's version."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {EXTRAS}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def current(venv: Path) -> bool:
    """Whether an install of exactly these requirements has ended."""
    stamp = venv / "installed"
    return stamp.is_file() and stamp.read_text() == wanted() and (venv / "bin" / "python").exists()


def check_machine(venv: Path) -> None:
    """Raise Unfit for what would make the install fail half-way."""
    if sys.version_info < (3, 11):  # noqa: UP036
        raise Unfit(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: run `make PYTHON=python3.11 ...`"
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise Unfit("this Python has no venv: install it (Debian, Ubuntu: apt install python3-venv)")
    if not os.access(venv.parent, os.W_OK):
        raise Unfit(f"{venv.parent} cannot be written to: clone the repository where you may write")
    if venv.is_symlink() or (venv.exists() and not venv.is_dir()):
        raise Unfit(f"{venv} is in the way: move it")
    free = shutil.disk_usage(venv.parent).free
    if free < NEEDED and not (venv / "installed").exists():
        raise Unfit(f"{NEEDED / 2**30:.0f} GB of disk are needed, {free / 2**30:.1f} GB are free in {venv.parent}")


class alone:
    """One install at a time: a second one waits, and finds it done."""

    def __init__(self):
        self.path = ROOT / "build" / "install.lock"
        self.path.parent.mkdir(exist_ok=True)

    def __enter__(self):
        self.file = open(self.path, "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another install is at work: waiting for it", flush=True)
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error):
        self.file.close()


def install(venv: Path) -> None:
    """Make the environment, or bring it up to date; its stamp is written last."""
    stamp, begun = venv / "installed", venv / "installing"
    new = begun.exists() or not (venv / "bin" / "python").exists()
    stamp.unlink(missing_ok=True)
    if new:
        print(
            f"installing Python packages into {venv}: up to {NEEDED / 2**30:.0f} GB on disk (most of it PyTorch), "
            f"about {MINUTES} min with a fast connection. Once: later calls start at once.",
            flush=True,
        )
        call([sys.executable, "-m", "venv", "--clear", str(venv)])
    else:
        print(f"bringing {venv} up to date with pyproject.toml and constraints.txt", flush=True)
    begun.touch()
    start = time.monotonic()
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--retries", "8"]
    pip += ["--timeout", "60", "--progress-bar", "on", "--constraint", str(ROOT / "constraints.txt")]
    follow([*pip, "--editable", f"{ROOT}[{EXTRAS}]"])
    stamp.with_suffix(".part").write_text(wanted())
    os.replace(stamp.with_suffix(".part"), stamp)
    begun.unlink()
    print(f"installed in {time.monotonic() - start:.0f} s", flush=True)


def follow(command: list[str]) -> None:
    """Run pip and say in one line what it is at; all it prints goes to build/logs/install.log. Raises Unfit."""
    log = ROOT / "build" / "logs" / "install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    collected, last = 0, ""
    with open(log, "w") as file:
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=tied(), cwd=ROOT
        )
        for line in pip.stdout:
            file.write(line)
            file.flush()
            words = line.split()
            last = line.strip() or last
            if words[:1] == ["Collecting"]:
                collected += 1
                say(f"package {collected}: {words[1].split('=')[0]}")
            elif words[:1] == ["Downloading"] and "MB" in line and float(words[-2].strip("(")) > 20:
                say(f"package {collected}: downloading {Path(words[1]).name.split('-')[0]} {' '.join(words[-2:])}")
            elif words[:2] == ["Installing", "collected"]:
                say(f"unpacking {collected or 'the'} packages (about a minute)")
        code = pip.wait()
    say(None)
    if code:
        raise Unfit(f"pip failed: {last}; all it said is in {log}; run the same command again to go on")


def say(line: str | None) -> None:
    """Show progress: one line that changes on a terminal, else a line now and then; None ends it."""
    if sys.stdout.isatty():
        print("\r\033[K  " + line[:100] if line else "\r\033[K", end="", flush=True)
    elif line and ("downloading" in line or "unpacking" in line):
        print(f"  {line}", flush=True)


def tied():
    """The child dies with this process, even by SIGKILL (Linux)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=tied())
    if done.returncode:
        raise Unfit(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")


if __name__ == "__main__":
    sys.exit(main())
