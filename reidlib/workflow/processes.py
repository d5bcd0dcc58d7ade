"""Processes that end together: a child whose parent is gone, however it died, must not go on writing."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent ends, even by SIGKILL; elsewhere nothing happens.

    parent: the process id that the parent had when it started this process; if it is gone already, end at once.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def tied_to_me():
    """A `preexec_fn` for subprocess.Popen: the child dies with the process that calls this."""
    me = os.getpid()
    return (lambda: die_with_parent(me)) if _libc is not None else None


def alive(pid: int) -> bool:
    """Whether a process with this id exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not os.path.isdir("/proc/self")
