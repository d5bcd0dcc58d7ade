"""Data sets as frames, images as one uint8 tensor, and augmentation of batches.

`load` is the one way in: it turns the name of a data set into its frame and its image store.
"""

import difflib
import hashlib
import importlib
import inspect
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reidlib.data import drawn
from reidlib.data import market1501 as market1501  # the other readers are imported when they are asked for
from reidlib.data.frame import make_frame
from reidlib.data.store import ImageStore, check_size

__all__ = ["Data", "ImageStore", "fingerprint", "known", "load", "reader_of"]

# name of a data set on disk -> module of its reader: find_root(root), read(root, **options), HELP, EXPECTED
_READERS = {
    "market1501": "market1501",
    "dukemtmc": "dukemtmc",
    "msmt17": "msmt17",
    "cuhk03": "cuhk03",
    "cuhk03-np": "cuhk03_np",
    "viper": "viper",
    "prcc": "prcc",
    "ltcc": "ltcc",
    "folder": "folder",
    "csv": "table",
}


@dataclass(frozen=True)
class Data:
    """A loaded data set. `fingerprint` names its content in run records; `root` is None for drawn data.

    Where `frame` has a column `row` (after broken images were skipped), row r of the store is the image of the frame's
    row with `row` == r; `reidlib.data.frame.rows_of` knows.
    """

    name: str
    frame: pd.DataFrame
    store: ImageStore
    fingerprint: str
    root: Path | None


def known() -> list[str]:
    """The names that `load` takes: data sets on disk first, then the drawn ones."""
    return [*_READERS, *_presets()]


def load(
    dataset: str,
    root=None,
    size: tuple[int, int] = (64, 32),
    data_seed: int = 0,
    device="cpu",
    cache=None,
    on_error: str = "raise",
    progress: bool = True,
    **options,
) -> Data:
    """Load a data set: `dataset` is the name of one on disk (in the folder `root`) or one of the drawn presets.

    `options` go to the reader: `split=3` for one of the splits of CUHK03, say; see the reader's `read`.

    `size` is (height, width) in pixels. Drawn data depends on `data_seed` and is kept in the folder `cache` (default:
    `drawn.cache_folder()`), to be drawn once. Files are decoded into memory, or, where `cache` is given, into a
    memory-mapped file in it, which later calls use again. `on_error="skip"` leaves unreadable images out of the frame.
    Raises ValueError for an unknown name or option, FileNotFoundError for a wrong root, ImageError for an unreadable
    image.
    """
    size = check_size(size)
    reader = _reader(dataset, root, options)
    if reader is None:
        frame, images, parts = drawn.draw_cached(dataset, size, data_seed, cache, progress)
        store = ImageStore(images, parts).to(device)
        return Data(dataset, frame, store, _drawn_name(dataset, size, data_seed), None)
    frame = reader.read(root, **options)
    root = reader.find_root(root)
    name = _files_name(dataset, root, frame)
    store = ImageStore.from_files(
        [root / path for path in frame["path"]],
        size,
        masks=[None if mask is None else root / mask for mask in frame["mask"]],
        memmap=None if cache is None else Path(cache) / f"{name}-{size[0]}x{size[1]}.images",
        on_error=on_error,
        progress=progress,
    )
    if store.skipped:
        frame = make_frame(frame.assign(row=frame.index).drop(index=store.skipped))
    return Data(dataset, frame, store.to(device), name, root)


def fingerprint(dataset: str, root=None, size: tuple[int, int] = (64, 32), data_seed: int = 0, **options) -> str:
    """A short name of a data set's content, without decoding or drawing it.

    Of files: a hash of the sorted names and sizes in bytes, and of the labels where names do not hold all of them. Of
    drawn data: preset, image size and seed.
    """
    reader = _reader(dataset, root, options)
    if reader is None:
        return _drawn_name(dataset, check_size(size), data_seed)
    frame = reader.read(root, **options)
    return _files_name(dataset, reader.find_root(root), frame)


def reader_of(dataset: str):
    """The module that reads a data set on disk: its `read(root, **options)` makes the frame. Raises ValueError."""
    if dataset not in _READERS:
        raise ValueError(f"{dataset!r} is no data set on disk; these are: {', '.join(_READERS)}")
    return importlib.import_module(f"reidlib.data.{_READERS[dataset]}")


def _reader(dataset: str, root, options: dict):
    """The reader module of a data set on disk, or None for a drawn one. Raises ValueError, FileNotFoundError."""
    if dataset in _READERS:
        reader = reader_of(dataset)
        _check_options(dataset, options, list(inspect.signature(reader.read).parameters)[1:])
        if not root:
            raise FileNotFoundError(f"data set {dataset!r} is read from disk: pass root=FOLDER; {reader.HELP}")
        return reader
    if dataset not in _presets():
        close = difflib.get_close_matches(str(dataset), known(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown data set {dataset!r}; {hint}Known: {', '.join(known())}")
    if root:
        raise ValueError(
            f"data set {dataset!r} is drawn and reads no folder, but root={os.fspath(root)!r} was given; "
            f"leave root out, or name a data set on disk ({', '.join(_READERS)})"
        )
    _check_options(dataset, options, [])
    return None


def _check_options(dataset: str, options: dict, takes: list[str]) -> None:
    unknown = sorted(set(options) - set(takes))
    if unknown:
        has = f"its options are {', '.join(takes)}" if takes else "it has none"
        raise ValueError(f"data set {dataset!r} has no option {unknown[0]!r}; {has}")


def _presets() -> list[str]:
    return list(importlib.import_module("reidlib.data.pedestrians").PRESETS)


def _drawn_name(dataset: str, size: tuple[int, int], data_seed: int) -> str:
    return f"{dataset}-{size[0]}x{size[1]}-{data_seed}-{drawn.source_hash()[:8]}"


def _files_name(dataset: str, root: Path, frame: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for path in sorted({*frame["path"], *(mask for mask in frame["mask"] if mask is not None)}):
        digest.update(f"{path}\0{os.stat(root / path).st_size}\n".encode())
    if dataset != "market1501":  # all of its labels are in its names; lists, tables and options decide elsewhere
        for row in zip(*(frame[c] for c in ("path", "split", "pid", "camid", "clothes")), strict=True):
            digest.update(repr(row).encode())
    return f"{dataset}-{digest.hexdigest()[:16]}"
