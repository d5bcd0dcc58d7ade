"""Files that several processes may want at once."""

import contextlib
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: processes are then not kept apart, and the later one wins
    fcntl = None


@contextlib.contextmanager
def locked(path: Path):
    """Hold the exclusive lock file `path` (made when missing); another process waits. A killed holder frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
