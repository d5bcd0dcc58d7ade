"""Every file of a data set, opened once: what cannot be read, what is there twice, which label maps do not fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.data import parsing
from reidlib.data.decode import default_workers

_SHOWN = 3  # files that a sentence names


def opened(frame: pd.DataFrame, root: Path, scheme: str | None = None, progress: bool = False) -> pd.DataFrame:
    """Open every image and label map, with several threads.

    One row a frame row: path, width, height, pixels, bytes, digest, error, map_error. scheme: the maps' label set.
    """
    rows = frame.drop_duplicates("path")
    jobs = list(zip(rows["path"], rows["mask"], strict=True))
    with ThreadPoolExecutor(default_workers()) as pool:
        found = pool.map(lambda job: _file(root, *job, scheme), jobs, chunksize=64)
        table = pd.DataFrame(list(_bar(found, len(jobs)) if progress else found))
    return frame[["path"]].merge(table, on="path", how="left")


def _file(root: Path, path: str, mask: str | None, scheme: str | None) -> dict:
    from PIL import Image

    row = {"path": path, "width": np.nan, "height": np.nan, "pixels": np.nan, "bytes": 0, "digest": None}
    row |= {"error": None, "map_error": None}
    try:
        content = (root / path).read_bytes()
        row |= {"bytes": len(content), "digest": hashlib.blake2b(content, digest_size=16).hexdigest()}
        with Image.open(root / path) as file:
            file.load()
            row |= {"width": file.width, "height": file.height, "pixels": file.width * file.height}
    except Exception as error:  # Pillow raises many kinds for broken files
        return row | {"error": "missing" if not os.path.isfile(root / path) else str(error) or type(error).__name__}
    if mask is not None:
        try:
            parsing.check_file(root / mask, root / path, scheme)
        except ValueError as error:
            row["map_error"] = str(error)
    return row


def _bar(found, total: int):
    """The same with a progress bar, or without where tqdm is missing."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return found
    return tqdm(found, total=total, desc="opening files", unit="image", leave=False)


def faults(frame: pd.DataFrame, files: pd.DataFrame, as_published: bool = False) -> Iterator[tuple[bool, str, str]]:
    """(wrong, sentence, remedy) of what is the matter with the files that `opened` found.

    as_published: the data set has its published counts, so that copies in it are its own and stay.
    """
    yield from _broken(files)
    yield from _maps(files)
    for wrong, sentence, remedy in _duplicates(frame, files):
        yield (
            (False, sentence, "Leave them: the data set was published so")
            if as_published
            else (wrong, sentence, remedy)
        )


def _broken(files):
    broken = files[files["error"].notna()].drop_duplicates("path")
    if len(broken):
        sentence = f"{len(broken)} images cannot be read: {_named(broken['path'])}"
        yield (True, sentence, "Restore them; load(on_error='skip') leaves them out and says so")


def _maps(files):
    broken = files[files["map_error"].notna()].drop_duplicates("path")
    if len(broken):
        yield (True, f"{len(broken)} label maps are wrong; {broken['map_error'].iloc[0]}", "Make them again")


def _duplicates(frame, files):
    table = frame.assign(digest=files["digest"].to_numpy(), test=frame["split"].isin(["query", "gallery", "multi"]))
    table = table[table["digest"].notna()]
    table = table[table.groupby("digest")["path"].transform("nunique") > 1]
    groups = table.groupby("digest")
    leaked = groups.filter(lambda some: some["test"].nunique() > 1)
    torn = groups.filter(lambda some: some["pid"].nunique() > 1)
    if len(leaked):
        sentence = (
            f"{leaked['digest'].nunique()} pictures are in the training and in the test set: {_named(leaked['path'])}"
        )
        yield (True, sentence, "Remove them from one; scores would be too high")
    if len(torn):
        sentence = f"{torn['digest'].nunique()} pictures have two different persons as label: {_named(torn['path'])}"
        yield (True, sentence, "Correct the label of one of them")
    rest = table[~table["digest"].isin([*leaked["digest"], *torn["digest"]])]
    if len(rest):
        sentence = f"{rest['digest'].nunique()} pictures are there more than once: {_named(rest['path'])}"
        yield (False, sentence, "Remove the copies if the data set is your own")


def _named(paths) -> str:
    names = list(dict.fromkeys(paths))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
