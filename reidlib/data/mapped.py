"""A resumable memory-mapped file of decoded images, for data sets that do not fit into memory.

`FILE` holds uint8 (n, 3, h, w) and `FILE.parts` uint8 (n, h, w), both raw; `FILE.state` holds a header (format, n, h,
w, parts or not) and one 8-byte key a row. The key of a row is written after its pixels and names the source file with
its size and time, so a decode that was killed goes on where it was, and a changed file is decoded again. Another image
size or number of rows starts anew. Processes that open the same file wait for each other.
"""

import hashlib
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import torch

from reidlib.data.decode import decode_into
from reidlib.data.disk import locked

_HEADER = struct.Struct("<8s4q")


def decode_mapped(file: Path, paths, masks, size: tuple[int, int], **options):
    """Decode `paths` into the memory-map `file`; returns (images, parts or None, skipped rows), mapped read-only.

    `options` go to `decode_into`. Raises ImageError, or OSError when the file cannot be made (no space, no right).
    """
    file = Path(file)
    shapes = {file: (len(paths), 3, *size)}
    if masks is not None:
        shapes[_beside(file, ".parts")] = (len(paths), *size)
    try:
        with locked(_beside(file, ".lock")):
            keys = _prepare(file, shapes, size)
            skipped = _decode_missing(shapes, keys, paths, masks, options)
    except OSError as error:
        if error.errno is None:  # an ImageError: it names the image and needs no more words
            raise
        need = sum(int(np.prod(shape)) for shape in shapes.values()) / 2**30
        raise OSError(
            error.errno,
            f"cannot write the memory-map of decoded images, which needs {need:.2f} GiB ({error.strerror}); "
            "free some space or name another place",
            str(file),
        ) from error
    return *_mapped(shapes, read_only=True), skipped


def _decode_missing(shapes, keys, paths, masks, options) -> list[int]:
    wanted = _keys(paths, masks)
    rows = np.flatnonzero(keys != wanted).tolist()
    if not rows:
        return []
    keys[rows] = 0
    images, parts = _mapped(shapes, read_only=False)

    def done(row: int) -> None:
        keys[row] = wanted[row]

    return decode_into(images, parts, paths, masks, rows, done=done, **options)


def _prepare(file: Path, shapes: dict, size: tuple[int, int]) -> np.memmap:
    """The keys of what is already decoded, after making new files where the old ones do not fit."""
    state, count = _beside(file, ".state"), shapes[file][0]
    header = _HEADER.pack(b"reidmap1", count, *size, len(shapes) - 1)
    whole = all(path.is_file() and path.stat().st_size == np.prod(shape) for path, shape in shapes.items())
    if not (whole and _header_of(state, count) == header):
        state.unlink(missing_ok=True)
        for path, shape in shapes.items():
            path.unlink(missing_ok=True)  # a new file, so that a process that still reads the old one is left in peace
            _allocate(path, int(np.prod(shape)))
        temporary = _beside(state, ".tmp")
        temporary.write_bytes(header + bytes(8 * count))
        os.replace(temporary, state)
    return np.memmap(state, dtype=np.uint64, mode="r+", offset=_HEADER.size, shape=(count,))


def _allocate(path: Path, size: int) -> None:
    """Make a file of `size` zero bytes with its blocks reserved: a full disk is an error now, not a crash later."""
    try:
        with open(path, "wb") as handle:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), 0, size)
            else:
                for start in range(0, size, 1 << 24):
                    handle.write(bytes(min(1 << 24, size - start)))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _header_of(state: Path, count: int) -> bytes | None:
    if not state.is_file() or state.stat().st_size != _HEADER.size + 8 * count:
        return None
    with open(state, "rb") as handle:
        return handle.read(_HEADER.size)


def _mapped(shapes: dict, read_only: bool) -> tuple:
    tensors = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        for path, shape in shapes.items():
            array = np.memmap(path, dtype=np.uint8, mode="r" if read_only else "r+", shape=shape)
            tensors.append(torch.from_numpy(array))
    return (tensors[0], tensors[1] if len(tensors) == 2 else None)


def _keys(paths, masks) -> np.ndarray:
    """One uint64 a row (never 0) from path, size and time of the image and of its part map."""
    keys = np.empty(len(paths), np.uint64)
    for row, path in enumerate(paths):
        text = _identity(path) + (_identity(masks[row]) if masks is not None and masks[row] is not None else "")
        keys[row] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
    return keys


def _identity(path) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return f"{path}\0missing\0"
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0"


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
