"""Results kept on disk under a name that says what they were made from: made once, whichever process comes first."""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from reidlib.data.disk import locked


def kept(file: Path | str, make: Callable[[], dict]) -> dict:
    """The dict in `file`; if there is none, or it is broken, what `make()` returns, written there for the next call.

    The dict may hold tensors, numbers, strings, None, and lists, tuples and dicts of these; its tensors come back on
    the CPU. Of two processes that want one file, one makes it and the other waits for it (a file `<name>.lock` beside
    it). The file is renamed into place when it is whole, and holds a digest of what is in it, so that one that was cut
    off or damaged is made anew. Where it cannot be written the dict is returned all the same, with a warning.
    Raises TypeError for a dict that could not be read back, and whatever `make` raises.
    """
    file = Path(file)
    found = _read(file)
    if found is not None:
        return found
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(file.with_name(f"{file.name}.lock")))
        except OSError as error:
            _warn(file, error)
            return make()
        found = _read(file)  # another process may have made it meanwhile
        if found is not None:
            return found
        content = make()
        try:
            return _write(file, content)
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch.save
            _warn(file, error)
            return content


def key(*facts) -> str:
    """16 hexadecimal digits that depend on every one of `facts`: the part of a file's name that says what is in it.

    facts: numbers, strings, booleans, None, tensors, and lists, tuples and dicts of these. They are written as JSON, so
    a tuple counts as a list; a tensor counts by its dtype, shape and bytes, on whatever device it is.
    Raises TypeError for anything else.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_tensor_fact).encode()).hexdigest()[:16]


def _tensor_fact(fact) -> dict:
    if not isinstance(fact, Tensor):
        raise TypeError(
            f"{type(fact).__name__} can be no part of a key: give numbers, strings, tensors, lists or dicts"
        )
    fact = fact.detach().cpu()
    content = fact.contiguous().reshape(-1).view(torch.uint8).numpy()
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return {"tensor": [str(fact.dtype), list(fact.shape), digest]}


def _write(file: Path, content: dict) -> dict:
    """Writes `content` to `file` and returns it as it will be read."""
    temporary = file.with_name(f"{file.name}.part")  # only under the lock: what a killed process left is overwritten
    torch.save({"content": content, "digest": key(content)}, temporary)
    found = _read(temporary)
    if found is None:
        temporary.unlink()
        raise TypeError(
            f"what is kept in {file.name} cannot be read back: use tensors, numbers, strings, lists and dicts"
        )
    os.replace(temporary, file)
    return found


def _read(file: Path) -> dict | None:
    """The dict in `file`, or None when there is none or it is broken."""
    if not file.is_file():
        return None
    try:
        whole = torch.load(file, map_location="cpu", weights_only=True)
        content = whole["content"]
        return content if isinstance(content, dict) and key(content) == whole["digest"] else None
    except Exception:  # a broken file can raise nearly anything, and is made anew whatever it was
        return None


def _warn(file: Path, error: Exception) -> None:
    reason = str(error).splitlines()[0]
    warnings.warn(f"{file.name} cannot be kept in {file.parent} ({reason}); it will be made again", stacklevel=3)
