"""What a run was made on: the state of git, versions, processor or GPU, memory."""

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import reidlib
from reidlib.results.provenance import repository

VERSIONED = ["torch", "torchvision", "numpy", "pandas", "scikit-learn", "scipy", "pillow", "faiss-gpu", "faiss-cpu"]


def git_state():
    """`{"git_commit": hash or None, "git_dirty": True if tracked or new files differ from it, or None}`."""
    root = repository()
    commit = _git(root, "rev-parse", "HEAD") if root else None
    top = _git(root, "rev-parse", "--show-toplevel") if commit else None
    if not top or Path(top).resolve() != root:
        return {"git_commit": None, "git_dirty": None}
    changes = _git(root, "status", "--porcelain", "--", "reidlib", "notebooks", "pyproject.toml", "constraints.txt")
    return {"git_commit": commit, "git_dirty": bool(changes)}


def _git(root, *arguments):
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions():
    """Versions of Python and of the packages that numbers depend on; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "reidlib": reidlib.__version__}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment(device="cpu"):
    """`{"device", "machine", "cores", "threads"}`: kind of device, its model's name, usable cores, torch's threads."""
    import torch

    kind = torch.device(device).type
    machine = torch.cuda.get_device_name(device) if kind == "cuda" else cpu_model()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"device": kind, "machine": machine, "cores": cores, "threads": torch.get_num_threads()}


@functools.cache
def cpu_model():
    """Name of the processor as the system gives it."""
    try:
        match = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text())
    except OSError:
        match = None
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def peak_memory_mib():
    """Largest resident memory of this process so far, in MiB."""
    try:
        match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if match:
            return round(int(match.group(1)) / 1024, 1)
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
