"""Writes drawn people to disk in the layout of each data set, so that its reader can be tried on a whole folder.

Where each image goes is said by `reidlib.data.places`. Nothing in the result is a real person.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.data import full_size
from reidlib.data.pedestrians import PRESETS, compose
from reidlib.data.pedestrians.draw import _bar, frame_of, render
from reidlib.data.places import LAYOUTS, WRITTEN_BESIDE, place

_CHUNK = 256  # images painted before they are written
USUAL = {  # the layout in which a preset is written unless told otherwise
    "market-like": "market1501", "duke-like": "dukemtmc", "msmt17-like": "msmt17", "viper-like": "viper",
    "cuhk03-like": "cuhk03", "prcc-like": "prcc", "ltcc-like": "ltcc", "warmstart": "folder",
} | {name: full.layout for name, full in full_size.FULL_SIZE.items()}  # fmt: skip


def draw(
    preset: str, root, layout: str | None = None, size: tuple[int, int] | None = None, data_seed: int = 0,
    identities: int | None = None, masks: bool = True, progress: bool = True,
) -> Path:  # fmt: skip
    """Draw `preset` (one of `USUAL`) and write it to the new folder `root` in a data set's layout; returns `root`.

    layout: one of `LAYOUTS`, by default the preset's own. size: (height, width) in pixels, by default 128x64, VIPeR
    128x48. identities: this many people for training and for the test, instead of the preset's numbers. masks: write
    the label maps to root/parts. The folder appears under its name when it is complete. Raises ValueError for a preset,
    layout or number that cannot be, FileExistsError if `root` holds files.
    """
    root = Path(root)
    layout = _known(preset, layout)
    whole = _plan(preset, data_seed, identities)
    frame, shots = frame_of(whole)
    placed = place(frame.assign(shot=shots), layout)
    size = (128, 48 if layout == "viper" else 64) if size is None else (int(size[0]), int(size[1]))
    if size[0] < 16 or size[1] < 8:
        raise ValueError(f"size {size} is too small: give height and width of at least 16 and 8 pixels")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder; remove it or write somewhere else")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write(whole, placed, layout, work, size, masks, progress)
        work.chmod(0o755)
        if root.exists():
            root.rmdir()
        work.rename(root)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return root


def _known(preset: str, layout: str | None) -> str:
    if preset not in USUAL:
        raise ValueError(f"unknown drawn data set {preset!r}; the presets are {', '.join(USUAL)}")
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; the layouts are {', '.join(LAYOUTS)}")
    return layout or USUAL[preset]


def _plan(preset: str, data_seed: int, identities: int | None) -> compose.Plan:
    if preset in full_size.FULL_SIZE:
        if identities is not None:
            raise ValueError(
                f"{preset} has the published number of people; leave identities out, or use a -like preset"
            )
        return full_size.plan(full_size.FULL_SIZE[preset], data_seed)
    chosen = PRESETS[preset]
    if identities is not None:
        if isinstance(identities, bool) or not isinstance(identities, int) or identities < 2:
            raise ValueError(f"identities={identities!r}: give a number of people, at least 2")
        test = identities if chosen.test_ids else 0
        extra = min(identities, chosen.extra_ids)
        chosen = replace(chosen, train_ids=identities, test_ids=test, extra_ids=extra)
    return compose.plan(chosen, data_seed)


def _write(whole, placed: pd.DataFrame, layout: str, work: Path, size, masks: bool, progress: bool) -> None:
    from PIL import Image

    for folder in {os.path.dirname(path) for path in placed["path"]}:
        (work / folder).mkdir(parents=True, exist_ok=True)
        if masks:
            (work / "parts" / folder).mkdir(parents=True, exist_ok=True)
    places = {shot: group.tolist() for shot, group in placed.groupby("shot")["path"]}
    shots = np.asarray(sorted(places))
    for start in _bar(range(0, len(shots), _CHUNK), progress, f"{len(shots)} images"):
        some = shots[start : start + _CHUNK]
        images, parts = render(whole, size, rows=some)
        pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
        for n, shot in enumerate(some.tolist()):
            for path in places[shot]:
                Image.fromarray(pictures[n]).save(work / path, quality=95)
                if masks:
                    Image.fromarray(parts[n].numpy()).save((work / "parts" / path).with_suffix(".png"))
    WRITTEN_BESIDE.get(layout, lambda placed, work: None)(placed, work)
